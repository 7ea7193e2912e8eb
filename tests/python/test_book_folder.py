"""What a folder ``common`` adds to the book's modules, asked within one process.

`test_book_launcher.py` shows what a program sees of it.
"""

import importlib

import pytest

import nnext.book.layers as layers
from nnext.book._folder import find_module, with_own_names


@pytest.fixture
def common(tmp_path, monkeypatch):
    """A folder ``common``, found where Python looks for modules."""
    folder = tmp_path / "common"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def extended(common, text):
    """The book's layers, with what a file ``layers.py`` in the folder adds to them."""
    (common / "layers.py").write_text(text, encoding="utf-8")
    importlib.invalidate_caches()
    return with_own_names(layers, "common.layers")


def test_a_module_is_found_in_the_folder_alone(common):
    (common / "gradient.py").write_text("", encoding="utf-8")
    importlib.invalidate_caches()
    assert find_module("common.gradient").origin == str(common / "gradient.py")
    assert find_module("common.nothing") is None
    assert find_module("common.os") is None  # a module of Python's own, which is in no such folder


def test_without_a_folder_the_books_module_is_itself():
    assert with_own_names(layers, "common.layers") is layers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "class Affine: pass\n",  # the book's own name
        "import os\nfrom math import sin\n",
        "_hidden = 1\n",
        "_a, _b = 1, 2\nobject.name = 3\n",
        "for i in range(3):\n    pass\n",
        "def broken(:\n",
        "zero = '\0'\n",
        "# \xff\xfe" + "\x00",
    ],
    ids=["empty", "the book's", "imports", "hidden", "no names", "loop", "broken", "zero", "bytes"],
)
def test_a_file_that_adds_nothing_leaves_the_books_module_itself(common, text):
    assert extended(common, text) is layers


def test_what_the_file_defines_at_its_top_is_added(common):
    module = extended(
        common,
        "import math\n"
        "LIMIT = OTHER = 5\n"
        "class Gated:\n"
        "    inner = 1\n"
        "def doubled(x):\n"
        "    local = 2\n"
        "    return local * x\n"
        "async def later():\n"
        "    return math.pi\n",
    )
    added = {"LIMIT", "OTHER", "Gated", "doubled", "later"}
    assert set(module.__all__) == {*layers.__all__, *added}
    assert module.Affine is layers.Affine
    assert (module.LIMIT, module.doubled(4), module.Gated.inner) == (5, 8, 1)
    assert module.__name__ == "common.layers"
    assert not set(vars(layers)) & added


def test_the_file_runs_once_and_only_when_asked_for_what_it_adds(common):
    module = extended(common, "runs = []\nruns.append(1)\nclass Affine: pass\n")
    assert "runs" not in vars(module)
    assert module.MatMul is layers.MatMul
    with pytest.raises(AttributeError, match=r"module 'common\.layers' has no attribute 'nothing'"):
        _ = module.nothing
    assert "runs" not in vars(module)
    assert module.runs is module.runs
    assert module.runs == [1]
    assert module.Affine is layers.Affine


def test_a_file_that_fails_fails_whoever_asks_and_adds_nothing(common):
    module = extended(common, "first = 1\nsecond = 1 / 0\n")
    for name in ("first", "second"):
        with pytest.raises(ZeroDivisionError):
            getattr(module, name)
    assert "first" not in vars(module)


def test_what_is_deleted_again_is_not_added(common):
    module = extended(common, "value, i = 1, 0\nvalue += i\ndel i\n")
    assert module.value == 1
    assert "i" not in module.__all__


def test_what_only_seems_to_be_defined_is_told_by_its_name(common):
    module = extended(common, "value = 1\nfor name in ['value']:\n    del globals()[name]\n")
    with pytest.raises(AttributeError, match="has no attribute 'value'"):
        _ = module.value


def test_two_targets_of_one_line_are_names_too(common):
    module = extended(common, "low, (high, *rest) = 1, (2, 3)\nwidth: int = 4\nonly: int\n")
    assert (module.low, module.high, module.rest, module.width) == (1, 2, [3], 4)
    assert "only" not in module.__all__
