"""The rows of a fit, and how they come in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnext._support import Array

# Rows are gathered for so many bytes of batches at a time: small batches cost one call for several,
# and what was gathered is still in the second-level cache when it is used.
_GATHERED = 256 * 1024

# The batches of a sparse matrix with more than this part of its elements stored are made dense: the
# core multiplies so much faster than SciPy.
_DENSE = 0.1

Batch = tuple[Any, Array, Array | None]


@dataclass(frozen=True)
class Data:
    """Rows, their targets and weights.

    Attributes
    ----------
    x : ndarray (C-contiguous) or CSR matrix, shape (N, D)
    t : ndarray, shape (N,) or (N, K)
    weight : ndarray of float64, shape (N,), or None
        What each row counts in training.
    given_weight : ndarray of float64, shape (N,), or None
        The same without the weights of classes: what it counts in a score.
    """

    x: Any
    t: Array
    weight: Array | None = None
    given_weight: Array | None = None

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def take(self, index: Array) -> Data:
        """Return some of the rows."""
        weights = [None if w is None else w[index] for w in (self.weight, self.given_weight)]
        return Data(self.x[index], self.t[index], *weights)

    def batches(self, size: int, order: Array | None) -> Iterator[Batch]:
        """Go through the rows once.

        Parameters
        ----------
        size : int
            Of a batch; the last may be smaller.
        order : ndarray of int, shape (N,), optional
            In this order. The memory of a batch is used again for a later one.

        Yields
        ------
        (x, t, weight)
        """
        rows = len(self)
        x = self.x
        if not isinstance(x, np.ndarray):
            yield from self._sparse_batches(size, order)
            return
        if order is None:
            yield from _slices(x, self.t, self.weight, size)
            return
        batches = max(1, _GATHERED // max(1, size * x.shape[1] * x.itemsize))
        buffer = np.empty((min(rows, batches * size), x.shape[1]), x.dtype)
        for first in range(0, rows, batches * size):
            index = order[first : first + batches * size]
            gathered = buffer[: len(index)]
            # "raise" would gather into memory of its own first; no index is out of range.
            x.take(index, axis=0, out=gathered, mode="clip")
            weight = None if self.weight is None else self.weight.take(index)
            yield from _slices(gathered, self.t.take(index, axis=0), weight, size)

    def _sparse_batches(self, size: int, order: Array | None) -> Iterator[Batch]:
        x = self.x
        makes_dense = x.nnz > _DENSE * x.shape[0] * x.shape[1]
        for first in range(0, len(self), size):
            part: Any = slice(first, first + size)
            index = part if order is None else order[part]
            weight = None if self.weight is None else self.weight[index]
            rows = x[index]
            yield rows.toarray() if makes_dense else rows, self.t[index], weight


def _slices(x: Any, t: Array, weight: Array | None, size: int) -> Iterator[Batch]:
    for first in range(0, x.shape[0], size):
        part = slice(first, first + size)
        yield x[part], t[part], None if weight is None else weight[part]
