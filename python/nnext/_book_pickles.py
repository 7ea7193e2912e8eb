"""The pickles that the book's ``save_params`` writes: lists of NumPy arrays, and nothing else.

A pickle is a program. Here it is looked through before it runs: it may make tuples, lists, numbers,
text and bytes, and call what NumPy's arrays are pickled with. And when it runs it gets none of
NumPy's functions, but what notes how it calls them; the arrays are made of these notes, once all
are checked.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from typing import Any

import numpy as np

from nnext._support import Array

_FIRST = b"\x80(]"  # protocols of 2 and more; a list in protocol 0; a list in protocol 1

_TYPES = ("f2", "f4", "f8")

# fmt: off
_OPERATIONS = frozenset({
    "PROTO", "FRAME", "STOP", "MARK", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
    "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET",
    "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
})
# fmt: on


def begins(first: bytes) -> bool:
    """Say whether a file with this first byte is one of the book's, and not an ``.npz``."""
    return len(first) == 1 and first in _FIRST


def arrays_of(data: bytes) -> list[Array]:
    """Return the arrays of a pickled list.

    Raises
    ------
    Exception
        Of any type, for all that is no such list: for a damaged pickle it is nearly anything.
    """
    _look_through(data)
    noted = _Noting(io.BytesIO(data)).load()
    if type(noted) is not list or any(type(item) is not _Noted for item in noted):
        raise ValueError("expected a list of arrays")
    return [item.array() for item in noted]


def _look_through(data: bytes) -> None:
    """Refuse operations that a list of arrays does not need, some of which can crash Python."""
    end = 0
    for operation, argument, position in pickletools.genops(data):
        name = operation.name
        if name not in _OPERATIONS:
            raise ValueError(f"{name} at byte {position}, which a list of arrays does not need")
        # A place in the memo, for which room is made up to its number.
        if name.endswith("PUT") and not 0 <= int(argument or 0) <= (position or 0):
            raise ValueError(f"{name} at byte {position} with a number that is too large")
        end = (position or 0) + 1
    if end != len(data):
        raise ValueError("more data behind the list")


class _Noting(pickle.Unpickler):
    """Reads a pickle whose arrays become notes of them."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what notes the calls of a function that arrays are pickled with."""
        owner = module.replace("numpy.core", "numpy._core")  # the name before NumPy 2
        found = _KNOWN.get((owner, name))
        if found is None:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}; there is nothing but arrays"
            )
        return found


class _Type:
    """A note of a type of numbers."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        """Return the type."""
        if self.code not in _TYPES or self.order not in ("<", ">", "="):
            raise ValueError("an array of something else than float16, float32 or float64")
        found: np.dtype[Any] = np.dtype(self.order + self.code)
        return found


class _Noted:
    """A note of an array."""

    __slots__ = ("parts",)

    def __init__(self, *parts: Any) -> None:
        self.parts = parts  # the bytes, the type, the shape, the order

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, is_fortran, data = state
        self.parts = data, kind, shape, "F" if is_fortran else "C"

    def array(self) -> Array:
        """Return the array, read-only."""
        data, kind, shape, order = self.parts
        if type(kind) is not _Type:
            raise ValueError("an array without a type")
        if type(shape) is not tuple or any(type(n) is not int or n < 0 for n in shape):
            raise ValueError("an array without a shape")
        dtype = kind.dtype()
        if type(data) not in (bytes, bytearray) or len(data) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"an array of shape {shape} whose data are not of that size")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


class _Function:
    """Stands for a function; a pickle cannot change it."""

    __slots__ = ("_call",)

    def __init__(self, call: Any) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it would change a function")


def _dtype(code: Any, align: Any = False, copy: Any = False) -> _Type:
    return _Type(code)


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Noted:
    return _Noted()  # empty, until its state is set


def _frombuffer(data: Any, kind: Any, shape: Any, order: Any) -> _Noted:
    return _Noted(data, kind, shape, order)


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


_KNOWN = {
    ("numpy._core.multiarray", "_reconstruct"): _Function(_reconstruct),
    ("numpy._core.numeric", "_frombuffer"): _Function(_frombuffer),  # protocol 5
    ("numpy", "ndarray"): _Function(_reconstruct),  # the first argument of _reconstruct
    ("numpy", "dtype"): _Function(_dtype),
    ("_codecs", "encode"): _Function(_encode),  # bytes in protocols before 3
    ("__builtin__", "bytes"): _Function(_no_bytes),  # none of them
}
