"""Draws the words of a text, one after the other, as the book's language models write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnext._support import Array
from nnext.functions import softmax

# Another word is drawn after one that is to be skipped, as the book does, and after so many in a
# row among the others alone: all of them together may be next to never drawn.
_MOST_REFUSED = 1000


def draw_words(
    predict: Callable[[Any], Array], first: int, skip: set[int], count: int, source: Any
) -> list[int]:
    """Return a text of so many words.

    Parameters
    ----------
    predict : callable
        Returns the scores of what follows, (1, 1, V), of the last word, (1, 1).
    first : int
        The first word, which counts.
    skip : set of int
        Words that are not to be written.
    count : int
    source : object
        Has ``choice``, as NumPy's generators have it.

    Raises
    ------
    ValueError
        If every word that has a probability is to be skipped.
    """
    words, x, refused = [first], first, 0
    while len(words) < count:
        scores = predict([[x]]).ravel()
        if scores.dtype.itemsize == 2:  # probabilities of half precision add up to less than 1
            scores = scores.astype(np.float32)
        p = softmax(scores)
        drawn = int(source.choice(len(p), size=1, p=p)[0])
        if drawn in skip:
            allowed = np.setdiff1d(np.arange(len(p)), [*skip])
            left = p[allowed].astype(np.float64)
            if not left.any():
                raise ValueError(
                    f"skip_ids: expected a word that may follow {x} not to be among them, got all"
                )
            refused += 1
            if refused <= _MOST_REFUSED:
                continue
            drawn = int(allowed[source.choice(len(left), p=left / left.sum())])
        words.append(x := drawn)
        refused = 0
    return words
