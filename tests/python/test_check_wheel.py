"""The check of what is published rejects what must not be."""

import tarfile
import zipfile

import pytest

from programs import script

MODULE = "nnext/_nnext.cpython-311-x86_64-linux-gnu.so"
INFO = "nnext_core-0.2.0.dist-info"
METADATA = "License-Expression: MIT\nRequires-Dist: numpy>=2.0\nRequires-Dist: tqdm; extra == 'x'\n"


@pytest.fixture(scope="module")
def check():
    return script("check_wheel")


@pytest.fixture
def make_wheel(tmp_path):
    def make(name="right.whl", leave_out=(), **changes):
        files = {
            "nnext/__init__.py": "",
            "nnext/book/__init__.py": "",
            "nnext/py.typed": "",
            "nnext/_nnext.pyi": "",
            MODULE: "code from cpp/src/plan.cpp",
            f"{INFO}/METADATA": METADATA,
            f"{INFO}/licenses/LICENSE": "MIT",
        }
        files.update(changes.pop("files", {}))
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            for file, text in files.items():
                if file not in leave_out:
                    wheel.writestr(zipfile.ZipInfo(file), text)
        return tmp_path / name

    return make


def test_a_right_wheel_passes(check, make_wheel):
    assert check.wheel_complaints(make_wheel()) == []
    assert check.wheel_complaints(make_wheel(files={"nnext/": ""})) == []  # as auditwheel writes


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"tests/test_x.py": ""}, "tests/test_x.py does not belong there"),
        ({"nnext/include/x.h": ""}, "nnext/include/x.h does not belong there"),
        ({MODULE: "x /root/build/y.cpp"}, f"{MODULE} names a folder: /root/build/y.cpp"),
        ({"nnext/_nnext.abi3.so": ""}, "one compiled module was expected"),
        (
            {f"{INFO}/METADATA": METADATA + "Requires-Dist: scipy>=1.0\n"},
            "it needs numpy>=2.0, scipy>=1.0, and NumPy alone was expected",
        ),
        ({f"{INFO}/METADATA": METADATA.replace("MIT", "GPL-3.0")}, "its licence is GPL-3.0"),
        ({"nnext/x.py": "x" * 1_900_000}, "bytes, more than 1,500,000"),
    ],
)
def test_what_is_wrong_is_said(check, make_wheel, files, complaint):
    assert any(complaint in said for said in check.wheel_complaints(make_wheel(files=files)))


@pytest.mark.parametrize("name", [f"{INFO}/licenses/LICENSE", "nnext/py.typed", MODULE])
def test_what_is_missing_is_said(check, make_wheel, name):
    assert len(check.wheel_complaints(make_wheel(leave_out=[name]))) == 1


def test_wheels_that_differ_are_told_apart(check, make_wheel):
    one, same = make_wheel(), make_wheel("same.whl")
    other = make_wheel("other.whl", files={"nnext/__init__.py": "x"})
    assert check.difference(one, same) == []
    assert check.difference(one, other) == ["built twice, nnext/__init__.py differ"]
    reordered = make_wheel("order.whl", leave_out=["nnext/py.typed"])
    with zipfile.ZipFile(reordered, "a") as wheel:
        wheel.writestr(zipfile.ZipInfo("nnext/py.typed"), "")
    assert check.difference(one, reordered) == ["built twice, dates, permissions or order differ"]


def test_an_sdist_lacks_nothing_and_holds_nothing_built(check, tmp_path):
    def make(*names):
        path = tmp_path / "x.tar.gz"
        (tmp_path / "empty").touch()
        with tarfile.open(path, "w:gz") as sdist:
            for name in names:
                sdist.add(tmp_path / "empty", f"nnext_core-0.2.0/{name}")
        return path

    assert check.sdist_complaints(make(*check.SOURCES)) == []
    found = check.sdist_complaints(make(*check.SOURCES[1:], "python/nnext/_nnext.so"))
    assert found == ["python/nnext/_nnext.so does not belong there", "CMakeLists.txt is missing"]


def test_all_that_is_wrong_is_printed_and_fails(check, make_wheel, tmp_path, capsys):
    wheel = make_wheel(files={"nnext/notes.txt": ""})
    sdist = tmp_path / "x.tar.gz"
    tarfile.open(sdist, "w:gz").close()
    assert check.main(str(wheel), str(sdist), str(make_wheel("again.whl"))) == 1
    printed = capsys.readouterr().err
    assert "notes.txt does not belong there" in printed
    assert "pyproject.toml is missing" in printed
    assert "built twice" in printed
