"""How good a model of sequences is: its perplexity, and the answers that it writes."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnext._support import check_count, check_flag, has_parameter
from nnext._text import read_ids


def eval_perplexity(
    model: Any, corpus: ArrayLike, batch_size: int = 10, time_size: int = 35
) -> float:
    """Measure the perplexity of a language model on a text: how many words it wavers between.

    The text is read in `batch_size` parts at once, each on from where the last `time_size` words
    ended; a rest at its end that fills no batch is left out. It prints where it is, as in the book.
    A stateful model goes on from the states that it has: call its ``reset_state`` before, and after
    if it is then trained.

    Parameters
    ----------
    model : object
        Has ``forward(xs, ts)`` that returns the mean loss of words (N, T); with a parameter
        ``train_flg`` it is told not to train.
    corpus : array_like of int, shape (size,)
        The ids of the words.
    batch_size, time_size : int
        How many parts are read at once, and how many words of each.

    Returns
    -------
    float
        The exponential of the mean loss of all batches.

    Raises
    ------
    ValueError
        If `corpus` is no row of words, or too short for a batch and the word that follows, or a
        size is no whole number of at least 1.
    TypeError
        If the ids are no whole numbers.
    IndexError
        If one is below 0.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 6 (``common/util.py``).
    """
    words = read_ids("corpus", corpus)
    batch_size = check_count("batch_size", batch_size)
    time_size = check_count("time_size", time_size)
    batches = count_batches("corpus", len(words), 1, batch_size, time_size)
    jump = (len(words) - 1) // batch_size
    options = {"train_flg": False} if has_parameter(model.forward, "train_flg") else {}

    print("evaluating perplexity ...")
    total = 0.0
    for i in range(batches):
        at = places(i * time_size, jump, batch_size, time_size)
        total += float(model.forward(words[at], words[at + 1], **options))
        print(f"\r{i} / {batches}", end="", flush=True)
    print()
    return perplexity(total / batches)


def eval_seq2seq(
    model: Any,
    question: ArrayLike,
    correct: ArrayLike,
    id_to_char: Mapping[int, str] | Sequence[str],
    verbos: bool = False,
    is_reverse: bool = False,
) -> int:
    """Say whether a model writes the right answer to a question.

    Parameters
    ----------
    model : object
        Has ``generate(question, start_id, sample_size)``, which returns ids.
    question : array_like of int, shape (1, T)
        What the model reads.
    correct : array_like of int, shape (1, T' + 1) or (T' + 1,)
        The right answer, behind the character of the beginning, which the model is given.
    id_to_char : mapping of int to str
        The characters.
    verbos : bool
        The book's spelling of verbose: print question, answer and what the model wrote, as in the
        book, marked with a tick or a cross, O or X where the terminal has no such characters.
    is_reverse : bool
        The question was reversed for the model; it is printed as it was before.

    Returns
    -------
    int
        1 if the answer is right, else 0.

    Raises
    ------
    ValueError
        If `correct` has no character behind that of the beginning, or ids are no row or rows.
    TypeError
        If ids are no whole numbers.
    IndexError
        If one is below 0.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 7 (``common/util.py``).
    """
    verbos, is_reverse = check_flag("verbos", verbos), check_flag("is_reverse", is_reverse)
    asked = read_ids("question", question, axes=("NT",))
    right_ids = read_ids("correct", correct, axes=("T", "NT"))
    if right_ids.size < 2 or right_ids.shape not in ((right_ids.size,), (1, right_ids.size)):
        raise ValueError(
            "correct: expected the character of the beginning and one answer, got shape "
            f"{right_ids.shape}"
        )
    start, *answer = right_ids.ravel().tolist()
    written = model.generate(asked, start, len(answer))

    texts = asked.ravel().tolist(), answer, written
    text, right, guess = ("".join(id_to_char[int(i)] for i in ids) for ids in texts)
    if verbos:
        print("Q", text[::-1] if is_reverse else text)
        print("T", right)
        print(_mark(right == guess), guess)
        print("---")
    return int(right == guess)


def _mark(right: bool) -> str:
    """Return the book's mark of an answer: coloured, or a letter where it cannot be shown."""
    mark, letter, color = ("☑", "O", 92) if right else ("☒", "X", 91)
    try:
        mark.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return letter
    return letter if os.name == "nt" else f"\033[{color}m{mark}\033[0m"


# Texts as rows of words, as the trainer reads them too


def count_batches(name: str, size: int, following: int, batch_size: int, time_size: int) -> int:
    """Say how many batches a text fills, of which `following` words are answers alone."""
    batches = (size - following) // (batch_size * time_size)
    if batches < 1:
        behind = " and the one that follows" if following else ""
        raise ValueError(
            f"{name}: expected at least {batch_size * time_size + following} words, "
            f"{batch_size} x {time_size} for a batch{behind}, got {size}"
        )
    return batches


def places(first: int, jump: int, batch_size: int, time_size: int) -> NDArray[np.int64]:
    """Return the places in a text of the words of a batch, (N, T): its rows are `jump` apart."""
    rows = first + jump * np.arange(batch_size, dtype=np.int64)
    return rows[:, None] + np.arange(time_size, dtype=np.int64)


def perplexity(loss: float) -> float:
    """Return ``exp(loss)``, infinite where that is too large."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf
