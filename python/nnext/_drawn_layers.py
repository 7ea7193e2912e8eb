"""The layers of the book's models of sequences, with weights drawn as the book draws them."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from nnext._recurrent import TimeLSTM, TimeRNN
from nnext._support import Array, check_count, given_source
from nnext.init import float_type
from nnext.time_layers import TimeAffine, TimeEmbedding

# In quotes, since numpy.random is a quarter of what importing nnext takes and not everybody draws.
Rng: TypeAlias = "np.random.RandomState | np.random.Generator | None"


class Drawn:
    """Makes layers of given sizes; each draws its weights when it is made, in the book's order.

    A table of words is normal with a standard deviation of 0.01, a matrix with that of the inverse
    root of its rows; biases are 0. All is drawn in float64 and then rounded, so that the book's
    seed gives the book's weights.

    Parameters
    ----------
    seed : int, optional
    rng : RandomState or Generator, optional
        Draw from this, or the stream of `seed`; with neither, from ``numpy.random``.
    dtype : dtype
        Of the parameters.

    Attributes
    ----------
    rng : RandomState or Generator or None
        What it draws from, None for ``numpy.random``.

    Raises
    ------
    ValueError
        If there are both `seed` and `rng`, or there is no such seed.
    TypeError
        If `rng` is no source of random numbers, or `dtype` not one of floats.
    """

    def __init__(self, seed: int | None, rng: Rng, dtype: DTypeLike) -> None:
        self.rng: Rng = given_source(seed, rng)
        self._source: Any = np.random if self.rng is None else self.rng
        self._dtype = float_type(dtype)

    def embedding(self, vocab_size: int, size: int) -> TimeEmbedding:
        return TimeEmbedding(self._normal((vocab_size, size), 100))

    def rnn(self, input_size: int, size: int, stateful: bool) -> TimeRNN:
        return TimeRNN(*self._recurrent(input_size, size, 1), stateful=stateful)

    def lstm(self, input_size: int, size: int, stateful: bool) -> TimeLSTM:
        return TimeLSTM(*self._recurrent(input_size, size, 4), stateful=stateful)

    def affine(self, input_size: int, size: int) -> TimeAffine:
        return TimeAffine(self._matrix(input_size, size), self.zeros(size))

    def zeros(self, size: int) -> Array:
        return np.zeros(size, self._dtype)

    def _recurrent(self, input_size: int, size: int, gates: int) -> tuple[Array, Array, Array]:
        Wx = self._matrix(input_size, gates * size)
        return Wx, self._matrix(size, gates * size), self.zeros(gates * size)

    def _matrix(self, rows: int, columns: int) -> Array:
        return self._normal((rows, columns), math.sqrt(rows))

    def _normal(self, shape: tuple[int, int], divisor: float) -> Array:
        drawn: Array = (self._source.standard_normal(shape) / divisor).astype(self._dtype)
        return drawn


def check_sizes(**sizes: Any) -> tuple[int, ...]:
    """Return sizes as ints; a ValueError names the first that is no whole number of at least 1."""
    return tuple(check_count(name, size) for name, size in sizes.items())


def sizes_of(table: Array, Wh: Array) -> dict[str, Any]:
    """Return the arguments of a model whose embedding and recurrent layer have these weights."""
    vocab_size, wordvec_size = table.shape
    return {
        "vocab_size": vocab_size,
        "wordvec_size": wordvec_size,
        "hidden_size": len(Wh),
        "dtype": table.dtype.name,
    }
