"""The functions of the method, on arrays, computed by the compiled core.

All take anything that ``numpy.asarray`` takes, of any strides, and return new C-contiguous arrays
of the shape and type of their input. float16 and bfloat16 are computed in float32 and rounded
once; integers and booleans become float64. All raise ``TypeError`` for types that cannot be used
(complex, object, str), and let NaN and infinities pass through as IEEE 754 says. The bits of a
result depend on the input alone: not on threads, strides, other rows or the machine.

Numbers near zero: everywhere but in products and `log`, a number below the smallest normal one
(1.2e-38 in float32, 2.2e-308 in float64) counts as zero with its sign, given or computed: on many
CPUs an operation that meets one takes a hundred times as long. So do gradients and what the
optimizers remember.

A result of 128 KiB or more lives in a block of memory that is used again when the array dies
(`nnext.empty_cache`), so it does not own its data: ``result.flags.owndata`` is False, and
``result.resize(...)`` in place is refused. ``result.copy()`` has memory of its own.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._activations import check_approximate
from nnext._nnext import LossOptions
from nnext._support import Array

__all__ = [
    "cross_entropy_error",
    "exp",
    "gelu",
    "leaky_relu",
    "linear_cross_entropy",
    "linear_cross_entropy_with_grad",
    "log",
    "matmul",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]


def matmul(
    a: ArrayLike,
    b: ArrayLike,
    out: Any = None,
    **kwargs: Any,
) -> Any:
    """Matrix product: `numpy.matmul`, for every input that it takes.

    float32 and float64 are computed by the core, float16 and bfloat16 in float32 and rounded once;
    each element is one ordered chain ``acc = 0; for k: acc = fma(a[k], b[k], acc)`` (blocks of
    1024 for K above 16384). The result has the type that NumPy gives it. What the core does not
    accelerate (integers, complex numbers, objects, array types of others) is handed to NumPy.

    Parameters
    ----------
    a : array_like, shape (..., M, K) or (K,)
    b : array_like, shape (..., K, N) or (K,)
        Leading axes are broadcast against those of `a`.
    out : ndarray, shape (..., M, N), optional
        Where to write the product; may overlap `a` and `b`.
    **kwargs
        ``dtype``, ``casting``, ``order``, ``subok``, ``axes``, ``axis`` and ``signature`` of
        `numpy.matmul`. With any of them the whole call is NumPy's.

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
    if kwargs:
        return np.matmul(a, b, out=out, **kwargs)
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
        Labels: class indices, one-hot rows, or rows of probabilities, for which the row's error is
        ``-Σ_c t[c] log(y[c] + 1e-7)``.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the shapes do not fit, a row of labels is neither one-hot nor probabilities, there is
        one class, or no sample to take the mean over (`nnext.EmptyBatchError`).
    IndexError
        If a label is below 0 or not below C.

    Notes
    -----
    "Deep Learning from Scratch 2", chapter 1.3.
    """
    return _nnext.cross_entropy_error(y, t)


def linear_cross_entropy(
    x: ArrayLike,
    W: ArrayLike,
    t: ArrayLike,
    b: ArrayLike | None = None,
    *,
    reduction: str = "mean",
    ignore_label: int | None = -1,
    label_smoothing: float = 0.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> Any:
    """Cross entropy of the scores ``x W + b``, which are never whole in memory.

    With z the scores of a row (after `softcap`), t its label, w the class weights, V the number
    of classes, ε the smoothing and ``lse = log Σ exp(z)``, a row's loss is its sample weight times

        (1 - ε) w[t] (lse - z[t])  +  (ε / V) Σ_c w[c] (lse - z[c])  +  z_loss lse²

    If t is not a class but a row q of probabilities (a soft target), the first term becomes
    ``(1 - ε) Σ_c q[c] w[c] (lse - z[c])``, and what the row counts ``Σ_c q[c] w[c]`` instead of
    ``w[t]``: a row that is one-hot is the class.

    Parameters
    ----------
    x : array_like, shape (..., D)
        Inputs, for example the states of a recurrent network (N, T, D).
    W : array_like, shape (D, V)
        Weights; any strides, so also the transposed view of an embedding (V, D).
    t : array_like, shape (...) or (..., V)
        Labels: class indices (integers), one-hot rows (integers or booleans), or rows of
        probabilities (floats of at least 0 that add up to 1).
    b : array_like, shape (V,), optional
        Bias.
    reduction : {"mean", "sum", "none"}
        The mean divides by the sum over the rows of sample weight times ``w[t]``: by the number of
        rows that are not ignored, where there are no weights. (PyTorch divides by the number of
        rows if the targets are probabilities, whatever the weights.)
    ignore_label : int or None
        Rows with this label are left out: they cost nothing, and have loss and gradient 0.
    label_smoothing : float
        ε in [0, 1): how much of the target is spread over all classes.
    class_weight : array_like, shape (V,), optional
        w above; 1 if left out.
    sample_weight : array_like, shape (...), optional
        1 if left out. A row of weight 0 counts as an ignored one, whatever its scores.
    z_loss : float
        Weight of the penalty on the logarithm of the sum; 0 or more.
    softcap : float, optional
        Scores become ``softcap tanh(score / softcap)`` first.

    Returns
    -------
    float
        With ``reduction="none"`` an ndarray of shape (...) instead.

    Raises
    ------
    ValueError
        If shapes or options do not fit, a row of labels is neither one-hot nor probabilities, or
        there is one class. `nnext.EmptyBatchError` if a mean has nothing to divide by: no row at
        all, all of them ignored, or weights that add up to 0.
    IndexError
        If a label is not in [0, V) and not the ignored one.

    See Also
    --------
    nnext.layers.AffineSoftmaxWithLoss : The same as a layer.
    nnext.set_score_budget : How much memory the scores may take at a time.

    Notes
    -----
    The bits are those of `Affine` and `SoftmaxWithLoss` with the same options, except where the
    scores of `Affine` would be float16 or bfloat16: here they stay float32. 2·N·D·V operations
    are done. NaN and infinities in the scores do to a row what they do to `SoftmaxWithLoss`: a row
    with NaN or +inf has loss NaN, a label with score -inf the loss +inf.

    Szegedy et al. 2016 (label smoothing); Chowdhery et al. 2022, "PaLM" (z loss); Wijmans et al.
    2024, "Cut Your Losses in Large-Vocabulary Language Models" (the idea, for GPUs).

    Examples
    --------
    >>> import numpy as np
    >>> from nnext.functions import linear_cross_entropy
    >>> x, W = np.eye(2, dtype=np.float32), np.zeros((2, 50_000), np.float32)
    >>> round(linear_cross_entropy(x, W, [7, 49_999]), 4)  # log(50000)
    10.8198
    """
    options = LossOptions(
        reduction=reduction,
        ignore_label=ignore_label,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        z_loss=z_loss,
        softcap=softcap,
    )
    return _nnext.linear_cross_entropy(x, W, t, b, options, sample_weight)[0]


def linear_cross_entropy_with_grad(
    x: ArrayLike,
    W: ArrayLike,
    t: ArrayLike,
    b: ArrayLike | None = None,
    *,
    dout: float | ArrayLike = 1,
    out: tuple[Array | None, Array | None, Array | None] | None = None,
    reduction: str = "mean",
    ignore_label: int | None = -1,
    label_smoothing: float = 0.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> tuple[Any, Array, Array, Array | None]:
    """Compute `linear_cross_entropy` and its gradients in one pass: 6·N·D·V operations.

    Parameters
    ----------
    x, W, t, b
    reduction, ignore_label, label_smoothing, class_weight, sample_weight, z_loss, softcap
        As in `linear_cross_entropy`.
    dout : float
        The gradient by the loss; with ``reduction="none"`` also an array of its shape.
    out : tuple of (dx, dW, db), optional
        Arrays to write into, of the shapes of `x`, `W` and `b`; None for one to be made. A `dW`
        that is the transposed view of another array is written through the view.

    Returns
    -------
    loss : float or ndarray
    dx : ndarray, shape (..., D)
    dW : ndarray, shape (D, V)
        In the memory order of `W`, if it is made here.
    db : ndarray, shape (V,), or None without `b`

    Raises
    ------
    ValueError, IndexError
        As `linear_cross_entropy`, and for arrays of `out` that cannot be written. Nothing has been
        written then.
    """
    options = LossOptions(
        reduction=reduction,
        ignore_label=ignore_label,
        label_smoothing=label_smoothing,
        class_weight=class_weight,
        z_loss=z_loss,
        softcap=softcap,
    )
    targets: Any = (None, None, None) if out is None else out
    if not isinstance(targets, tuple | list) or len(targets) != 3:
        raise TypeError("out: expected a tuple (dx, dW, db)")
    dx, dW, db = targets
    loss, _, *grads = _nnext.linear_cross_entropy_with_grad(
        x, W, t, b, options, sample_weight, dout, dx, dW, db, True
    )
    return loss, *grads


def sigmoid(x: ArrayLike) -> Array:
    """Sigmoid of every element, ``1 / (1 + exp(-x))``, for any `x` without overflow."""
    return _nnext.sigmoid(x)


def relu(x: ArrayLike) -> Array:
    """Larger of every element and 0, ``max(x, 0)``; a NaN stays a NaN."""
    return _nnext.relu(x)


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Array:
    """Every element that is above 0 as it is, others times `negative_slope`; a NaN stays a NaN.

    Raises
    ------
    ValueError
        If `negative_slope` is negative, infinite or NaN.
    """
    return _nnext.leaky_relu(x, negative_slope)


def gelu(x: ArrayLike, approximate: Literal["none", "tanh"] = "none") -> Array:
    """Every element times the normal distribution of it, ``x Φ(x)``.

    Within 2 units in the last place, for negative `x` too: ``gelu(-5)`` has all its digits. At
    -inf it is -0. With ``approximate="tanh"`` it is ``x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))``.

    Raises
    ------
    ValueError
        If `approximate` is neither "none" nor "tanh".
    """
    check_approximate(approximate)
    return _nnext.gelu_tanh(x) if approximate == "tanh" else _nnext.gelu(x)


def silu(x: ArrayLike) -> Array:
    """Every element times its sigmoid, ``x / (1 + exp(-x))``; -0 at -inf."""
    return _nnext.silu(x)


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
