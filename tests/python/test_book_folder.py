"""What a folder ``common`` adds to the book's modules, asked within one process.

`test_book_launcher.py` shows what a program sees of it.
"""

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor

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
    (common / "layers.py").write_bytes(text if isinstance(text, bytes) else text.encode())
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
        "import os\nfrom math import sin\ntry:\n    import cupy\nexcept ImportError: pass\n",
        "_hidden = 1\n_a, _b = 1, 2\n",
        "object.name = 3\nonly: int\n",
        "_d = [i for i in range(3)] and (lambda x: x)\n",
        "_d = {}\n_d[tuple(i for i in range(2))] = 1\n",
        "def broken(:\n",
        "zero = '\0'\n",
        b"# coding: utf-8\nname = '\xff'\n",
        "deep = " + "-" * 5000 + "1\n",
        "long = " + "+".join(["1"] * 20000) + "\n",
    ],
    ids=["empty", "the book's", "imports", "hidden", "no names", "scopes", "subscript", "broken",
         "zero", "bytes", "deep", "long"],
)  # fmt: skip
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
    assert module.Affine is layers.Affine
    assert (module.LIMIT, module.doubled(4), module.Gated.inner) == (5, 8, 1)
    assert module.__name__ == "common.layers"
    assert not set(vars(layers)) & added
    assert set(module.__all__) == {*layers.__all__, *added}
    assert module.__file__ == str(common / "layers.py")


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


@pytest.mark.parametrize(("text", "error"), [
    ("first = 1\nsecond = 1 / 0\n", ZeroDivisionError),
    ("first = 1\nsecond = object.nothing\n", ImportError),  # an AttributeError would be hidden
])  # fmt: skip
def test_a_file_that_fails_fails_whoever_asks_and_adds_nothing(common, text, error):
    module = extended(common, text)
    for name in ("first", "second", "__all__"):
        with pytest.raises(error, match=r"zero|layers\.py: .*no attribute 'nothing'"):
            getattr(module, name)
    assert "first" not in vars(module)


@pytest.mark.parametrize("text", [
    "value = 1\ndel value\n",
    "value = 1\nif value:\n    del globals()['value']\n",
    "try:\n    raise OSError\nexcept OSError as value: pass\nfor value in (): pass\n",
])  # fmt: skip
def test_a_name_that_is_gone_at_the_end_takes_no_other_along(common, text):
    module = extended(common, text + "class Gated: pass\n")
    assert module.__all__ == [*layers.__all__, "Gated"]
    assert module.Gated.__name__ == "Gated"
    with pytest.raises(AttributeError, match="has no attribute 'value'"):
        _ = module.value


def test_every_branch_and_every_target_counts(common):
    module = extended(
        common,
        "low, (high, *rest) = 1, (2, 3)\n"
        "width: int = 4\n"
        "total = 0\n"
        "for step in range(3):\n"
        "    total += step\n"
        "if total > 100:\n"
        "    big = 1\n"
        "else:\n"
        "    def small(): return total\n"
        "with open(__file__) as file:\n"
        "    size = len(file.read())\n"
        "if (half := total / 2):\n"
        "    pass\n"
        "match (1, 2, {'a': 3}):\n"
        "    case [one, *more]:\n"
        "        pass\n"
        "    case {**kept}:\n"
        "        pass\n",
    )
    assert (module.low, module.high, module.rest, module.width) == (1, 2, [3], 4)
    assert (module.small(), module.step, module.half, module.one) == (3, 2, 1.5, 1)
    assert module.size > 0
    assert not hasattr(module, "big")
    assert not hasattr(module, "kept")
    added = module.__all__[len(layers.__all__) :]
    assert " ".join(added) == "file half high low more one rest size small step total width"


def test_a_name_that_nnext_itself_imports_is_the_folders(common):
    module = extended(common, "class Layer: mine = True\nclass Gated(Layer): pass\n")
    assert module.Layer.mine
    assert module.Gated.__base__ is module.Layer


def test_files_may_import_each_other(common, monkeypatch):
    module = extended(
        common,
        "import sys\n"
        "class Gated: pass\n"
        "me = sys.modules['common.layers']\n"
        "SAME = me.Gated is Gated\n"
        "LATER = hasattr(me, 'late')\n"
        "ALL = me.__all__[-2:]\n"
        "late = 1\n",
    )
    monkeypatch.setitem(sys.modules, "common.layers", module)
    assert module.SAME
    assert not module.LATER
    assert module.ALL == ["SAME", "me"]
    assert module.late == 1


def test_threads_that_ask_at_once_get_the_same(common):
    module = extended(common, "import time\ntime.sleep(0.05)\nclass Gated: pass\n")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: module.Gated, range(4)))
    assert all(gated is found[0] for gated in found)


def test_what_is_set_reaches_nnexts_module(common, monkeypatch):
    module = extended(common, "class Gated: pass\n")
    monkeypatch.setattr(layers, "Affine", layers.Affine)  # as it was, afterwards
    module.Affine = module.more = int
    assert layers.Affine is module.Affine is int
    assert not hasattr(layers, "more")


def test_a_package_in_place_of_a_module_has_its_modules(common):
    (common / "layers").mkdir()
    (common / "layers" / "__init__.py").write_text("", encoding="utf-8")
    importlib.invalidate_caches()
    module = with_own_names(layers, "common.layers")
    assert list(module.__path__) == [str(common / "layers")]
    assert module.Affine is layers.Affine
    assert module.__all__ == layers.__all__
