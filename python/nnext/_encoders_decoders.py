"""The two halves of the book's models from sequence to sequence: encoders and decoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nnext._drawn_layers import Drawn, Rng, check_sizes
from nnext._layer import Joined, Layer, as_floats, as_shaped, before_forward
from nnext._support import Array, check_count, naming, whole_number
from nnext._text import read_ids
from nnext.attention import TimeAttention


class Encoder(Joined):
    """Reads sequences of ids (N, T), and says what it has read in one state (N, H) (ch. 7.3).

    An embedding and an LSTM, whose last state that is. The weights are drawn as in the book.

    Parameters
    ----------
    vocab_size, wordvec_size, hidden_size : int
        How many characters (or words) there are, how many numbers a character's vector has, and the
        LSTM's state.
    seed : int, optional
        Of the weights: with ``numpy.random.seed(s)`` in the book's program and ``seed=s`` here they
        are the book's, rounded to `dtype`. Left out, they are drawn from ``numpy.random``.
    rng : RandomState or Generator, optional
        Draw the weights from this, in place of `seed`.
    dtype : dtype
        Of the parameters.

    Attributes
    ----------
    embed : TimeEmbedding
    lstm : TimeLSTM
    hs : ndarray, shape (N, T, H), or None
        All states of the last ``forward``.

    Raises
    ------
    ValueError
        If a size is no whole number of at least 1, or there are both `seed` and `rng`.
    TypeError
        If `rng` is no source of random numbers, or `dtype` not one of floats.
    """

    param_names = ("embed.W", "lstm.Wx", "lstm.Wh", "lstm.b")

    def __init__(
        self,
        vocab_size: int,
        wordvec_size: int,
        hidden_size: int,
        *,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        V, D, H = check_sizes(
            vocab_size=vocab_size, wordvec_size=wordvec_size, hidden_size=hidden_size
        )
        drawn = Drawn(seed, rng, dtype)
        super().__init__()
        self.embed = drawn.embedding(V, D)
        self.lstm = drawn.lstm(D, H, stateful=False)
        self.hs: Array | None = None
        self._gather()

    def _parts(self) -> Sequence[Layer]:
        return self.embed, self.lstm

    def forward(self, xs: ArrayLike) -> Array:
        """Return the last state, shape (N, H), for ids of shape (N, T)."""
        return self._read(xs)[:, -1]

    def backward(self, dh: ArrayLike) -> None:
        """Write the gradients into ``grads``, for that by the output, shape (N, H)."""
        N, T, H = self._shape()
        d = as_shaped("dh", dh, (N, H), "that of h")
        dhs = np.zeros((N, T, H), d.dtype)
        dhs[:, -1] = d
        self._unread(dhs)

    def _read(self, xs: Any) -> Array:
        """Return all states."""
        ids = read_ids("xs", xs, len(self.params[0]), ("NT",))
        if not ids.shape[1]:
            raise ValueError(f"xs: expected ids (N, T), T at least 1, got shape {ids.shape}")
        self.hs = hs = self.lstm.forward(self.embed.forward(ids))
        return hs

    def _unread(self, dhs: Array) -> None:
        """Write the gradients, for that by all states."""
        self.embed.backward(self.lstm.backward(dhs))

    def _shape(self) -> tuple[int, ...]:
        if self.hs is None:
            raise before_forward(self)
        return self.hs.shape

    def _arguments(self) -> str:
        V, D = self.params[0].shape
        return f"{V}, {D}, {len(self.params[2])}"


class AttentionEncoder(Encoder):
    """Reads sequences of ids (N, T), and returns the states of all steps, (N, T, H) (ch. 8.2).

    Parameters
    ----------
    vocab_size, wordvec_size, hidden_size : int
    seed : int, optional
    rng : RandomState or Generator, optional
    dtype : dtype
        As in `Encoder`.

    Attributes
    ----------
    embed : TimeEmbedding
    lstm : TimeLSTM
    hs : ndarray, shape (N, T, H), or None
        The output of the last ``forward``.

    Raises
    ------
    ValueError, TypeError
        As `Encoder`.
    """

    def forward(self, xs: ArrayLike) -> Array:
        """Return all states, shape (N, T, H), for ids of shape (N, T)."""
        return self._read(xs)

    def backward(self, dhs: ArrayLike) -> None:
        """Write the gradients into ``grads``, for that by the output, shape (N, T, H)."""
        self._unread(as_shaped("dhs", dhs, self._shape(), "that of hs"))


class Decoder(Joined):
    """Writes sequences: begins with the encoder's state, and scores the next character (ch. 7.3).

    An embedding, an LSTM and an affine layer. The weights are drawn as in the book.

    Parameters
    ----------
    vocab_size, wordvec_size, hidden_size : int
    seed : int, optional
    rng : RandomState or Generator, optional
    dtype : dtype
        As in `Encoder`; `hidden_size` is that of the encoder.

    Attributes
    ----------
    embed : TimeEmbedding
    lstm : TimeLSTM
    affine : TimeAffine

    Raises
    ------
    ValueError, TypeError
        As `Encoder`.
    """

    param_names = ("embed.W", "lstm.Wx", "lstm.Wh", "lstm.b", "affine.W", "affine.b")

    # How many states stand beside the LSTM's input, and beside its output before the affine layer.
    _beside_input: ClassVar[int] = 0
    _beside_output: ClassVar[int] = 0

    def __init__(
        self,
        vocab_size: int,
        wordvec_size: int,
        hidden_size: int,
        *,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        V, D, H = check_sizes(
            vocab_size=vocab_size, wordvec_size=wordvec_size, hidden_size=hidden_size
        )
        drawn = Drawn(seed, rng, dtype)
        super().__init__()
        self.embed = drawn.embedding(V, D)
        self.lstm = drawn.lstm(self._beside_input * H + D, H, stateful=True)
        self.affine = drawn.affine(self._beside_output * H + H, V)
        self._gather()

    def _parts(self) -> Sequence[Layer]:
        return self.embed, self.lstm, self.affine

    def forward(self, xs: ArrayLike, h: Array) -> Array:
        """Return the scores of the characters that follow.

        Parameters
        ----------
        xs : array_like of int, shape (N, T)
            The characters so far, that of the beginning first.
        h : ndarray, shape (N, H)
            What the encoder returned.

        Returns
        -------
        ndarray, shape (N, T, V)

        Raises
        ------
        ValueError
            If shapes do not fit.
        TypeError
            If ids are no whole numbers, or `h` no numbers.
        IndexError
            If an id is none of the decoder's. The LSTM has its states of before in these cases.
        """
        return self._forward(xs, "h", h)

    def backward(self, dscore: ArrayLike) -> Array:
        """Write the gradients into ``grads``, and return that by what the encoder returned.

        Parameters
        ----------
        dscore : array_like, shape (N, T, V)
            Gradient by the scores.

        Returns
        -------
        ndarray, shape (N, H)
        """
        self._unread(self._unscore(dscore))
        return self._dh()

    def generate(self, h: Array, start_id: int, sample_size: int) -> list[int]:
        """Write one sequence, each character that with the highest score.

        Parameters
        ----------
        h : ndarray, shape (1, H)
            What the encoder returned of one sequence.
        start_id : int
            The character of the beginning, which the result does not have.
        sample_size : int
            How many characters to write.

        Returns
        -------
        list of int
        """
        return self._generate("h", h, start_id, sample_size)

    def _forward(self, xs: ArrayLike, name: str, h: ArrayLike) -> Array:
        ids = read_ids("xs", xs, len(self.params[0]), ("NT",))
        state = self._state(name, h)
        if len(state) != len(ids):
            raise ValueError(
                f"{name}: expected a row for each of xs {ids.shape}, got shape {state.shape}"
            )
        self._begin(state)
        return self._scores(ids, state)

    def _generate(self, name: str, h: ArrayLike, start_id: int, sample_size: int) -> list[int]:
        state = self._state(name, h)
        if len(state) != 1:
            raise ValueError(f"{name}: expected that of one sequence, got shape {state.shape}")
        x, size = whole_number("start_id", start_id), len(self.params[0])
        if not 0 <= x < size:
            raise IndexError(f"start_id: expected a character from 0 to {size - 1}, got {x}")
        sample_size = check_count("sample_size", sample_size)
        written = []
        self._begin(state)
        for _ in range(sample_size):
            x = int(self._scores(np.array([[x]]), state).argmax())
            written.append(x)
        return written

    def _state(self, name: str, h: ArrayLike) -> Array:
        """Return what the encoder returned as an array, in the type of the parameters."""
        table, _, Wh = self.params[:3]
        state = as_floats(name, h)
        if state.ndim != 2 or state.shape[1] != len(Wh):
            raise ValueError(f"{name}: expected shape (N, {len(Wh)}), got shape {state.shape}")
        return state.astype(table.dtype, copy=False)

    def _begin(self, h: Array) -> None:
        """Give the LSTM the state that it begins with."""
        self.lstm.set_state(h)

    def _scores(self, ids: Array, h: Array) -> Array:
        """Return the scores of what follows, from the states that the LSTM has."""
        hs = self.lstm.forward(self._to_lstm(self.embed.forward(ids), h))
        return self.affine.forward(self._to_affine(hs, h))

    def _to_lstm(self, vectors: Array, h: Array) -> Array:
        """Return what the LSTM takes: the characters' vectors, and what stands in front of them."""
        return vectors

    def _to_affine(self, hs: Array, h: Array) -> Array:
        """Return what the affine layer takes: the LSTM's states, and what is in front of them."""
        return hs

    def _unscore(self, dscore: ArrayLike) -> Array:
        """Go back through the affine layer; return the gradient by what it took."""
        if self.affine.x is None:
            raise before_forward(self)
        with naming(dout="dscore"):
            return self.affine.backward(dscore)

    def _unread(self, dhs: Array) -> Array:
        """Go back through LSTM and embedding; return the gradient by what the LSTM took."""
        dxs = self.lstm.backward(dhs)
        self.embed.backward(dxs[:, :, self._beside_input * len(self.params[2]) :])
        return dxs

    def _dh(self) -> Array:
        """Return the gradient by the state that the LSTM began with, after its ``backward``."""
        dh = self.lstm.dh
        assert dh is not None  # its backward has run
        return dh

    def _arguments(self) -> str:
        V, D = self.params[0].shape
        return f"{V}, {D}, {len(self.params[2])}"


class PeekyDecoder(Decoder):
    """A `Decoder` that sees the encoder's state at every step (ch. 7.4).

    It stands in front of what the LSTM and the affine layer take.

    Parameters
    ----------
    vocab_size, wordvec_size, hidden_size : int
    seed : int, optional
    rng : RandomState or Generator, optional
    dtype : dtype
        As in `Decoder`.

    Attributes
    ----------
    embed : TimeEmbedding
    lstm : TimeLSTM
    affine : TimeAffine

    Raises
    ------
    ValueError, TypeError
        As `Encoder`.
    """

    _beside_input = _beside_output = 1

    def backward(self, dscore: ArrayLike) -> Array:
        """Write the gradients into ``grads``, and return that by what the encoder returned.

        Parameters
        ----------
        dscore : array_like, shape (N, T, V)
            Gradient by the scores.

        Returns
        -------
        ndarray, shape (N, H)
        """
        H = len(self.params[2])
        d = self._unscore(dscore)
        dxs = self._unread(d[:, :, H:])
        dh: Array = self._dh() + (d[:, :, :H] + dxs[:, :, :H]).sum(axis=1)
        return dh

    def _to_lstm(self, vectors: Array, h: Array) -> Array:
        seen = np.broadcast_to(h[:, None], (*vectors.shape[:2], h.shape[1]))
        return np.concatenate((seen, vectors), axis=2)

    def _to_affine(self, hs: Array, h: Array) -> Array:
        return self._to_lstm(hs, h)


class AttentionDecoder(Decoder):
    """A `Decoder` with attention: at every step it looks at all of the encoder's states (ch. 8.2).

    What `TimeAttention` makes of these stands in front of what the affine layer takes.

    Parameters
    ----------
    vocab_size, wordvec_size, hidden_size : int
    seed : int, optional
    rng : RandomState or Generator, optional
    dtype : dtype
        As in `Decoder`.

    Attributes
    ----------
    embed : TimeEmbedding
    lstm : TimeLSTM
    attention : TimeAttention
        Its ``attention_weights`` say where the last ``forward`` looked.
    affine : TimeAffine

    Raises
    ------
    ValueError, TypeError
        As `Encoder`.
    """

    _beside_output = 1

    def __init__(
        self,
        vocab_size: int,
        wordvec_size: int,
        hidden_size: int,
        *,
        seed: int | None = None,
        rng: Rng = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(vocab_size, wordvec_size, hidden_size, seed=seed, rng=rng, dtype=dtype)
        self.attention = TimeAttention()

    def forward(self, xs: ArrayLike, enc_hs: Array) -> Array:
        """Return the scores of the characters that follow.

        Parameters
        ----------
        xs : array_like of int, shape (N, T')
            The characters so far, that of the beginning first.
        enc_hs : ndarray, shape (N, T, H)
            What the encoder returned.

        Returns
        -------
        ndarray, shape (N, T', V)
        """
        return self._forward(xs, "enc_hs", enc_hs)

    def backward(self, dscore: ArrayLike) -> Array:
        """Write the gradients into ``grads``, and return that by what the encoder returned.

        Parameters
        ----------
        dscore : array_like, shape (N, T', V)
            Gradient by the scores.

        Returns
        -------
        ndarray, shape (N, T, H)
        """
        H = len(self.params[2])
        d = self._unscore(dscore)
        denc_hs, ddec_hs = self.attention.backward(d[:, :, :H])
        self._unread(d[:, :, H:] + ddec_hs)
        denc_hs[:, -1] += self._dh()
        return denc_hs

    def generate(self, enc_hs: Array, start_id: int, sample_size: int) -> list[int]:
        """Write one sequence, each character that with the highest score.

        Parameters
        ----------
        enc_hs : ndarray, shape (1, T, H)
            What the encoder returned of one sequence.
        start_id : int
            The character of the beginning, which the result does not have.
        sample_size : int
            How many characters to write.

        Returns
        -------
        list of int
        """
        return self._generate("enc_hs", enc_hs, start_id, sample_size)

    def _state(self, name: str, h: ArrayLike) -> Array:
        table, _, Wh = self.params[:3]
        states = as_floats(name, h)
        if states.ndim != 3 or not states.shape[1] or states.shape[2] != len(Wh):
            raise ValueError(
                f"{name}: expected shape (N, T, {len(Wh)}), T at least 1, got shape {states.shape}"
            )
        return states.astype(table.dtype, copy=False)

    def _begin(self, h: Array) -> None:
        self.lstm.set_state(h[:, -1])

    def _to_affine(self, hs: Array, h: Array) -> Array:
        return np.concatenate((self.attention.forward(h, hs), hs), axis=2)
