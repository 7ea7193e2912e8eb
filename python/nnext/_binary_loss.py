"""The loss of binary labels, a part of `nnext.loss_layers`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import Layer, before_forward
from nnext._nnext import EmptyBatchError
from nnext._support import Array, refuse_masked


class SigmoidWithLoss(Layer):
    """Sigmoid and the binary cross entropy of its output with the labels, as one layer.

    The loss is the sum of ``max(x, 0) - x t + log(1 + exp(-|x|))`` over all elements, divided by
    N, the length of the first axis: exact where the book's ``log(y + 1e-7)`` saturates.

    Attributes
    ----------
    y : ndarray, shape (N, ...), or None
        The probabilities of the last ``forward``; float32 where the scores have half precision.
    t : ndarray, shape (N, ...), or None
        Its labels, in the type of the scores.
    count : float
        What the mean of the last ``forward`` divided by: N.
    """

    reduction = "mean"

    def __init__(self) -> None:
        super().__init__()
        self.y: Array | None = None
        self.t: Array | None = None
        self.count = 0.0

    def forward(self, x: ArrayLike, t: ArrayLike) -> float:
        """Return the loss of the scores `x` and the labels `t` in [0, 1], both (N, ...).

        Raises
        ------
        EmptyBatchError
            A ValueError: if there are no scores.
        ValueError
            If the shapes differ, or a label is not in [0, 1]: binary labels are 0 and 1, or the
            probability of 1.
        """
        loss, self.y, self.t = _nnext.sigmoid_loss_forward(x, t)
        self.count = float(len(self.y))
        return loss

    def backward(self, dout: float = 1) -> Array:
        """Return ``(y - t) dout / N``, a new array of the shape of the scores."""
        if self.y is None or self.t is None:
            raise before_forward(self)
        return _nnext.sigmoid_loss_backward(self.y, self.t, dout)

    def evaluate(self, x: ArrayLike, t: ArrayLike) -> tuple[float, float]:
        """Return the loss and its `count`; the layer remembers nothing.

        Where there are no scores both are 0.
        """
        try:
            loss, y, _ = _nnext.sigmoid_loss_forward(x, t)
        except EmptyBatchError:
            return 0.0, 0.0
        return loss, float(len(y))

    def scores(self, x: ArrayLike) -> Array:
        """Return the scores themselves, as an array."""
        refuse_masked("x", x)
        return np.asarray(x)

    def probabilities(self, x: ArrayLike) -> Array:
        """Return the sigmoid of each score."""
        return _nnext.sigmoid(x)

    def predictions(self, x: ArrayLike) -> Array:
        """Return 0 or 1 for each score, int64: whether it is above 0."""
        return np.asarray(self.scores(x) > 0, dtype=np.int64)

    def labels(self, t: ArrayLike, shape: tuple[int, ...]) -> Array:
        """Check labels as ``forward`` does for scores of a shape, and return 0 or 1, int64.

        A label between is the probability of 1, and counts as the more probable one (0 at 0.5), as
        in `predictions`.
        """
        return np.asarray(_nnext.binary_labels(t, shape) > 0.5, dtype=np.int64)
