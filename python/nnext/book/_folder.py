"""What a folder ``common`` has that the book's has not: modules, and names within its modules."""

from __future__ import annotations

import ast
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any


def find_module(fullname: str) -> ModuleSpec | None:
    """Return where a module of ``common`` stands in a folder of that name, if it does."""
    folders = [os.path.join(folder, "common") for folder in sys.path]
    return PathFinder.find_spec(fullname, folders)


def with_own_names(module: ModuleType, fullname: str) -> ModuleType:
    """Return nnext's module, with what else the folder's module of that name defines.

    Parameters
    ----------
    module : module
        One of `nnext.book`.
    fullname : str
        Its name for the program, such as ``"common.layers"``.

    Returns
    -------
    module
        `module` itself, where there is nothing else.
    """
    spec = find_module(fullname)
    if spec is None:
        return module
    names = _names_defined_in(spec) - set(module.__all__)
    return _Extended(module, spec, names) if names or _folders_in(spec) else module


class _Extended(ModuleType):
    """nnext's names of a module, and others of the folder's, which runs when one is asked for.

    Those are computed by the folder's own definitions throughout, of which they may be parts. While
    the file runs, others that it imports find what it has defined so far, as with Python itself.
    """

    _module: ModuleType
    _spec: ModuleSpec
    _others: frozenset[str]
    _own: ModuleType | None  # once it runs
    _lock: Any

    def __init__(self, module: ModuleType, spec: ModuleSpec, others: Iterable[str]) -> None:
        super().__init__(spec.name, module.__doc__)
        vars(self).update({name: getattr(module, name) for name in module.__all__})
        if spec.origin is not None:
            self.__file__ = spec.origin
        if _folders_in(spec):
            self.__path__ = _folders_in(spec)
        vars(self).update(
            _module=module, _spec=spec, _others=frozenset(others), _own=None, _lock=RLock()
        )

    def __getattr__(self, name: str) -> Any:
        if name == "__all__":  # who asks for it asks for every name
            defined = vars(self._run())
            return [*self._module.__all__, *sorted(self._others & defined.keys())]
        if name in self._others:
            defined = vars(self._run())
            if name in defined:
                return defined[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Set it where nnext looks for it too, as in ``config.GPU = True``."""
        super().__setattr__(name, value)
        if "_module" in vars(self) and name in self._module.__all__:
            setattr(self._module, name, value)

    def _run(self) -> ModuleType:
        """Run the folder's file, unless it has run or is running in this thread; return it."""
        with self._lock:
            if self._own is not None:
                return self._own
            own = self._own = module_from_spec(self._spec)
            try:
                if self._spec.loader is not None:
                    self._spec.loader.exec_module(own)
                return own
            except BaseException as error:
                self._own = None
                if isinstance(error, AttributeError):  # else the import would hide what it says
                    raise ImportError(f"{self._spec.origin}: {error}") from error
                raise


def _folders_in(spec: ModuleSpec) -> list[str]:
    """Return where a package's modules are, nothing for a file."""
    return list(spec.submodule_search_locations or ())


def _names_defined_in(spec: ModuleSpec) -> set[str]:
    """Return the names to which a module's source gives functions, classes and values at its top.

    What it imports is not among them: that the book's files do too.
    """
    try:
        with open(str(spec.origin), "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python tells them when the file runs
            tree = ast.parse(file.read())
        return {name for name in _names_bound_by(tree) if not name.startswith("_")}
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return set()


def _names_bound_by(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement binds in its own scope, in all of its branches."""
    match node:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
            yield name
            return
        case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return
        case ast.AnnAssign(value=None):
            return
        case ast.Name(name, ast.Store()) | ast.MatchAs(name=str(name)) | ast.MatchStar(str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name
    for part in ast.iter_child_nodes(node):
        yield from _names_bound_by(part)
