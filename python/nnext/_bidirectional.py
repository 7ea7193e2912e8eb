"""The layer that reads sequences in both directions, a part of `nnext.time_layers`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nnext._layer import Joined, Layer, adding_backward, as_floats, as_shaped, before_forward
from nnext._recurrent import TimeLSTM
from nnext._support import Array, check_flag


class TimeBiLSTM(Joined):
    """Two LSTMs, one that reads forwards and one that reads backwards: (N, T, D) to (N, T, 2H).

    What they say of a step stands side by side, that of the first in front.

    Parameters
    ----------
    Wx1, Wh1, b1 : ndarray, shapes (D, 4H), (H, 4H), (4H,)
        Those of the LSTM that reads forwards, as in `TimeLSTM`.
    Wx2, Wh2, b2 : ndarray, of the same shapes
        Those of the other one.
    stateful : bool
        Whether both keep their states from call to call.

    Raises
    ------
    ValueError, TypeError
        As `TimeLSTM`; a ValueError also if the two take inputs of different sizes.

    Attributes
    ----------
    forward_lstm, backward_lstm : TimeLSTM

    References
    ----------
    "Deep Learning from Scratch 2", chapter 8.
    """

    param_names = ("Wx1", "Wh1", "b1", "Wx2", "Wh2", "b2")

    def __init__(
        self,
        Wx1: Array,
        Wh1: Array,
        b1: Array,
        Wx2: Array,
        Wh2: Array,
        b2: Array,
        stateful: bool = False,
    ) -> None:
        super().__init__()
        self.forward_lstm = TimeLSTM(Wx1, Wh1, b1, stateful)
        self.backward_lstm = TimeLSTM(Wx2, Wh2, b2, stateful)
        if len(Wx1) != len(Wx2):
            raise ValueError(
                f"Wx2: expected {len(Wx1)} rows, as many as Wx1, got shape {Wx2.shape}"
            )
        self._shape: tuple[int, ...] | None = None
        self._gather()

    @property
    def stateful(self) -> bool:
        """Whether both begin with the states in which they ended."""
        return self.forward_lstm.stateful

    @stateful.setter
    def stateful(self, value: bool) -> None:
        self.forward_lstm.stateful = self.backward_lstm.stateful = check_flag("stateful", value)

    def _parts(self) -> Sequence[Layer]:
        return self.forward_lstm, self.backward_lstm

    def forward(self, xs: ArrayLike) -> Array:
        """Return the states of both, shape (N, T, 2H), for `xs` of shape (N, T, D)."""
        x = as_floats("xs", xs)
        if x.ndim != 3:
            raise ValueError(f"xs: expected shape (N, T, D), got shape {x.shape}")
        first, before = self.forward_lstm, (self.forward_lstm.h, self.forward_lstm.c)
        ahead = first.forward(x)
        try:
            back = self.backward_lstm.forward(x[:, ::-1])
        except BaseException:
            first.h, first.c = before  # both go on, or none
            raise
        hs: Array = np.concatenate((ahead, back[:, ::-1]), axis=2)
        self._shape = hs.shape
        return hs

    def backward(self, dhs: ArrayLike, *, accumulate: bool = False) -> Array:
        """Write the gradients of the parameters into ``grads`` and return the input's.

        Parameters
        ----------
        dhs : array_like, shape (N, T, 2H)
            Gradient by the output.
        accumulate : bool
            Add to what ``grads`` hold instead of writing over it.

        Returns
        -------
        ndarray, shape (N, T, D)
        """
        if self._shape is None:
            raise before_forward(self)
        d = as_shaped("dhs", dhs, self._shape, "that of hs")
        parts = []
        H = len(self.params[1])
        for lstm, dout in [
            (self.forward_lstm, d[:, :, :H]),
            (self.backward_lstm, d[:, ::-1, H:]),
        ]:
            parts.append((adding_backward(lstm) if accumulate else lstm.backward)(dout))
        return parts[0] + parts[1][:, ::-1]

    def reset_state(self) -> None:
        """Forget the states of both, so that the next ``forward`` begins with zeros."""
        self.forward_lstm.reset_state()
        self.backward_lstm.reset_state()

    def _arguments(self) -> str:
        return ", ".join(map(str, self.params[0].shape))
