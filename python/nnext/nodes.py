"""The nodes of a computational graph, as "Deep Learning from Scratch 2", chapter 1, draws them.

Each node has ``forward`` and ``backward`` like a layer, but may have several inputs or outputs:
``backward`` takes one gradient for each output and returns one for each input. `Multiply` and
`Add` take operands of one shape: a broadcast is a `Repeat` node, and is to be drawn as one.
Mixed types follow NumPy's promotion; integers and booleans alone become float64.
The product node of the chapter is the layer `MatMul`, found here under the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import Layer, as_floats, as_numbers, before_forward
from nnext._support import Array, check_count, check_flag, whole_number
from nnext.layers import MatMul

__all__ = ["Add", "Branch", "MatMul", "Multiply", "Repeat", "Sum"]

Shape = tuple[int, ...]

_MOST_AXES = 64  # NumPy's limit


def _check_axis(axis: object) -> int:
    number = whole_number("axis", axis)
    if not -_MOST_AXES <= number < _MOST_AXES:
        raise ValueError(f"axis: expected that of an array, got {number}")
    return number


def _apply(f: np.ufunc, x: ArrayLike, y: ArrayLike) -> Array:
    """Return ``f(x, y)``, of integers alone in float64, where small ones do not overflow."""
    if all(np.asarray(value).dtype.kind in "biu" for value in (x, y)):
        x, y = as_floats("x", x), as_floats("y", y)
    z: Array = f(x, y)
    return z


def _sum(values: Sequence[ArrayLike]) -> Array:
    """Return the sum of numbers of one shape, added in order; half types are rounded once."""
    # Python's own numbers have no type, and take on that of the others.
    terms: list[Any] = [v if type(v) in (bool, int, float) else np.asarray(v) for v in values]
    if all(np.asarray(term).dtype.kind in "biu" for term in terms):
        terms = [np.asarray(term, np.float64) for term in terms]
    # The type that the sum would have, from sums without elements.
    empty = [np.empty(0, term.dtype) if isinstance(term, np.ndarray) else term for term in terms]
    dtype = reduce(np.add, empty, np.empty(0, np.asarray(terms[0]).dtype)).dtype
    total: Array = np.array(terms[0], np.result_type(dtype, np.float32))
    for term in terms[1:]:
        total = np.add(total, term, dtype=total.dtype)
    return total.astype(dtype)


def _check_shape(what: str, value: ArrayLike, expected: Shape) -> None:
    shape = as_numbers(what, value).shape
    if shape != expected:
        raise ValueError(f"{what} has shape {shape}, expected {expected}")


class Multiply(Layer):
    """``z = x y``, element by element; each input gets the gradient times the *other* input."""

    def __init__(self) -> None:
        super().__init__()
        self.x: ArrayLike | None = None
        self.y: ArrayLike | None = None

    def forward(self, x: ArrayLike, y: ArrayLike) -> Array:
        """Return the product of `x` and `y`, numbers or arrays of one shape."""
        _check_shape("y", y, as_numbers("x", x).shape)
        z = _apply(np.multiply, x, y)
        self.x, self.y = x, y
        return z

    def backward(self, dout: ArrayLike) -> tuple[Array, Array]:
        """Return ``(dout y, dout x)``."""
        if self.x is None or self.y is None:
            raise before_forward(self)
        _check_shape("dout", dout, np.shape(self.x))
        return _apply(np.multiply, dout, self.y), _apply(np.multiply, dout, self.x)


class Add(Layer):
    """``z = x + y``, element by element; the gradient is passed on to both."""

    def __init__(self) -> None:
        super().__init__()
        self.shape: Shape | None = None

    def forward(self, x: ArrayLike, y: ArrayLike) -> Array:
        """Return the sum of `x` and `y`, numbers or arrays of one shape."""
        _check_shape("y", y, as_numbers("x", x).shape)
        z = _apply(np.add, x, y)
        self.shape = np.shape(x)
        return z

    def backward(self, dout: ArrayLike) -> tuple[Array, Array]:
        """Return ``(dout, dout)``: the very array twice if it is one of floats, not copies."""
        if self.shape is None:
            raise before_forward(self)
        _check_shape("dout", dout, self.shape)
        dout = as_floats("dout", dout)
        return dout, dout


class Branch(Layer):
    """One value goes `n` ways; what comes back is summed.

    Parameters
    ----------
    n : int
        Number of branches, at least 1.
    """

    def __init__(self, n: int = 2) -> None:
        n = check_count("n", n)
        super().__init__()
        self.n = n
        self.shape: Shape | None = None

    def forward(self, x: ArrayLike) -> tuple[Array, ...]:
        """Return `x` for each branch: the very array if it is one of floats, not copies."""
        x = as_floats("x", x)
        self.shape = x.shape
        return (x,) * self.n

    def backward(self, *douts: ArrayLike) -> Array:
        """Return the sum of the `n` gradients, added in order; half types are rounded once."""
        if self.shape is None:
            raise before_forward(self)
        if len(douts) != self.n:
            raise ValueError(f"{len(douts)} gradients came back, expected {self.n}")
        for i, dout in enumerate(douts):
            _check_shape(f"douts[{i}]", dout, self.shape)
        return _sum(douts)

    def _arguments(self) -> str:
        return str(self.n)


class Repeat(Layer):
    """Each slice along `axis` is copied `n` times; the gradients of the copies are summed.

    ``forward`` is :func:`numpy.repeat`: (1, D) becomes (n, D) for axis 0, as in the book.

    Parameters
    ----------
    n : int
        Number of copies, at least 1.
    axis : int
        The axis to copy along.
    """

    def __init__(self, n: int, axis: int = 0) -> None:
        n = check_count("n", n)
        axis = _check_axis(axis)
        super().__init__()
        self.n = n
        self.axis = axis
        self.shape: Shape | None = None

    def forward(self, x: ArrayLike) -> Array:
        """Return `x`, of at least one dimension, with its `axis` `n` times as long."""
        x = as_floats("x", x)
        y: Array = np.repeat(x, self.n, axis=normalize_axis_index(self.axis, x.ndim))
        self.shape = x.shape
        return y

    def backward(self, dout: ArrayLike) -> Array:
        """Return the sum of `dout` over the copies, in the shape of the input."""
        if self.shape is None:
            raise before_forward(self)
        axis = normalize_axis_index(self.axis, len(self.shape))
        before, length, after = self.shape[:axis], self.shape[axis], self.shape[axis + 1 :]
        _check_shape("dout", dout, (*before, length * self.n, *after))
        copies = np.reshape(dout, (*before, length, self.n, *after))
        dx: Array = _nnext.sum(copies, axis + 1)
        return dx

    def _arguments(self) -> str:
        return f"{self.n}, axis={self.axis}" if self.axis else str(self.n)


class Sum(Layer):
    """Sum along an axis; its gradient is repeated along it.

    Parameters
    ----------
    axis : int
        The axis to sum over.
    keepdims : bool
        Whether the output keeps that axis with length 1, the default here as in the book.
    """

    def __init__(self, axis: int = 0, keepdims: bool = True) -> None:
        axis = _check_axis(axis)
        keepdims = check_flag("keepdims", keepdims)
        super().__init__()
        self.axis = axis
        self.keepdims = keepdims
        self.shape: Shape | None = None

    def forward(self, x: ArrayLike) -> Array:
        """Return the sum of `x`, of at least one dimension, along the axis."""
        shape = np.shape(x)
        y: Array = _nnext.sum(x, normalize_axis_index(self.axis, len(shape)), self.keepdims)
        self.shape = shape
        return y

    def backward(self, dout: ArrayLike) -> Array:
        """Return `dout` repeated along the axis, in the shape of the input."""
        if self.shape is None:
            raise before_forward(self)
        axis = normalize_axis_index(self.axis, len(self.shape))
        before, length, after = self.shape[:axis], self.shape[axis], self.shape[axis + 1 :]
        _check_shape("dout", dout, (*before, 1, *after) if self.keepdims else before + after)
        dx: Array = np.repeat(
            np.reshape(as_floats("dout", dout), (*before, 1, *after)), length, axis=axis
        )
        return dx

    def _arguments(self) -> str:
        options = [f"axis={self.axis}"] if self.axis else []
        return ", ".join(options if self.keepdims else [*options, "keepdims=False"])
