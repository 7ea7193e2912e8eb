"""Every public name of nnext, where it is documented, and what links to it.

The reference is made from the modules themselves: a page for each module, and one for each name of
its ``__all__``. A name that several modules have is documented once, in the first of `MODULES` that
has it, and the others link there. So a new name is in the reference without a line here; a new
module is missing, and the build says so.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import nnext

# Most particular first: what ends up in more than one module belongs to the first.
MODULES = (
    "nnext.functions",
    "nnext.loss_layers",
    "nnext.layers",
    "nnext.time_layers",
    "nnext.attention",
    "nnext.negative_sampling",
    "nnext.init",
    "nnext.nodes",
    "nnext.schedules",
    "nnext.optimizer",
    "nnext.base_model",
    "nnext.models",
    "nnext.step",
    "nnext.history",
    "nnext.trainer",
    "nnext.callbacks",
    "nnext.gradient_check",
    "nnext.util",
    "nnext.datasets",
    "nnext.saving",
    "nnext.model_files",
    "nnext.checkpoints",
    "nnext.torch_weights",
    "nnext.onnx",
    "nnext.plotting",
    "nnext.sklearn",
    "nnext.book.layers",
    "nnext.book.optimizer",
    "nnext.book.trainer",
    "nnext.config",
    "nnext",
)
PROGRAMS = {"nnext.__main__", "nnext.book.__main__", "nnext.demo"}  # run; they offer no names
PACKAGES = {"nnext.book"}  # have modules and no names
# Have nothing of their own: other modules' names where the book's programs look for them.
MIRRORS = {
    f"nnext.book.{name}"
    for name in ("base_model", "config", "functions", "np", "time_layers", "util")
}


# What a star import of a module of the book gives too.
STARS = {"GPU", "np", "numpy", "os", "pickle", "sys", "time"}


@dataclass(frozen=True)
class Name:
    """A public name: the module that documents it, and the thing."""

    module: str
    name: str
    thing: Any

    @property
    def full(self) -> str:
        """The name with its module."""
        return f"{self.module}.{self.name}"

    @property
    def kind(self) -> str:
        """What it is: ``"class"``, ``"exception"``, ``"function"`` or ``"data"``."""
        if inspect.isclass(self.thing):
            return "exception" if issubclass(self.thing, BaseException) else "class"
        return "function" if callable(self.thing) else "data"


def modules_of_package() -> set[str]:
    """Return the names of all modules of nnext that are not private."""
    found = {m.name for m in pkgutil.walk_packages(nnext.__path__, "nnext.")}
    private = re.compile(r"\._(?!_)")
    return {"nnext"} | {name for name in found if not private.search(name)}


def names_of(module: ModuleType) -> list[str]:
    """Return what a module offers: its ``__all__``, or its own public functions and classes."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return [name for name in listed if name not in STARS]
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    ]


def collect() -> dict[str, dict[str, Name]]:
    """Return for each module of the reference its names, each with the module it belongs to."""
    first: dict[int, Name] = {}
    found: dict[str, dict[str, Name]] = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        found[module_name] = {}
        for name in names_of(module):
            thing = getattr(module, name)
            if inspect.ismodule(thing):
                continue
            own = Name(module_name, name, thing)
            if own.kind == "data":
                found[module_name][name] = own
            else:
                found[module_name][name] = first.setdefault(id(thing), own)
    return found


def missing_modules() -> set[str]:
    """Return the modules of the package that the reference does not know."""
    return modules_of_package() - set(MODULES) - PROGRAMS - PACKAGES - MIRRORS


def members(kind: type) -> Iterator[str]:
    """Yield the documented methods and properties of a class, inherited ones of nnext's too."""
    seen = set()
    for owner in kind.__mro__:
        if not owner.__module__.startswith("nnext"):
            continue
        for name, value in vars(owner).items():
            if name in seen:
                continue
            seen.add(name)
            private = name.startswith("_") and name != "__call__"
            plain = inspect.unwrap(getattr(value, "__func__", value))
            if private or not (inspect.isfunction(plain) or isinstance(value, property)):
                continue
            if inspect.getdoc(value):
                yield name
