"""What `help()` says of the public names: signatures to read, with the names of types."""

import importlib
import inspect
import pkgutil

import pytest

import nnext

MODULES = [
    "nnext",
    *(
        f"nnext.{module.name}"
        for module in pkgutil.iter_modules(nnext.__path__)
        if not module.name.startswith("_")
    ),
]


def public_callables(module):
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if callable(value):
            yield name, value
        if inspect.isclass(value):
            for method in vars(value):
                if not method.startswith("_") and callable(getattr(value, method)):
                    yield f"{name}.{method}", getattr(value, method)


@pytest.mark.parametrize("name", MODULES)
def test_signatures_are_short_and_name_their_types(name):
    if name == "nnext.sklearn":
        pytest.importorskip("sklearn")
    for what, value in public_callables(importlib.import_module(name)):
        if what.endswith("_request"):  # scikit-learn makes these
            continue
        try:
            signature = str(inspect.signature(value))
        except ValueError:  # an exception of the compiled core
            assert issubclass(value, Exception)
            continue
        longest = 1200 if what.startswith("MLP") else 500  # the parameters that scikit-learn has
        assert len(signature) < longest, f"{name}.{what}{signature}"
        for expanded in ("_SupportsArray", "Union[", "numpy.ndarray[", "collections.abc"):
            assert expanded not in signature, f"{name}.{what}{signature}"


def test_every_public_name_has_a_docstring():
    for name in nnext.__all__:
        if not name.startswith("__"):
            assert (getattr(nnext, name).__doc__ or "").strip(), name
