"""What a folder ``common`` has that the book's has not: modules, and names within its modules."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import module_from_spec
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
    names = _names_defined_in(spec) - vars(module).keys() if spec is not None else set()
    return _Extended(module, spec, names) if spec is not None and names else module


class _Extended(ModuleType):
    """nnext's names of a module, and others of the folder's, which runs when one is asked for.

    Those are computed by the folder's own definitions throughout, of which they may be parts.
    """

    def __init__(self, module: ModuleType, spec: ModuleSpec, others: Iterable[str]) -> None:
        super().__init__(spec.name, module.__doc__)
        vars(self).update({name: getattr(module, name) for name in module.__all__})
        self.__all__ = [*module.__all__, *sorted(others)]
        self._spec = spec

    def __getattr__(self, name: str) -> Any:
        others = [n for n in self.__all__ if n not in vars(self)]
        if name not in others:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        own = module_from_spec(self._spec)
        if self._spec.loader is not None:
            self._spec.loader.exec_module(own)
        vars(self).update({other: getattr(own, other) for other in others})
        return vars(self)[name]


def _names_defined_in(spec: ModuleSpec) -> set[str]:
    """Return the names that a module's source gives to functions, classes and values at its top."""
    try:
        with open(str(spec.origin), "rb") as file:
            lines = ast.parse(file.read()).body
    except (OSError, SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for line in lines:
        match line:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                names.add(name)
            case ast.Assign(targets):
                names |= _names_in(targets)
            case ast.AnnAssign(target, value=ast.expr()):
                names |= _names_in([target])
            case ast.Delete(targets):
                names -= _names_in(targets)
    return {name for name in names if not name.startswith("_")}


def _names_in(targets: Iterable[ast.expr]) -> set[str]:
    """Return the names that an assignment to `targets` gives a value, or `del` takes away."""
    return {
        part.id
        for target in targets
        for part in ast.walk(target)
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load)
    }
