"""Drawing words by how often they occur in a text, a part of `nnext.negative_sampling`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnext._support import (
    Array,
    check_count,
    check_numbers,
    check_source,
    make_array,
    refuse_masked,
)
from nnext._text import read_corpus, read_ids

# After so many rounds of `UnigramSampler`, what is missing still is drawn from all words at once.
# With 10,000 words of a text's frequencies the second round is nearly always the last.
_ROUNDS = 8

# A text that is numbered without gaps has no id above its length. Gaps are taken below this, five
# times the largest published vocabularies (some 3 million words): 128 MiB of counts. An id like
# 2**40 is a mistake, and would be one number of terabytes.
_GAPS = 2**24


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
    counts : array_like of integers, shape (V,), optional
        How often each word occurs, in place of `corpus`.
    rng : RandomState or Generator, optional
        Where the random numbers come from. Left out, ``numpy.random`` itself, as in the book, so
        that ``numpy.random.seed`` governs it.

    Raises
    ------
    ValueError
        If there are both `corpus` and `counts` or neither, or no words in them, or a count is below
        0; if `sample_size` is below 1 or not below the number of different words, or `power` gives
        no probabilities.
    TypeError
        If something is not of its type.
    IndexError
        If an id is below 0; or 2**24 or more and no less than there are words in the text, since
        each number up to the largest id has its place in `counts`.

    Attributes
    ----------
    vocab_size : int
        V, one more than the largest id.
    counts : ndarray of int64, shape (V,)
        How often each word occurs.
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
        corpus: ArrayLike | None = None,
        power: float = 0.75,
        sample_size: int = 5,
        *,
        counts: ArrayLike | None = None,
        rng: np.random.RandomState | np.random.Generator | None = None,
    ) -> None:
        self.counts = read_counts(corpus, counts)
        check_numbers(power=power)
        if not math.isfinite(power):
            raise ValueError(f"power: expected a finite number, got {power!r}")
        self.sample_size = check_count("sample_size", sample_size)
        if rng is not None:
            check_source(rng, None)
        self.rng = rng
        with np.errstate(all="ignore"):  # said below
            weight = np.zeros(len(self.counts))
            np.power(self.counts, float(power), out=weight, where=self.counts > 0)
            self.word_p = weight / weight.sum()
        if not np.isfinite(self.word_p).all():
            raise ValueError(f"power: no probabilities come of the counts to the power {power!r}")
        words = int(np.count_nonzero(self.word_p))
        if words <= self.sample_size:
            raise ValueError(
                f"sample_size: expected fewer than the {words} words that can be drawn, so that "
                f"there are enough beside the target, got {self.sample_size}"
            )
        self.vocab_size = len(self.counts)
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
        return self.draw(ids, np.random if self.rng is None else self.rng)

    def draw(self, ids: Array, source: Any) -> Array:
        """Draw words for targets that were checked, from any source of random numbers."""
        # Words are drawn from the same table for all rows, and one that the row has already, or
        # that is its target, is drawn again. That is the law without replacement: given the words
        # A of a row, target and all, the next one that is kept is the first outside A of a stream
        # of independent draws with probabilities p, so it is w with p(w) / (1 - p(A)). When a row
        # stops drawing depends on its past alone.
        table = np.empty((len(ids), 1 + self.sample_size), np.int64)
        table[:, 0] = ids
        table[:, 1:] = self._independent((len(ids), self.sample_size), source)
        rows, repeats = _unfinished(np.arange(len(table)), _repeats(table))
        for _ in range(_ROUNDS):
            if not len(rows):
                break
            part, kept = _kept_first(table[rows], repeats)
            missing = np.arange(part.shape[1]) >= kept[:, None]
            part[missing] = self._independent(int(np.count_nonzero(missing)), source)
            table[rows] = part
            rows, repeats = _unfinished(rows, _repeats(part))
        if len(rows):
            part, kept = _kept_first(table[rows], repeats)
            for row, words, n in zip(rows, part, kept, strict=True):
                table[row, :n] = words[:n]
                table[row, n:] = self._draw_beside(words[:n], source)
        return table[:, 1:].astype(np.int32)

    def _independent(self, shape: int | tuple[int, ...], source: Any) -> Array:
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


def read_counts(corpus: Any, counts: Any, vocab_size: int | None = None) -> Array:
    """Return how often each word of a vocabulary occurs, of a text or as it was counted before."""
    if (corpus is None) == (counts is None):
        raise ValueError(
            f"expected corpus or counts, got {'neither' if corpus is None else 'both'}"
        )
    if counts is None:
        ids = read_corpus(corpus, vocab_size)
        if vocab_size is None:  # refused before memory is asked for
            read_ids("corpus", ids, max(_GAPS, len(ids)))
        return np.bincount(ids.astype(np.int64, copy=False), minlength=vocab_size or 0)
    refuse_masked("counts", counts)
    given = make_array("counts", counts)
    if given.ndim != 1 or vocab_size not in (None, len(given)):
        size = "V" if vocab_size is None else vocab_size
        raise ValueError(
            f"counts: expected shape ({size},), a number for each word, got {given.shape}"
        )
    if given.size and given.dtype.kind not in "iu":
        raise TypeError(f"counts: expected whole numbers, got type {given.dtype}")
    occur = given.astype(np.int64)
    if occur.size and occur.min() < 0:  # as a number of 64 bits without sign can become, too
        i = int(np.argmax(occur < 0))
        raise ValueError(
            f"counts: expected numbers from 0 to {2**63 - 1}, counts[{i}] is {given[i]}"
        )
    if not occur.any():
        raise ValueError("counts: expected at least one word that occurs, got none")
    return occur


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
