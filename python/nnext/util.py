"""What programs about words need around a model: corpora, counts, which words are alike.

The names are those of the book's ``common/util.py``, and so are the results, to the number printed;
loops over words are NumPy's here, and errors name what is wrong. After "Deep Learning from
Scratch 2", chapters 2 to 4.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._cooccurrence import create_co_matrix, ppmi, truncated_svd
from nnext._sequence_evaluation import eval_perplexity, eval_seq2seq
from nnext._support import Array, refuse_masked
from nnext._text import convert_one_hot, create_contexts_target, preprocess
from nnext._word_similarity import analogy, cos_similarity, most_similar, normalize

__all__ = [
    "analogy",
    "clip_grads",
    "convert_one_hot",
    "cos_similarity",
    "create_co_matrix",
    "create_contexts_target",
    "eval_perplexity",
    "eval_seq2seq",
    "most_similar",
    "normalize",
    "ppmi",
    "preprocess",
    "to_cpu",
    "to_gpu",
    "truncated_svd",
]


def clip_grads(grads: Iterable[Array], max_norm: float) -> float:
    """Scale gradients down in place, so that their norm, of all together, is at most `max_norm`.

    All are multiplied by ``max_norm / (norm + 1e-6)`` where that is below 1, as in the book. What
    is no finite norm clips nothing.

    Parameters
    ----------
    grads : iterable of ndarray of floats
    max_norm : float
        Above 0.

    Returns
    -------
    float
        The norm before.

    Raises
    ------
    ValueError
        If `max_norm` is not above 0, or an array is read-only.
    TypeError
        If something is no array of floats.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 6.1.4.

    Examples
    --------
    >>> import numpy as np
    >>> from nnext.util import clip_grads
    >>> grads = [np.array([3.0, 4.0])]
    >>> clip_grads(grads, 1.0)
    5.0
    >>> grads[0].round(3)
    array([0.6, 0.8])
    """
    return _nnext.clip_grads(list(grads), max_norm)


def to_cpu(x: ArrayLike) -> Array:
    """Return `x` as a NumPy array, itself if it is one: nnext computes in the CPU's memory.

    For programs of the book, which may keep their arrays on a GPU.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    ndarray
    """
    if isinstance(x, np.ndarray):
        return x
    refuse_masked("x", x)
    return np.asarray(x)


def to_gpu(x: ArrayLike) -> Array:
    """Return the same as `to_cpu`: nnext has no other place to put an array.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    ndarray
    """
    return to_cpu(x)
