"""Softmax with cross-entropy loss, a part of `nnext.loss_layers`."""

from __future__ import annotations

from typing import Any, Generic, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import Layer, before_forward
from nnext._loss_types import Each, LossT, One, Options
from nnext._nnext import EmptyBatchError, LossOptions
from nnext._support import Array, refuse_masked


class SoftmaxLoss(Layer, Generic[LossT]):
    """What the two softmax losses share: their options, and what rows count.

    Attributes
    ----------
    options : LossOptions
        Checked when the layer is made, and never changed.
    count : float
        What the mean of the last ``forward`` divided by: the rows that count, or the sum of their
        weights; with ``reduction="sum"`` or ``"none"`` the number of rows that count.
    total : float
        The sum of the rows' losses, after a ``forward`` that raised an `EmptyBatchError`: rows
        whose weights add up to 0 may have one, by ``label_smoothing`` or ``z_loss``.
    """

    def __init__(self, *params: Array, **options: Any) -> None:
        super().__init__(*params)
        self.options = LossOptions(**options)
        self.count = 0.0
        self.total = 0.0

    def evaluate(
        self, x: ArrayLike, t: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[Any, float]:
        """Return the loss and its `count`; the layer remembers nothing.

        Where nothing counts these are the sum of the rows' losses, for a mean of several batches,
        and 0.
        """
        try:
            return self._loss(x, t, sample_weight, self.options)
        except EmptyBatchError:
            return self._total(x, t, sample_weight), 0.0

    def _loss(self, x: Any, t: Any, sample_weight: Any, options: LossOptions) -> tuple[Any, float]:
        """Return the loss with some options, and its count."""
        raise NotImplementedError

    def _total(self, x: Any, t: Any, sample_weight: Any) -> float:
        """Return the sum of the rows' losses."""
        o = self.options
        summed = LossOptions(
            reduction="sum",
            ignore_label=o.ignore_label,
            label_smoothing=o.label_smoothing,
            class_weight=o.class_weight,
            z_loss=o.z_loss,
            softcap=o.softcap,
        )
        return float(self._loss(x, t, sample_weight, summed)[0])

    def config(self) -> dict[str, Any]:
        """Return the options, as `Layer.config`."""
        o = self.options
        return {
            "reduction": o.reduction,
            "ignore_label": o.ignore_label,
            "label_smoothing": o.label_smoothing,
            "class_weight": None if o.class_weight is None else o.class_weight.tolist(),
            "z_loss": o.z_loss,
            "softcap": o.softcap,
        }

    def _arguments(self) -> str:
        return ", ".join(filter(None, [super()._arguments(), str(self.options)]))

    @property
    def reduction(self) -> str:
        """What becomes of the rows' losses: ``"mean"``, ``"sum"`` or ``"none"``."""
        return self.options.reduction

    @property
    def ignore_label(self) -> int | None:
        """The label whose rows count nothing."""
        return self.options.ignore_label

    def labels(self, t: ArrayLike, shape: tuple[int, ...]) -> Array:
        """Check labels as ``forward`` does, and return them as class indices.

        Parameters
        ----------
        t : array_like, shape (...) or (..., C)
        shape : tuple of int
            That of the scores, (..., C).

        Returns
        -------
        ndarray of int64, shape (...)
            -1 where the label is ignored; for probabilities the most probable class.
        """
        return _nnext.class_indices(t, shape, self.options)


class SoftmaxWithLoss(SoftmaxLoss[LossT]):
    """Softmax and the cross entropy of its output with the labels, as one layer.

    The loss is the mean over the rows of ``log(Σ exp(x)) - x[t]``, computed from the scores
    themselves, so that it is exact where ``-log(softmax(x) + 1e-7)`` saturates.

    Parameters
    ----------
    reduction, ignore_label, label_smoothing, class_weight, z_loss, softcap
        As in `nnext.functions.linear_cross_entropy`; no label is ignored unless one is named.

    Attributes
    ----------
    y : ndarray, shape (..., C), or None
        The probabilities of the last ``forward``; float32 where the scores have half precision.
    t : ndarray, or None
        Its labels: class indices, int64 of shape (...), whatever they were given as, -1 where
        they do not count; or, if rows of probabilities were among them, all rows (..., C).
    count : float
        What the mean of the last ``forward`` divided by: the rows that count, or the sum of their
        weights; with ``reduction="sum"`` or ``"none"`` the number of rows that count.
    """

    _count: float | None = None  # what the mean of the last forward was told to divide by

    @overload
    def __init__(
        self: SoftmaxWithLoss[float], *, reduction: One = "mean", **options: Unpack[Options]
    ) -> None: ...
    @overload
    def __init__(
        self: SoftmaxWithLoss[Array], *, reduction: Each, **options: Unpack[Options]
    ) -> None: ...
    @overload
    def __init__(
        self: SoftmaxWithLoss[Any], *, reduction: str, **options: Unpack[Options]
    ) -> None: ...
    def __init__(
        self,
        *,
        reduction: str = "mean",
        ignore_label: int | None = None,
        label_smoothing: float = 0.0,
        class_weight: ArrayLike | None = None,
        z_loss: float = 0.0,
        softcap: float | None = None,
    ) -> None:
        super().__init__(
            reduction=reduction,
            ignore_label=ignore_label,
            label_smoothing=label_smoothing,
            class_weight=class_weight,
            z_loss=z_loss,
            softcap=softcap,
        )
        self.y: Array | None = None
        self.t: Array | None = None
        self._x: ArrayLike | None = None  # the scores, where the probabilities are not enough
        self._sample_weight: ArrayLike | None = None

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
        x : array_like, shape (..., C)
            The scores (logits) of two classes or more.
        t : array_like, shape (...) or (..., C)
            The labels: class indices (integers), one-hot rows (integers or booleans), or rows of
            probabilities (floats that add up to 1).
        sample_weight : array_like, shape (...), optional
            What each row's loss counts; a row of weight 0 counts as an ignored one.
        count : float, optional
            What the mean divides by, where this batch is a part of a larger one: see `count_of`.

        Returns
        -------
        float
            With ``reduction="none"`` an ndarray of shape (...).

        Raises
        ------
        EmptyBatchError
            A ValueError: if `x` has no rows, or only ignored ones (the mean over nothing).
        ValueError
            If the shapes do not fit, a row of labels is neither one-hot nor probabilities, or there
            is one class.
        IndexError
            If a label is below 0 or not below C.
        TypeError
            If a type cannot be used, such as class indices that are floats.
        """
        loss: LossT
        try:
            loss, self.count, self.y, self.t, self._x, self._sample_weight = (
                _nnext.softmax_loss_forward(x, t, self.options, sample_weight, count)
            )
            self._count = count
        except EmptyBatchError:
            self.total = self._total(x, t, sample_weight)
            raise
        return loss

    def count_of(
        self,
        x: ArrayLike,
        t: ArrayLike,
        sample_weight: ArrayLike | None = None,
        before: float = 0.0,
    ) -> float:
        """Return the `count` that ``forward`` would have of such labels, and check them.

        Parameters
        ----------
        x : array_like
            What ``forward`` takes, of any rows: its type and the shape of a row are looked at.
        t : array_like, shape (N, ...) or (N, ..., C)
        sample_weight : array_like, shape (N, ...), optional
        before : float
            The count of rows before these: counted on from there, parts of a batch have together
            the very count of the batch.
        """
        return _nnext.softmax_loss_count(x, t, self.options, sample_weight, before)

    def backward(self, dout: float | ArrayLike = 1) -> Array:
        """Return the gradient by the scores: ``(y - onehot(t)) dout / N`` without options.

        Parameters
        ----------
        dout : float
            The gradient by the loss; with ``reduction="none"`` also an array of its shape.

        Returns
        -------
        ndarray, shape (..., C)
            A new array.
        """
        if self.y is None or self.t is None:
            raise before_forward(self)
        return _nnext.softmax_loss_backward(
            self._x, self.y, self.t, self.options, self._sample_weight, dout, self._count
        )

    def _loss(self, x: Any, t: Any, sample_weight: Any, options: LossOptions) -> tuple[Any, float]:
        loss, count, *_ = _nnext.softmax_loss_forward(x, t, options, sample_weight)
        return loss, count

    def scores(self, x: ArrayLike) -> Array:
        """Return the scores themselves, as an array."""
        refuse_masked("x", x)
        return np.asarray(x)

    def probabilities(self, x: ArrayLike) -> Array:
        """Return the probabilities of the classes, shape (..., C)."""
        return _nnext.softmax_probabilities(x, self.options)

    def predictions(self, x: ArrayLike) -> Array:
        """Return the class with the highest score (the first of equal ones), int64, shape (...).

        A NaN counts as -inf: it is never the highest, unless there is nothing else.
        """
        return _nnext.softmax_predictions(x, self.options)
