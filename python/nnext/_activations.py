"""The layers that apply a function to every element, or change the shape alone."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import Layer, as_numbers, before_forward
from nnext._support import Array, check_numbers


class _Activation(Layer):
    """A function without parameters whose gradient needs its output alone.

    Attributes
    ----------
    out : ndarray or None
        The output of the last ``forward``.
    """

    _f: ClassVar[staticmethod[[ArrayLike], Array]]
    _df: ClassVar[staticmethod[[ArrayLike, ArrayLike], Array]]

    def __init__(self) -> None:
        super().__init__()
        self.out: Array | None = None

    def forward(self, x: ArrayLike) -> Array:
        """Return the function of `x`, an array of the same shape."""
        self.out = out = self._f(x)
        return out

    def backward(self, dout: ArrayLike) -> Array:
        """Return the gradient by the input for `dout`, the gradient by the output."""
        if self.out is None:
            raise before_forward(self)
        return self._df(self.out, dout)


class _InputActivation(Layer):
    """A function without parameters whose gradient needs its input.

    Attributes
    ----------
    x : array_like or None
        The input of the last ``forward``, the object itself.
    """

    def __init__(self) -> None:
        super().__init__()
        self.x: ArrayLike | None = None

    def _f(self, x: ArrayLike) -> Array:
        raise NotImplementedError

    def _df(self, x: ArrayLike, dout: ArrayLike) -> Array:
        raise NotImplementedError

    def forward(self, x: ArrayLike) -> Array:
        """Return the function of `x`, an array of the same shape."""
        y = self._f(x)
        self.x = x
        return y

    def backward(self, dout: ArrayLike) -> Array:
        """Return the gradient by the input for `dout`, the gradient by the output."""
        if self.x is None:
            raise before_forward(self)
        return self._df(self.x, dout)


class Sigmoid(_Activation):
    """``y = 1 / (1 + exp(-x))``, ``dx = dout y (1 - y)``."""

    _f = staticmethod(_nnext.sigmoid)
    _df = staticmethod(_nnext.sigmoid_backward)


class ReLU(_Activation):
    """``y = max(x, 0)``, ``dx = 0`` where ``y <= 0`` and `dout` elsewhere."""

    _f = staticmethod(_nnext.relu)
    _df = staticmethod(_nnext.relu_backward)


class Tanh(_Activation):
    """``y = tanh(x)``, ``dx = dout (1 - y²)``."""

    _f = staticmethod(_nnext.tanh)
    _df = staticmethod(_nnext.tanh_backward)


class Softmax(_Activation):
    """``y = softmax(x)`` along the last axis, ``dx = y (dout - Σ y dout)``."""

    _f = staticmethod(_nnext.softmax)
    _df = staticmethod(_nnext.softmax_backward)


class LeakyReLU(Layer):
    """``y = x`` where ``x > 0``, elsewhere ``negative_slope x``; ``dx`` so from `dout`.

    Parameters
    ----------
    negative_slope : float
        The slope below 0; at least 0, which is `ReLU`. (The layer remembers its output alone, whose
        sign is that of the input only then.)

    Raises
    ------
    ValueError
        If `negative_slope` is negative, infinite or NaN.
    TypeError
        If it is no number.

    Attributes
    ----------
    out : ndarray or None
        The output of the last ``forward``.

    References
    ----------
    Maas et al., "Rectifier Nonlinearities Improve Neural Network Acoustic Models", ICML 2013.
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        check_numbers(negative_slope=negative_slope)
        slope = float(negative_slope)
        if not 0 <= slope < math.inf:
            raise ValueError(f"negative_slope must be finite and at least 0, not {negative_slope}")
        super().__init__()
        self.negative_slope = slope
        self.out: Array | None = None

    def forward(self, x: ArrayLike) -> Array:
        """Return the function of `x`, an array of the same shape."""
        self.out = out = _nnext.leaky_relu(x, self.negative_slope)
        return out

    def backward(self, dout: ArrayLike) -> Array:
        """Return the gradient by the input for `dout`, the gradient by the output."""
        if self.out is None:
            raise before_forward(self)
        return _nnext.leaky_relu_backward(self.out, dout, self.negative_slope)

    def _arguments(self) -> str:
        return repr(self.negative_slope)


class SiLU(_InputActivation):
    """``y = x s`` with ``s = sigmoid(x)``, ``dx = dout s (1 + x (1 - s))``: also called swish.

    References
    ----------
    Elfwing et al., "Sigmoid-Weighted Linear Units for Neural Network Function Approximation in
    Reinforcement Learning", Neural Networks 107 (2018).
    """

    def _f(self, x: ArrayLike) -> Array:
        return _nnext.silu(x)

    def _df(self, x: ArrayLike, dout: ArrayLike) -> Array:
        return _nnext.silu_backward(x, dout)


class GELU(_InputActivation):
    """``y = x Φ(x)``, ``dx = dout (Φ(x) + x φ(x))``: the normal distribution and its density.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        With "tanh" it is ``y = x/2 (1 + tanh(√(2/π) (x + 0.044715 x³)))``, as GPT-2 has it.

    Raises
    ------
    ValueError
        If `approximate` is neither.

    References
    ----------
    Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)", arXiv:1606.08415 (2016).
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        check_approximate(approximate)
        super().__init__()
        self.approximate = approximate

    def _f(self, x: ArrayLike) -> Array:
        return _nnext.gelu_tanh(x) if self.approximate == "tanh" else _nnext.gelu(x)

    def _df(self, x: ArrayLike, dout: ArrayLike) -> Array:
        if self.approximate == "tanh":
            return _nnext.gelu_tanh_backward(x, dout)
        return _nnext.gelu_backward(x, dout)

    def _arguments(self) -> str:
        return "" if self.approximate == "none" else f"approximate={self.approximate!r}"


def check_approximate(approximate: object) -> None:
    """Raise a ValueError if GELU has no such form."""
    if not isinstance(approximate, str) or approximate not in ("none", "tanh"):
        raise ValueError(f"approximate: expected 'none' or 'tanh', got {approximate!r}")


class Flatten(Layer):
    """Make a row of each sample: shape (N, ...) becomes (N, D), D the product of the other axes.

    Attributes
    ----------
    shape : tuple of int or None
        The shape of the last input.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shape: tuple[int, ...] | None = None

    def forward(self, x: ArrayLike) -> Array:
        """Return `x` as rows, in its own type: a view of it if its memory allows.

        Raises
        ------
        ValueError
            If `x` is a number, which has no batch axis.
        """
        array = as_numbers("x", x)
        if array.ndim == 0:
            raise ValueError("x: expected an array of at least 1 dimension, got shape ()")
        y = array.reshape(len(array), math.prod(array.shape[1:]))
        self.shape = array.shape
        return y

    def backward(self, dout: ArrayLike) -> Array:
        """Return `dout`, shape (N, D), in the shape of the input.

        Raises
        ------
        ValueError
            If `dout` has another shape than the output.
        """
        if self.shape is None:
            raise before_forward(self)
        array = as_numbers("dout", dout)
        rows = (self.shape[0], math.prod(self.shape[1:]))
        if array.shape != rows:
            raise ValueError(f"dout: expected shape {rows}, that of y, got shape {array.shape}")
        return array.reshape(self.shape)
