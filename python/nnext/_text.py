"""Text as numbers, a part of `nnext.util`: ids of words, their contexts, one-hot rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnext._support import Array, check_count, make_array, refuse_masked, refuse_sparse


def preprocess(text: str) -> tuple[Array, dict[str, int], dict[int, str]]:
    """Cut a text into words, in lower case, and give each word a number.

    A full stop is a word of its own; words are what stands between single spaces.

    Parameters
    ----------
    text : str

    Returns
    -------
    corpus : ndarray of int64, shape (N,)
        The number of each word, in the order of the text.
    word_to_id : dict of str to int
        Numbers from 0 on, in the order in which the words first come.
    id_to_word : dict of int to str

    Raises
    ------
    ValueError
        If there is nothing in the text.
    TypeError
        If it is no text.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 2.3.1.

    Examples
    --------
    >>> from nnext.util import preprocess
    >>> corpus, word_to_id, id_to_word = preprocess("You say goodbye and I say hello.")
    >>> corpus
    array([0, 1, 2, 3, 4, 1, 5, 6])
    >>> id_to_word[5]
    'hello'
    """
    if not isinstance(text, str):
        raise TypeError(f"text: expected a str, got {type(text).__name__}")
    if not text:
        raise ValueError("text: expected words, got an empty text")
    words = text.lower().replace(".", " .").split(" ")
    word_to_id: dict[str, int] = {}
    corpus = np.array([word_to_id.setdefault(w, len(word_to_id)) for w in words], np.int64)
    return corpus, word_to_id, {number: word for word, number in word_to_id.items()}


def convert_one_hot(corpus: ArrayLike, vocab_size: int) -> Array:
    """Return ids as one-hot rows.

    Parameters
    ----------
    corpus : array_like of integers, shape (N,) or (N, C)
    vocab_size : int
        V, the number of words.

    Returns
    -------
    ndarray of int32, shape (N, V) or (N, C, V)

    Raises
    ------
    ValueError
        If `corpus` has another number of dimensions, or `vocab_size` is below 1.
    TypeError
        If it holds no integers.
    IndexError
        If an id is below 0 or not below `vocab_size`.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 3.3.2.

    Examples
    --------
    >>> from nnext.util import convert_one_hot
    >>> convert_one_hot([2, 0], 3)
    array([[0, 0, 1],
           [1, 0, 0]], dtype=int32)
    """
    vocab_size = check_count("vocab_size", vocab_size)
    ids = read_ids("corpus", corpus, vocab_size, ("N", "NC"))
    one_hot = np.zeros((*ids.shape, vocab_size), np.int32)
    np.put_along_axis(one_hot, ids[..., None].astype(np.int64, copy=False), 1, axis=-1)
    return one_hot


def create_contexts_target(corpus: ArrayLike, window_size: int = 1) -> tuple[Array, Array]:
    """Return the words that have a whole window around them, and the words of these windows.

    Parameters
    ----------
    corpus : array_like of integers, shape (N,)
        The ids of a text's words.
    window_size : int
        How many words before and after a word are its context.

    Returns
    -------
    contexts : ndarray, shape (N - 2 window_size, 2 window_size)
        The words before the target in the order of the text, then those after it.
    target : ndarray, shape (N - 2 window_size,)
        Both are new and of the type of `corpus`.

    Raises
    ------
    ValueError
        If `corpus` is empty or too short for one window, or `window_size` is below 1.
    TypeError
        If it holds no integers.
    IndexError
        If an id is below 0.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 3.3.1.

    Examples
    --------
    >>> from nnext.util import create_contexts_target
    >>> contexts, target = create_contexts_target([0, 1, 2, 3, 4])
    >>> contexts
    array([[0, 2],
           [1, 3],
           [2, 4]])
    >>> target
    array([1, 2, 3])
    """
    window = check_count("window_size", window_size)
    ids = read_corpus(corpus)
    if 2 * window + 1 > len(ids):
        raise ValueError(
            f"window_size: expected a window, {2 * window + 1} words, within the {len(ids)} words "
            f"of corpus, got {window_size}"
        )
    windows = np.lib.stride_tricks.sliding_window_view(ids, 2 * window + 1)
    return np.delete(windows, window, axis=1), windows[:, window].copy()


def read_corpus(corpus: Any, limit: int | None = None) -> Array:
    """Return the ids of a text's words as an array, at least one.

    Raises
    ------
    ValueError, TypeError, IndexError
        As `read_ids`.
    """
    ids = read_ids("corpus", corpus, limit)
    if not len(ids):
        raise ValueError("corpus: expected the ids of at least one word, got none")
    return ids


def read_ids(
    name: str,
    value: Any,
    limit: int | None = None,
    axes: tuple[str, ...] = ("N",),
    *,
    ignored: int | None = None,
    are_labels: bool = False,
) -> Array:
    """Return ids of words as an array of integers, each at least 0 and below a limit.

    Axes are told by letters, ``("N", "NC")`` for shapes (N,) and (N, C). One label may stand among
    them that is `ignored`. Labels of which the loss is not known may be any integers: what it
    ignores is its affair.

    Raises
    ------
    ValueError
        If it has other axes.
    TypeError
        If it holds no integers.
    IndexError
        If an id is out of range; the message has the first one.
    """
    refuse_sparse(name, value)
    refuse_masked(name, value)
    ids = make_array(name, value)
    if not ids.size and ids.dtype.kind == "f":  # an empty list
        ids = ids.astype(np.int64)
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected ids, whole numbers, got type {ids.dtype}")
    if ids.ndim not in map(len, axes):
        shapes = " or ".join(
            f"({', '.join(letters)}{',' * (len(letters) < 2)})" for letters in axes
        )
        raise ValueError(f"{name}: expected ids of shape {shapes}, got shape {ids.shape}")
    if are_labels or not ids.size:
        return ids
    if ids.min() < 0 or (limit is not None and ids.max() >= limit):
        wrong = ids < 0 if limit is None else (ids < 0) | (ids >= limit)
        if ignored is not None:
            wrong &= ids != ignored
        for at in np.argwhere(wrong)[:1].tolist():
            expected = "at least 0" if limit is None else f"from 0 to {limit - 1}"
            place = ", ".join(map(str, at))
            raise IndexError(f"{name}: expected ids {expected}, {name}[{place}] is {ids[*at]}")
    return ids
