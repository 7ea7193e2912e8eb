"""Check what is published: ``python scripts/check_wheel.py WHEEL SDIST [SAME_WHEEL_AGAIN]``.

A wheel holds the package, its one compiled module and its licence, and no more; it is small, names
nothing of the machine that it was built on and needs NumPy alone. An sdist has what it takes to
build and test, and nothing that was built. Two wheels of the same sources are the same bytes.
"""

import email
import re
import sys
import tarfile
import zipfile
from pathlib import Path

# Bytes; the compiled module, with every instruction set, is eight tenths of it.
LARGEST = 1_500_000

# What stands in a wheel, and where.
EXPECTED = re.compile(
    r"nnext/(\w+/)?\w+\.py"
    r"|nnext/_nnext\.pyi|nnext/py\.typed"
    r"|nnext/_nnext\.[\w-]+\.(so|pyd)"
    r"|nnext_core-[\w.]+\.dist-info/(METADATA|WHEEL|RECORD|licenses/LICENSE|sboms/[\w.-]+)"
    r"|nnext_core\.libs/lib(gcc_s|stdc\+\+)[\w.-]+"  # what auditwheel brings along for musl
)
REQUIRED = ("nnext/__init__.py", "nnext/py.typed", "nnext/_nnext.pyi")
# Folders that only the machine has that built it. (GCC's own sources are named relative to theirs.)
FOLDERS = re.compile(rb"/(?:home|root|tmp|work|Users|private|project)/[\w./-]{3,}")
# What an sdist cannot do without.
SOURCES = (
    "CMakeLists.txt",
    "LICENSE",
    "README.md",
    "cmake/platform.cmake",
    "cpp/src/dispatch.cpp",
    "pyproject.toml",
    "python/nnext/__init__.py",
    "tests/cpp/CMakeLists.txt",
    "tests/python/conftest.py",
    "tests/same_bits.txt",
)


def wheel_complaints(path: Path) -> list[str]:
    """Say what is wrong with a wheel."""
    size = path.stat().st_size
    found = [f"{size:,} bytes, more than {LARGEST:,}"] if size > LARGEST else []
    with zipfile.ZipFile(path) as wheel:
        names = [
            name for name in wheel.namelist() if not name.endswith("/")
        ]  # auditwheel's folders
        found += [f"{name} does not belong there" for name in names if not EXPECTED.fullmatch(name)]
        found += [f"{name} is missing" for name in REQUIRED if name not in names]
        modules = [name for name in names if name.endswith((".so", ".pyd"))]
        if len(modules) != 1:
            found.append(f"one compiled module was expected, not {modules}")
        for name in modules:
            folders = sorted(set(FOLDERS.findall(wheel.read(name))))
            found += [f"{name} names a folder: {folder.decode()}" for folder in folders]
        for name in names:
            if name.endswith(".dist-info/METADATA"):
                found += metadata_complaints(wheel.read(name).decode())
        if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
            found.append("the licence is missing")
    return found


def metadata_complaints(text: str) -> list[str]:
    """Say what is wrong with a wheel's metadata."""
    metadata = email.message_from_string(text)
    needs = [need for need in metadata.get_all("Requires-Dist", []) if "extra ==" not in need]
    found = []
    if [re.match(r"[\w-]+", need)[0] for need in needs] != ["numpy"]:  # type: ignore[index]
        found.append(f"it needs {', '.join(needs) or 'nothing'}, and NumPy alone was expected")
    if metadata["License-Expression"] != "MIT":
        found.append(f"its licence is {metadata['License-Expression']}")
    return found


def sdist_complaints(path: Path) -> list[str]:
    """Say what is wrong with an sdist."""
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    built = re.compile(r".*(\.so|\.o|\.pyd|\.pyc|\.whl)|(build|dist|\.venv[\w-]*)/.*")
    return [
        *(f"{name} does not belong there" for name in sorted(names) if built.fullmatch(name)),
        *(f"{name} is missing" for name in SOURCES if name not in names),
    ]


def difference(path: Path, again: Path) -> list[str]:
    """Say in which of their files two wheels differ, or that their order or dates do."""
    if path.read_bytes() == again.read_bytes():
        return []
    with zipfile.ZipFile(path) as one, zipfile.ZipFile(again) as other:
        names = sorted({*one.namelist(), *other.namelist()})
        common = {*one.namelist()} & {*other.namelist()}
        differing = [n for n in names if n not in common or one.read(n) != other.read(n)]
    return [f"built twice, {', '.join(differing) or 'dates, permissions or order'} differ"]


def main(wheel: str, sdist: str, *again: str) -> int:
    """Check, print what is wrong, and return the exit code."""
    found = [f"{wheel}: {what}" for what in wheel_complaints(Path(wheel))]
    found += [f"{sdist}: {what}" for what in sdist_complaints(Path(sdist))]
    for other in again:
        found += [f"{wheel}: {what}" for what in difference(Path(wheel), Path(other))]
    for complaint in found:
        print(f"nnext: {complaint}", file=sys.stderr)
    if not found:
        same = ", the same bytes from two folders" if again else ""
        print(f"nnext: {wheel} is right: {Path(wheel).stat().st_size:,} bytes{same}")
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
