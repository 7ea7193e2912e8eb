"""The layers that end a network in a loss; see `nnext.layers` for the contract.

``forward(x, t)`` returns the loss and ``backward(dout=1)`` the gradient by the scores, or for
`AffineSoftmaxWithLoss`, which makes the scores itself, by its input.
"""

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import Layer, before_forward
from nnext._loss_options import LossOptions
from nnext._support import Array

__all__ = ["AffineSoftmaxWithLoss", "SigmoidWithLoss", "SoftmaxWithLoss"]


def capped(scores: Array, softcap: float | None) -> Array:
    """Return ``softcap tanh(scores / softcap)``, or without a cap the scores themselves."""
    if softcap is None:
        return scores
    cap = scores.dtype.type(softcap)
    return np.asarray(cap * _nnext.tanh(scores / cap))


class SoftmaxWithLoss(Layer):
    """Softmax and the cross entropy of its output with the labels, as one layer.

    The loss is the mean over the rows of ``log(Σ exp(x)) - x[t]``, computed from the scores
    themselves, so that it is exact where ``-log(softmax(x) + 1e-7)`` saturates.

    Parameters
    ----------
    reduction, ignore_label, label_smoothing, class_weight, z_loss, softcap
        As in `nnext.functions.linear_cross_entropy`; here no label is ignored unless one is named.

    Attributes
    ----------
    y : ndarray, shape (..., C), or None
        The probabilities of the last ``forward``.
    t : ndarray of int64, shape (...), or None
        Its labels as class indices, whatever they were given as; -1 where ignored.
    """

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
        super().__init__()
        self.options = LossOptions(
            reduction, ignore_label, label_smoothing, class_weight, None, z_loss, softcap
        ).checked()
        self.y: Array | None = None
        self.t: Array | None = None
        self._x: ArrayLike | None = None  # the scores, where the probabilities are not enough
        self._used = self.options  # by the last forward, with its sample weights

    @property
    def ignore_label(self) -> int | None:
        """The label whose rows count nothing."""
        return self.options.ignore_label

    def forward(
        self, x: ArrayLike, t: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float | Array:
        """Return the loss.

        Parameters
        ----------
        x : array_like, shape (..., C)
            The scores (logits).
        t : array_like, shape (...) or (..., C)
            The labels: class indices, or one-hot rows, recognised by having the size of `x`.
        sample_weight : array_like, shape (...), optional
            What each row's loss counts.

        Returns
        -------
        float
            With ``reduction="none"`` an ndarray of shape (...).

        Raises
        ------
        ValueError
            If `x` has no rows or only ignored ones (the mean over nothing), or the shapes do not
            fit.
        IndexError
            If a label is below 0 or not below C.
        """
        used = self.options.weighted(sample_weight)
        if used.is_plain():
            loss, self.y, self.t = _nnext.softmax_loss_forward(x, t)
            self._x = None
        else:
            loss, self.y, self.t = _nnext.cross_entropy_forward(x, t, used)
            self._x = x
        self._used = used
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
        if self._x is None:
            return _nnext.softmax_loss_backward(self.y, self.t, dout)  # type: ignore[arg-type]
        return _nnext.cross_entropy_backward(self._x, self.t, self._used, dout)


class AffineSoftmaxWithLoss(Layer):
    """`Affine` and `SoftmaxWithLoss` in one, for many classes: the scores are never whole.

    N rows and V classes would make N·V scores, and several arrays of that size. Here they are made
    and used up in chunks of rows (`nnext.set_score_budget`), with the bits of the two layers.
    ``forward`` takes 2·N·D·V operations; ``backward`` computes the scores again, 6·N·D·V, so a step
    takes 4/3 of the two layers' operations, and validation, which calls ``forward`` alone, a third
    of `nnext.functions.linear_cross_entropy_with_grad`, which does a whole step in 6·N·D·V.

    Parameters
    ----------
    W : ndarray, shape (D, V)
        The weights, ``params[0]``. May be the transposed view of an embedding's (V, D): shared
        weights, as `Trainer` and `BaseModel` know them.
    b : ndarray, shape (V,), optional
        The bias, ``params[1]``.
    reduction, ignore_label, label_smoothing, class_weight, z_loss, softcap
        As in `nnext.functions.linear_cross_entropy`.

    Attributes
    ----------
    x, t : array_like or None
        Input and labels of the last ``forward``, the objects themselves: change neither them nor
        the parameters before ``backward``.
    """

    skips_input_grad = True

    def __init__(
        self,
        W: Array,
        b: Array | None = None,
        *,
        reduction: str = "mean",
        ignore_label: int | None = -1,
        label_smoothing: float = 0.0,
        class_weight: ArrayLike | None = None,
        z_loss: float = 0.0,
        softcap: float | None = None,
    ) -> None:
        super().__init__(*((W,) if b is None else (W, b)))
        self.options = LossOptions(
            reduction, ignore_label, label_smoothing, class_weight, None, z_loss, softcap
        ).checked()
        self.x: ArrayLike | None = None
        self.t: ArrayLike | None = None
        self._used = self.options

    @property
    def ignore_label(self) -> int | None:
        """The label whose rows count nothing."""
        return self.options.ignore_label

    def _parameters(self) -> tuple[Array, Array | None]:
        return self.params[0], self.params[1] if len(self.params) > 1 else None

    def forward(
        self, x: ArrayLike, t: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float | Array:
        """Return the loss.

        Parameters
        ----------
        x : array_like, shape (..., D)
        t : array_like, shape (...) or (..., V)
            The labels, as for `SoftmaxWithLoss`: class indices or one-hot rows.
        sample_weight : array_like, shape (...), optional

        Returns
        -------
        float
            With ``reduction="none"`` an ndarray of shape (...).
        """
        W, b = self._parameters()
        used = self.options.weighted(sample_weight)
        loss: float | Array = _nnext.linear_cross_entropy(x, W, t, b, used)
        self.x, self.t, self._used = x, t, used
        return loss

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
        W, b = self._parameters()
        db = self.grads[1] if b is not None else None
        dx: Array | None = _nnext.linear_cross_entropy_with_grad(
            self.x, W, self.t, b, self._used, dout, None, self.grads[0], db, input_grad
        )[1]
        return dx

    def scores(self, x: ArrayLike) -> Array:
        """Return all scores of `x`, shape (..., V), capped if ``softcap`` is set."""
        W, b = self._parameters()
        return capped(_nnext.affine_forward(x, W, b), self.options.softcap)

    def predict(self, x: ArrayLike) -> Array:
        """Return the class with the highest score (the first of equal ones), int64, shape (...)."""
        return self.top_k(x, 1)[0][..., 0]

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
            Of equal scores the first class comes first.
        log_prob : ndarray, shape (..., k)
        """
        W, b = self._parameters()
        return _nnext.linear_top_k(x, W, b, k, self.options.softcap)

    def log_prob(self, x: ArrayLike, t: ArrayLike) -> Array:
        """Return ``log softmax(scores)[t]``, shape (...), for labels `t` (...) in [0, V)."""
        W, b = self._parameters()
        options = LossOptions("none", softcap=self.options.softcap)
        return np.asarray(-_nnext.linear_cross_entropy(x, W, t, b, options))


class SigmoidWithLoss(Layer):
    """Sigmoid and the binary cross entropy of its output with the labels, as one layer.

    The loss is the sum of ``max(x, 0) - x t + log(1 + exp(-|x|))`` over all elements, divided by
    N, the length of the first axis: exact where the book's ``log(y + 1e-7)`` saturates.

    Attributes
    ----------
    y : ndarray, shape (N, ...), or None
        The probabilities of the last ``forward``.
    t : ndarray, shape (N, ...), or None
        Its labels, in the type of `y`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.y: Array | None = None
        self.t: Array | None = None

    def forward(self, x: ArrayLike, t: ArrayLike) -> float:
        """Return the loss of the scores `x` and the labels `t` in [0, 1], both (N, ...)."""
        loss, self.y, self.t = _nnext.sigmoid_loss_forward(x, t)
        return loss

    def backward(self, dout: float = 1) -> Array:
        """Return ``(y - t) dout / N``, a new array of the shape of the scores."""
        if self.y is None or self.t is None:
            raise before_forward(self)
        return _nnext.sigmoid_loss_backward(self.y, self.t, dout)
