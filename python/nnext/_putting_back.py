"""What runs a model without leaving a trace in it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from nnext._names import all_parts, buffers_of
from nnext._support import Array


@contextmanager
def putting_back(model: object) -> Iterator[None]:
    """Put back all attributes that are set meanwhile in a model, its layers and layers in these.

    So are the numbers in their ``buffers``. Layers are found in attributes and in lists, tuples and
    dicts there; what keeps its state in other arrays that it changes in place, or in ``__slots__``,
    is not put back.
    """
    parts = [part for _, part in all_parts(model) if hasattr(part, "__dict__")]
    kept = [(vars(part), dict(vars(part))) for part in parts]
    buffers = copies_of(b for part in parts for b in buffers_of(part))
    try:
        yield
    finally:
        for now, before in kept:
            for name in now.keys() - before.keys():
                del now[name]
            now.update(before)
        restore(buffers)


@contextmanager
def putting_buffers_back(model: Any) -> Iterator[None]:
    """Put back the numbers in a model's ``buffers`` alone."""
    kept = copies_of(buffers_of(model))
    try:
        yield
    finally:
        restore(kept)


def copies_of(arrays: Iterable[Any]) -> list[tuple[Array, Array]]:
    """Return the arrays that can be written into, each with a copy of it, for `restore`."""
    found = {id(a): a for a in arrays if isinstance(a, np.ndarray) and a.flags.writeable}
    return [(array, array.copy(order="K")) for array in found.values()]


def restore(kept: Iterable[tuple[Array, Array]]) -> None:
    """Write the copies back into the arrays."""
    for array, before in kept:
        np.copyto(array, before)
