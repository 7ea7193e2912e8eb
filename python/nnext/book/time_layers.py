"""The book's ``common/time_layers.py``: `nnext.time_layers`, with the layers of `layers`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from nnext._layer import Layer, as_floats, as_numbers, before_forward
from nnext._nnext import EmptyBatchError
from nnext._support import Array
from nnext.book.functions import sigmoid
from nnext.book.layers import (
    GPU,
    Affine,
    Dropout,
    Embedding,
    MatMul,
    Sigmoid,
    SigmoidWithLoss,
    Softmax,
    SoftmaxWithLoss,
    cross_entropy_error,
    np,
    softmax,
)
from nnext.time_layers import (
    GRU,
    LSTM,
    RNN,
    Simple_TimeAffine,
    TimeAffine,
    TimeBiLSTM,
    TimeDropout,
    TimeEmbedding,
    TimeGRU,
    TimeLSTM,
    TimeRNN,
    TimeSoftmaxWithLoss,
)

__all__ = [
    "GPU",
    "GRU",
    "LSTM",
    "RNN",
    "Affine",
    "Dropout",
    "Embedding",
    "MatMul",
    "Sigmoid",
    "SigmoidWithLoss",
    "Simple_TimeAffine",
    "Simple_TimeSoftmaxWithLoss",
    "Softmax",
    "SoftmaxWithLoss",
    "TimeAffine",
    "TimeBiLSTM",
    "TimeDropout",
    "TimeEmbedding",
    "TimeGRU",
    "TimeLSTM",
    "TimeRNN",
    "TimeSigmoidWithLoss",
    "TimeSoftmaxWithLoss",
    "cross_entropy_error",
    "np",
    "sigmoid",
    "softmax",
]


class _LossOfSteps(Layer):
    """The mean of the losses of the steps, each that of a layer without time."""

    step_loss: type[SigmoidWithLoss] | type[SoftmaxWithLoss]

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[SigmoidWithLoss | SoftmaxWithLoss] | None = None
        self.xs_shape: tuple[int, ...] | None = None

    def forward(self, xs: ArrayLike, ts: ArrayLike) -> float:
        """Return the mean loss of all steps.

        Parameters
        ----------
        xs : array_like, shape (N, T) or (N, T, C)
            The scores.
        ts : array_like, shape (N, T) or (N, T, C)
            The labels.

        Raises
        ------
        ValueError, TypeError, IndexError
            As the loss of a step; an `nnext.EmptyBatchError` if there is none.
        """
        x, t = as_floats("xs", xs), as_numbers("ts", ts)
        if x.ndim < 2 or x.shape[:2] != t.shape[:2]:
            raise ValueError(
                f"ts: expected labels (N, T) of scores (N, T, ...), got {t.shape} and {x.shape}"
            )
        if not x.shape[1]:
            raise EmptyBatchError(f"xs: expected at least one step, got shape {x.shape}")
        layers = [self.step_loss() for _ in range(x.shape[1])]
        losses = [layer.forward(x[:, i], t[:, i]) for i, layer in enumerate(layers)]
        self.layers, self.xs_shape = layers, x.shape
        return sum(losses) / len(losses)

    def backward(self, dout: float = 1) -> Array:
        """Return the gradient by the scores, in their shape."""
        if self.layers is None or self.xs_shape is None:
            raise before_forward(self)
        part = dout / len(self.layers)
        return np.stack([layer.backward(part) for layer in self.layers], axis=1)


class TimeSigmoidWithLoss(_LossOfSteps):
    """The book's: `SigmoidWithLoss` of this package, with its 1e-7, for every step."""

    step_loss = SigmoidWithLoss


class Simple_TimeSoftmaxWithLoss(_LossOfSteps):  # noqa: N801  the book's name
    """The book's: `SoftmaxWithLoss` of this package, with its 1e-7, for every step."""

    step_loss = SoftmaxWithLoss
