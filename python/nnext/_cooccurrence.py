"""Vectors from counts of words, a part of `nnext.util`: co-occurrence, PPMI, truncated SVD."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnext._input import read_numbers
from nnext._layer import as_floats
from nnext._support import Array, check_count, check_numbers, random_source, require
from nnext._text import read_corpus

_BLOCK = 2**20  # elements of C that `ppmi` looks at together: some 30 MB of what it computes aside


def create_co_matrix(corpus: ArrayLike, vocab_size: int, window_size: int = 1) -> Array:
    """Count how often each word stands near each other word.

    Parameters
    ----------
    corpus : array_like of integers, shape (N,)
        The ids of a text's words.
    vocab_size : int
        V, the number of words.
    window_size : int
        How many places before and after a word are near it.

    Returns
    -------
    ndarray of int32, shape (V, V)
        Symmetric: element (i, j) is how often word j stands near word i.

    Raises
    ------
    ValueError
        If `corpus` is empty or shorter than `window_size`, or a size is below 1.
    TypeError
        If `corpus` holds no integers.
    IndexError
        If an id is below 0 or not below `vocab_size`.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 2.3.4.

    Examples
    --------
    >>> from nnext.util import create_co_matrix
    >>> create_co_matrix([0, 1, 2, 1], vocab_size=3)
    array([[0, 1, 0],
           [1, 0, 2],
           [0, 2, 0]], dtype=int32)
    """
    vocab_size = check_count("vocab_size", vocab_size)
    window = check_count("window_size", window_size)
    ids = read_corpus(corpus, vocab_size).astype(np.int64, copy=False)
    if window > len(ids):
        raise ValueError(
            f"window_size: expected at most the {len(ids)} words of corpus, got {window_size}"
        )
    counts = np.zeros((vocab_size, vocab_size), np.int32)
    flat, one = counts.reshape(-1), np.int32(1)  # a number of another type takes 20 times as long
    for distance in range(1, window + 1):
        before, after = ids[:-distance], ids[distance:]
        np.add.at(flat, before * vocab_size + after, one)
        np.add.at(flat, after * vocab_size + before, one)
    return counts


def ppmi(C: ArrayLike, verbose: bool = False, eps: float = 1e-8) -> Array:
    """Return the positive pointwise mutual information of counts.

    ``max(0, log2(C[i, j] N / (S[i] S[j]) + eps))``, where N is the sum of C and S that of each
    column: how much more often two words stand together than they would by chance. Computed in
    float64, and rounded once.

    Parameters
    ----------
    C : array_like, shape (V, V)
        Counts, as `create_co_matrix` returns them: numbers of at least 0.
    verbose : bool
        Print how far it is, a line for each percent.
    eps : float
        From 0 to 1.

    Returns
    -------
    ndarray of float32, shape (V, V)
        0 where C is, which is most of it.

    Raises
    ------
    ValueError
        If `C` is not square or a number in it is below 0 or not finite, or `eps` is out of range.
    TypeError
        If `C` holds no numbers.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 2.4.1; Church and Hanks, "Word Association Norms,
    Mutual Information, and Lexicography", Computational Linguistics 16 (1990).

    Examples
    --------
    >>> from nnext.util import ppmi
    >>> ppmi([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    array([[0., 1., 0.],
           [1., 0., 1.],
           [0., 1., 0.]], dtype=float32)
    """
    counts = read_numbers("C", C)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"C: expected a square matrix (V, V), got shape {counts.shape}")
    check_numbers(eps=eps)
    if not 0 <= eps <= 1:
        raise ValueError(f"eps: expected a number from 0 to 1, got {eps!r}")
    size = len(counts)
    if counts.dtype.kind not in "iub":
        counts = counts.astype(np.float64)
    if counts.size and not (counts.min() >= 0 and np.isfinite(counts.max())):
        raise ValueError("C: expected finite counts of at least 0")
    # Products of whole numbers in float64 are the book's whole ones rounded once, as its quotient
    # rounds them, and do not overflow.
    column = counts.sum(axis=0, dtype=np.float64)
    total = float(column.sum())
    result = np.zeros(counts.shape, np.float32)
    rows = max(1, min(size // 100 + 1, _BLOCK // max(1, size)))
    for first in range(0, size, rows):
        block = counts[first : first + rows]
        i, j = np.nonzero(block)  # elsewhere it is log2(eps), below 0
        with np.errstate(divide="ignore"):  # where a row has counts and its column none
            share = block[i, j] * total / (column[j] * column[i + first])
        result[i + first, j] = np.maximum(0, np.log2(share + eps))
        if verbose:
            _tell(first * size, (first + len(block)) * size, size * size)
    return result


def _tell(before: int, now: int, total: int) -> None:
    """Print the percents that were passed on the way through so many elements."""
    step = total // 100 + 1
    for passed in range(before // step + 1, now // step + 1):
        print(f"{100 * passed * step / total:.1f}% done")


def truncated_svd(
    M: ArrayLike,
    k: int,
    *,
    seed: int | None = None,
    rng: np.random.RandomState | np.random.Generator | None = None,
) -> tuple[Array, Array, Array]:
    """Return the `k` largest singular values of a matrix, with their vectors.

    ``(U * S) @ V`` is about M: of all matrices of rank `k` the nearest to it, or nearly. ``U`` has
    a row for each of M's: vectors of `k` numbers for words, where M is their `ppmi`. Computed by
    what is installed: scikit-learn's ``randomized_svd``, which is fast for large matrices, else
    SciPy's ``svds``, else NumPy's full SVD, which is exact and slow.

    Parameters
    ----------
    M : array_like, shape (N, D)
    k : int
        From 1 to the smaller of N and D.
    seed : int, optional
        Of the vectors that the first two begin with. Drawn from ``numpy.random`` if left out.
    rng : RandomState or Generator, optional
        Draw them from this, in place of `seed`.

    Returns
    -------
    U : ndarray, shape (N, k)
    S : ndarray, shape (k,)
        The singular values, the largest first.
    V : ndarray, shape (k, D)
        The sign of each row and of its column of U is such that the largest number of that column
        is positive.

    Raises
    ------
    ValueError
        If `M` is no matrix or holds a number that is not finite, or `k` is out of range.
    TypeError
        If it holds no numbers.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 2.4.4; Halko, Martinsson and Tropp, "Finding Structure
    with Randomness", SIAM Review 53 (2011).

    Examples
    --------
    >>> import numpy as np
    >>> from nnext.util import truncated_svd
    >>> U, S, V = truncated_svd(np.diag([3.0, 1.0, 2.0]), 2, seed=0)
    >>> S.round(6)
    array([3., 2.])
    """
    matrix = as_floats("M", read_numbers("M", M))
    if matrix.dtype.itemsize == 2:
        matrix = matrix.astype(np.float32)
    if matrix.ndim != 2:
        raise ValueError(f"M: expected a matrix, two dimensions, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("M: expected finite numbers")
    k = check_count("k", k)
    if k > min(matrix.shape):
        raise ValueError(f"k: expected at most {min(matrix.shape)}, M is {matrix.shape}, got {k}")
    state = _state(random_source(seed, rng))
    U, S, V = _decompose(matrix, k, state)
    order = np.argsort(-S, kind="stable")
    U, S, V = U[:, order], S[order], V[order]
    signs = np.sign(U[abs(U).argmax(axis=0), np.arange(k)])
    signs[signs == 0] = 1
    return U * signs, S, V * signs[:, None]


def _decompose(matrix: Array, k: int, state: np.random.RandomState) -> tuple[Array, Array, Array]:
    purpose = "truncated_svd"
    try:
        randomized_svd = require("sklearn.utils.extmath", "sklearn", purpose).randomized_svd
        found = randomized_svd(matrix, n_components=k, n_iter=5, random_state=state)
    except ImportError:
        try:
            linalg = require("scipy.sparse.linalg", "sklearn", purpose)
            if k == min(matrix.shape):  # which svds does not compute
                raise ImportError
            start = state.standard_normal(min(matrix.shape)).astype(matrix.dtype)
            found = linalg.svds(matrix, k=k, v0=start)
        except ImportError:
            U, S, V = np.linalg.svd(matrix, full_matrices=False)
            return U[:, :k], S[:k], V[:k]
    U, S, V = found
    return np.asarray(U), np.asarray(S), np.asarray(V)


def _state(rng: Any) -> np.random.RandomState:
    """Return a RandomState, which scikit-learn asks for: one seeded by a Generator's numbers."""
    if isinstance(rng, np.random.RandomState):
        return rng
    return np.random.RandomState(rng.integers(2**32, size=8, dtype=np.uint32))
