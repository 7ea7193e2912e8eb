"""What each library may use: instruction sets and threads, by its environment.

A library reads these variables when it is loaded, so they are made for a process that is yet to
start. Nothing here imports NumPy.
"""

import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

# What keeps a peer from what it would choose by itself. With OPENBLAS_CORETYPE=Haswell, for one,
# NumPy does without AVX-512 and takes twice as long on a CPU that has it.
HANDICAPS = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "PJRT_NPROC",
    "XLA_FLAGS",
)
# NPROC is XLA's: it has no setting for the threads of its pool but how many CPUs there are.
POOLS = (
    "MKL_NUM_THREADS",
    "NNEXT_NUM_THREADS",
    "NPROC",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)

# What holds the peers to the instruction set that NNEXT_ISA names. The widest of each kind of CPU
# needs nothing. NumPy's own loops come on top, see `wider_features`.
SAME_ISA: dict[str, dict[str, str]] = {
    "avx512": {},
    "neon": {},
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's loops, and what torch.compile writes
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",  # PyTorch's products
        "ONEDNN_MAX_CPU_ISA": "AVX2",  # PyTorch's and XLA's
        "OPENBLAS_CORETYPE": "Haswell",  # NumPy's and SciPy's products
        # XLA's usual library for products, YNNPACK, asks the CPU alone; without it oneDNN does them
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2 --xla_cpu_experimental_ynn_fusion_type=",
    },
}
AVX512_CORES = ("SkylakeX", "Cooperlake", "SapphireRapids")  # OpenBLAS's, with AVX-512


def environment(inherited: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the environment that is fair to the peers, and which of its variables restrict them.

    Raises ValueError if NNEXT_ISA names a set that the peers cannot be held to.
    """
    fair = {name: text for name, text in inherited.items() if name not in HANDICAPS}
    isa = inherited.get("NNEXT_ISA", "")
    if not isa:
        return fair, {}
    if isa not in SAME_ISA:
        raise ValueError(
            f"NNEXT_ISA: expected one of {', '.join(SAME_ISA)}, or nothing, got {isa!r}:"
            " the peers cannot be held to it, and would be compared with more than nnext may use"
        )
    restrictions = dict(SAME_ISA[isa])
    if restrictions:
        wider = wider_features(_numpy_features(fair))
        if wider:
            restrictions["NPY_DISABLE_CPU_FEATURES"] = " ".join(wider)
    return {**fair, **restrictions}, restrictions


def ignored(inherited: Mapping[str, str]) -> list[str]:
    """Name the variables that would slow a peer down, as ``NAME=value``."""
    return [f"{name}={inherited[name]}" for name in HANDICAPS if name in inherited]


def wider_features(found: Sequence[str]) -> list[str]:
    """Pick from the features that NumPy found on this CPU those that AVX2 does not have.

    NumPy warns of a feature that the CPU lacks and refuses one that it does not know, so no other
    may be named to it.
    """
    return [name for name in found if name == "X86_V4" or name.startswith(("AVX512", "AVX10"))]


def broken(facts: Mapping[str, Any], isa: str) -> list[str]:
    """Say which peers use wider instructions than `isa`; `facts` is what `in_use` returned."""
    if isa != "avx2":
        return []
    found = [f"NumPy uses {name}" for name in wider_features(facts["numpy"])]
    found += [f"OpenBLAS uses {name}" for name in facts["openblas"] if name in AVX512_CORES]
    found += [f"PyTorch uses {facts['torch']}"] * ("512" in facts["torch"])
    return found


def in_use(torch: Any, pools: Any) -> dict[str, Any]:
    """Ask the libraries of this process what they use: NumPy's loops, OpenBLAS, PyTorch."""
    return {
        "numpy": _features_here(),
        "openblas": [
            pool.get("architecture", "")
            for pool in (pools.threadpool_info() if pools is not None else ())
            if pool["internal_api"] == "openblas"
        ],
        "torch": torch.backends.cpu.get_cpu_capability() if torch is not None else "",
    }


def _features_here() -> list[str]:
    import numpy as np

    extensions: Any = np.show_config("dicts")
    found: list[str] = extensions["SIMD Extensions"].get("found", [])
    return found


def _numpy_features(fair: Mapping[str, str]) -> list[str]:
    """Ask a NumPy that nothing restricts what it found, in a process of its own."""
    code = (
        "import json, numpy as np;"
        " print(json.dumps(np.show_config('dicts')['SIMD Extensions'].get('found', [])))"
    )
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, env=dict(fair), stdout=subprocess.PIPE, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def restrictions_of(own: Mapping[str, str]) -> dict[str, str]:
    """Return what restricts the peers of a process that was started with `environment`."""
    return {name: own[name] for name in HANDICAPS if name in own}


def versions(
    config: Mapping[str, Any], facts: Mapping[str, Any], restricted: Mapping[str, str]
) -> dict[str, str]:
    """Say which versions are compared, and with which instructions; nnext's `config` too."""
    import numpy as np

    blas = f", OpenBLAS for {facts['openblas'][0]}" if facts["openblas"] else ""
    loops = facts["numpy"][-1:] or ["its baseline"]
    found = {
        "Python": platform.python_version(),
        "nnext": f"{config['version']}, {config['isa']}, {config['compiler']}",
        "NumPy": f"{np.__version__}, loops for {loops[0]}{blas}",
    }
    if facts["torch"]:
        found["PyTorch"] = f"{_version('torch')}, loops for {facts['torch']}"
    for name, distribution in (("JAX", "jax"), ("scikit-learn", "scikit-learn")):
        version = _version(distribution)
        if version:
            found[name] = version
    if restricted:
        held = ", ".join(f"`{name}={text}`" for name, text in restricted.items())
        found["peers"] = f"held to {config['isa']}: {held}"
    else:
        found["peers"] = "each with the best instructions it has for this CPU"
    return found


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
