"""The two halves of the book's models from sequence to sequence: encoders and decoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nnext._drawn_layers import Drawn, Rng, check_sizes
from nnext._input import as_input
from nnext._layer import Joined, Layer, as_floats, before_forward
from nnext._support import Array, check_count, whole_number
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
        if self.hs is None:
            raise before_forward(self)
        d = as_floats("dh", dh)
        if d.shape != self.hs[:, -1].shape:
            raise ValueError(
                f"dh: expected shape {self.hs[:, -1].shape}, that of h, got shape {d.shape}"
            )
        dhs = np.zeros(self.hs.shape, d.dtype)
        dhs[:, -1] = d
        self._unread(dhs)

    def _read(self, xs: Any) -> Array:
        ids = as_input(xs)
        if ids.ndim != 2 or not ids.shape[1]:
            raise ValueError(f"xs: expected ids (N, T), T at least 1, got shape {ids.shape}")
        self.hs = hs = self.lstm.forward(self.embed.forward(ids))
        return hs

    def _unread(self, dhs: Array) -> None:
        self.embed.backward(self.lstm.backward(dhs))

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
        if self.hs is None:
            raise before_forward(self)
        d = as_floats("dhs", dhs)
        if d.shape != self.hs.shape:
            raise ValueError(f"dhs: expected shape {self.hs.shape}, that of hs, got {d.shape}")
        self._unread(d)


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
        """
        self._begin(h)
        return self._scores(xs, h)

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
        self.embed.backward(self.lstm.backward(self.affine.backward(dscore)))
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
        if len(h) != 1:
            raise ValueError(f"h: expected that of one sequence, got shape {h.shape}")
        x = whole_number("start_id", start_id)
        sample_size = check_count("sample_size", sample_size)
        written = []
        self._begin(h)
        for _ in range(sample_size):
            x = int(self._scores([[x]], h).argmax())
            written.append(x)
        return written

    def _begin(self, h: Array) -> None:
        """Give the LSTM the state that it begins with."""
        self.lstm.set_state(h)

    def _scores(self, xs: Any, h: Array) -> Array:
        """Return the scores of what follows, from the states that the LSTM has."""
        return self.affine.forward(self.lstm.forward(self.embed.forward(xs)))

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
        d = self.affine.backward(dscore)
        dxs = self.lstm.backward(d[:, :, H:])
        self.embed.backward(dxs[:, :, H:])
        dh: Array = self._dh() + (d[:, :, :H] + dxs[:, :, :H]).sum(axis=1)
        return dh

    def _scores(self, xs: Any, h: Array) -> Array:
        vectors = self.embed.forward(xs)
        seen = np.broadcast_to(h[:, None], (*vectors.shape[:2], h.shape[1]))
        hs = self.lstm.forward(np.concatenate((seen, vectors), axis=2))
        return self.affine.forward(np.concatenate((seen, hs), axis=2))


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
        return super().forward(xs, enc_hs)

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
        d = self.affine.backward(dscore)
        denc_hs, ddec_hs = self.attention.backward(d[:, :, :H])
        self.embed.backward(self.lstm.backward(d[:, :, H:] + ddec_hs))
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
        return super().generate(enc_hs, start_id, sample_size)

    def _begin(self, h: Array) -> None:
        self.lstm.set_state(h[:, -1])

    def _scores(self, xs: Any, h: Array) -> Array:
        hs = self.lstm.forward(self.embed.forward(xs))
        seen = self.attention.forward(h, hs)
        return self.affine.forward(np.concatenate((seen, hs), axis=2))
