"""Run the tests on each Python and NumPy that nnext supports, build the core by GCC and Clang.

Of each Python that is found here a wheel is built; beside the oldest NumPy that it can have and
beside the newest it is installed into an environment with nothing else in it, and tested. The
oldest Python has the oldest of everything else that pyproject.toml allows beside the oldest NumPy.
What is not there is left out, and said. Arguments go to pytest: ``-k softmax``. Environment
variables:

PYTHONS     versions to try, by default "3.11 3.12 3.13 3.14 3.14t", the last without a global lock,
            which nnext asks it to use (docs/decisions/08-free-threading.md)
NUMPYS      "oldest newest", or one of them
COMPILERS   "g++ clang++", one of them, or "" for none
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build/matrix"
# pyproject.toml asks for 2.0; that it has no wheels for newer Pythons is nothing to work around.
OLDEST_PYTHON = "3.11"
OLDEST_NUMPY = {"3.11": "2.0", "3.12": "2.0", "3.13": "2.1", "3.14": "2.3", "3.14t": "2.3"}


def say(text: str) -> None:
    """Print a line at once, for what programs print comes between."""
    print(f"nnext: {text}", flush=True)


def run(*command: str | Path, **variables: str) -> bool:
    """Run a program in the repository and say whether it went well."""
    say(" ".join(map(str, command)))
    done = subprocess.run([*map(str, command)], cwd=ROOT, env=os.environ | variables, check=False)
    return done.returncode == 0


def find_python(version: str) -> Path | None:
    """Find an interpreter: on the path, or among pyenv's, the newest of that version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [Path(found)] if (found := shutil.which(f"python{version}")) else []
    candidates += sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)
    code = (
        "import sys, sysconfig, venv, ensurepip; print('%d.%d' % sys.version_info[:2] +"
        " 't' * bool(sysconfig.get_config_var('Py_GIL_DISABLED')))"
    )
    for candidate in candidates:  # pyenv's own python3.12 on the path may run none
        done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return candidate
    return None


def make_environment(python: Path, folder: Path, *packages: str | Path) -> Path | None:
    """Make an environment with these packages and return its interpreter, or None if it fails."""
    made = folder / "bin/python"
    if run(python, "-m", "venv", "--clear", folder) and run(
        made, "-m", "pip", "install", "--quiet", *packages
    ):
        return made
    return None


def build_wheel(python: Path, version: str) -> Path | None:
    """Build a wheel; what was built for this Python before is used again."""
    wheels = BUILD / version / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    builder = make_environment(python, BUILD / version / "builder", "pip>=24")
    options = ["--no-deps", "--quiet", f"--config-settings=build-dir={BUILD / version / 'cmake'}"]
    # Where there is ccache the core, which is the same for all, is compiled once.
    ccache = {"CMAKE_CXX_COMPILER_LAUNCHER": "ccache"} if shutil.which("ccache") else {}
    ccache |= {"CCACHE_BASEDIR": str(ROOT), "CCACHE_NOHASHDIR": "1"} if ccache else {}
    if builder and run(builder, "-m", "pip", "wheel", ".", "-w", wheels, *options, **ccache):
        return next(wheels.glob("*.whl"))
    return None


def oldest_extras() -> list[str]:
    """Return what nnext can do more with, at the oldest versions that pyproject.toml allows."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    oldest: dict[str, tuple[int, ...]] = {}
    for extra in ("plot", "progress", "data", "files", "sklearn"):
        for wanted in extras[extra]:
            name, _, version = wanted.partition(">=")
            oldest[name] = max(oldest.get(name, ()), tuple(map(int, version.split("."))))
    pinned = [f"{name}=={'.'.join(map(str, version))}.*" for name, version in oldest.items()]
    return [*pinned, "pyparsing<3.3"]  # which warns of what matplotlib 3.9 calls


def test_python(version: str, numpys: list[str], arguments: list[str]) -> dict[str, str]:
    """Test one Python beside each NumPy; return what came out of each."""
    python = find_python(version)
    if python is None:
        return {f"Python {version}": "left out: there is none here"}
    wheel = build_wheel(python, version)
    if wheel is None:
        return {f"Python {version}": "FAILED: no wheel"}
    outcomes: dict[str, str] = {}
    for age in numpys:
        oldest = OLDEST_NUMPY[version]
        wanted = f"numpy=={oldest}.*" if age == "oldest" else "numpy"
        name = f"Python {version}, NumPy {oldest if age == 'oldest' else 'newest'}"
        others = oldest_extras() if (version, age) == (OLDEST_PYTHON, "oldest") else []
        tester = make_environment(python, BUILD / version / age, f"{wheel}[test]", wanted, *others)
        if tester is None:
            outcomes[name] = "FAILED: cannot be installed"
            continue
        # Else importing nnext switches the lock on with a warning, and warnings are errors here.
        lock = {"PYTHON_GIL": "1"} if version.endswith("t") else {}
        run(tester, "-P", "-m", "nnext", "info", **lock)
        # Old packages warn of the newer ones beside them: no error there.
        warnings = ["-W", "default"] if others else []
        pytest: list[str | Path] = [
            tester,
            "-P",
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            *warnings,
        ]
        passed = run(*pytest, *arguments, **lock)
        outcomes[name] = "passed" if passed else "FAILED"
    return outcomes


def test_compiler(compiler: str) -> str:
    """Build the core and its tests with a compiler and run them; return what came out."""
    if shutil.which(compiler) is None:
        return "left out: there is none here (Debian: apt-get install " + (
            "clang)" if compiler == "clang++" else "g++)"
        )
    folder = BUILD / compiler.rstrip("+")
    bin_ = ROOT / ".venv-test/bin"
    configure: list[str | Path] = [
        "--preset",
        "dev",
        "-B",
        folder,
        f"-DCMAKE_CXX_COMPILER={compiler}",
    ]
    steps: list[list[str | Path]] = [
        [bin_ / "cmake", *configure, f"-DCMAKE_MAKE_PROGRAM={bin_ / 'ninja'}"],
        [bin_ / "cmake", "--build", folder],
        [bin_ / "ctest", "--test-dir", folder, "--output-on-failure"],
    ]
    return "passed" if all(run(*step) for step in steps) else "FAILED"


def main(arguments: list[str]) -> int:
    """Run what the environment asks for, print a table, and return the exit code."""
    outcomes: dict[str, str] = {}
    numpys = os.environ.get("NUMPYS", "oldest newest").split()
    for version in os.environ.get("PYTHONS", "3.11 3.12 3.13 3.14 3.14t").split():
        outcomes |= test_python(version, numpys, arguments)
    for compiler in os.environ.get("COMPILERS", "g++ clang++").split():
        outcomes[f"the core, {compiler}"] = test_compiler(compiler)
    for name, outcome in outcomes.items():
        say(f"{name + ':':<28} {outcome}")
    failed = sum(outcome.startswith("FAILED") for outcome in outcomes.values())
    passed = sum(outcome == "passed" for outcome in outcomes.values())
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
