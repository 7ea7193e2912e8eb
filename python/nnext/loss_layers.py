"""The layers that end a network in a loss; see `nnext.layers` for the contract.

``forward(x, t)`` returns the loss and ``backward(dout=1)`` the gradient by the scores, or for
`AffineSoftmaxWithLoss`, which makes the scores itself, by its input.

A loss layer also answers for what follows from it, so that models and the trainer need not know
which loss they have: ``evaluate`` (the loss without remembering anything), ``count`` (how much the
last batch counted), ``scores``, ``probabilities``, ``predictions`` and ``labels``.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._element_losses import (
    AbsoluteError,
    HuberLoss,
    PoissonLoss,
    SigmoidWithLoss,
    SquaredError,
)
from nnext._layer import Layer, before_forward, check_weights, has_methods_of
from nnext._loss_types import Each, LossT, One, Options
from nnext._nnext import EmptyBatchError, LossOptions
from nnext._support import Array, refuse_masked

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


class _SoftmaxLoss(Layer, Generic[LossT]):
    """What the two softmax losses share: their options.

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


class SoftmaxWithLoss(_SoftmaxLoss[LossT]):
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

    def forward(self, x: ArrayLike, t: ArrayLike, sample_weight: ArrayLike | None = None) -> LossT:
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
                _nnext.softmax_loss_forward(x, t, self.options, sample_weight)
            )
        except EmptyBatchError:
            self.total = self._total(x, t, sample_weight)
            raise
        return loss

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
            self._x, self.y, self.t, self.options, self._sample_weight, dout
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


class AffineSoftmaxWithLoss(_SoftmaxLoss[LossT]):
    """`Affine` and `SoftmaxWithLoss` in one, for many classes: the scores are never whole.

    N rows and V classes would make N·V scores, and several arrays of that size. Here they are made
    and used up in chunks of rows (`nnext.set_score_budget`), with the bits of the two layers except
    where the scores of `Affine` would be float16 or bfloat16: here they stay float32.

    ``forward`` takes 2·N·D·V operations; ``backward`` computes the scores again, 6·N·D·V.
    ``forward_backward`` does both in 6·N·D·V, as the two layers do.

    Parameters
    ----------
    W : ndarray, shape (D, V)
        The weights, ``params[0]``. May be the transposed view of an embedding's (V, D): shared
        weights, as `Trainer` and `BaseModel` know them.
    b : ndarray, shape (V,), optional
        The bias, ``params[1]``.
    reduction, ignore_label, label_smoothing, class_weight, z_loss, softcap
        As in `nnext.functions.linear_cross_entropy`; no label is ignored unless one is named.

    Attributes
    ----------
    x, t : array_like or None
        Input and labels of the last ``forward``, the objects themselves: change neither them nor
        the parameters before ``backward``.
    count : float
        What the mean of the last ``forward`` divided by: the rows that count, or the sum of their
        weights; with ``reduction="sum"`` or ``"none"`` the number of rows that count.
    """

    skips_input_grad = True
    param_names = ("W", "b")

    @overload
    def __init__(
        self: AffineSoftmaxWithLoss[float],
        W: Array,
        b: Array | None = None,
        *,
        reduction: One = "mean",
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: AffineSoftmaxWithLoss[Array],
        W: Array,
        b: Array | None = None,
        *,
        reduction: Each,
        **options: Unpack[Options],
    ) -> None: ...
    @overload
    def __init__(
        self: AffineSoftmaxWithLoss[Any],
        W: Array,
        b: Array | None = None,
        *,
        reduction: str,
        **options: Unpack[Options],
    ) -> None: ...
    def __init__(
        self,
        W: Array,
        b: Array | None = None,
        *,
        reduction: str = "mean",
        ignore_label: int | None = None,
        label_smoothing: float = 0.0,
        class_weight: ArrayLike | None = None,
        z_loss: float = 0.0,
        softcap: float | None = None,
    ) -> None:
        check_weights(W, b)
        if np.ndim(W) == 2 and np.shape(W)[1] < 2:
            raise ValueError(
                f"W: expected a column for each of at least 2 classes, got shape {W.shape}; for "
                "two classes by one score take SigmoidWithLoss"
            )
        super().__init__(
            *((W,) if b is None else (W, b)),
            reduction=reduction,
            ignore_label=ignore_label,
            label_smoothing=label_smoothing,
            class_weight=class_weight,
            z_loss=z_loss,
            softcap=softcap,
        )
        self.x: ArrayLike | None = None
        self.t: ArrayLike | None = None
        self._sample_weight: ArrayLike | None = None

    def _parameters(self) -> tuple[Array, Array | None]:
        return self.params[0], self.params[1] if len(self.params) > 1 else None

    def forward(self, x: ArrayLike, t: ArrayLike, sample_weight: ArrayLike | None = None) -> LossT:
        """Return the loss.

        Parameters
        ----------
        x : array_like, shape (..., D)
        t : array_like, shape (...) or (..., V)
            The labels, as for `SoftmaxWithLoss`: class indices, one-hot rows or probabilities.
        sample_weight : array_like, shape (...), optional

        Returns
        -------
        float
            With ``reduction="none"`` an ndarray of shape (...).

        Raises
        ------
        EmptyBatchError, ValueError, IndexError, TypeError
            As `SoftmaxWithLoss.forward`.
        """
        loss: LossT
        try:
            loss, count = self._loss(x, t, sample_weight, self.options)
        except EmptyBatchError:
            self.total = self._total(x, t, sample_weight)
            raise
        self.x, self.t, self._sample_weight, self.count = x, t, sample_weight, count
        return loss

    @overload
    def backward(self, dout: ArrayLike = 1, input_grad: Literal[True] = True) -> Array: ...
    @overload
    def backward(self, dout: ArrayLike = 1, *, input_grad: Literal[False]) -> None: ...
    @overload
    def backward(self, dout: ArrayLike, input_grad: Literal[False]) -> None: ...
    @overload
    def backward(self, dout: ArrayLike = 1, input_grad: bool = True) -> Array | None: ...
    def backward(self, dout: float | ArrayLike = 1, input_grad: bool = True) -> Array | None:
        """Write the gradients of the parameters into ``grads`` and return the input's.

        Parameters
        ----------
        dout : float
            The gradient by the loss; with ``reduction="none"`` also an array of its shape.
        input_grad : bool
            With False the gradient by the input is left out, and None returned.

        Returns
        -------
        ndarray, shape (..., D), or None
        """
        if self.x is None or self.t is None:
            raise before_forward(self)
        dx: Array | None = self._with_grad(self.x, self.t, self._sample_weight, dout, input_grad)[2]
        return dx

    def _with_grad(self, x: Any, t: Any, sample_weight: Any, dout: Any, input_grad: bool) -> Any:
        W, b = self._parameters()
        out = None, self.grads[0], self.grads[1] if b is not None else None
        return _nnext.linear_cross_entropy_with_grad(
            x, W, t, b, self.options, sample_weight, dout, *out, input_grad
        )

    def forward_backward(
        self, x: ArrayLike, t: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[LossT, Array]:
        """Do ``forward(x, t, sample_weight)`` and ``backward()`` in one pass over the scores.

        So a step takes 6·N·D·V operations instead of 8, with the same bits. `nnext.step.Step` and
        `Trainer` do it where the model is a `Sequential`.

        Returns
        -------
        loss : float
        dx : ndarray, shape (..., D)

        Raises
        ------
        EmptyBatchError, ValueError, IndexError, TypeError
            As `forward`; no gradient is written then.
        """
        if not has_methods_of(self, AffineSoftmaxWithLoss, "forward", "backward"):
            return self.forward(x, t, sample_weight), self.backward()
        try:
            loss, count, dx, *_ = self._with_grad(x, t, sample_weight, 1, input_grad=True)
        except EmptyBatchError:
            self.total = self._total(x, t, sample_weight)
            raise
        self.x, self.t, self._sample_weight, self.count = x, t, sample_weight, count
        return loss, dx

    def _loss(self, x: Any, t: Any, sample_weight: Any, options: LossOptions) -> tuple[Any, float]:
        W, b = self._parameters()
        return _nnext.linear_cross_entropy(x, W, t, b, options, sample_weight)

    def scores(self, x: ArrayLike) -> Array:
        """Return all scores of `x`, shape (..., V), capped if ``softcap`` is set."""
        W, b = self._parameters()
        return _nnext.linear_scores(x, W, b, self.options)

    def probabilities(self, x: ArrayLike) -> Array:
        """Return the probabilities of all classes, shape (..., V), from whole scores.

        In half precision the scores are not rounded on the way: the order of the probabilities is
        that of ``top_k``, but those that differ by less than the type shows become equal.
        """
        W, b = self._parameters()
        return _nnext.linear_probabilities(x, W, b, self.options)

    def predictions(self, x: ArrayLike) -> Array:
        """Return the class with the highest score (the first of equal ones), int64, shape (...).

        A NaN counts as -inf: it is never the highest, unless there is nothing else.
        """
        return self.top_k(x, 1)[0][..., 0]

    predict = predictions

    def top_k(self, x: ArrayLike, k: int) -> tuple[Array, Array]:
        """Return the `k` best classes of each row and their log-probabilities, the best first.

        Parameters
        ----------
        x : array_like, shape (..., D)
        k : int
            From 1 to V.

        Returns
        -------
        classes : ndarray of int64, shape (..., k)
            Of equal scores (capped, if ``softcap`` is set) the first class comes first; NaN
            counts as -inf.
        log_prob : ndarray, shape (..., k)
        """
        W, b = self._parameters()
        return _nnext.linear_top_k(x, W, b, k, self.options)

    def log_prob(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Return ``log softmax(scores)[t]``, shape (...), for labels `t` (...) in [0, V)."""
        W, b = self._parameters()
        options = LossOptions(reduction="none", softcap=self.options.softcap)
        return np.asarray(-_nnext.linear_cross_entropy(x, W, t, b, options, None)[0])
