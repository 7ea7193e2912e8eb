"""What stands around recurrent layers, a part of `nnext.time_layers`: N sequences of T steps.

Most of it is a layer without time, which takes any leading axes and so all steps at once. What the
book computes step by step in a loop is one product or one loss here.
"""

from __future__ import annotations

from typing import Any, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnext import _nnext
from nnext._element_losses import SigmoidWithLoss
from nnext._layer import Layer, as_floats, before_forward
from nnext._loss_types import Each, LossT, One, Options
from nnext._nnext import EmptyBatchError
from nnext._softmax_losses import SoftmaxWithLoss
from nnext._support import Array, check_flag, check_numbers, given_source, naming
from nnext.layers import Affine, Embedding


class TimeEmbedding(Embedding):
    """Rows of a table for every step: ids of shape (N, T) become vectors (N, T, D).

    `Embedding` under the book's name: indices of any shape will do.

    Parameters
    ----------
    W : ndarray, shape (V, D)
        The table, one row a word: ``params[0]`` is this very array.
    padding_idx : int, optional
        As in `Embedding`.

    Raises
    ------
    ValueError, TypeError
        As `Embedding`.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 5.
    """

    def forward(self, xs: ArrayLike) -> Array:
        """Return ``W[xs]``, shape (N, T, D), for ids of shape (N, T), each in [0, V)."""
        with naming(idx="xs"):
            return super().forward(xs)

    @property
    def W(self) -> Array:
        """The table, ``params[0]``."""
        return self.params[0]


class TimeAffine(Affine):
    """``y = x W + b`` for every step: (N, T, D) becomes (N, T, M), in one product.

    `Affine` under the book's name: any leading axes will do.

    Parameters
    ----------
    W : ndarray, shape (D, M)
        The weights, ``params[0]``. May be the transposed view of an embedding's table (M, D): a
        shared weight, as `nnext.step.Step` knows it.
    b : ndarray, shape (M,)
        The bias, ``params[1]``.

    Raises
    ------
    ValueError, TypeError
        As `Affine`.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 5.
    """


class TimeSoftmaxWithLoss(SoftmaxWithLoss[LossT]):
    """Softmax and cross entropy of every step: the mean over all steps whose label counts.

    `SoftmaxWithLoss` that ignores the label -1 unless told otherwise. Scores have shape (N, T, V),
    labels (N, T) or, one-hot, (N, T, V). Where no label counts the book divides by 0; here it is an
    `nnext.EmptyBatchError`, and `nnext.step.Step` passes such a batch over.

    Parameters
    ----------
    reduction, ignore_label, label_smoothing, class_weight, z_loss, softcap
        As in `nnext.functions.linear_cross_entropy`.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 5.
    """

    @overload
    def __init__(
        self: TimeSoftmaxWithLoss[float], *, reduction: One = "mean", **options: Unpack[Options]
    ) -> None: ...
    @overload
    def __init__(
        self: TimeSoftmaxWithLoss[Array], *, reduction: Each, **options: Unpack[Options]
    ) -> None: ...
    @overload
    def __init__(
        self: TimeSoftmaxWithLoss[Any], *, reduction: str, **options: Unpack[Options]
    ) -> None: ...
    def __init__(
        self,
        *,
        reduction: str = "mean",
        ignore_label: int | None = -1,
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


class TimeSigmoidWithLoss(SigmoidWithLoss[LossT]):
    """Sigmoid and binary cross entropy of every step: the mean over the T steps, then over N.

    `SigmoidWithLoss` adds up the scores of a row; here the mean is taken of them, as in the book.
    With ``reduction="sum"`` the loss is the sum of all, with ``"none"`` that of each sequence.

    Parameters
    ----------
    pos_weight, reduction
        As in `SigmoidWithLoss`.

    Attributes
    ----------
    y, t : ndarray, shape (N, T), or None
        The probabilities of the last ``forward``, and its labels.
    count : float
        What the mean of the last ``forward`` divided by: T for each sequence, or T times its
        weight; with ``reduction="sum"`` or ``"none"`` the number of sequences that count.

    References
    ----------
    "Deep Learning from Scratch 2", ``common/time_layers.py``.
    """

    @overload
    def __init__(
        self: TimeSigmoidWithLoss[float],
        *,
        pos_weight: ArrayLike | None = None,
        reduction: One = "mean",
    ) -> None: ...
    @overload
    def __init__(
        self: TimeSigmoidWithLoss[Array], *, pos_weight: ArrayLike | None = None, reduction: Each
    ) -> None: ...
    @overload
    def __init__(
        self: TimeSigmoidWithLoss[Any], *, pos_weight: ArrayLike | None = None, reduction: str
    ) -> None: ...
    def __init__(self, *, pos_weight: ArrayLike | None = None, reduction: str = "mean") -> None:
        super().__init__(pos_weight=pos_weight, reduction=reduction)

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
        x : array_like, shape (N, T)
            The scores.
        t : array_like, shape (N, T)
            The labels in [0, 1].
        sample_weight : array_like, shape (N,), optional
            What each sequence counts; one of weight 0 is left out, whatever its scores.
        count : float, optional
            What the mean divides by, where this batch is a part of a larger one: see `count_of`.

        Returns
        -------
        float
            With ``reduction="none"`` an ndarray of shape (N,).

        Raises
        ------
        EmptyBatchError, ValueError, TypeError
            As `SigmoidWithLoss.forward`; an EmptyBatchError also if there is no step.
        """
        steps = _steps_of(x)
        if count is None and self.reduction == "mean":
            count = self._count_steps(x, t, sample_weight, steps)
        return super().forward(x, t, sample_weight, count)

    def evaluate(
        self, x: ArrayLike, t: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[Any, float]:
        """Return the loss and its `count`; the layer remembers nothing.

        Where nothing counts both are 0.
        """
        steps = _steps_of(x)
        loss, count = super().evaluate(x, t, sample_weight)
        if self.reduction != "mean":
            return loss, count
        return (loss / steps, count * steps) if count and steps else (0.0, 0.0)

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
            What ``forward`` takes, of any rows: its type and the number of its steps are looked at.
        t : array_like, shape (N, T)
        sample_weight : array_like, shape (N,), optional
        before : float
            The count of rows before these, which is added.
        """
        steps = _steps_of(x)
        if self.reduction != "mean":
            return super().count_of(x, t, sample_weight, before)
        return before + steps * super().count_of(x, t, sample_weight)

    def _count_steps(self, x: Any, t: Any, sample_weight: Any, steps: int) -> float:
        count = steps * super().count_of(x, t, sample_weight)
        if not count:
            raise EmptyBatchError(
                f"x: expected a step that counts, for the mean of the loss, got shape {np.shape(x)}"
                f"{'' if sample_weight is None else ', or weights that are all 0'}"
            )
        return count


def _steps_of(x: ArrayLike) -> int:
    """Return T of scores (N, T)."""
    shape = np.shape(x)
    if len(shape) != 2:
        raise ValueError(f"x: expected scores (N, T), a number for each step, got shape {shape}")
    return int(shape[1])


class TimeDropout(Layer):
    """Inverted dropout, with masks from ``numpy.random`` in the order in which the book draws them.

    In training an element is kept where ``np.random.rand(*xs.shape) > dropout_ratio``, and
    multiplied by ``1 / (1 - dropout_ratio)``. So ``numpy.random.seed`` gives the masks of the
    book's programs. (`nnext.Dropout` has a stream of its own.) Checkpoints of a run keep the state
    of what the masks are drawn from, that of ``numpy.random`` too.

    Parameters
    ----------
    dropout_ratio : float
        Probability of dropping an element, in [0, 1).
    seed : int, optional
        Of the masks; left out, they are drawn from ``numpy.random``.
    rng : RandomState or Generator, optional
        Draw the masks from this, in place of `seed`. Files of a model keep neither.

    Raises
    ------
    ValueError
        If `dropout_ratio` is out of its range, or there are both `seed` and `rng`.
    TypeError
        If it is no number, or `rng` no source of random numbers.

    Attributes
    ----------
    train_flg : bool
        Whether elements are dropped; True at first. The model sets it, as in the book.
    rng : RandomState or Generator
        What the masks are drawn from.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 6.
    """

    state_names = ("rng",)

    def __init__(
        self,
        dropout_ratio: float = 0.5,
        seed: int | None = None,
        *,
        rng: np.random.RandomState | np.random.Generator | None = None,
    ) -> None:
        check_numbers(dropout_ratio=dropout_ratio)
        if not 0 <= dropout_ratio < 1:
            raise ValueError(f"dropout_ratio must be in [0, 1), not {dropout_ratio}")
        source = given_source(seed, rng)
        super().__init__()
        self.dropout_ratio = dropout_ratio
        self.train_flg = True
        self._rng = source  # None for numpy.random, whose stream a copy goes on with
        self._kept: NDArray[np.bool_] | None = None
        self._has_run = False

    @property
    def rng(self) -> Any:
        """What the masks are drawn from: what was given, or the RandomState of ``numpy.random``."""
        return np.random.mtrand._rand if self._rng is None else self._rng

    @property
    def mask(self) -> Array | None:
        """What the last ``forward`` multiplied by, float32; None if it dropped nothing."""
        if self._kept is None:
            return None
        return self._kept.astype(np.float32) * np.float32(1 / (1 - self.dropout_ratio))

    def forward(self, xs: ArrayLike, train_flg: bool | None = None) -> Array:
        """Return `xs` with elements dropped; where the layer does not train, `xs` as an array.

        Integers and booleans become float64 in both cases.

        Parameters
        ----------
        xs : array_like, any shape
        train_flg : bool, optional
            Whether to drop elements in this call; left out, the attribute says it.
        """
        x = as_floats("xs", xs)
        if check_flag("train_flg", self.train_flg if train_flg is None else train_flg):
            kept = self.rng.random(x.shape) > self.dropout_ratio
            x = _nnext.dropout_backward(x, kept, self.dropout_ratio)
            self._kept = kept
        else:
            self._kept = None
        self._has_run = True
        return x

    def backward(self, dout: ArrayLike) -> Array:
        """Return `dout` with the same elements dropped; after a ``forward`` without, `dout`."""
        if not self._has_run:
            raise before_forward(self)
        if self._kept is None:
            return as_floats("dout", dout)
        return _nnext.dropout_backward(dout, self._kept, self.dropout_ratio)

    def _arguments(self) -> str:
        return f"{self.dropout_ratio:g}"


# The book's slower one, to be read beside TimeSoftmaxWithLoss: the mean of the losses of the steps,
# of which no label is ignored. That is the layer without time.
Simple_TimeSoftmaxWithLoss = SoftmaxWithLoss


class Simple_TimeAffine(TimeAffine):  # noqa: N801  the book's name
    """`TimeAffine` with the names of the book's simpler one: `W`, `b`, `dW` and `db`.

    Parameters
    ----------
    W : ndarray, shape (D, M)
    b : ndarray, shape (M,)

    Raises
    ------
    ValueError, TypeError
        As `Affine`.

    References
    ----------
    "Deep Learning from Scratch 2", ``common/time_layers.py``.
    """

    @property
    def W(self) -> Array:
        """The weights, ``params[0]``."""
        return self.params[0]

    @property
    def b(self) -> Array:
        """The bias, ``params[1]``."""
        return self.params[1]

    @property
    def dW(self) -> Array:
        """The gradient of `W`, ``grads[0]``."""
        return self.grads[0]

    @property
    def db(self) -> Array:
        """The gradient of `b`, ``grads[1]``."""
        return self.grads[1]
