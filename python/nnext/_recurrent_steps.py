"""The recurrent layers of one step; `nnext._recurrent` has those of whole sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import Layer, as_numbers, before_forward, check_parameter
from nnext._support import Array, check_flag

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "Left", "OneStateCell", "RNNCell", "Recurrent"]

Left = tuple[Array, ...]  # what a forward of the core leaves for its backward


class Recurrent(Layer):
    """What recurrent layers share: their weights, whose columns are those of the gates."""

    param_names = ("Wx", "Wh", "b")
    gates: ClassVar[int]

    def __init__(self, Wx: Array, Wh: Array, b: Array | None, biases: int) -> None:
        check_parameter("Wx", Wx)
        check_parameter("Wh", Wh)
        factor = f"{self.gates} " if self.gates > 1 else ""
        if Wh.ndim != 2 or Wh.shape[1] != self.gates * Wh.shape[0]:
            raise ValueError(f"Wh: expected shape (H, {factor}H), got {Wh.shape}")
        if Wx.ndim != 2 or Wx.shape[1] != Wh.shape[1]:
            raise ValueError(
                f"Wx: expected shape (D, {Wh.shape[1]}), got {Wx.shape} with Wh of shape {Wh.shape}"
            )
        if b is None:
            super().__init__(Wx, Wh)
            return
        check_parameter("b", b)
        if b.shape != (biases * Wh.shape[0],):
            raise ValueError(
                f"b: expected shape {(biases * Wh.shape[0],)}, got {b.shape} with Wh of shape "
                f"{Wh.shape}"
            )
        super().__init__(Wx, Wh, b)

    def _weights(self) -> tuple[Array, Array, Array | None]:
        """Return Wx, Wh and b, which is None in a layer without."""
        Wx, Wh, *b = self.params
        return Wx, Wh, b[0] if b else None

    def _gradients(self) -> tuple[Array, Array, Array | None]:
        dWx, dWh, *db = self.grads
        return dWx, dWh, db[0] if db else None

    def _arguments(self) -> str:
        return f"{self.params[0].shape[0]}, {self.params[1].shape[0]}"


class OneStateCell(Recurrent):
    """A formula that hands on one state, for a layer of one step and one of whole sequences."""

    _in_core: ClassVar[tuple[Callable[..., Any], Callable[..., Any]]]

    def _options(self) -> tuple[bool, ...]:
        """Return what the functions of the core are told beside arrays."""
        return ()

    def _run(self, xs: ArrayLike, h: Array | None) -> tuple[Array, Array, Left]:
        """Return the output, the states in the type computed in, and what is left for the way back.

        `h` is the state before the first step, None for zeros.
        """
        forward, _ = self._in_core
        hs, states, left = forward(xs, *self._weights(), h, *self._options())
        return hs, states, left

    def _run_back(
        self, xs: ArrayLike, left: Left, dhs: ArrayLike, input_grad: bool, accumulate: bool
    ) -> tuple[Any, Array]:
        """Write the gradients of the weights; return that of `xs`, or None, and that of `h`."""
        _, backward = self._in_core
        before = *self._weights(), *self._options(), left
        dxs, dh = backward(xs, *before, dhs, *self._gradients(), input_grad, accumulate)
        return dxs, dh


class RNNCell(OneStateCell):
    """What `RNN` and `TimeRNN` share: their formula."""

    gates = 1
    _in_core = _nnext.rnn_forward, _nnext.rnn_backward


class GRUCell(OneStateCell):
    """What `GRU` and `TimeGRU` share: their formula, and the names of the book's attributes."""

    gates = 3
    _in_core = _nnext.gru_forward, _nnext.gru_backward
    reset_after: bool

    def _options(self) -> tuple[bool, ...]:
        return (self.reset_after,)

    Wx = property(lambda self: self.params[0], doc="``params[0]``, as in the book's code.")
    Wh = property(lambda self: self.params[1], doc="``params[1]``, as in the book's code.")
    dWx = property(lambda self: self.grads[0], doc="``grads[0]``, as in the book's code.")
    dWh = property(lambda self: self.grads[1], doc="``grads[1]``, as in the book's code.")


class _OneStep(Recurrent):
    """What the layers of one step share: a batch is a sequence of one."""

    def __init__(self, Wx: Array, Wh: Array, b: Array | None, biases: int) -> None:
        super().__init__(Wx, Wh, b, biases)
        self.x: Array | None = None
        self._left: Left | None = None

    def _input(self, x: ArrayLike) -> Array:
        """Return x (N, D) as sequences of one step."""
        array = as_numbers("x", x)
        inputs = self.params[0].shape[0]
        if array.ndim != 2 or array.shape[1] != inputs:
            raise ValueError(f"x: expected shape (N, {inputs}), got {array.shape}")
        return array[:, np.newaxis]

    def _state(self, name: str, state: ArrayLike, batch: int) -> Array:
        array = as_numbers(name, state)
        shape = batch, self.params[1].shape[0]
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape}, got {array.shape}")
        return array

    def _remembered(self) -> tuple[Array, Left]:
        if self.x is None or self._left is None:
            raise before_forward(self)
        return self.x, self._left


class _OneStateStep(_OneStep, OneStateCell):
    """What `RNN` and `GRU` share: a step hands on one state."""

    def forward(self, x: ArrayLike, h_prev: ArrayLike) -> Array:
        """Return the state after `x`, shape (N, D), from that before, `h_prev`, shape (N, H)."""
        xs = self._input(x)
        hs, _, left = self._run(xs, self._state("h_prev", h_prev, len(xs)))
        self.x, self._left = xs, left
        return hs[:, 0]

    def backward(self, dh_next: ArrayLike) -> tuple[Array, Array]:
        """Write the gradients of the weights into ``grads`` and return those of `x` and `h_prev`.

        Parameters
        ----------
        dh_next : array_like, shape (N, H)
            Gradient by the state that ``forward`` returned.
        """
        xs, left = self._remembered()
        dout = self._state("dh_next", dh_next, len(xs))[:, np.newaxis]
        dxs, dh = self._run_back(xs, left, dout, input_grad=True, accumulate=False)
        return dxs[:, 0], dh


class RNN(RNNCell, _OneStateStep):
    """One step of a recurrent layer, ``h_next = tanh(x Wx + h_prev Wh + b)``.

    `TimeRNN` does all steps at once.

    Parameters
    ----------
    Wx : ndarray, shape (D, H)
        The weights of the input, ``params[0]``.
    Wh : ndarray, shape (H, H)
        Those of the state, ``params[1]``.
    b : ndarray, shape (H,)
        The bias, ``params[2]``.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If one is not an array of floats.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 5.
    """

    def __init__(self, Wx: Array, Wh: Array, b: Array) -> None:
        check_parameter("b", b)
        super().__init__(Wx, Wh, b, 1)


class LSTM(_OneStep):
    """One step of long short-term memory.

    With ``f, g, i, o = sigmoid, tanh, sigmoid, sigmoid`` of the four quarters of
    ``x Wx + h_prev Wh + b``: ``c_next = f * c_prev + g * i`` and ``h_next = o * tanh(c_next)``.
    `TimeLSTM` does all steps at once.

    Parameters
    ----------
    Wx : ndarray, shape (D, 4 H)
        The weights of the input, ``params[0]``: forget gate, new memory, input gate, output gate.
    Wh : ndarray, shape (H, 4 H)
        Those of the state, ``params[1]``.
    b : ndarray, shape (4 H,)
        The bias, ``params[2]``.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If one is not an array of floats.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 6; Hochreiter and Schmidhuber, "Long Short-Term Memory",
    Neural Computation 9 (1997).
    """

    gates = 4

    def __init__(self, Wx: Array, Wh: Array, b: Array) -> None:
        check_parameter("b", b)
        super().__init__(Wx, Wh, b, 4)

    def forward(self, x: ArrayLike, h_prev: ArrayLike, c_prev: ArrayLike) -> tuple[Array, Array]:
        """Return state and cells after `x`, shape (N, D), from those before, shape (N, H)."""
        xs = self._input(x)
        h = self._state("h_prev", h_prev, len(xs))
        c = self._state("c_prev", c_prev, len(xs))
        hs, _, left = _nnext.lstm_forward(xs, *self._weights(), h, c)
        self.x, self._left = xs, left
        return hs[:, 0], left[2][:, 1].astype(hs.dtype)

    def backward(self, dh_next: ArrayLike, dc_next: ArrayLike) -> tuple[Array, Array, Array]:
        """Write the gradients of the weights into ``grads`` and return the others.

        Parameters
        ----------
        dh_next, dc_next : array_like, shape (N, H)
            Gradients by the state and the cells that ``forward`` returned; 0 for `dc_next` stands
            for zeros.

        Returns
        -------
        dx, dh_prev, dc_prev : ndarray
        """
        xs, left = self._remembered()
        dout = self._state("dh_next", dh_next, len(xs))[:, np.newaxis]
        dc = None
        if np.ndim(dc_next) or dc_next != 0:
            dc = self._state("dc_next", dc_next, len(xs))
        dxs, dh, dc_prev = _nnext.lstm_backward(
            xs, *self._weights(), left, dout, dc, *self._gradients(), True
        )
        return dxs[:, 0], dh, dc_prev


class GRU(GRUCell, _OneStateStep):
    """One step of a gated recurrent unit.

    With ``z, r = sigmoid`` of the first two thirds of ``x Wx + h_prev Wh + b`` and the last thirds
    of the weights, Wx', Wh' and b': ``n = tanh(x Wx' + (r * h_prev) Wh' + b')`` and
    ``h_next = (1 - z) * h_prev + z * n``. `TimeGRU` does all steps at once.

    Parameters
    ----------
    Wx : ndarray, shape (D, 3 H)
        The weights of the input, ``params[0]``: update gate, reset gate, new state.
    Wh : ndarray, shape (H, 3 H)
        Those of the state, ``params[1]``.
    b : ndarray, shape (3 H,), optional
        The bias, ``params[2]``; the book's code has none. With `reset_after` it has 4 H elements.
    reset_after : bool
        Reset the product instead of the state, ``n = tanh(x Wx' + b' + r * (h_prev Wh' + b''))``
        with b'' the last quarter of `b`: what cuDNN, PyTorch and Keras compute.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If one is not an array of floats.

    References
    ----------
    "Deep Learning from Scratch 2", appendix C; Cho et al., "Learning Phrase Representations using
    RNN Encoder-Decoder for Statistical Machine Translation", EMNLP 2014.
    """

    def __init__(
        self, Wx: Array, Wh: Array, b: Array | None = None, *, reset_after: bool = False
    ) -> None:
        self.reset_after = check_flag("reset_after", reset_after)
        super().__init__(Wx, Wh, b, 4 if self.reset_after else 3)
