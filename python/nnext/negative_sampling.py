"""Negative sampling: the loss of a large vocabulary from a few of its words.

Softmax over a vocabulary needs the score of every word. Here each row has the scores of its right
word and of a few wrong ones, drawn by how often they occur, and the loss is the binary one of each:
right, or drawn. The names are those of the book's ``negative_sampling_layer.py``.

Shapes are written with N for the batch, V for the words, H for the length of their vectors, S for
the wrong words of each right one. After Mikolov et al., "Distributed Representations of Words and
Phrases and their Compositionality", NIPS 2013, and "Deep Learning from Scratch 2", chapter 4.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import Layer, before_forward, check_weights
from nnext._support import Array, check_source, draw_seed, whole_number
from nnext._text import read_ids
from nnext._unigram_sampler import UnigramSampler, read_counts

__all__ = ["EmbeddingDot", "NegativeSamplingLoss", "UnigramSampler"]


class EmbeddingDot(Layer):
    """Scores of rows against rows of a table, ``h · W[idx]``.

    A linear layer has the scores of all V words; this one has those that are asked for, and reads
    no other row of the table.

    Parameters
    ----------
    W : ndarray, shape (V, H)
        The table, one row a word: ``params[0]`` is this very array.

    Raises
    ------
    ValueError
        If `W` is not a matrix.
    TypeError
        If it is not an array of floats.

    Attributes
    ----------
    h : array_like or None
        The rows of the last ``forward``, the object itself.
    idx : array_like of integers or None
        Its indices, the object itself.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 4.2.4.

    Examples
    --------
    >>> import numpy as np
    >>> from nnext.negative_sampling import EmbeddingDot
    >>> layer = EmbeddingDot(np.array([[1.0, 2.0], [3.0, 4.0]]))
    >>> layer.forward([[1.0, 1.0], [1.0, 0.0]], [1, 0])
    array([7., 1.])
    """

    param_names = ("W",)

    def __init__(self, W: Array) -> None:
        check_weights(W)
        super().__init__(W)
        self.h: ArrayLike | None = None
        self.idx: ArrayLike | None = None

    def forward(self, h: ArrayLike, idx: ArrayLike) -> Array:
        """Return the scores.

        Parameters
        ----------
        h : array_like, shape (N, H)
        idx : array_like of integers, shape (N,) or (N, C)
            One word or several for each row of `h`, each in [0, V).

        Returns
        -------
        ndarray, of the shape of `idx`
        """
        scores = _nnext.embedding_dot_forward(h, self.params[0], idx)
        self.h, self.idx = h, idx
        return scores

    def backward(self, dout: ArrayLike, *, accumulate: bool = False) -> Array:
        """Write the gradient of the table into ``grads[0]`` and return that of `h`.

        Parameters
        ----------
        dout : array_like, of the shape of the indices
            Gradient by the scores.
        accumulate : bool
            Add to what ``grads`` hold instead of writing over it.

        Returns
        -------
        ndarray, shape (N, H)
        """
        if self.h is None or self.idx is None:
            raise before_forward(self)
        return _nnext.embedding_dot_backward(
            dout, self.h, self.params[0], self.idx, self.grads[0], accumulate
        )


class NegativeSamplingLoss(Layer):
    """The loss of negative sampling: each right word against `sample_size` drawn wrong ones.

    ``-log σ(h · W[t]) - Σ log σ(-h · W[w])`` over the drawn words w, the mean over the rows: the
    sum of the book's `SigmoidWithLoss` of each column, in one operation, and exact where its
    ``log(y + 1e-7)`` saturates. The words are drawn by the law of `UnigramSampler`, and which ones
    depends on the seed and on how often the layer has drawn before: so a run that goes on from a
    checkpoint draws what it would have drawn.

    Parameters
    ----------
    W : ndarray, shape (V, H)
        The table, one row a word: ``params[0]`` is this very array.
    corpus : array_like of integers, shape (L,)
        The ids of a text's words, each in [0, V), of which the sampler counts how often they occur.
    power : float
    sample_size : int
        S; as `UnigramSampler` takes them.
    counts : array_like of integers, shape (V,), optional
        How often each word occurs, in place of `corpus`. ``buffers[0]`` is a copy of it, from which
        words are drawn: it is saved and loaded with the table.
    seed : int, optional
        Seed of the words drawn; without it one is drawn from ``numpy.random``, so that
        ``numpy.random.seed`` governs it.
    rng : RandomState or Generator, optional
        Draw the seed from this.
    offset : int
        How often words were drawn already, by a layer that goes on in this one.

    Raises
    ------
    ValueError
        If `W` is not a matrix, `offset` is below 0, or as `UnigramSampler`.
    TypeError
        If it is not an array of floats, `seed` or `offset` no whole number, or as `UnigramSampler`.
    IndexError
        If an id of `corpus` has no row in `W`.

    Attributes
    ----------
    sampler : UnigramSampler
        Draws by the counts that ``buffers[0]`` holds now; of all V words.
    y : ndarray, shape (N, C), or None
        The probabilities of the last ``forward``, its targets' first; float32 where `W` and `h`
        have half precision.
    idx : ndarray of int64, shape (N, C), or None
        Their words.
    count : float
        How many rows the last ``forward`` had.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 4.2.7.

    Examples
    --------
    >>> import numpy as np
    >>> from nnext.negative_sampling import NegativeSamplingLoss
    >>> layer = NegativeSamplingLoss(np.zeros((5, 2)), [0, 1, 2, 3, 4], sample_size=3)
    >>> print(round(layer.forward(np.ones((4, 2)), [0, 1, 2, 3]), 6))  # 4 log 2
    2.772589
    >>> layer.backward().shape
    (4, 2)
    """

    param_names = ("W",)
    buffer_names = ("counts",)
    counter_names = ("seed", "offset")

    def __init__(
        self,
        W: Array,
        corpus: ArrayLike | None = None,
        power: float = 0.75,
        sample_size: int = 5,
        *,
        counts: ArrayLike | None = None,
        seed: int | None = None,
        rng: np.random.RandomState | np.random.Generator | None = None,
        offset: int = 0,
    ) -> None:
        check_weights(W)
        if seed is not None:
            seed = whole_number("seed", seed, "a whole number or None")
        if rng is not None:
            check_source(rng, seed)
        offset = whole_number("offset", offset)
        if offset < 0:
            raise ValueError(f"offset: expected a whole number of at least 0, got {offset}")
        super().__init__(W)
        self.buffers = [read_counts(corpus, counts, len(W))]
        self._sampler = UnigramSampler(None, power, sample_size, counts=self.buffers[0])
        self.seed = draw_seed(np.random if rng is None else rng) if seed is None else seed
        self.offset = offset
        self.power = power
        self.sample_size = self._sampler.sample_size
        self._options = self.power, self.sample_size  # of the sampler
        self.h: ArrayLike | None = None
        self.y: Array | None = None
        self.idx: Array | None = None
        self.count = 0.0
        self._targets = 0

    @property
    def sampler(self) -> UnigramSampler:
        """What draws the words, by counts and options as they are: these may be set and loaded."""
        options = self.power, self.sample_size
        if self._options != options or not np.array_equal(self._sampler.counts, self.buffers[0]):
            self._sampler = UnigramSampler(None, *options, counts=self.buffers[0])
            self._options = options
        return self._sampler

    def _loss(self, h: ArrayLike, target: ArrayLike) -> tuple[float, Array, Array, int]:
        ids = read_ids("target", target, len(self.params[0]), ("N", "NP"))
        targets = 1 if ids.ndim == 1 else ids.shape[1]
        # Each draw has a stream of its own. A RandomState, whose numbers NumPy froze for good.
        stream = np.random.Philox(key=self.seed % 2**64, counter=self.offset % 2**64 << 128)
        negative = self.sampler.draw(ids.reshape(-1), np.random.RandomState(stream))
        negative = negative.reshape(len(ids), targets * self.sample_size)
        return *_nnext.negative_sampling_forward(h, self.params[0], ids, negative), targets

    def forward(self, h: ArrayLike, target: ArrayLike) -> float:
        """Draw words and return the loss.

        Parameters
        ----------
        h : array_like, shape (N, H)
        target : array_like of integers, shape (N,) or (N, P)
            The right word of each row, or several: their losses are added up, each with words drawn
            for it alone.

        Returns
        -------
        float

        Raises
        ------
        EmptyBatchError
            A ValueError: if there are no rows.
        ValueError
            If shapes do not fit.
        TypeError
            If a type cannot be used.
        IndexError
            If an id is not in [0, V). One that does not occur in the text is a word as any other:
            it has a row in the table, and is never drawn.
        """
        loss, self.y, self.idx, self._targets = self._loss(h, target)
        self.h, self.count = h, float(len(self.idx))
        self.offset += 1
        return loss

    def backward(self, dout: float = 1, *, accumulate: bool = False) -> Array:
        """Write the gradient of the table into ``grads[0]`` and return that of `h`.

        Parameters
        ----------
        dout : float
            Gradient by the loss.
        accumulate : bool
            Add to what ``grads`` hold instead of writing over it.

        Returns
        -------
        ndarray, shape (N, H)
        """
        if self.h is None or self.y is None or self.idx is None:
            raise before_forward(self)
        return _nnext.negative_sampling_backward(
            self.y, self.h, self.params[0], self.idx, self._targets, self.grads[0], dout, accumulate
        )

    def evaluate(self, h: ArrayLike, target: ArrayLike) -> tuple[float, float]:
        """Return the loss and the number of rows, with the words that ``forward`` would draw next.

        The layer remembers nothing. Where there are no rows both are 0.
        """
        try:
            loss, _, idx, _ = self._loss(h, target)
        except _nnext.EmptyBatchError:
            return 0.0, 0.0
        return loss, float(len(idx))

    def check_targets(self, t: ArrayLike, shape: tuple[int, ...]) -> None:
        """Check the right words of rows ``h`` of a shape, as ``forward`` does."""
        ids = read_ids("t", t, len(self.params[0]), ("N", "NP"))
        if len(ids) != shape[0]:
            raise ValueError(f"t: expected {shape[0]} rows, one for each of h, got {len(ids)}")

    def config(self) -> dict[str, Any]:
        """Return the options: ``NegativeSamplingLoss(W, counts=counts, **config)`` makes it again.

        They are `power`, `sample_size`, `seed` and `offset`.
        """
        return super().config()

    def _arguments(self) -> str:
        return f"{super()._arguments()}, sample_size={self.sample_size}"
