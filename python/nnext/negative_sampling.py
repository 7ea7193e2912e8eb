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
from nnext._support import (
    Array,
    check_count,
    check_numbers,
    check_source,
    draw_seed,
    whole_number,
)
from nnext._text import read_corpus, read_ids

__all__ = ["EmbeddingDot", "NegativeSamplingLoss", "UnigramSampler"]

# After so many rounds of `UnigramSampler`, what is missing still is drawn from all words at once.
# With 10,000 words of a text's frequencies the second round is nearly always the last.
_ROUNDS = 8


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


class UnigramSampler:
    """Draws words by how often they occur in a text, to a power: the wrong ones of each right one.

    The law is that of the book: `sample_size` words without replacement, one after the other, each
    with probability in proportion to ``count ** power`` among those that are left, and never the
    target. The order in which random numbers are used is not the book's, which draws row by row:
    with one seed the words are others.

    Parameters
    ----------
    corpus : array_like of integers, shape (L,)
        The ids of the text's words, from 0 on.
    power : float
        Below 1 it makes rare words less rare.
    sample_size : int
        S, how many words to draw for each target.
    rng : RandomState or Generator, optional
        Where the random numbers come from. Left out, ``numpy.random`` itself, as in the book, so
        that ``numpy.random.seed`` governs it.

    Raises
    ------
    ValueError
        If `corpus` is empty, `sample_size` below 1 or not below the number of different words, or
        `power` gives no probabilities.
    TypeError
        If something is not of its type.
    IndexError
        If an id is below 0.

    Attributes
    ----------
    vocab_size : int
        V, one more than the largest id.
    word_p : ndarray of float64, shape (V,)
        The probability of each word where there is no target; 0 for an id that does not occur.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 4.2.6.

    Examples
    --------
    >>> import numpy as np
    >>> from nnext.negative_sampling import UnigramSampler
    >>> sampler = UnigramSampler([0, 1, 2, 3, 4, 1, 2, 3], sample_size=2)
    >>> sampler.word_p.round(3)
    array([0.142, 0.239, 0.239, 0.239, 0.142])
    >>> sampler.get_negative_sample(np.array([1, 3, 0])).shape
    (3, 2)
    """

    def __init__(
        self,
        corpus: ArrayLike,
        power: float = 0.75,
        sample_size: int = 5,
        *,
        rng: np.random.RandomState | np.random.Generator | None = None,
    ) -> None:
        ids = read_corpus(corpus)
        check_numbers(power=power)
        self.sample_size = check_count("sample_size", sample_size)
        if rng is not None:
            check_source(rng, None)
        self.rng = rng
        counts = np.bincount(ids.astype(np.int64, copy=False)).astype(np.float64)
        occurs = counts > 0
        with np.errstate(all="ignore"):  # said below
            weight = np.power(counts, power, out=np.zeros_like(counts), where=occurs)
            self.word_p = weight / weight.sum()
        if not np.isfinite(self.word_p).all():
            raise ValueError(f"power: no probabilities come of the counts to the power {power!r}")
        words = int(np.count_nonzero(self.word_p))
        if words <= self.sample_size:
            raise ValueError(
                f"sample_size: expected less than the {words} words that can be drawn, so that "
                f"there are enough beside the target, got {self.sample_size}"
            )
        self.vocab_size = len(counts)
        self._sums = np.cumsum(self.word_p)
        self._sums /= self._sums[-1]

    def get_negative_sample(self, target: ArrayLike) -> Array:
        """Draw words for each target.

        Parameters
        ----------
        target : array_like of integers, shape (N,)

        Returns
        -------
        ndarray of int32, shape (N, S)
            In each row different words, none of them the target.

        Raises
        ------
        ValueError
            If `target` has another number of dimensions.
        TypeError
            If it holds no integers.
        IndexError
            If an id is below 0 or not below `vocab_size`.
        """
        ids = read_ids("target", target, self.vocab_size)
        return self._sample(ids, np.random if self.rng is None else self.rng)

    def _sample(self, ids: Array, source: Any) -> Array:
        # Words are drawn from the same table for all rows, and one that the row has already, or
        # that is its target, is drawn again. That is the law without replacement: given the words
        # A of a row, target and all, the next one that is kept is the first outside A of a stream
        # of independent draws with probabilities p, so it is w with p(w) / (1 - p(A)). When a row
        # stops drawing depends on its past alone.
        table = np.empty((len(ids), 1 + self.sample_size), np.int64)
        table[:, 0] = ids
        table[:, 1:] = self._draw((len(ids), self.sample_size), source)
        rows, repeats = _unfinished(np.arange(len(table)), _repeats(table))
        for _ in range(_ROUNDS):
            if not len(rows):
                break
            part, kept = _kept_first(table[rows], repeats)
            missing = np.arange(part.shape[1]) >= kept[:, None]
            part[missing] = self._draw(int(np.count_nonzero(missing)), source)
            table[rows] = part
            rows, repeats = _unfinished(rows, _repeats(part))
        if len(rows):
            part, kept = _kept_first(table[rows], repeats)
            for row, words, n in zip(rows, part, kept, strict=True):
                table[row, :n] = words[:n]
                table[row, n:] = self._draw_beside(words[:n], source)
        return table[:, 1:].astype(np.int32)

    def _draw(self, shape: int | tuple[int, ...], source: Any) -> Array:
        drawn: Array = self._sums.searchsorted(source.random(shape), side="right")
        return drawn

    def _draw_beside(self, words: Array, source: Any) -> Array:
        """Draw what a row still lacks beside some words, whatever the probabilities.

        With E of each word exponential, those of the smallest E / p are the words drawn one after
        the other without replacement (Efraimidis and Spirakis, "Weighted Random Sampling with a
        Reservoir", Information Processing Letters 97, 2006); in logarithms, since p may be tiny.
        """
        with np.errstate(divide="ignore"):
            time = np.log(source.standard_exponential(self.vocab_size))
            time -= np.log(self.word_p)
        time[words] = np.inf
        return np.argsort(time, kind="stable")[: 1 + self.sample_size - len(words)]


def _repeats(table: Array) -> Array:
    """Say which numbers stand in their row before."""
    order = np.argsort(table, axis=1, kind="stable")
    order += np.arange(len(table))[:, None] * table.shape[1]
    ordered = table.reshape(-1)[order]
    repeats = np.zeros(table.size, bool)
    repeats[order[:, 1:]] = ordered[:, 1:] == ordered[:, :-1]
    return repeats.reshape(table.shape)


def _unfinished(rows: Array, repeats: Array) -> tuple[Array, Array]:
    """Return the rows that have repeats, and these."""
    again = repeats.any(axis=1)
    return rows[again], repeats[again]


def _kept_first(table: Array, repeats: Array) -> tuple[Array, Array]:
    """Return rows with what is no repeat first, in its order, and how much that is."""
    order = np.argsort(repeats, axis=1, kind="stable")
    return np.take_along_axis(table, order, axis=1), np.count_nonzero(~repeats, axis=1)


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
    counter_names = ("seed", "offset")

    def __init__(
        self,
        W: Array,
        corpus: ArrayLike,
        power: float = 0.75,
        sample_size: int = 5,
        *,
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
        self.sampler = UnigramSampler(read_corpus(corpus, len(W)), power, sample_size)
        self.seed = draw_seed(np.random if rng is None else rng) if seed is None else seed
        self.offset = offset
        self.power = power
        self.sample_size = self.sampler.sample_size
        self.h: ArrayLike | None = None
        self.y: Array | None = None
        self.idx: Array | None = None
        self.count = 0.0
        self._targets = 0

    def _loss(self, h: ArrayLike, target: ArrayLike) -> tuple[float, Array, Array, int]:
        ids = read_ids("target", target, self.sampler.vocab_size, dimensions=(1, 2))
        targets = 1 if ids.ndim == 1 else ids.shape[1]
        # Each draw has a stream of its own. A RandomState, whose numbers NumPy froze for good.
        stream = np.random.Philox(key=self.seed % 2**64, counter=self.offset % 2**64 << 128)
        negative = self.sampler._sample(ids.reshape(-1), np.random.RandomState(stream))
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
            If an id is below 0, or above those of the sampler's text.
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

    def _arguments(self) -> str:
        return f"{super()._arguments()}, sample_size={self.sample_size}"
