"""The pickles that the book's ``save_params`` writes: lists of NumPy arrays, and nothing else.

A pickle is a program for a small machine with a stack. Python's own machine calls whatever the
program names; this one knows what a list of arrays needs: tuples, lists, numbers, text, bytes, and
the four functions that NumPy's arrays are pickled with. None of NumPy's is called even then. What
would be the call of one is noted, and the arrays are made of the notes, each checked.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnext._support import Array

_FIRST = b"\x80(]"  # protocols of 2 and more; a list in protocol 0; a list in protocol 1

_TYPES = ("f2", "f4", "f8")
_MOST_AXES = 64  # NumPy's own limit


def begins(first: bytes) -> bool:
    """Say whether a file with this first byte is one of the book's, and not an ``.npz``."""
    return len(first) == 1 and first in _FIRST


def largest_size(params: Sequence[Array]) -> int:
    """Return how many bytes a pickle of such arrays can have at most.

    A float64 has eight, and protocol 0 writes one as six letters.
    """
    return 1_000 * (len(params) + 64) + 48 * sum(p.size for p in params)


def arrays_of(data: bytes) -> list[Array]:
    """Return the arrays of a pickled list, read-only.

    Raises
    ------
    Exception
        Of any type, for all that is no such list: for a damaged pickle it is nearly anything.
    """
    noted = _run(data)
    if type(noted) is not list or any(type(item) is not _Noted for item in noted):
        raise ValueError("expected a list of arrays")
    return [item.array() for item in noted]


# Notes


class _Type:
    """A note of a type of numbers."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        self.code, self.order = code, "="

    def build(self, state: Any) -> None:
        self.order = state[1]

    def dtype(self) -> np.dtype[Any]:
        """Return the type."""
        if self.code not in _TYPES or self.order not in ("<", ">", "="):
            raise ValueError("an array of something else than float16, float32 or float64")
        found: np.dtype[Any] = np.dtype(self.order + self.code)
        return found


class _Noted:
    """A note of an array: its bytes, type, shape and order."""

    def __init__(self, data: Any, kind: Any, shape: Any, order: Any) -> None:
        self.parts = data, kind, shape, order

    def build(self, state: Any) -> None:
        _, shape, kind, is_fortran, data = state
        self.parts = data, kind, shape, "F" if is_fortran else "C"

    def array(self) -> Array:
        """Return the array."""
        data, kind, shape, order = self.parts
        if type(kind) is not _Type:
            raise ValueError("an array without a type")
        if type(shape) is not tuple or len(shape) > _MOST_AXES:
            raise ValueError("an array without a shape")
        if any(type(n) is not int or not 0 <= n < 2**63 for n in shape):
            raise ValueError("an array whose shape is none")
        dtype = kind.dtype()
        if type(data) not in (bytes, bytearray) or len(data) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"an array of shape {shape} whose data are not of that size")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Noted:
    return _Noted(b"", None, None, "C")  # until it is built


def _encode(text: Any, encoding: Any) -> bytes:
    if type(text) is not str or encoding != "latin1":
        raise ValueError("bytes that are not written as latin1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


def _ndarray() -> None:
    raise ValueError("it calls numpy.ndarray")  # which is an argument of _reconstruct and no more


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "numpy._core.multiarray _reconstruct": _reconstruct,
    "numpy._core.numeric _frombuffer": _Noted,  # protocol 5
    "numpy ndarray": _ndarray,
    "numpy dtype": _Type,
    "_codecs encode": _encode,  # bytes in protocols before 3
    "__builtin__ bytes": _no_bytes,  # what these write for none
}


# The machine

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}

# fmt: off
_VALUES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}
# fmt: on


class _Stack(list[Any]):
    """The stack of the machine, and where the marks are."""

    def __init__(self) -> None:
        self.marks: list[int] = []

    def cut(self) -> list[Any]:
        """Take off what lies above the last mark."""
        start = self.marks.pop()
        taken = self[start:]
        del self[start:]
        return taken

    def take(self, count: int) -> list[Any]:
        """Take off so many."""
        if count > len(self):
            raise ValueError("a stack that is empty")
        taken = self[len(self) - count :]
        del self[len(self) - count :]
        return taken


def _run(data: bytes) -> Any:
    """Return what a pickle makes."""
    stack, memo, end = _Stack(), dict[int, Any](), 0
    encoded = 0  # bytes made of text: a text may be named again and again, at two bytes each
    for operation, argument, position in pickletools.genops(data):
        name = operation.name
        end = (position or 0) + 1
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(stack.cut()))
        elif name in ("EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(stack.take(0 if name == "EMPTY_TUPLE" else int(name[-1]))))
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "LIST":
            stack.append(stack.cut())
        elif name in ("APPEND", "APPENDS"):
            items = stack.take(1) if name == "APPEND" else stack.cut()
            _of(list, stack[-1]).extend(items)
        elif name == "GLOBAL":
            stack.append(_function(argument))
        elif name == "STACK_GLOBAL":
            stack.append(_function(" ".join(stack.take(2))))
        elif name == "REDUCE":
            function, arguments = stack.take(2)
            if function not in _FUNCTIONS.values():
                raise ValueError("it calls what is no function")
            made = function(*_of(tuple, arguments))
            encoded += len(made) if type(made) is bytes else 0
            if encoded > len(data):
                raise ValueError("more bytes than it has itself")
            stack.append(made)
        elif name == "BUILD":
            (state,) = stack.take(1)
            _of((_Type, _Noted), stack[-1]).build(_of(tuple, state))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument or 0)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"{name} at byte {position}, which a list of arrays does not need")
    if end != len(data) or len(stack) != 1 or stack.marks:
        raise ValueError("more than one list")
    return stack[0]


def _of(kind: Any, item: Any) -> Any:
    if not isinstance(item, kind):
        raise ValueError(f"a {type(item).__name__} in the wrong place")
    return item


def _function(name: Any) -> Callable[..., Any]:
    known = _FUNCTIONS.get(name.replace("numpy.core.", "numpy._core."))  # the name before NumPy 2
    if known is None:
        raise ValueError(f"it asks for {name.replace(' ', '.')}; there is nothing but arrays")
    return known
