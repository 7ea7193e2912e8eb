"""Programs that tests run as somebody would, in a process of their own, or take apart."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def script(name):
    """Return a program of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments, folder, status=0, **variables):
    """Run Python in a folder, with these environment variables too; return what it printed.

    Warnings are errors. Of a program that is to fail (`status`) what it complained of is returned
    too.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **variables},
    )
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr * (status != 0)
