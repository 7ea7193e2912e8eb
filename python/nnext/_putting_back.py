"""What runs a model without leaving a trace in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def putting_back(model: object) -> Iterator[None]:
    """Put back all attributes that are set meanwhile in a model, its layers and layers in these.

    Layers are found in attributes and in lists, tuples and dicts there; what keeps its state in
    arrays that it changes in place, or in ``__slots__``, is not put back.
    """
    kept = [(vars(part), dict(vars(part))) for part in _parts(model, {}).values()]
    try:
        yield
    finally:
        for now, before in kept:
            for name in now.keys() - before.keys():
                del now[name]
            now.update(before)


def _parts(part: Any, found: dict[int, Any]) -> dict[int, Any]:
    """Collect a model and what it has, itself or in a container, that has forward and backward."""
    if not hasattr(part, "__dict__"):
        return found
    found[id(part)] = part
    for value in vars(part).values():
        if isinstance(value, dict):
            value = list(value.values())
        for inner in value if isinstance(value, (list, tuple)) else [value]:
            if (
                id(inner) not in found
                and hasattr(inner, "forward")
                and hasattr(inner, "backward")
                and not isinstance(inner, type)
            ):
                _parts(inner, found)
    return found
