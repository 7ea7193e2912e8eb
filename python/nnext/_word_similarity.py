"""Which words are alike, a part of `nnext.util`: cosines of their vectors, and analogies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nnext._input import read_numbers
from nnext._layer import check_parameter
from nnext._support import Array, check_count, whole_number
from nnext._text import read_ids


def cos_similarity(x: ArrayLike, y: ArrayLike, eps: float = 1e-8) -> Any:
    """Return the cosine of the angle between two vectors.

    ``x / (|x| + eps) · y / (|y| + eps)``: 1 for the same direction, 0 for a right angle, and 0 if
    a vector is 0.

    Parameters
    ----------
    x, y : array_like, shape (D,)
    eps : float

    Returns
    -------
    floating
        Of the vectors' type, float64 for integers.

    Raises
    ------
    ValueError
        If they are no vectors of one length.
    TypeError
        If they hold no numbers.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 2.3.5.

    Examples
    --------
    >>> from nnext.util import cos_similarity
    >>> print(round(cos_similarity([1, 0], [1, 1]), 4))
    0.7071
    """
    x, y = read_numbers("x", x), read_numbers("y", y)
    if x.ndim != 1 or y.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected two vectors of one length, got x {x.shape} and y {y.shape}")
    return np.dot(_to_length_1(x, eps), _to_length_1(y, eps))


def most_similar(
    query: str,
    word_to_id: Mapping[str, int],
    id_to_word: Mapping[int, str] | Sequence[str],
    word_matrix: ArrayLike,
    top: int = 5,
) -> None:
    """Print the words whose vectors have the largest cosines with a word's own.

    A word that is not in `word_to_id` is said to be not found.

    Parameters
    ----------
    query : str
    word_to_id : mapping of str to int
    id_to_word : mapping of int to str, or list of str
        The words that are compared. There may be gaps between their ids.
    word_matrix : array_like, shape (V, D)
        The vector of each word is the row of its id.
    top : int
        How many words to print.

    Raises
    ------
    ValueError
        If `word_matrix` is no matrix or a word has no row in it, `word_to_id` and `id_to_word` do
        not agree about a word that is asked for, or `top` is below 1.
    TypeError
        If `word_matrix` holds no numbers, or an id is no whole number.
    IndexError
        If an id is below 0.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 2.3.6.

    Examples
    --------
    >>> from nnext.util import create_co_matrix, most_similar, preprocess
    >>> corpus, word_to_id, id_to_word = preprocess("You say goodbye and I say hello.")
    >>> C = create_co_matrix(corpus, len(word_to_id))
    >>> most_similar("and", word_to_id, id_to_word, C, top=1)
    <BLANKLINE>
    [query] and
     say: 0.7071067726510136
    """
    top = check_count("top", top)
    if not _all_found((query,), word_to_id):
        return
    words, vectors, (place,) = _read_words((query,), word_to_id, id_to_word, word_matrix)
    print(f"\n[query] {query}")
    # Sums along contiguous rows, and vecdot, have the bits of the sum and the dot product of each
    # row alone: so equal cosines stay in the order in which the book has them.
    unit = _to_length_1(np.ascontiguousarray(vectors))
    similarity = np.vecdot(unit, unit[place]).astype(np.float64)
    _print_best(similarity, words, (query,), top)


def analogy(
    a: str,
    b: str,
    c: str,
    word_to_id: Mapping[str, int],
    id_to_word: Mapping[int, str] | Sequence[str],
    word_matrix: ArrayLike,
    top: int = 5,
    answer: str | None = None,
) -> None:
    """Print the words that are to `c` as `b` is to `a`: those next to ``b - a + c``.

    Next is what has the largest dot product with that vector at length 1; with rows of length 1
    (`normalize`) this is the cosine. A word that is not in `word_to_id` is said to be not found.

    Parameters
    ----------
    a, b, c : str
    word_to_id : mapping of str to int
    id_to_word : mapping of int to str, or list of str
        The words that are compared. There may be gaps between their ids.
    word_matrix : array_like, shape (V, D)
        The vector of each word is the row of its id.
    top : int
        How many words to print.
    answer : str, optional
        A word whose dot product is printed first.

    Raises
    ------
    ValueError
        If `word_matrix` is no matrix or a word has no row in it, `word_to_id` and `id_to_word` do
        not agree about a word that is asked for, or `top` is below 1.
    TypeError
        If `word_matrix` holds no numbers, or an id is no whole number.
    IndexError
        If an id is below 0.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 4.3.2; Mikolov, Yih and Zweig, "Linguistic Regularities
    in Continuous Space Word Representations", NAACL 2013.

    Examples
    --------
    >>> from nnext.util import analogy
    >>> words = ["man", "king", "woman", "queen"]
    >>> word_to_id = {word: i for i, word in enumerate(words)}
    >>> vectors = [[1, 0, 0], [1, 0, 4], [0, 3, 0], [0, 3, 4]]
    >>> analogy("man", "king", "woman", word_to_id, dict(enumerate(words)), vectors, top=1)
    <BLANKLINE>
    [analogy] man:king = woman:?
     queen: 5.0
    """
    top = check_count("top", top)
    asked = (a, b, c) if answer is None else (a, b, c, answer)
    if not _all_found(asked, word_to_id):
        return
    words, vectors, places = _read_words(asked, word_to_id, id_to_word, word_matrix)
    if vectors.dtype.kind in "iub":
        vectors = vectors.astype(np.float64)
    print(f"\n[analogy] {a}:{b} = {c}:?")
    of_a, of_b, of_c = (vectors[place] for place in places[:3])
    direction = normalize(of_b - of_a + of_c)
    similarity = np.dot(vectors, direction)
    if answer is not None:
        print(f"==>{answer}:{np.dot(vectors[places[3]], direction)!s}")
    _print_best(similarity, words, (a, b, c), top)


def normalize(x: Array) -> Array:
    """Divide a vector, or each row of a matrix, by its length: in place.

    Parameters
    ----------
    x : ndarray of floats, shape (D,) or (N, D)
        What is 0 has no direction, and becomes NaN.

    Returns
    -------
    ndarray
        `x` itself.

    Raises
    ------
    ValueError
        If it has another number of dimensions, or is read-only.
    TypeError
        If it is no array of floats.

    References
    ----------
    "Deep Learning from Scratch 2", its ``common/util.py``.

    Examples
    --------
    >>> import numpy as np
    >>> from nnext.util import normalize
    >>> normalize(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    """
    check_parameter("x", x)
    if x.ndim not in (1, 2):
        raise ValueError(f"x: expected a vector or a matrix, got shape {x.shape}")
    if not x.flags.writeable:
        raise ValueError("x: it is read-only, and normalize changes it in place; give it a copy")
    wide = _wide(x)
    length = np.sqrt((wide * wide).sum(axis=-1, keepdims=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        x[...] = wide / length
    return x


def _to_length_1(x: Array, eps: float = 1e-8) -> Array:
    """Return a vector, or each row of a matrix, with length 1, nearly."""
    x = _wide(x)
    length: Array = x / (np.sqrt(np.sum(x**2, axis=-1, keepdims=True)) + eps)
    return length


def _wide(x: Array) -> Array:
    """Return what squares fit into: whole numbers in float64, half types in float32."""
    if x.dtype.kind in "biu":
        return x.astype(np.float64)
    return x.astype(np.float32) if x.dtype.itemsize < 4 else x


def _all_found(words: tuple[str, ...], word_to_id: Mapping[str, int]) -> bool:
    for word in words:
        if word not in word_to_id:
            print(f"{word} is not found")
            return False
    return True


class _Words(NamedTuple):
    """Words in the order of their ids, the vector of each, and the places of those asked for."""

    words: list[str]
    vectors: Array
    places: list[int]


def _read_words(
    asked: tuple[str, ...],
    word_to_id: Mapping[str, int],
    id_to_word: Mapping[int, str] | Sequence[str],
    word_matrix: ArrayLike,
) -> _Words:
    matrix = read_numbers("word_matrix", word_matrix)
    named = id_to_word if isinstance(id_to_word, Mapping) else dict(enumerate(id_to_word))
    ids = np.sort(read_ids("list(id_to_word)", list(named)))
    if matrix.ndim != 2 or (ids.size and ids[-1] >= len(matrix)):
        largest = f", the largest id is {ids[-1]}" if ids.size else ""
        raise ValueError(
            f"word_matrix: expected a row for each of {len(ids)} words{largest}, got shape "
            f"{matrix.shape}"
        )
    places = []
    for word in asked:
        number = whole_number(f"word_to_id[{word!r}]", word_to_id[word])
        if named.get(number) != word:
            found = repr(named[number]) if number in named else "nothing"
            raise ValueError(
                f"word_to_id: {word!r} has the id {number}, for which id_to_word has {found}"
            )
        places.append(int(np.searchsorted(ids, number)))
    gaps = ids.size and ids[-1] >= len(ids)
    vectors = matrix[ids] if gaps else matrix[: len(ids)]
    return _Words([named[i] for i in ids.tolist()], vectors, places)


def _print_best(similarity: Array, words: list[str], asked: tuple[str, ...], top: int) -> None:
    """Print the words of the largest numbers; none of those asked about, and none of a NaN."""
    printed = 0
    for i in (-1 * similarity).argsort().tolist():
        if np.isnan(similarity[i]) or words[i] in asked:
            continue
        print(f" {words[i]}: {similarity[i]}")
        printed += 1
        if printed == top:
            return
