"""The package itself: what it shows of its build, its names, its threads."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nnext
from nnext import _nnext
from nnext._support import require

KEYS = {"version", "compiler", "isa", "isa_available", "isa_compiled", "caches", "threads"}


@pytest.fixture(scope="module")
def project():
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]


def test_name_and_version_are_those_of_the_project(project):
    assert (_nnext.__distribution__, nnext.__version__) == (project["name"], project["version"])
    assert project["name"] != "nnext", "that is another project on the package index"


def test_pip_knows_the_package_by_the_name_that_it_says():
    try:
        metadata = importlib.metadata.metadata(_nnext.__distribution__)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("imported from a folder: pip did not install it")
    assert (metadata["Name"], metadata["Version"]) == (_nnext.__distribution__, nnext.__version__)


def test_extras_that_contain_others_take_them_from_this_project(project):
    extras = project["optional-dependencies"]
    own = [re.fullmatch(r"(nnext[\w-]*)\[([\w,]+)\]", n) for e in extras.values() for n in e]
    own = [match for match in own if match]
    assert len(own) == 4
    for match in own:
        assert match[1] == project["name"]
        assert set(match[2].split(",")) <= set(extras)


def test_a_hint_names_this_project_and_one_of_its_extras(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError) as error:
        require("tqdm", "progress", "A bar")
    command = f'pip install "{project["name"]}[progress]"'
    assert str(error.value) == f"A bar needs tqdm, which is not installed: {command}"


def test_show_config_returns_what_it_prints(capsys):
    config = nnext.show_config(mode="dicts")
    assert set(config) >= KEYS
    assert capsys.readouterr().out == ""
    assert nnext.show_config() is None
    printed = capsys.readouterr().out
    assert nnext.show_config("stdout") is None
    assert capsys.readouterr().out == printed
    for key in KEYS:
        assert f"{key}:" in printed
    assert config["version"] in printed
    assert ", ".join(config["isa_available"]) in printed


def test_the_configuration_is_true_to_itself():
    config = nnext.show_config("dicts")
    assert config["version"] == nnext.__version__
    assert config["isa"] in config["isa_available"]
    assert set(config["isa_available"]) <= set(config["isa_compiled"])
    assert "portable" in config["isa_available"]
    assert config["threads"] == nnext.get_num_threads()
    assert config["compiler"]


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="""mode must be "stdout" or "dicts", not 'json'"""):
        nnext.show_config("json")


def test_the_number_of_threads_is_what_was_set():
    before = nnext.get_num_threads()
    assert before >= 1
    try:
        for n in (1, 2):
            nnext.set_num_threads(n)
            assert nnext.get_num_threads() == n
            assert nnext.show_config("dicts")["threads"] == n
    finally:
        nnext.set_num_threads(before)


@pytest.mark.parametrize("n", [0, -1])
def test_fewer_than_one_thread_is_refused(n):
    before = nnext.get_num_threads()
    with pytest.raises(ValueError, match=str(n)):
        nnext.set_num_threads(n)
    assert nnext.get_num_threads() == before


@pytest.mark.parametrize("n", [1.5, "2", None])
def test_a_number_of_threads_that_is_none_is_refused(n):
    with pytest.raises(TypeError):
        nnext.set_num_threads(n)


def test_every_public_name_is_there_and_documented():
    modules = ["functions", "layers", "nodes", "optimizer", "gradient_check", "config"]
    for module in [nnext, *(sys.modules[f"nnext.{m}"] for m in modules)]:
        assert module.__doc__
        assert len(set(module.__all__)) == len(module.__all__)
        for name in module.__all__:
            assert getattr(module, name).__doc__, name


def test_a_wrong_number_of_arguments_is_told_in_pythons_own_words():
    for name in nnext.__all__:
        function = getattr(nnext, name)
        is_error = isinstance(function, type) and issubclass(function, Exception)
        if callable(function) and not is_error:
            with pytest.raises(TypeError) as error:
                function(*range(20))
            assert "incompatible function arguments" not in str(error.value), name


def test_importing_the_package_is_cheap():
    code = (
        "import sys, numpy\n"
        "before = set(sys.modules)\n"
        "import nnext\n"
        "new = set(sys.modules) - before\n"
        "print(sorted({m.split('.')[0] for m in new}"
        " & {'matplotlib', 'tqdm', 'sklearn', 'scipy', 'pandas'}))\n"
        "print('numpy.random' in new)"  # a quarter of the time; drawing loads it
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "False"]


def imported(code="print(nnext.get_num_threads())", **environment):
    """Import nnext in a process of its own; return its exit code, output and errors."""
    done = subprocess.run(
        [sys.executable, "-c", f"import nnext\n{code}"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.strip(), done.stderr


# Caches: those of the CPU, or those of the environment


def test_the_caches_are_shown():
    first, second, *third = nnext.show_config("dicts")["caches"]
    assert [cache["level"] for cache in (first, second, *third)] in ([1, 2], [1, 2, 3])
    for cache in (first, second, *third):
        assert cache["size"] > 0
        assert cache["size"] % (cache["ways"] * cache["line"]) == 0
    assert all(cache["cpus"] >= 1 for cache in third)


def test_caches_from_the_environment():
    caches = "48K/12,1536K/12,64M/16/128"
    code, shown, _ = imported("print(nnext.show_config('dicts')['caches'])", NNEXT_CACHES=caches)
    assert code == 0
    assert ast.literal_eval(shown) == [
        {"level": 1, "size": 48 * 1024, "ways": 12, "line": 64},
        {"level": 2, "size": 1536 * 1024, "ways": 12, "line": 64},
        {"level": 3, "size": 64 * 2**20, "ways": 16, "line": 128, "cpus": 1},
    ]
    _, printed, _ = imported("nnext.show_config()", NNEXT_CACHES=caches)
    assert "caches:        L1 48 KiB 12-way, L2 1536 KiB 12-way, L3 64 MiB 16-way\n" in printed
    _, printed, _ = imported("nnext.show_config()", NNEXT_CACHES="1600/1,256K/8,0")
    assert "caches:        L1 1600 bytes 1-way, L2 256 KiB 8-way\n" in printed
    _, shown, _ = imported("print(nnext.show_config('dicts')['caches'])", NNEXT_CACHES="")
    assert len(ast.literal_eval(shown)) >= 2


@pytest.mark.parametrize("value", ["abc", "0", "48K/12", "48K/7,2M/16,0", "48K/-12,2M/16,0"])
def test_caches_that_are_none_are_refused_at_import(value):
    code, _, errors = imported(NNEXT_CACHES=value)
    assert code == 1  # an exception, no signal
    last = errors.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: NNEXT_CACHES={value} does not say what caches there are")
    assert "such as 48K/12,2M/16,64M/16" in last


@pytest.mark.skipif(os.name != "posix", reason="variables are Unicode there")
@pytest.mark.parametrize("name", ["NNEXT_ISA", "NNEXT_CACHES", "NNEXT_NUM_THREADS"])
def test_settings_in_another_encoding_are_refused_as_any(name):
    code, _, errors = imported(**{name: os.fsdecode(b"avx2\xe9")})
    assert code == 1
    assert f"ImportError: {name}=avx2? " in errors


def test_the_bits_do_not_depend_on_the_caches():
    code = (
        "import hashlib, numpy as np; r = np.random.default_rng(0)\n"
        "a, b = r.standard_normal((130, 701)), r.standard_normal((701, 97))\n"
        "for kind in (np.float32, np.float64):\n"
        "    y = nnext.functions.matmul(a.astype(kind), b.astype(kind))\n"
        "    print(hashlib.sha256(y.tobytes()).hexdigest())"
    )
    usual = imported(code, NNEXT_CACHES="")
    assert usual[0] == 0, usual[2]
    for caches in ("64/1,1K/1,0", "512K/8/128,1024M/16/128,1024M/16/128"):
        assert imported(code, NNEXT_CACHES=caches) == usual


# Threads: what is set wrongly is refused


@pytest.mark.parametrize("value", ["abc", "0", "-1", "1.5", "1e3", " 2", "5000", "9" * 30, "2x"])
def test_a_number_of_threads_that_is_none_is_refused_at_import(value):
    code, _, errors = imported(NNEXT_NUM_THREADS=value)
    assert code != 0
    assert f"NNEXT_NUM_THREADS={value} is not a number of threads" in errors
    assert "expected a whole number from 1 to 1024" in errors


def test_threads_from_the_environment():
    assert imported(NNEXT_NUM_THREADS="3", OMP_NUM_THREADS="2")[1] == "3"
    assert imported(NNEXT_NUM_THREADS="", OMP_NUM_THREADS="2")[1] == "2"
    assert imported(NNEXT_NUM_THREADS="", OMP_NUM_THREADS="4,2")[1] == "4"
    # A variable of others: what is no number is passed over.
    own = imported(NNEXT_NUM_THREADS="", OMP_NUM_THREADS="many")
    assert own[0] == 0
    assert int(own[1]) == nnext.show_config("dicts")["cpus"]


def test_more_threads_than_processors_are_said_to_be_capped(capsys):
    before, cpus = nnext.get_num_threads(), nnext.show_config("dicts")["cpus"]
    try:
        nnext.set_num_threads(1024)
        nnext.show_config()
        assert f" 1024, of which {cpus} are used\n" in capsys.readouterr().out
        nnext.set_num_threads(min(cpus, 1024))
        nnext.show_config()
        assert "are used" not in capsys.readouterr().out
    finally:
        nnext.set_num_threads(before)


@pytest.mark.parametrize("n", [0, -1, 1025, 2**40, 2**70, -(2**70)])
def test_numbers_of_threads_out_of_range_are_refused(n):
    before = nnext.get_num_threads()
    with pytest.raises(ValueError, match="n: expected 1 to 1024 threads, got "):
        nnext.set_num_threads(n)
    assert nnext.get_num_threads() == before


def test_a_sub_interpreter_is_told_so():
    pytest.importorskip("_xxsubinterpreters")

    def imported_in_one(module):
        code = (
            "import _xxsubinterpreters as interpreters\n"
            f"interpreters.run_string(interpreters.create(), 'import {module}')\n"
        )
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
        )

    if imported_in_one("numpy").returncode:  # Python 3.12 and NumPy 2.0
        pytest.skip("NumPy, which comes first, cannot be imported in a sub-interpreter here")
    assert "sub-interpreter" in imported_in_one("nnext._nnext").stderr
