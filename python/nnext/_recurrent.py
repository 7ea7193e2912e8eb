"""The recurrent layers of whole sequences, which run in the core."""

from __future__ import annotations

from typing import ClassVar, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import as_numbers, before_forward, check_parameter
from nnext._recurrent_steps import GRUCell, Left, OneStateCell, Recurrent, RNNCell
from nnext._support import Array, check_flag, naming


class _OfTime(Recurrent):
    """What the layers of whole sequences share: the state that is handed on."""

    skips_input_grad = True
    state_names: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(self, Wx: Array, Wh: Array, b: Array | None, biases: int, stateful: bool) -> None:
        super().__init__(Wx, Wh, b, biases)
        self.stateful = check_flag("stateful", stateful)
        self.xs: ArrayLike | None = None
        self.h: Array | None = None
        self.dh: Array | None = None
        self._left: Left | None = None

    def _forward(self, xs: ArrayLike) -> Array:
        raise NotImplementedError

    def _backward(
        self, xs: ArrayLike, left: Left, dhs: ArrayLike, input_grad: bool, accumulate: bool
    ) -> Array | None:
        raise NotImplementedError

    def forward(self, xs: ArrayLike) -> Array:
        """Return the states after each step, shape (N, T, H), for `xs` of shape (N, T, D).

        A stateful layer begins with the state in `h`, any other with zeros; both keep the last
        state there.
        """
        return self._forward(xs)

    @overload
    def backward(
        self, dhs: ArrayLike, input_grad: Literal[True] = True, *, accumulate: bool = False
    ) -> Array: ...
    @overload
    def backward(
        self, dhs: ArrayLike, input_grad: Literal[False], *, accumulate: bool = False
    ) -> None: ...
    @overload
    def backward(
        self, dhs: ArrayLike, input_grad: bool, *, accumulate: bool = False
    ) -> Array | None: ...
    def backward(
        self, dhs: ArrayLike, input_grad: bool = True, *, accumulate: bool = False
    ) -> Array | None:
        """Go back through all steps of the last ``forward`` and return the gradient of `xs`.

        The gradients of the weights go into ``grads``, that of the state before the first step into
        `dh`. Steps of an earlier ``forward``, from which a stateful layer has its state, are not
        gone back to: truncated backpropagation through time.

        Parameters
        ----------
        dhs : array_like, shape (N, T, H)
            Gradient by the states after each step.
        input_grad : bool
            With False the gradient by the input is left out, and None returned.
        accumulate : bool
            Add to what ``grads`` hold instead of writing over it. Where all is of one type, float32
            or float64, the gradients of consecutive parts of a batch, of up to 16384 steps of all
            rows together, add up to the very bits of the whole.

        Returns
        -------
        ndarray, shape (N, T, D), or None
        """
        if self.xs is None or self._left is None:
            raise before_forward(self)
        with naming(dout="dhs"):
            return self._backward(self.xs, self._left, dhs, input_grad, accumulate)

    def set_state(self, h: ArrayLike | None) -> None:
        """Let the next ``forward`` of a stateful layer begin with `h`, shape (N, H), or zeros.

        A layer that is not stateful begins with zeros all the same, as in the book.
        """
        (self.h,) = self._checked_states(h=h)

    def reset_state(self) -> None:
        """Let the next ``forward`` begin with zeros."""
        self.h = None

    def check_states(self, **states: ArrayLike | None) -> None:
        """Refuse states, by their names, that ``set_state`` would not take; a checkpoint asks."""
        self._checked_states(**states)

    def _checked_states(self, **states: ArrayLike | None) -> list[Array | None]:
        """Return copies of states, which have to be of equally many rows."""
        hidden = self.params[1].shape[0]
        given = {name: as_numbers(name, s) for name, s in states.items() if s is not None}
        for name, array in given.items():
            if array.ndim != 2 or array.shape[1] != hidden:
                raise ValueError(f"{name}: expected shape (N, {hidden}), got {array.shape}")
        for name, array in given.items():
            first, other = next(iter(given.items()))
            if array.shape != other.shape:
                raise ValueError(
                    f"{name}: expected shape {other.shape}, that of {first}, got {array.shape}"
                )
        return [given[name].copy() if name in given else None for name in states]

    @staticmethod
    def _last(states: Array, before: Array | None) -> Array:
        """Return a copy of the state after the last step; without any the one before."""
        if states.shape[1]:
            return states[:, -1].copy()
        if before is None:
            return np.zeros((len(states), states.shape[2]), states.dtype)
        return np.array(before, states.dtype)


class _OneState(_OfTime, OneStateCell):
    """What `TimeRNN` and `TimeGRU` share: they hand on one state."""

    def _forward(self, xs: ArrayLike) -> Array:
        before = self.h if self.stateful else None
        hs, states, left = self._run(xs, before)
        self.h, self.xs, self._left = self._last(states, before), xs, left
        return hs

    def _backward(
        self, xs: ArrayLike, left: Left, dhs: ArrayLike, input_grad: bool, accumulate: bool
    ) -> Array | None:
        dxs: Array | None
        dxs, self.dh = self._run_back(xs, left, dhs, input_grad, accumulate)
        return dxs


class TimeRNN(RNNCell, _OneState):
    """All steps of a recurrent layer, ``h = tanh(x Wx + h Wh + b)``.

    One product for the inputs of all steps, and one for each gradient by weights, run in the core.

    Parameters
    ----------
    Wx : ndarray, shape (D, H)
        The weights of the input, ``params[0]``.
    Wh : ndarray, shape (H, H)
        Those of the state, ``params[1]``.
    b : ndarray, shape (H,)
        The bias, ``params[2]``.
    stateful : bool
        Begin each ``forward`` with the state in which the one before ended, and not with zeros.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If one is not an array of floats.

    Attributes
    ----------
    h : ndarray, shape (N, H), or None
        The state after the last step; None before the first ``forward``. Half types have theirs in
        float32.
    dh : ndarray, shape (N, H), or None
        The gradient by the state before the first step, after ``backward``.
    xs : array_like or None
        The input of the last ``forward``, the object itself.

    Notes
    -----
    The states of a stateful layer belong to the rows of one batch: another batch size is an error
    until `reset_state`, and so is a step of which the batch comes in parts. Whatever calls
    ``forward`` goes on from them and changes them, ``predict`` and the measuring of a validation
    too: it is for loops whose batches go on where those before ended, such as
    `nnext.trainer.RnnlmTrainer`. Checkpoints of a run hold them; files of a model do not.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 5.
    """

    def __init__(self, Wx: Array, Wh: Array, b: Array, stateful: bool = False) -> None:
        check_parameter("b", b)
        super().__init__(Wx, Wh, b, 1, stateful)


class TimeLSTM(_OfTime):
    """All steps of long short-term memory; see `LSTM` for the formulas.

    One product for the inputs of all steps, and one for each gradient by weights, run in the core,
    and what makes states of the four gates' sums is one pass.

    Parameters
    ----------
    Wx : ndarray, shape (D, 4 H)
        The weights of the input, ``params[0]``: forget gate, new memory, input gate, output gate.
    Wh : ndarray, shape (H, 4 H)
        Those of the state, ``params[1]``.
    b : ndarray, shape (4 H,)
        The bias, ``params[2]``.
    stateful : bool
        Begin each ``forward`` with the state in which the one before ended, and not with zeros.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If one is not an array of floats.

    Attributes
    ----------
    h, c : ndarray, shape (N, H), or None
        State and cells after the last step; None before the first ``forward``. Half types have
        theirs in float32.
    dh, dc : ndarray, shape (N, H), or None
        The gradients by those before the first step, after ``backward``.
    xs : array_like or None
        The input of the last ``forward``, the object itself.

    Notes
    -----
    The states of a stateful layer belong to the rows of one batch: another batch size is an error
    until `reset_state`, and so is a step of which the batch comes in parts. Whatever calls
    ``forward`` goes on from them and changes them, ``predict`` and the measuring of a validation
    too: it is for loops whose batches go on where those before ended, such as
    `nnext.trainer.RnnlmTrainer`. Checkpoints of a run hold them; files of a model do not.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 6; Hochreiter and Schmidhuber, "Long Short-Term Memory",
    Neural Computation 9 (1997).
    """

    gates = 4
    state_names = ("h", "c")

    def __init__(self, Wx: Array, Wh: Array, b: Array, stateful: bool = False) -> None:
        check_parameter("b", b)
        super().__init__(Wx, Wh, b, 4, stateful)
        self.c: Array | None = None
        self.dc: Array | None = None

    def _forward(self, xs: ArrayLike) -> Array:
        h, c = (self.h, self.c) if self.stateful else (None, None)
        hs, states, left = _nnext.lstm_forward(xs, *self._weights(), h, c)
        last = self._last(states, h), left[2][:, -1].copy()
        (self.h, self.c), self.xs, self._left = last, xs, left
        return hs

    def _backward(
        self, xs: ArrayLike, left: Left, dhs: ArrayLike, input_grad: bool, accumulate: bool
    ) -> Array | None:
        dxs: Array | None
        dxs, self.dh, self.dc = _nnext.lstm_backward(
            xs, *self._weights(), left, dhs, None, *self._gradients(), input_grad, accumulate
        )
        return dxs

    def set_state(self, h: ArrayLike | None, c: ArrayLike | None = None) -> None:
        """Let the next ``forward`` of a stateful layer begin with `h` and `c`, (N, H), or zeros."""
        self.h, self.c = self._checked_states(h=h, c=c)

    def reset_state(self) -> None:
        """Let the next ``forward`` begin with zeros."""
        self.h, self.c = None, None


class TimeGRU(GRUCell, _OneState):
    """All steps of a gated recurrent unit; see `GRU` for the formulas.

    Parameters
    ----------
    Wx : ndarray, shape (D, 3 H)
        The weights of the input, ``params[0]``: update gate, reset gate, new state.
    Wh : ndarray, shape (H, 3 H)
        Those of the state, ``params[1]``.
    b : ndarray, shape (3 H,), optional
        The bias, ``params[2]``; the book's code has none, and `stateful` in its place: True or
        False is taken for that. With `reset_after` it has 4 H elements.
    stateful : bool
        Begin each ``forward`` with the state in which the one before ended, and not with zeros.
    reset_after : bool
        Reset the product instead of the state: what cuDNN, PyTorch and Keras compute. No product of
        a step has to wait for another then.

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If one is not an array of floats.

    Attributes
    ----------
    h : ndarray, shape (N, H), or None
        The state after the last step; None before the first ``forward``. Half types have theirs in
        float32.
    dh : ndarray, shape (N, H), or None
        The gradient by the state before the first step, after ``backward``.
    xs : array_like or None
        The input of the last ``forward``, the object itself.

    Notes
    -----
    The states of a stateful layer belong to the rows of one batch: another batch size is an error
    until `reset_state`, and so is a step of which the batch comes in parts. Whatever calls
    ``forward`` goes on from them and changes them, ``predict`` and the measuring of a validation
    too: it is for loops whose batches go on where those before ended, such as
    `nnext.trainer.RnnlmTrainer`. Checkpoints of a run hold them; files of a model do not.

    References
    ----------
    "Deep Learning from Scratch 2", appendix C; Cho et al., "Learning Phrase Representations using
    RNN Encoder-Decoder for Statistical Machine Translation", EMNLP 2014.
    """

    def __init__(
        self,
        Wx: Array,
        Wh: Array,
        b: Array | bool | None = None,
        stateful: bool = False,
        *,
        reset_after: bool = False,
    ) -> None:
        reset_after = check_flag("reset_after", reset_after)
        biases = 4 if reset_after else 3
        if isinstance(b, bool | np.bool_):
            if stateful:
                raise TypeError(f"b: expected an array or None beside stateful=True, got {b}")
            super().__init__(Wx, Wh, None, biases, b)
        else:
            super().__init__(Wx, Wh, b, biases, stateful)
        self.reset_after = reset_after
