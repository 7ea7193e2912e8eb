"""How a network of the estimators ends: its last layer's activation and the loss of that.

Losses are scikit-learn's: the mean over the rows (weighed with the rows' weights) of the sum over
the outputs, for squared errors of half their mean. The gradient by the scores is the same for all,
activation less target: that of the squared error is, as there, not divided by the outputs.

A probability counts as at least the distance from 1 to the next number, so that no row's loss is
above 36.04 (15.94 in float32). That bound is why the core's loss layers, which are exact, do not
stand here; nor do they have gradients that are divided otherwise than their losses.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nnext import _nnext
from nnext._nnext import LossOptions
from nnext._sklearn_linear import linear, linear_grad
from nnext._support import Array

# What a row counts in the mean: a number, the same for all, or one for each.
Share = float | Array

# The weights and biases of a layer, and the arrays for their gradients.
Layer = tuple[Array, Array, Array, Array]


class Output:
    """The last linear layer, its activation and its loss.

    Attributes
    ----------
    count : float
        What the last batch counted: its rows, or the sum of their weights.
    """

    activation: ClassVar[str]
    outputs: ClassVar[staticmethod[[Any], Array]]  # of scores
    reduction = "mean"  # what `nnext.step.Step` asks of a loss layer

    def __init__(self) -> None:
        self.count = 0.0

    def loss(self, z: Array, t: Array, share: Share) -> tuple[float, Array]:
        """Return the loss of scores and its gradient by them, an array that may be `z` itself."""
        raise NotImplementedError

    def forward(
        self, x: Any, t: Array, share: Share, layer: Layer, input_grad: bool
    ) -> tuple[float, Array | None]:
        """Return the loss and its gradient by `x`; write those of the layer."""
        W, b, dW, db = layer
        loss, dz = self.loss(linear(x, W, b), t, share)
        return loss, linear_grad(x, W, dz, dW, db, input_grad)


class Softmax(Output):
    """Probabilities of exclusive classes and their cross entropy; t are class indices (N,)."""

    activation = "softmax"
    outputs = staticmethod(_nnext.softmax)
    _OPTIONS = LossOptions(reduction="none")

    def loss(self, z: Array, t: Array, share: Share) -> tuple[float, Array]:
        """Return the loss of scores and its gradient by them."""
        # As two steps of the core: `linear_cross_entropy_with_grad`, which spares the scores, takes
        # a third longer where the classes are few (200 rows, 100 units, 10 classes, Zen 5).
        rows, _, y, labels, *_ = _nnext.softmax_loss_forward(z, t, self._OPTIONS, None)
        dout = np.asarray(share)  # a float would be made an array in twice the time
        dz = _nnext.softmax_loss_backward(None, y, labels, self._OPTIONS, None, dout)
        largest = _LARGEST[rows.dtype]
        if isinstance(share, float):
            total = float(_nnext.sum(rows))
            if total <= largest:  # so is every row
                return share * total, dz
        return _weighed(np.minimum(rows, largest, out=rows), share), dz


class Logistic(Output):
    """Probabilities of independent answers, their binary cross entropy; t are booleans (N, K)."""

    activation = "logistic"
    outputs = staticmethod(_nnext.sigmoid)

    def loss(self, z: Array, t: Array, share: Share) -> tuple[float, Array]:
        """Return the loss of scores and its gradient by them."""
        y = _nnext.sigmoid(z)
        right = np.subtract(1, y, out=z)  # the probability of the right answer
        np.copyto(right, y, where=t)
        np.maximum(right, np.finfo(y.dtype).eps, out=right)
        loss = -_weighed(_nnext.log(right), share)
        y -= t
        return loss, _scaled(y, share)


class Identity(Output):
    """Numbers, half the mean of their squared errors; t are numbers (N, K)."""

    activation = "identity"
    outputs = staticmethod(lambda z: z)

    def loss(self, z: Array, t: Array, share: Share) -> tuple[float, Array]:
        """Return the loss of scores and its gradient by them."""
        z -= t
        loss = 0.5 * _weighed(z * z, share) / z.shape[1]
        return loss, _scaled(z, share)


class Exponential(Output):
    """Positive numbers, half their Poisson deviance; t are numbers of at least 0 (N, K)."""

    activation = "exp"
    outputs = staticmethod(_nnext.exp)

    def loss(self, z: Array, t: Array, share: Share) -> tuple[float, Array]:
        """Return the loss of scores and its gradient by them."""
        y = _nnext.exp(z)
        ratio = np.divide(t, y, out=z)
        np.copyto(ratio, 1, where=t == 0)  # 0 log 0 is 0
        losses = _nnext.log(ratio)
        losses *= t
        y -= t
        losses += y
        return _weighed(losses, share), _scaled(y, share)


OUTPUTS: dict[str, type[Output]] = {
    output.activation: output for output in (Softmax, Logistic, Identity, Exponential)
}

_LARGEST = {np.dtype(kind): float(-np.log(np.finfo(kind).eps)) for kind in (np.float32, np.float64)}


def _weighed(losses: Array, share: Share) -> float:
    """Return the sum of losses (N,) or (N, K), each times what its row counts."""
    if isinstance(share, float):
        return share * float(_nnext.sum(losses))
    return float(_nnext.sum(_nnext.matmul(share, losses)))


def _scaled(dz: Array, share: Share) -> Array:
    """Multiply each row (N, K) in place with what it counts."""
    dz *= share if isinstance(share, float) else share[:, None]
    return dz
