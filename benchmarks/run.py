"""Benchmarks: ``python benchmarks/run.py [--quick] [part ...]``. Each part is a module beside this.

A part checks the answer, times nnext and its peers in turns in this one process, prints a table.
"""

import argparse
import importlib
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PARTS = ("matmul",)

# What keeps a peer from the instructions that it would choose by itself. With
# OPENBLAS_CORETYPE=Haswell, for one, NumPy does without AVX-512 and takes twice as long on a CPU
# that has it. nnext's own NNEXT_ISA holds: the first line printed says what is in use.
HANDICAPS = (
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Time nnext side by side with its peers.",
        epilog="Compare figures of one run only: the speed of a machine drifts.",
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; or all")
    parser.add_argument("--quick", action="store_true", help="few sizes, short: does it run at all")
    options = parser.parse_args(arguments)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")

    # Before anything imports NumPy: its BLAS reads these when it is loaded.
    ignored = [f"{name}={os.environ.pop(name)}" for name in HANDICAPS if name in os.environ]
    # With `python -P` a script's own folder is not searched.
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import measure

    import nnext

    try:
        import threadpoolctl  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        sys.exit("run.py: threadpoolctl is needed to hold NumPy to one thread: pip install it")

    nnext.set_num_threads(1)
    with threadpoolctl.threadpool_limits(1):
        print(describe(nnext.show_config("dicts") or {}, threadpoolctl.threadpool_info()))
        if ignored:
            print(f"Ignored, since it would slow a peer down: {', '.join(ignored)}")
        for part in options.parts or PARTS:
            effort = measure.QUICK if options.quick else measure.FULL
            importlib.import_module(part).run(effort, options.quick)


def describe(config: Mapping[str, Any], pools: Sequence[Mapping[str, Any]]) -> str:
    """Say what is compared, and on what."""
    import numpy as np

    blas = ", ".join(
        f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".rstrip()
        for pool in pools
        if pool["user_api"] == "blas"
    )
    return "\n".join(
        [
            f"nnext {config['version']}: {config['isa']}, {config['compiler']}",
            f"NumPy {np.__version__}: {blas or 'a BLAS that threadpoolctl does not know'}",
            f"Python {platform.python_version()}, {cpu_name()}",
        ]
    )


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
