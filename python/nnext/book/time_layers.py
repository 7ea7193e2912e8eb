"""The book's ``common/time_layers.py``: `nnext.time_layers`, with the layers of `layers`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from nnext import time_layers
from nnext._layer import Layer, as_floats, as_numbers, before_forward
from nnext._nnext import EmptyBatchError, LossOptions
from nnext._support import Array, naming
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
    from_the_end,
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
    TimeGRU,
    TimeLSTM,
    TimeRNN,
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


class TimeEmbedding(time_layers.TimeEmbedding):
    """`nnext.time_layers.TimeEmbedding`, whose ids below 0 count from the end, as NumPy's do.

    So padding of -1, which `TimeSoftmaxWithLoss` ignores, is the last word where it is read.

    Parameters
    ----------
    W : ndarray, shape (V, D)

    Raises
    ------
    ValueError, TypeError
        As `nnext.layers.Embedding`.
    """

    def forward(self, xs: ArrayLike) -> Array:
        """Return ``W[xs]``, shape (N, T, D), for ids in [-V, V)."""
        return super().forward(from_the_end(xs, len(self.params[0])))


class TimeSoftmaxWithLoss(time_layers.TimeSoftmaxWithLoss[float]):
    """`nnext.time_layers.TimeSoftmaxWithLoss` with the book's attributes.

    Attributes
    ----------
    ignore_label : int
        The label whose steps do not count, -1 until another is set.
    cache : tuple or None
        Of the last ``forward`` the labels (N T,), the probabilities (N T, V), which steps count,
        and the shape (N, T, V).
    """

    def __init__(self) -> None:
        super().__init__()

    @property
    def ignore_label(self) -> int | None:
        """The label whose steps do not count; it may be set."""
        return self.options.ignore_label

    @ignore_label.setter
    def ignore_label(self, label: int) -> None:
        self.options = LossOptions(ignore_label=label)

    @property
    def cache(self) -> tuple[Array, Array, Array, tuple[int, ...]] | None:
        """What the book's layer remembers of its last ``forward``."""
        if self.y is None or self.t is None:
            return None
        labels = self.t.reshape(-1)
        return labels, self.y.reshape(-1, self.y.shape[-1]), labels >= 0, self.y.shape

    def forward(self, xs: ArrayLike, ts: ArrayLike) -> np.float64:  # type: ignore[override]
        """Return the mean loss of all steps that count.

        Parameters
        ----------
        xs : array_like, shape (N, T, V)
            The scores.
        ts : array_like, shape (N, T) or (N, T, V)
            The labels.
        """
        with naming(x="xs", t="ts"):
            return np.float64(super().forward(xs, ts))


class _LossOfSteps(Layer):
    """The mean of the losses of the steps, each that of a layer without time."""

    step_loss: type[SigmoidWithLoss] | type[SoftmaxWithLoss]

    def __init__(self) -> None:
        super().__init__()
        self.layers: list[SigmoidWithLoss | SoftmaxWithLoss] | None = None
        self.xs_shape: tuple[int, ...] | None = None

    def forward(self, xs: ArrayLike, ts: ArrayLike) -> np.float64:
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
        return np.float64(sum(losses) / len(losses))

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
