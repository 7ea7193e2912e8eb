"""The book's ``common/layers.py``: nnext's layers, and the book's own where its numbers differ.

`Sigmoid` and `Softmax` are those of `nnext.layers`; `MatMul`, `Affine` and `Embedding` too, but
take what NumPy takes without a word. The two losses add 1e-7 to a probability before they take its
logarithm and return NumPy's numbers, and `Dropout` draws its masks from ``numpy.random`` and scales
when the network is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnext import _nnext, layers
from nnext._layer import Layer, as_numbers, before_forward
from nnext._nnext import LossOptions
from nnext._support import Array, check_numbers
from nnext.book.np import GPU
from nnext.functions import cross_entropy_error, sigmoid, softmax
from nnext.layers import Sigmoid, Softmax

__all__ = [
    "GPU",
    "Affine",
    "Dropout",
    "Embedding",
    "MatMul",
    "Sigmoid",
    "SigmoidWithLoss",
    "Softmax",
    "SoftmaxWithLoss",
    "cross_entropy_error",
    "np",
    "softmax",
]


def floats(W: Any) -> Any:
    """Return weights as they are, whole numbers as floats: these could not be trained anyway."""
    whole = isinstance(W, np.ndarray) and W.dtype.kind in "iu"
    return W.astype(np.float64) if whole else W


class MatMul(layers.MatMul):
    """`nnext.layers.MatMul`, which takes whole numbers too.

    Parameters
    ----------
    W : ndarray, shape (D, H)

    Raises
    ------
    ValueError, TypeError
        As `nnext.layers.MatMul`.
    """

    def __init__(self, W: Array) -> None:
        super().__init__(floats(W))


class Affine(layers.Affine):
    """`nnext.layers.Affine`, which takes whole numbers and a bias of one row too.

    Parameters
    ----------
    W : ndarray, shape (D, H)
    b : ndarray, shape (H,) or (1, H)

    Raises
    ------
    ValueError, TypeError
        As `nnext.layers.Affine`.
    """

    def __init__(self, W: Array, b: Array) -> None:
        b = floats(b)
        if np.shape(b)[:-1] != (1,):
            super().__init__(floats(W), b)
            return
        super().__init__(floats(W), b[0])
        self.params[1], self.grads[1] = b, self.grads[1][np.newaxis]

    def forward(self, x: ArrayLike) -> Array:
        """Return ``x W + b``, shape (..., H), for `x` of shape (..., D)."""
        W, b = self.params
        y = _nnext.affine_forward(x, W, b.reshape(-1))
        self.x = x
        return y

    def backward(
        self, dout: ArrayLike, input_grad: bool = True, *, accumulate: bool = False
    ) -> Any:
        """Do what `nnext.layers.Affine.backward` does."""
        if self.x is None:
            raise before_forward(self)
        W, dW, db = self.params[0], self.grads[0], self.grads[1].reshape(-1)
        return _nnext.affine_backward(self.x, W, dout, dW, db, input_grad, accumulate)


class Embedding(layers.Embedding):
    """`nnext.layers.Embedding`, whose indices below 0 count from the end, as NumPy's do.

    Parameters
    ----------
    W : ndarray, shape (V, D)

    Raises
    ------
    ValueError, TypeError
        As `nnext.layers.Embedding`.
    """

    def forward(self, idx: ArrayLike) -> Array:
        """Return ``W[idx]`` for indices in [-V, V)."""
        return super().forward(from_the_end(idx, len(self.params[0])))


def from_the_end(idx: ArrayLike, rows: int) -> ArrayLike:
    """Return indices of so many rows with none below 0, as far as NumPy would take them."""
    ids = np.asarray(idx)
    if ids.dtype.kind != "i" or not ids.size or ids.min() >= 0:
        return idx
    return np.where(ids < 0, ids.astype(np.int64) + rows, ids)


class SoftmaxWithLoss(Layer):
    """Softmax and the book's cross entropy: ``-(1/N) Σ log(y[n, t[n]] + 1e-7)``.

    The gradient is that of `nnext.layers.SoftmaxWithLoss`, whose loss is exact: the book's never
    exceeds 16.12.

    Attributes
    ----------
    y : ndarray, shape (N, C), or None
        The probabilities of the last ``forward``.
    t : ndarray of int, shape (N,), or None
        Its labels: class indices, whatever they were given as.
    """

    _options = LossOptions()

    def __init__(self) -> None:
        super().__init__()
        self.y: Array | None = None
        self.t: Array | None = None

    def forward(self, x: ArrayLike, t: ArrayLike) -> np.float64:
        """Return the mean loss of a batch.

        Parameters
        ----------
        x : array_like, shape (N, C)
            The scores.
        t : array_like, shape (N,) or (N, C)
            The labels: class indices, or rows whose largest number is at the class.

        Raises
        ------
        ValueError
            If the shapes do not fit, or there is no sample.
        IndexError
            If a label is below 0 or not below C.
        """
        y = softmax(x)
        labels = as_numbers("t", t)
        if labels.shape == y.shape:
            labels = labels.argmax(axis=-1)
        loss = np.float64(cross_entropy_error(y, labels))
        self.y, self.t = y, labels
        return loss

    def backward(self, dout: float = 1) -> Array:
        """Return the gradient by the scores, ``(y - onehot(t)) dout / N``, a new array."""
        if self.y is None or self.t is None:
            raise before_forward(self)
        t = self.t.astype(np.int64)
        return _nnext.softmax_loss_backward(None, self.y, t, self._options, None, dout)


class SigmoidWithLoss(Layer):
    """Sigmoid and the book's binary cross entropy, with 1e-7 added in its logarithms.

    The gradient is that of `nnext.layers.SigmoidWithLoss`, whose loss is exact: the book's never
    exceeds 16.12 for a score.

    Attributes
    ----------
    y : ndarray, shape (N,) or (N, 1), or None
        The probabilities of the last ``forward``.
    t : ndarray, of the same shape, or None
        Its labels, 0 and 1.
    loss : float or None
        What it returned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.y: Array | None = None
        self.t: Array | None = None
        self.loss: np.float64 | None = None

    def forward(self, x: ArrayLike, t: ArrayLike) -> np.float64:
        """Return the mean loss of a batch.

        Of a column the gradient is that of a row of numbers, and the loss, as in the book, the sum
        over all pairs of a score and a label.

        Parameters
        ----------
        x : array_like, shape (N,) or (N, 1)
            The scores.
        t : array_like, of the same shape
            The labels, 0 or 1.

        Raises
        ------
        ValueError
            If the shapes differ or are no rows of numbers, or there is no sample.
        IndexError
            If a label is neither 0 nor 1.
        TypeError
            If the labels are no whole numbers.
        """
        y, labels = sigmoid(x), as_numbers("t", t)
        is_column = y.ndim == 2 and y.shape[1] == 1
        if not (y.ndim == 1 or is_column) or labels.shape != y.shape:
            raise ValueError(
                "t: expected scores and labels of one shape, (N,) or (N, 1), got "
                f"{y.shape} and {labels.shape}"
            )
        pairs, n = np.column_stack([1 - y, y]), len(y)
        loss = cross_entropy_error(pairs, labels.ravel())
        if is_column:  # y[np.arange(N), t] of the book is a matrix: each label of all scores
            ones = np.count_nonzero(labels)
            loss = (n - ones) * cross_entropy_error(pairs, np.zeros(n, int))
            loss += ones * cross_entropy_error(pairs, np.ones(n, int))
        self.loss = np.float64(loss)
        self.y, self.t = y, labels
        return self.loss

    def backward(self, dout: float = 1) -> Array:
        """Return the gradient by the scores, ``(y - t) dout / N``, a new array."""
        if self.y is None or self.t is None:
            raise before_forward(self)
        t = self.t.astype(self.y.dtype)
        dx: Array = (self.y - t) * (dout / len(t))
        return dx


class Dropout(Layer):
    """The book's dropout: in training each element is zeroed with probability `dropout_ratio`.

    What is left stays as it is; when the network is used all is multiplied by
    ``1 - dropout_ratio``. (`nnext.layers.Dropout` scales in training instead.)

    Parameters
    ----------
    dropout_ratio : float
        Probability of dropping an element, in [0, 1).

    Raises
    ------
    ValueError
        If `dropout_ratio` is out of its range.
    TypeError
        If it is no number.

    Attributes
    ----------
    mask : ndarray of bool or None
        True where the last training ``forward`` kept the element:
        ``numpy.random.rand(*x.shape) > dropout_ratio``.
    """

    def __init__(self, dropout_ratio: float = 0.5) -> None:
        check_numbers(dropout_ratio=dropout_ratio)
        if not 0 <= dropout_ratio < 1:
            raise ValueError(f"dropout_ratio must be in [0, 1), not {dropout_ratio}")
        super().__init__()
        self.dropout_ratio = dropout_ratio
        self.mask: NDArray[np.bool_] | None = None

    def forward(self, x: ArrayLike, train_flg: bool = True) -> Array:
        """Return `x` with elements dropped, or scaled where `train_flg` is False."""
        x = as_numbers("x", x)
        if not train_flg:
            return x * (1.0 - self.dropout_ratio)
        self.mask = np.asarray(np.random.rand(*x.shape) > self.dropout_ratio)
        return x * self.mask

    def backward(self, dout: ArrayLike) -> Array:
        """Return `dout` with the elements of the last `mask` dropped."""
        if self.mask is None:
            raise before_forward(self)
        dx: Array = as_numbers("dout", dout) * self.mask
        return dx

    def _arguments(self) -> str:
        return f"{self.dropout_ratio:g}"
