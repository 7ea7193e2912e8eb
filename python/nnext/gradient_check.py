"""Gradients against central differences: how to know that a ``backward`` is right."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnext._putting_back import putting_buffers_back
from nnext._states import Standing, put_back, standing
from nnext._support import Array, check_numbers, find_shared

__all__ = ["GradientCheck", "GradientError", "check_gradients", "numerical_gradient"]


_WRITEABLE = (
    "A copy can be written; if joblib mapped a file into memory, load it with mmap_mode=None, or "
    "'c' for changes that stay in memory"
)


class Model(Protocol):
    """What `check_gradients` needs of a model."""

    @property
    def params(self) -> list[Any]:
        """The parameters, arrays."""

    @property
    def grads(self) -> list[Any]:
        """Their gradients."""

    def forward(self, x: ArrayLike, t: ArrayLike, /) -> float:
        """Return the loss."""

    def backward(self) -> Any:
        """Write the gradients of the last ``forward`` into ``grads``."""


@dataclass(frozen=True)
class GradientError:
    """How far one parameter's gradient is from central differences.

    Attributes
    ----------
    index : int
        The parameter's place in ``model.params``.
    shape : tuple of int
    dtype : dtype
    error : float
        Largest difference, relative to the largest gradient (see `check_gradients`).
    tolerance : float
        What `error` may be in this type.
    at : tuple of int
        Where in the array the difference is largest.
    analytic, numerical : float
        What ``backward`` says there, and what the central difference says.
    """

    index: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    error: float
    tolerance: float
    at: tuple[int, ...]
    analytic: float
    numerical: float

    @property
    def ok(self) -> bool:
        """Whether the error is within the tolerance; a NaN is not."""
        return self.error <= self.tolerance

    def __str__(self) -> str:
        at = ", ".join(map(str, self.at))
        return (
            f"params[{self.index}] {self.dtype} {self.shape}: relative error {self.error:.1e} "
            f"{'<=' if self.ok else 'is not <='} {self.tolerance:.1e}, "
            f"at [{at}] backward {self.analytic:.6g}, central difference {self.numerical:.6g}"
        )


@dataclass(frozen=True)
class GradientCheck:
    """The outcome of `check_gradients`; ``print`` it, in ASCII for any terminal.

    Attributes
    ----------
    loss : float
        The loss at which the gradients were taken.
    entries : tuple of GradientError
        One for each parameter, a shared one at its first place alone.
    """

    loss: float
    entries: tuple[GradientError, ...]

    @property
    def worst(self) -> GradientError | None:
        """The entry that is furthest beyond its tolerance; None if there are no parameters."""

        def badness(entry: GradientError) -> float:
            return math.inf if math.isnan(entry.error) else entry.error / entry.tolerance

        return max(self.entries, key=badness, default=None)

    @property
    def error(self) -> float:
        """The worst relative error, 0 if there are no parameters."""
        return 0.0 if self.worst is None else self.worst.error

    @property
    def ok(self) -> bool:
        """Whether every gradient is within its tolerance."""
        return all(entry.ok for entry in self.entries)

    def __str__(self) -> str:
        lines = [str(entry) for entry in self.entries]
        if self.worst is not None:
            verdict = "all gradients agree" if self.ok else "GRADIENTS DISAGREE"
            lines.append(f"{verdict}; the worst is params[{self.worst.index}]")
        return "\n".join(lines or ["no parameters"])


def numerical_gradient(
    f: Callable[[Array], float], x: Array, eps: float | None = None
) -> NDArray[np.float64]:
    """Gradient of ``f(x)`` by central differences, as in the book.

    Each element is moved by a step to either side, in place, and put back, also when `f` raises.
    The difference is divided by the distance that was really moved, which in float32 is not
    exactly twice the step.

    Parameters
    ----------
    f : callable
        Takes `x` and returns a number.
    x : ndarray of floats, any shape and strides
        Where to take the gradient.
    eps : float, optional
        The step, relative to ``max(1, |x_i|)``. The error of a central difference has two parts:
        cutting off the Taylor series costs about eps², and rounding f costs about u / eps, with u
        the spacing of the type of `x` at 1. The cube root of u, which is the default, balances
        them: 4.9e-3 in float32, 6.1e-6 in float64, 9.9e-2 in float16. (The book's
        1e-4 is too small for float32.)

    Returns
    -------
    ndarray of float64, the shape of `x`

    Raises
    ------
    TypeError
        If `x` is not an array of floats: integers cannot be moved by a small step.
    ValueError
        If `x` is read-only, or `eps` not above 0 or too small to move a number.
    """
    kind = getattr(x, "dtype", type(x))
    if not np.issubdtype(kind, np.floating) or not isinstance(x, np.ndarray):
        raise TypeError(f"x must be a NumPy array of floats, not {kind}")
    if not x.flags.writeable:
        raise ValueError(f"x is read-only, and has to be moved in place. {_WRITEABLE}")
    if eps is None:
        eps = _step(x.dtype)
    check_numbers(eps=eps)
    if not eps > 0:
        raise ValueError(f"eps must be above 0, not {eps}")

    grad = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        here = x[i]
        step = eps * max(1.0, abs(float(here)))
        try:
            x[i] = float(here) + step
            right, above = float(x[i]), float(f(x))
            x[i] = float(here) - step
            left, below = float(x[i]), float(f(x))
        finally:
            x[i] = here
        if right == left:
            raise ValueError(f"eps={eps} is too small to move {here} in {x.dtype}")
        grad[i] = (above - below) / (right - left)
    return grad


def check_gradients(
    model: Model, x: ArrayLike, t: ArrayLike, eps: float | None = None
) -> GradientCheck:
    """Compare every gradient of a model with central differences.

    Parameters are moved in place and always put back, also when the model raises, and so are the
    model's ``buffers``, such as the running statistics of `BatchNorm`. Each loss begins where the
    model stood: with the same states of stateful layers, and the same elements dropped; there it
    stands afterwards too. ``model.grads`` then holds the gradients at `x` and `t`, and every layer
    remembers that call.
    Two losses are computed for each single number among the parameters: take a small model and a
    few rows.

    Parameters
    ----------
    model : model
        Anything with ``params``, ``grads``, ``forward(x, t)`` that returns the loss, and
        ``backward()``. It must be deterministic, but for what checkpoints keep
        (what it names in ``state_names`` and ``counter_names``).
    x, t : array_like
        A batch of inputs and labels, handed to ``model.forward``.
    eps : float, optional
        The step; by default that of `numerical_gradient` for the type of each parameter.

    Returns
    -------
    GradientCheck
        The error of each parameter and the worst of them. The error of an array is the largest
        difference divided by the largest gradient in it, or by ``step × loss`` where all of them
        are smaller than that: rounding alone makes a central difference wrong by about
        ``step² × loss``, so a smaller gradient cannot be told from 0 with any certainty. The
        tolerance is four default steps, 2e-2 in float32 and 2.4e-5 in float64; in float16 it is
        0.40, which tells gross errors alone. A kink (`ReLU`) within a step of a score is an honest
        difference: try other numbers before blaming ``backward``.

    Raises
    ------
    ValueError
        If ``params`` and ``grads`` do not fit each other, a parameter is read-only, the same input
        gives two losses, or the loss has ``reduction="none"``.
    TypeError
        If a parameter is not an array of floats.
    """
    shapes = [[np.shape(a) for a in arrays] for arrays in (model.params, model.grads)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"params have shapes {shapes[0]} and grads {shapes[1]}")

    if getattr(getattr(model, "loss_layer", None), "reduction", "mean") == "none":
        raise ValueError(
            'model.loss_layer: reduction="none" gives a loss for each row, and gradients are those '
            'of one number: expected reduction="mean" or "sum"'
        )
    for i, p in enumerate(model.params):
        if not np.issubdtype(getattr(p, "dtype", type(p)), np.floating):
            raise TypeError(
                f"params[{i}]: expected an array of NumPy's floats, got "
                f"{getattr(p, 'dtype', type(p).__name__)}; the others have no small step to be "
                "moved by: check the layers with parameters of float32"
            )
        if not p.flags.writeable:
            raise ValueError(
                f"params[{i}] is read-only, and has to be moved in place. {_WRITEABLE}"
            )
    begin = standing(model)
    with putting_buffers_back(model):
        try:
            return _compared(model, x, t, eps, begin)
        finally:
            put_back(begin)


def _compared(
    model: Model, x: ArrayLike, t: ArrayLike, eps: float | None, begin: Standing
) -> GradientCheck:
    def forward(_: Array | None = None) -> float:
        put_back(begin)
        return float(model.forward(x, t))

    before = forward()
    shared = find_shared(model.params)
    # The numerical ones first, so that the last forward and backward are those of the caller's x.
    numerical = {
        i: numerical_gradient(forward, p, eps)
        for i, p in enumerate(model.params)
        if shared[i][0] == i
    }
    loss = forward()
    if not np.array_equal(loss, before, equal_nan=True):
        raise ValueError(
            f"the same input gave a loss of {before} and then of {loss}: the model is not "
            "deterministic, which central differences need. Is there something in it that draws "
            "random numbers, or goes on from call to call? Switch that off"
        )
    model.backward()

    # What is used in several places has the sum of the gradients of its places.
    # A model may have gathered it already, in one array that stands in several places.
    analytic = {i: np.zeros(grad.shape) for i, grad in numerical.items()}
    counted = set()
    gathered = find_shared(model.grads)
    for i, ((first, transposed), grad) in enumerate(zip(shared, model.grads, strict=True)):
        if (first, gathered[i][0]) not in counted:
            counted.add((first, gathered[i][0]))
            analytic[first] += grad.T if transposed else grad
    return GradientCheck(
        loss,
        tuple(
            _compare(i, model.params[i].dtype, analytic[i], numerical[i], loss) for i in numerical
        ),
    )


def _step(dtype: np.dtype[Any]) -> float:
    return math.cbrt(np.finfo(dtype).eps)


def _compare(
    index: int,
    dtype: np.dtype[Any],
    analytic: NDArray[np.float64],
    numerical: NDArray[np.float64],
    loss: float,
) -> GradientError:
    with np.errstate(invalid="ignore"):  # inf - inf is a NaN, and told as one
        difference = abs(analytic - numerical)
    at: tuple[int, ...] = ()
    error, pair = 0.0, (0.0, 0.0)
    if difference.size:
        # argmax stops at a NaN, so a NaN is the worst there is.
        at = tuple(map(int, np.unravel_index(difference.argmax(), difference.shape)))
        scale = max(abs(analytic).max(), abs(numerical).max(), _step(dtype) * abs(loss))
        error = float(difference[at])
        if 0 < error < math.inf:
            error /= float(scale)
        pair = (float(analytic[at]), float(numerical[at]))
    return GradientError(
        index, analytic.shape, dtype, error, 4 * _step(dtype), at, pair[0], pair[1]
    )
