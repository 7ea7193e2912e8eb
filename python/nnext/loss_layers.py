"""The layers that end a network in a loss; see `nnext.layers` for the contract.

``forward(x, t)`` returns the loss and ``backward(dout=1)`` the gradient by the scores, or for
`AffineSoftmaxWithLoss`, which makes the scores itself, by its input.

A loss layer also answers for what follows from it, so that models and the trainer need not know
which loss they have: ``evaluate`` (the loss without remembering anything), ``count`` (how much the
last batch counted), ``scores``, ``probabilities``, ``predictions`` and ``labels``.

A batch may come in parts: ``count_of`` says what all of them count together, and with that as
`count` the losses of the parts add up to that of the batch, and so do their gradients, which are
those of the batch's rows.
"""

from __future__ import annotations

from nnext._element_losses import (
    AbsoluteError,
    HuberLoss,
    PoissonLoss,
    SigmoidWithLoss,
    SquaredError,
)
from nnext._linear_loss import AffineSoftmaxWithLoss
from nnext._nnext import EmptyBatchError
from nnext._softmax_losses import SoftmaxWithLoss

__all__ = [
    "AbsoluteError",
    "AffineSoftmaxWithLoss",
    "EmptyBatchError",
    "HuberLoss",
    "PoissonLoss",
    "SigmoidWithLoss",
    "SoftmaxWithLoss",
    "SquaredError",
]
