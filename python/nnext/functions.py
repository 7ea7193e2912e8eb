"""The functions of the method, on arrays, computed by the compiled core.

All take anything that ``numpy.asarray`` takes, of any strides, and return new C-contiguous arrays
of the shape and type of their input. float16 and bfloat16 are computed in float32 and rounded
once; integers and booleans become float64. All raise ``TypeError`` for types that cannot be used
(complex, object, str), and let NaN and infinities pass through as IEEE 754 says. The bits of a
result depend on the input alone: not on threads, strides, other rows or the machine.
"""

from typing import Any

from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._support import Array

__all__ = [
    "cross_entropy_error",
    "exp",
    "log",
    "matmul",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]


def matmul(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Any:
    """Matrix product: `numpy.matmul`, for every input that it takes.

    float32 and float64 are computed by the core, each element as one ordered chain
    ``acc = 0; for k: acc = fma(a[k], b[k], acc)``; what the core does not accelerate (integers,
    complex numbers, objects) is handed to NumPy.

    Parameters
    ----------
    a : array_like, shape (..., M, K) or (K,)
    b : array_like, shape (..., K, N) or (K,)
        Leading axes are broadcast against those of `a`.
    out : ndarray, shape (..., M, N), optional
        Where to write the product; may overlap `a` and `b`.

    Returns
    -------
    ndarray or scalar
        The product; `out` if it was given.

    Raises
    ------
    ValueError
        If the shapes do not fit, or `out` is read-only.
    TypeError
        If a type cannot be multiplied, or not be cast to that of `out`.
    """
    return _nnext.matmul(a, b, out)


def softmax(x: ArrayLike) -> Array:
    """Softmax along the last axis: ``exp(x_k - max) / Σ exp(x_i - max)``.

    Parameters
    ----------
    x : array_like, shape (..., C)
        Scores.

    Returns
    -------
    ndarray, shape (..., C)
        Probabilities in [0, 1]; each row sums to 1 but for rounding. A score of -inf gets 0. A
        row with a NaN or +inf in it, or of -inf alone, has no softmax and becomes NaN.

    Raises
    ------
    ValueError
        If `x` has no axis.

    Notes
    -----
    "Deep Learning from Scratch 2", chapter 1.3.
    """
    return _nnext.softmax(x)


def cross_entropy_error(y: ArrayLike, t: ArrayLike) -> float:
    """Mean cross entropy of probabilities with labels: ``-(1/N) Σ log(y[n, t[n]] + 1e-7)``.

    The 1e-7 is the book's, and keeps the logarithm of 0 away; so the error never exceeds 16.12.
    For an exact loss, and its gradient, take the scores to `nnext.layers.SoftmaxWithLoss`.

    Parameters
    ----------
    y : array_like, shape (..., C)
        Probabilities; one sample may come without a batch axis.
    t : array_like, shape (...) or (..., C)
        Labels: class indices, or one-hot rows, recognised by having the size of `y`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the shapes do not fit, or there is no sample to take the mean over.
    IndexError
        If a label is below 0 or not below C.

    Notes
    -----
    "Deep Learning from Scratch 2", chapter 1.3.
    """
    return _nnext.cross_entropy_error(y, t)


def sigmoid(x: ArrayLike) -> Array:
    """Sigmoid of every element, ``1 / (1 + exp(-x))``, for any `x` without overflow."""
    return _nnext.sigmoid(x)


def relu(x: ArrayLike) -> Array:
    """Larger of every element and 0, ``max(x, 0)``; a NaN stays a NaN."""
    return _nnext.relu(x)


def tanh(x: ArrayLike) -> Array:
    """Hyperbolic tangent of every element."""
    return _nnext.tanh(x)


def exp(x: ArrayLike) -> Array:
    """Exponential of every element, within 1 unit in the last place."""
    return _nnext.exp(x)


def log(x: ArrayLike) -> Array:
    """Natural logarithm of every element, within 1 unit in the last place.

    The logarithm of 0 is -inf and that of a negative number NaN, both without a warning.
    """
    return _nnext.log(x)
