"""A program of the book, run as Python runs one: what `common` means to it, and where it runs."""

from __future__ import annotations

import builtins
import importlib
import io
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from nnext.book._folder import find_module, with_own_names

MODULES = (
    "base_model",
    "config",
    "functions",
    "layers",
    "np",
    "optimizer",
    "time_layers",
    "trainer",
    "util",
)
"""What there is of the book's package ``common``."""

_VARIABLE = "NNEXT_BOOK_PROGRAM"  # by which a process of multiprocessing knows the program's file


class _ProgramSpec(ModuleSpec):
    """Names what multiprocessing runs in a new process, but is in no package: nor is a program."""

    def __init__(self) -> None:
        super().__init__("nnext.book._child", None)

    @property
    def parent(self) -> str:
        """No package."""
        return ""


class Common(MetaPathFinder, Loader):
    """Answers ``import common`` and ``import common.X`` with the modules of `nnext.book`.

    The first finder of all: the book's own folder ``common`` lies beside its programs, which put
    the folder above them into ``sys.path``. What that folder has and the book has not, as who went
    on from it wrote it, is the folder's: `nnext.book._folder`.
    """

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where a module of ``common`` comes from, None for any other.

        Raises
        ------
        ImportError
            For a module of ``common`` that neither nnext nor a folder of that name has.
        """
        package, _, module = fullname.partition(".")
        if package != "common" or "." in module:  # which the package that it is in can find
            return None
        if module and module not in MODULES:
            own = find_module(fullname)
            if own is not None:
                return own
            raise ImportError(
                f"no module {fullname!r}: of the book's package common nnext has "
                f"{', '.join(MODULES)}",
                name=fullname,
            )
        return ModuleSpec(fullname, self, origin="nnext.book", is_package=not module)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return nnext's module; for the package itself None, an empty one."""
        _, _, name = spec.name.partition(".")
        if not name:
            return None
        module = importlib.import_module(f"nnext.book.{name}")
        self._specs[module.__name__] = module.__spec__
        return with_own_names(module, spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Give nnext's module its own spec back, which the import has replaced."""
        module.__spec__ = self._specs.get(module.__name__, module.__spec__)


def read(path: str) -> bytes:
    """Return the source of a program, or raise an OSError."""
    with io.open_code(os.path.abspath(path)) as file:
        return file.read()


def run(source: bytes, path: str, arguments: Sequence[str]) -> None:
    """Run a program as ``python path *arguments`` does; what it raises comes out of here.

    A traceback that Python prints at the end begins with the program, as it does there.
    """
    file = os.path.abspath(path)
    sys.argv[:] = [path, *arguments]
    if not sys.flags.safe_path:  # else Python itself puts no program's folder there
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    _prepare()
    os.environ[_VARIABLE] = file
    module = ModuleType("__main__")
    vars(module).update(_globals("__main__", file))
    sys.modules["__main__"] = module
    try:
        exec(compile(source, file, "exec", dont_inherit=True), vars(module))
    except SystemExit:
        raise
    except BaseException as error:
        _show_without_launcher(error, error.__traceback__)
        raise


def run_again() -> dict[str, Any]:
    """Run the program in a new process of multiprocessing, not as ``__main__``; return its names.

    So it is done with every program where processes are not forked: what is pickled there is known
    by its name in the program.
    """
    file = os.environ[_VARIABLE]
    sys.argv[0] = file  # for the time of this call; its own name stands there
    _prepare()
    names = _globals("__mp_main__", file)
    exec(compile(read(file), file, "exec", dont_inherit=True), names)
    return names


def _prepare() -> None:
    """Make the process one that the book was written for."""
    sys.meta_path.insert(0, Common())
    if "int" not in vars(np):  # the book's data sets have dtype=np.int, gone since NumPy 1.24
        setattr(np, "int", int)  # noqa: B010  which type checkers rightly do not know


def _globals(name: str, file: str) -> dict[str, Any]:
    """Return what a program finds among its names when it begins."""
    return {
        "__name__": name,
        "__builtins__": builtins,
        "__cached__": None,
        "__doc__": None,
        "__file__": file,
        "__loader__": SourceFileLoader(name, file),
        "__package__": "",
        "__spec__": _ProgramSpec(),
    }


def _show_without_launcher(error: BaseException, traceback: TracebackType | None) -> None:
    """Have Python show an error, once it comes to that, without the frames up to the program."""
    hook = sys.excepthook

    def show(kind: type[BaseException], last: BaseException, frames: TracebackType | None) -> None:
        if last is error:
            frames = None if traceback is None else traceback.tb_next
            last = error.with_traceback(frames)
        hook(kind, last, frames)

    sys.excepthook = show
