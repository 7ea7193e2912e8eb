"""``python -m nnext.book PROGRAM``: a program runs as Python runs it, but for `common`."""

import os
import subprocess
import sys

import pytest

from nnext.book._program import MODULES, Common

MAIN = ["-m", "nnext.book"]

pytestmark = pytest.mark.whole_programs


def start(*arguments, folder, status=0, **variables):
    """Run Python in a folder; return what it printed, and what it complained of."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **variables},
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def chapter(tmp_path):
    """A chapter's folder, with the book's ``common`` beside it."""
    folder = tmp_path / "ch01"
    folder.mkdir()
    (tmp_path / "common").mkdir()
    for name in ("__init__", *MODULES):
        (tmp_path / "common" / f"{name}.py").write_text("raise RuntimeError('the decoy')\n")
    return folder


def program(folder, text, name="program.py"):
    (folder / name).write_text(text, encoding="utf-8")
    return name


def test_common_is_nnexts(chapter):
    name = program(
        chapter,
        "# coding: utf-8\n"
        "import sys\n"
        "sys.path.append('..')\n"
        "from common.layers import *\n"
        "from common.np import *\n"
        "from common import config, functions\n"
        "import common.optimizer\n"
        "import common.layers, nnext.book.layers, nnext.layers\n"
        "assert common.layers is nnext.book.layers, common.layers\n"
        "assert common.layers.__spec__.name == common.layers.__name__ == 'nnext.book.layers'\n"
        "assert common.optimizer.Nesterov.__module__ == 'nnext.book.optimizer'\n"
        "assert issubclass(Affine, nnext.layers.Affine)\n"
        "assert config.GPU is GPU is False\n"
        "print(np.__name__, functions.softmax(np.zeros(4)), '모두')\n",
    )
    output, errors = start(*MAIN, name, folder=chapter)
    assert output == "numpy [0.25 0.25 0.25 0.25] 모두\n"
    assert errors == ""


@pytest.mark.parametrize("line", ["import common.foo", "from common import foo",
                                  "from common.foo import bar"])  # fmt: skip
def test_what_common_has_not_is_told_with_what_it_has(chapter, line):
    _, errors = start(*MAIN, program(chapter, line), folder=chapter, status=1)
    assert errors.splitlines()[-1] == (
        "ImportError: no module 'common.foo': of the book's package common nnext has base_model, "
        "config, functions, layers, np, optimizer, time_layers, trainer, util"
    )


def test_a_module_that_a_folder_common_has_beside_the_books_is_the_folders(chapter):
    program(
        chapter.parent / "common",
        "from common.layers import Sigmoid\n"
        "from .np import np\n"
        "WHO = Sigmoid.__module__, np.__name__\n",
        "gradient.py",
    )
    (chapter.parent / "common/more").mkdir()
    program(
        chapter.parent / "common/more",
        "from common.gradient import WHO\nfrom .deep import DEEP\n",
        "__init__.py",
    )
    program(chapter.parent / "common/more", "DEEP = 'more'\n", "deep.py")
    program(chapter.parent / "common", "raise RuntimeError('another module')\n", "deep.py")
    name = program(
        chapter,
        "import sys\n"
        "sys.path.append('..')\n"
        "from common.gradient import WHO\n"
        "from common import more\n"
        "import common.more.deep\n"
        "print(*WHO, more.WHO is WHO, common.more.deep.DEEP)\n",
    )
    output, errors = start(*MAIN, name, folder=chapter)
    assert output == "nnext._activations numpy True more\n"
    assert errors == ""


def test_names_that_a_module_of_the_folder_has_beside_the_books_are_the_folders(chapter):
    program(
        chapter.parent / "common",
        "from common.functions import sigmoid\n"
        "print('the file runs')\n"
        "LIMIT = 5\n"
        "_hidden = 1\n"
        "class Affine:\n"
        "    def __init__(self, W, b): self.who = 'the folder'\n"
        "class Gated(Affine):\n"
        "    def forward(self, x): return sigmoid(x) + LIMIT\n"
        "def doubled(x): return 2 * x\n",
        "layers.py",
    )
    name = program(
        chapter,
        "import sys, pickle\n"
        "sys.path.append('..')\n"
        "from common.layers import MatMul\n"
        "print('not yet')\n"
        "from common.layers import *\n"
        "print(Affine.__module__, Gated(1, 2).who, Gated(1, 2).forward(0.0), doubled(LIMIT))\n"
        "import common.layers\n"
        "print(common.layers.Gated is Gated, pickle.loads(pickle.dumps(Gated)) is Gated)\n"
        "print(hasattr(common.layers, '_hidden'), hasattr(common.layers, 'nothing'))\n"
        "from common.layers import nothing\n",
    )
    output, errors = start(*MAIN, name, folder=chapter, status=1)
    assert output.splitlines() == [
        "not yet",
        "the file runs",
        "nnext.book.layers the folder 5.5 10",
        "True True",
        "False False",
    ]
    assert errors.splitlines()[-1].startswith("ImportError: cannot import name 'nothing' from")


def test_other_modules_are_the_programs_own(chapter):
    (chapter.parent / "dataset").mkdir()
    program(chapter.parent / "dataset", "numbers = [1, 2]\n", "spiral.py")
    program(chapter, "from common.layers import MatMul\nsize = 3\n", "net.py")
    program(chapter, "import commons\n", "commons.py")
    name = program(
        chapter,
        "import os, sys\n"
        "sys.path.append(os.pardir)\n"
        "from dataset import spiral\n"
        "import commons, net\n"
        "from ch01.net import size\n"
        "print(spiral.numbers, net.size, size)\n",
    )
    assert start(*MAIN, name, folder=chapter)[0] == "[1, 2] 3 3\n"


def test_a_program_finds_what_python_gives_it(chapter):
    text = (
        "'''Its docstring.'''\n"
        "import os, sys\n"
        "x = 1\n"
        "print(__name__, __file__, __doc__, __builtins__)\n"
        "print(sys.argv, sys.path[0], os.getcwd(), sys.modules['__main__'].x)\n"
        "print(type(__loader__).__name__)\n"
        "print(sorted({*globals()} - {'__cached__', '__annotations__'}))\n"  # not of all Pythons
        "import inspect\n"
        "def f(): pass\n"
        "print(inspect.getsource(f), f.__module__, f.__code__.co_filename)\n"
    )
    program(chapter, text)
    for name, folder in [
        ("program.py", chapter),
        ("ch01/program.py", chapter.parent),
        (str(chapter / "program.py"), chapter.parent),
    ]:
        arguments = [name, "-x", "--help", "two words", ""]
        found, _ = start(*MAIN, *arguments, folder=folder)
        assert found == start(*arguments, folder=folder)[0]


@pytest.mark.skipif(os.name != "posix", reason="Windows asks for a right to make links")
def test_a_link_to_a_program_and_a_safe_path(chapter):
    name = program(chapter, "import sys\nprint(__file__, sys.argv, sys.path[0])\n")
    link = chapter.parent / "link.py"
    link.symlink_to(chapter / name)
    for options in ([], ["-P"]):
        found, _ = start(*options, *MAIN, "link.py", folder=chapter.parent)
        assert found == start(*options, "link.py", folder=chapter.parent)[0]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("raise SystemExit", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('good bye')", 1),
        ("def f():\n    1 / 0\nf()", 1),
        ("try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError(1) from e", 1),
        ("x = = 1", 1),
        ("def f(:\n", 1),
        ("import nowhere", 1),
        ("import sys\nsys.excepthook = lambda *a: print('hook', a[0])\n1 / 0", 1),
        ("import atexit\natexit.register(print, 'the end')\nraise ValueError", 1),
        ("import warnings\nwarnings.warn('so', UserWarning)", 1),
        ("assert False, 'wrong'", 1),
        ("raise ExceptionGroup('two', [ValueError(1), TypeError(2)])", 1),
    ],
)
def test_it_ends_as_python_ends(chapter, text, status):
    name = program(chapter, text)
    found = start(*MAIN, name, folder=chapter, status=status)
    assert found == start(name, folder=chapter, status=status)


def test_a_program_has_no_package(chapter):
    name, quiet = program(chapter, "from . import layers"), ("-W", "ignore::ImportWarning")
    found = start(*quiet, *MAIN, name, folder=chapter, status=1)
    assert found == start(*quiet, name, folder=chapter, status=1)


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_ctrl_c_ends_it_by_the_signal(chapter):
    name = program(chapter, "raise KeyboardInterrupt")
    found = start(*MAIN, name, folder=chapter, status=-2)
    assert found == start(name, folder=chapter, status=-2)


def test_another_thread_does_not_disturb(chapter):
    name = program(
        chapter,
        "import threading\n"
        "thread = threading.Thread(target=lambda: print(__import__('common.np').np.np.ones(2)))\n"
        "thread.start()\n"
        "thread.join()\n",
    )
    assert start(*MAIN, name, folder=chapter)[0] == "[1. 1.]\n"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_know_what_the_program_defines(chapter, method):
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    name = program(
        chapter,
        "import multiprocessing, pickle, sys\n"
        "sys.path.append('..')\n"
        "from common.np import *\n"
        "class Point:\n"
        "    def __init__(self, x):\n"
        "        self.x = x\n"
        "def double(point):\n"
        "    return Point(np.array(point.x) * factor)\n"
        "factor = 2\n"
        "if __name__ == '__main__':\n"
        "    assert pickle.loads(pickle.dumps(Point(1))).x == 1\n"
        "    assert Point.__module__ == '__main__'\n"
        f"    with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "        print([p.x for p in pool.map(double, [Point(1), Point(2)])], sys.argv)\n"
        "else:\n"
        "    assert __name__ == '__mp_main__', __name__\n",
    )
    # Forking is warned of where threads run.
    assert start("-W", "ignore", *MAIN, name, "a", folder=chapter)[0].strip() == (
        "[np.int64(2), np.int64(4)] ['program.py', 'a']"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which program?"),
        (["nowhere.py"], "cannot read 'nowhere.py': No such file or directory"),
        (["."], "cannot read '.': "),
        ([""], "cannot read ''"),
        (["--fast", "program.py"], "no option '--fast'"),
        (["-"], "no option '-'"),
    ],
)
def test_what_cannot_be_run_is_told_with_the_usage(chapter, arguments, message):
    program(chapter, "print('ran')")
    output, errors = start(*MAIN, *arguments, folder=chapter, status=2)
    assert output == ""
    usage, told = errors.splitlines()
    assert usage == "usage: python -m nnext.book PROGRAM [ARGUMENT ...]"
    assert told.startswith(f"python -m nnext.book: {message}")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(chapter, option):
    output, errors = start(*MAIN, option, folder=chapter)
    assert output.startswith("usage: python -m nnext.book PROGRAM [ARGUMENT ...]\n")
    assert ", ".join(MODULES) in output
    assert errors == ""


def test_the_name_of_an_older_numpy_is_there_for_data_sets(chapter):
    name = program(chapter, "import numpy as np\nprint(np.zeros(2, dtype=np.int).dtype, np.int)")
    assert start(*MAIN, name, folder=chapter)[0] == "int64 <class 'int'>\n"
    _, errors = start(name, folder=chapter, status=1)
    assert "AttributeError" in errors


def test_a_gpu_is_refused_when_numpy_is_asked_for(chapter):
    name = program(
        chapter, "from common import config\nconfig.GPU = True\nfrom common.np import *\n"
    )
    _, errors = start(*MAIN, name, folder=chapter, status=1)
    assert "ImportError: common.config.GPU: nnext computes on the CPU" in errors


def test_importing_nnext_book_changes_nothing():
    assert not any(isinstance(finder, Common) for finder in sys.meta_path)
    assert Common().find_spec("numpy") is None
    assert Common().find_spec("commons.layers") is None
