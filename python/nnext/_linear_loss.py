"""The linear layer and softmax loss in one, a part of `nnext.loss_layers`."""

from __future__ import annotations

from typing import Any, Literal, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import adding_backward, before_forward, check_weights, has_methods_of
from nnext._loss_types import Each, LossT, One, Options
from nnext._nnext import EmptyBatchError, LossOptions
from nnext._softmax_losses import SoftmaxLoss
from nnext._support import Array


class AffineSoftmaxWithLoss(SoftmaxLoss[LossT]):
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
    _count: float | None = None  # what the mean of the last forward was told to divide by

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
        x : array_like, shape (..., D)
        t : array_like, shape (...) or (..., V)
            The labels, as for `SoftmaxWithLoss`: class indices, one-hot rows or probabilities.
        sample_weight : array_like, shape (...), optional
        count : float, optional
            What the mean divides by, where this batch is a part of a larger one: see `count_of`.

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
            loss, self.count = self._loss(x, t, sample_weight, self.options, count)
        except EmptyBatchError:
            self.total = self._total(x, t, sample_weight)
            raise
        self._remember(x, t, sample_weight, count)
        return loss

    def count_of(
        self,
        x: ArrayLike,
        t: ArrayLike,
        sample_weight: ArrayLike | None = None,
        before: float = 0.0,
    ) -> float:
        """Return the `count` that ``forward`` would have, as `SoftmaxWithLoss.count_of`."""
        scores = self.scores(np.asarray(x)[:1])
        return _nnext.softmax_loss_count(scores, t, self.options, sample_weight, before)

    def _remember(self, x: Any, t: Any, sample_weight: Any, count: float | None) -> None:
        self.x, self.t, self._sample_weight, self._count = x, t, sample_weight, count

    @overload
    def backward(
        self, dout: ArrayLike = 1, input_grad: Literal[True] = True, *, accumulate: bool = False
    ) -> Array: ...
    @overload
    def backward(
        self, dout: ArrayLike = 1, *, input_grad: Literal[False], accumulate: bool = False
    ) -> None: ...
    @overload
    def backward(
        self, dout: ArrayLike, input_grad: Literal[False], *, accumulate: bool = False
    ) -> None: ...
    @overload
    def backward(
        self, dout: ArrayLike = 1, input_grad: bool = True, *, accumulate: bool = False
    ) -> Array | None: ...
    def backward(
        self, dout: float | ArrayLike = 1, input_grad: bool = True, *, accumulate: bool = False
    ) -> Array | None:
        """Write the gradients of the parameters into ``grads`` and return the input's.

        Parameters
        ----------
        dout : float
            The gradient by the loss; with ``reduction="none"`` also an array of its shape.
        input_grad : bool
            With False the gradient by the input is left out, and None returned.
        accumulate : bool
            Add to what ``grads`` hold, with the bits of one batch, as `nnext.Affine.backward`.

        Returns
        -------
        ndarray, shape (..., D), or None
        """
        if self.x is None or self.t is None:
            raise before_forward(self)
        dx: Array | None = self._with_grad(
            self.x, self.t, self._sample_weight, self._count, dout, input_grad, accumulate
        )[2]
        return dx

    def _with_grad(
        self,
        x: Any,
        t: Any,
        sample_weight: Any,
        count: float | None,
        dout: Any,
        input_grad: bool,
        accumulate: bool,
    ) -> Any:
        W, b = self._parameters()
        out = None, self.grads[0], self.grads[1] if b is not None else None
        return _nnext.linear_cross_entropy_with_grad(
            x, W, t, b, self.options, sample_weight, dout, *out, input_grad, count, accumulate
        )

    def forward_backward(
        self,
        x: ArrayLike,
        t: ArrayLike,
        sample_weight: ArrayLike | None = None,
        count: float | None = None,
        *,
        accumulate: bool = False,
    ) -> tuple[LossT, Array]:
        """Do ``forward(x, t, ...)`` and ``backward(...)`` in one pass over the scores.

        So a step takes 6·N·D·V operations instead of 8, with the same bits. `nnext.step.Step` and
        `Trainer` do it where the model is a `Sequential`.

        Parameters
        ----------
        x, t, sample_weight, count
            As in `forward`.
        accumulate : bool
            As in `backward`.

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
            named = {} if count is None else {"count": count}
            loss = self.forward(x, t, sample_weight, **named)
            return loss, (adding_backward(self) if accumulate else self.backward)()
        try:
            loss, self.count, dx, *_ = self._with_grad(
                x, t, sample_weight, count, 1, input_grad=True, accumulate=accumulate
            )
        except EmptyBatchError:
            self.total = self._total(x, t, sample_weight)
            raise
        self._remember(x, t, sample_weight, count)
        return loss, dx

    def _loss(
        self,
        x: Any,
        t: Any,
        sample_weight: Any,
        options: LossOptions,
        count: float | None = None,
    ) -> tuple[Any, float]:
        W, b = self._parameters()
        return _nnext.linear_cross_entropy(x, W, t, b, options, sample_weight, count)

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
