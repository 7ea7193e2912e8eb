"""Losses that every score has of its own, a part of `nnext.loss_layers`: regression, and labels."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, overload

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import Layer, as_numbers, before_forward
from nnext._loss_types import Each, LossT, One
from nnext._nnext import EmptyBatchError
from nnext._support import Array, check_numbers, refuse_masked


class ElementLoss(Layer, Generic[LossT]):
    """What they share: scores and targets of one shape, (N, ...), N rows.

    Attributes
    ----------
    reduction : str
        What becomes of the rows' losses: ``"mean"``, ``"sum"`` or ``"none"``.
    y : ndarray, shape (N, ...), or None
        The predictions of the last ``forward``; float32 where the scores have half precision.
    t : ndarray, shape (N, ...), or None
        Its targets, in the type of `y`.
    count : float
        What the mean of the last ``forward`` divided by: the rows, or the sum of their weights;
        with ``reduction="sum"`` or ``"none"`` the number of rows whose weight is not 0.
    """

    total: ClassVar[float] = 0.0  # of rows that do not count
    _kind: ClassVar[str]
    _delta: float | None = None
    _pos_weight: Array | None = None
    # Of the last forward: what its mean was told to divide by, and its options.
    _count: float | None = None
    _forward_options: tuple[str, str, float | None, Array | None] | None = None

    @overload
    def __init__(self: ElementLoss[float], *, reduction: One = "mean") -> None: ...
    @overload
    def __init__(self: ElementLoss[Array], *, reduction: Each) -> None: ...
    @overload
    def __init__(self: ElementLoss[Any], *, reduction: str) -> None: ...
    def __init__(self, *, reduction: str = "mean") -> None:
        if reduction not in ["mean", "sum", "none"]:
            raise ValueError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")
        super().__init__()
        self.reduction = reduction
        self.y: Array | None = None
        self.t: Array | None = None
        self.count = 0.0
        self._sample_weight: Array | None = None
        self._half: np.dtype[Any] | None = None

    def _options(self) -> tuple[str, str, float | None, Array | None]:
        return self._kind, self.reduction, self._delta, self._pos_weight

    def forward(
        self,
        x: ArrayLike,
        t: ArrayLike,
        sample_weight: ArrayLike | None = None,
        count: float | None = None,
    ) -> LossT:
        """Return the loss.

        Parameters
        ----------
        x : array_like, shape (N, ...)
            The scores.
        t : array_like, shape (N, ...)
            The targets. A vector of targets is not spread over a column of scores: ``t[:, None]``.
        sample_weight : array_like, shape (N,), optional
            What each row's loss counts; a row of weight 0 is left out, whatever its scores.
        count : float, optional
            What the mean divides by, where this batch is a part of a larger one: see `count_of`.

        Returns
        -------
        float
            With ``reduction="none"`` an ndarray of shape (N,).

        Raises
        ------
        EmptyBatchError
            A ValueError: if there are no rows, or their weights add up to 0, and the loss is a
            mean.
        ValueError
            If the shapes differ, or a target is not what the loss takes.
        TypeError
            If a type cannot be used.
        """
        loss: LossT
        options = self._options()
        loss, self.count, self.y, self.t, self._sample_weight, self._half = (
            _nnext.element_loss_forward(x, t, *options, sample_weight, count)
        )
        self._count, self._forward_options = count, options
        return loss

    def backward(self, dout: float | ArrayLike = 1) -> Array:
        """Return the gradient by the scores, a new array of their shape.

        Parameters
        ----------
        dout : float
            The gradient by the loss; with ``reduction="none"`` also an array of its shape.
        """
        if self.y is None or self.t is None:
            raise before_forward(self)
        options = self._forward_options or self._options()
        return _nnext.element_loss_backward(
            self.y, self.t, *options, self._sample_weight, self._half, dout, self._count
        )

    def evaluate(
        self, x: ArrayLike, t: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[Any, float]:
        """Return the loss and its `count`; the layer remembers nothing.

        Where nothing counts both are 0.
        """
        try:
            loss, count, *_ = _nnext.element_loss_forward(x, t, *self._options(), sample_weight)
        except EmptyBatchError:
            return 0.0, 0.0
        return loss, count

    def count_of(
        self,
        x: ArrayLike,
        t: ArrayLike,
        sample_weight: ArrayLike | None = None,
        before: float = 0.0,
    ) -> float:
        """Return the `count` that ``forward`` would have of such targets, and check them.

        Parameters
        ----------
        x : array_like
            What ``forward`` takes, of any rows: its type and the shape of a row are looked at.
        t : array_like, shape (N, ...)
        sample_weight : array_like, shape (N,), optional
        before : float
            The count of rows before these: counted on from there, parts of a batch have together
            the very count of the batch.
        """
        return _nnext.element_loss_count(x, t, self._kind, self.reduction, sample_weight, before)

    def check_targets(self, t: ArrayLike, shape: tuple[int, ...]) -> None:
        """Check targets as ``forward`` does for scores of a shape."""
        kind, _, delta, pos_weight = self._options()
        _nnext.element_loss_forward(np.zeros(shape), t, kind, "sum", delta, pos_weight, None)

    def scores(self, x: ArrayLike) -> Array:
        """Return the scores themselves, as an array."""
        refuse_masked("x", x)
        return np.asarray(x)

    def predictions(self, x: ArrayLike) -> Array:
        """Return what is predicted from the scores: here they themselves."""
        return self.scores(x)

    def _arguments(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class SquaredError(ElementLoss[LossT]):
    """The squared error, ``(x - t)²``: the mean over a row's numbers, then over the rows.

    What others call mean squared error or MSE, without a factor ½. The best prediction for it is
    the mean of the targets.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        What becomes of the rows' losses.
    """

    _kind = "squared"


class AbsoluteError(ElementLoss[LossT]):
    """The absolute error, ``|x - t|``: the mean over a row's numbers, then over the rows.

    Its gradient is the sign of ``x - t``, and 0 where they are equal. The best prediction for it is
    the median of the targets, so that a few far ones do not draw it to them.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        What becomes of the rows' losses.
    """

    _kind = "absolute"


class HuberLoss(ElementLoss[LossT]):
    """Half the squared error up to `delta`, and from there on a straight line.

    ``(x - t)² / 2`` where ``|x - t| <= delta``, else ``delta (|x - t| - delta / 2)``: the mean over
    a row's numbers, then over the rows. Smooth at 0 as `SquaredError`, and as little drawn by far
    targets as `AbsoluteError`.

    Parameters
    ----------
    delta : float
        From 1e-18 to 1e18.
    reduction : {"mean", "sum", "none"}
        What becomes of the rows' losses.

    References
    ----------
    Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics 35 (1964).
    """

    _kind = "huber"

    @overload
    def __init__(
        self: HuberLoss[float], delta: float = 1.0, *, reduction: One = "mean"
    ) -> None: ...
    @overload
    def __init__(self: HuberLoss[Array], delta: float = 1.0, *, reduction: Each) -> None: ...
    @overload
    def __init__(self: HuberLoss[Any], delta: float = 1.0, *, reduction: str) -> None: ...
    def __init__(self, delta: float = 1.0, *, reduction: str = "mean") -> None:
        check_numbers(delta=delta)
        if not 1e-18 <= delta <= 1e18:
            raise ValueError(f"delta: expected a number from 1e-18 to 1e18, got {delta!r}")
        super().__init__(reduction=reduction)
        self.delta = delta

    def _options(self) -> tuple[str, str, float | None, Array | None]:
        return self._kind, self.reduction, self.delta, None

    def _arguments(self) -> str:
        return ", ".join(filter(None, [f"{self.delta:g}", super()._arguments()]))


class PoissonLoss(ElementLoss[LossT]):
    """The loss of counts whose logarithm the scores are: ``exp(x) - t x``.

    The mean over a row's numbers, then over the rows, without the terms that no score changes
    (``log t!``). `predictions` are ``exp(x)``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        What becomes of the rows' losses.
    """

    _kind = "poisson"

    def predictions(self, x: ArrayLike) -> Array:
        """Return the expected counts, ``exp(x)``."""
        return _nnext.exp(x)


class SigmoidWithLoss(ElementLoss[LossT]):
    """Sigmoid and the binary cross entropy of its output with the labels, as one layer.

    The loss of a score is ``max(x, 0) - x t + log(1 + exp(-|x|))``: exact where the book's
    ``log(y + 1e-7)`` saturates. The losses of a row's scores are added up, and the mean of the rows
    taken.

    Parameters
    ----------
    pos_weight : float or array_like, optional
        What the positive class counts, ``-pos_weight t log y - (1 - t) log(1 - y)``: a number, or
        one for each score of a row, such as the negative labels over the positive ones.
    reduction : {"mean", "sum", "none"}
        What becomes of the rows' losses.

    Attributes
    ----------
    y : ndarray, shape (N, ...), or None
        The probabilities of the last ``forward``; float32 where the scores have half precision.
    t : ndarray, shape (N, ...), or None
        Its labels in [0, 1], in the type of `y`: 0 and 1, or the probability of 1.
    """

    _kind = "binary"

    @overload
    def __init__(
        self: SigmoidWithLoss[float],
        *,
        pos_weight: ArrayLike | None = None,
        reduction: One = "mean",
    ) -> None: ...
    @overload
    def __init__(
        self: SigmoidWithLoss[Array], *, pos_weight: ArrayLike | None = None, reduction: Each
    ) -> None: ...
    @overload
    def __init__(
        self: SigmoidWithLoss[Any], *, pos_weight: ArrayLike | None = None, reduction: str
    ) -> None: ...
    def __init__(self, *, pos_weight: ArrayLike | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        if pos_weight is not None:
            weights = np.array(as_numbers("pos_weight", pos_weight), np.float64)
            if not (np.isfinite(weights) & (weights >= 0)).all():
                raise ValueError(
                    f"pos_weight: expected finite numbers of at least 0, got {pos_weight!r}"
                )
            weights.flags.writeable = False
            self._pos_weight = weights

    def config(self) -> dict[str, Any]:
        """Return the options that make such a layer."""
        weight = None if self._pos_weight is None else self._pos_weight.tolist()
        return {"pos_weight": weight, "reduction": self.reduction}

    @property
    def pos_weight(self) -> Array | None:
        """What the positive class counts, float64."""
        return self._pos_weight

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

    def _arguments(self) -> str:
        weight = "" if self._pos_weight is None else f"pos_weight={self._pos_weight.tolist()}"
        return ", ".join(filter(None, [weight, super()._arguments()]))
