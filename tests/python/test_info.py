"""What ``python -m nnext info`` prints, for bug reports."""

import getpass
import os
import platform
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import nnext
from nnext import _info, _nnext

ROOT = Path(__file__).resolve().parents[2]


def info(**environment):
    """Run the command in a process of its own; return what its lines say by what they are about."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "nnext", "info"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return {
        key: text.strip() for key, _, text in (s.partition(":") for s in done.stdout.splitlines())
    }


def test_it_says_what_a_report_needs():
    said = info(NNEXT_ISA="portable", NNEXT_CACHES="48K/12,1536K/12,0", NNEXT_NUM_THREADS="1")
    assert said["nnext"].startswith(f"{nnext.__version__}, ")
    assert said["python"].startswith(
        f"{platform.python_version()} ({platform.python_implementation()}"
    )
    assert said["numpy"].startswith(f"{np.__version__} (")
    assert said["platform"] == platform.platform()
    assert said["isa"] == "portable"
    assert said["isa_available"] == ", ".join(nnext.show_config("dicts")["isa_available"])
    assert said["caches"] == "L1 48 KiB 12-way, L2 1536 KiB 12-way"
    assert said["threads"] == "1"
    for variable in ("NNEXT_CACHES=48K/12,1536K/12,0", "NNEXT_ISA=portable", "NNEXT_NUM_THREADS=1"):
        assert variable in said["environment"]


def test_it_says_all_that_show_config_prints(capsys):
    nnext.show_config()
    keys = {line.partition(":")[0] for line in capsys.readouterr().out.splitlines()}
    assert keys - {"version"} < set(_info.lines())


def test_variables_of_others_are_not_told(monkeypatch):
    for name in [name for name in os.environ if name.startswith("NNEXT_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("SECRET", "do not tell")
    assert _info.lines()["environment"] == "no NNEXT_ variable is set"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("NNEXT_X", "y")
    assert _info.lines()["environment"] == "NNEXT_X=y, OMP_NUM_THREADS=2"


def test_no_path_is_told():
    told = "\n".join(text for key, text in _info.lines().items() if key != "environment")
    assert str(Path(nnext.__file__).parent) not in told
    assert str(Path.home()) not in told
    if getpass.getuser() != "root" and len(getpass.getuser()) > 3:
        assert getpass.getuser() not in told


def test_optional_packages_are_those_of_the_extras():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    for_developers = {"test", "dev", "docs"}
    names = {
        re.match(r"[\w-]+", requirement)[0]
        for extra, requirements in extras.items()
        if extra not in for_developers
        for requirement in requirements
    }
    assert names - {_nnext.__distribution__} | {"ml_dtypes"} == set(_info.OPTIONAL)


def test_versions_of_optional_packages_are_told(monkeypatch):
    versions = {"tqdm": "4.66.1", "scipy": None}
    monkeypatch.setattr(_info, "_version", lambda name: versions.get(name, "1.0"))
    told = _info.lines()
    assert "scipy no" in told["optional"].split(", ")
    assert "tqdm 4.66.1" in told["optional"].split(", ")
    assert told["nnext"] == f"{nnext.__version__}, installed as {_nnext.__distribution__} 1.0"
    monkeypatch.setattr(_info, "_version", lambda name: None)
    assert _info.lines()["nnext"].endswith(f"{_nnext.__distribution__} is not installed")


def test_a_numpy_that_does_not_say_its_blas(monkeypatch):
    monkeypatch.setattr(np, "show_config", lambda mode: {})
    assert _info.lines()["numpy"] == f"{np.__version__} (BLAS unknown)"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "processor\t: 0\nmodel name\t: AMD EPYC 9355 \nmodel name\t: AMD EPYC 9355\n",
            "AMD EPYC 9355",
        ),
        (
            "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd40\n",
            "CPU implementer 0x41, CPU part 0xd40",
        ),
        ("processor\t: 0\n", ""),
        (None, ""),
    ],
)
def test_names_of_cpus(tmp_path, text, name):
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert _info.cpuinfo_name(path) == name


def test_a_cpu_without_a_name_is_told_by_its_kind(monkeypatch):
    monkeypatch.setattr(_info, "cpuinfo_name", lambda path: "")
    monkeypatch.setattr(_info, "_output", lambda *command: "")
    assert _info.cpu_name() in (platform.processor(), platform.machine())


def test_what_cannot_be_run_says_nothing():
    assert _info._output("/nowhere/at/all") == ""
    assert _info._output(sys.executable, "-c", "print('Apple M4')") == "Apple M4"


def test_a_python_without_the_lock_is_told(monkeypatch):
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    assert "free-threaded" in _info.lines()["python"]
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True)
    assert "with the GIL" in _info.lines()["python"]
