"""What a bug report needs: ``python -m nnext info``."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from nnext import _nnext
from nnext.config import config_in_words, print_table

# The packages of the extras that users install, as pip calls them, and ml_dtypes for bfloat16.
OPTIONAL = (
    "matplotlib",
    "ml_dtypes",
    "onnx",
    "pandas",
    "safetensors",
    "scikit-learn",
    "scipy",
    "threadpoolctl",
    "tqdm",
)


def run() -> None:
    """Print it, in lines that a report can quote."""
    print_table(lines())


def lines() -> dict[str, str]:
    """Return what each line is about, and what it says.

    No path and no name of a user or machine is among them: reports are public. What
    ``NNEXT_...`` variables hold is.
    """
    config = config_in_words()
    return {
        "nnext": f"{config.pop('version')}, {_installed()}",
        "python": f"{platform.python_version()} ({platform.python_implementation()}, {_lock()})",
        "numpy": f"{np.__version__} ({_blas()})",
        "platform": platform.platform(),
        "cpu": cpu_name(),
        **config,
        "environment": ", ".join(_variables()) or "no NNEXT_ variable is set",
        "optional": ", ".join(f"{name} {_version(name) or 'no'}" for name in OPTIONAL),
    }


def _installed() -> str:
    """Say what pip knows of the package: of another version, modules and core may not match."""
    name = _nnext.__distribution__
    version = _version(name)
    if version is None:
        return f"imported from a folder: {name} is not installed"
    return f"installed as {name} {version}"


def _lock() -> str:
    """Say whether this Python runs one thread at a time, as nnext expects."""
    enabled = getattr(sys, "_is_gil_enabled", None)  # from 3.13 on
    return "with the GIL" if enabled is None or enabled() else "free-threaded"


def _blas() -> str:
    """Say with which BLAS NumPy computes what nnext hands to it."""
    try:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return f"{blas['name']} {blas['version']}"
    except (KeyError, TypeError):  # a build that does not say
        return "BLAS unknown"


def _variables() -> list[str]:
    """Return the environment variables that nnext reads, as ``NAME=value``."""
    own = sorted(name for name in os.environ if name.startswith("NNEXT_"))
    return [
        f"{name}={os.environ[name]}" for name in [*own, "OMP_NUM_THREADS"] if name in os.environ
    ]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """Return the CPU's own name, or else what the system says of it."""
    name = ""
    if sys.platform == "linux":
        name = cpuinfo_name(Path("/proc/cpuinfo"))
    elif sys.platform == "darwin":
        name = _output("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string")
    return name or platform.processor() or platform.machine()


def cpuinfo_name(path: Path) -> str:
    """Return the name in Linux's list of processors; on ARM, who made which part; or nothing."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found: dict[str, str] = dict(
        re.findall(r"^(model name|CPU \w+)\s*:\s*(.*\S)", text, re.MULTILINE)
    )
    if "model name" in found:
        return found["model name"]
    return ", ".join(
        f"{key} {found[key]}" for key in ("CPU implementer", "CPU part") if key in found
    )


def _output(*command: str) -> str:
    """Return what a command prints, or nothing if it cannot."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
