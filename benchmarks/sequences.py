"""Steps of the book's programs of words and sequences: forward, backward, clip, update.

Each program stands beside the book's own NumPy code, with the same weights and the same batch, and
the optimizer, rate and clipping of the book. Beside them what comes before a model of counts: the
co-occurrence matrix of a text, and its PPMI.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import book
import book_models
import book_sequences
import book_words
import numpy as np
from bench import NUMPY, Bench, require
from measure import Candidate
from numpy.typing import NDArray
from report import OURS, Row, row
from softmax import free_memory
from training import check_moves

import nnext
from nnext import models, util
from nnext.step import Step

Array = NDArray[Any]
Data = tuple[Array, Array]
Expected = tuple[float, list[Array], list[Array]]  # a loss, parameters before and after

STILL = 1e-7  # the rate that is timed: parameters hardly move, as in training.py
WORDS, TIME = 20, 35  # of a batch of the language models
VOCABULARY = 10_000  # that of the Penn Treebank
DROPPED = 0.5
TOY = np.array([0, 1, 2, 3, 4, 1, 5, 6])  # "You say goodbye and I say hello."
TEXT = 70_000  # words of the text that is counted
COUNTED = 1000  # its vocabulary
WINDOW = 5  # of CBOW


@dataclass(frozen=True)
class Case:
    """A program: its model here and, made of the same arrays, the book's; how it is trained."""

    name: str
    ours: Callable[[], Any]
    books: Callable[[list[Array]], Any]
    data: Callable[[], Data]
    optimizer: str = "Adam"
    lr: float = 0.001
    max_grad: float | None = None
    memory: float = 0.0  # bytes that must be free

    def our_step(self, lr: float) -> tuple[Callable[[], Any], Any]:
        """Return a step of nnext's, and its model."""
        model, (x, t) = self.ours(), self.data()
        step = Step(model, getattr(nnext, self.optimizer)(lr=lr), self.max_grad)
        return partial(step, x, t), model

    def book_step(
        self, lr: float, dtype: str = "float32", wrong: Array | None = None
    ) -> tuple[Callable[[], Any], Any]:
        """Return a step of the book's code, and its model; `wrong` words instead of drawn ones."""
        arrays = [p.astype(dtype) for p in distinct(self.ours().params)]
        model, (x, t) = self.books(arrays), self.data()
        if wrong is not None:
            model.ns_loss.given = wrong
        optimizer = getattr(book, self.optimizer)(lr=lr)
        return partial(book_models.train, model, optimizer, self.max_grad, x, t), model


def cases() -> list[Case]:
    return [
        Case(
            "SimpleCBOW, 7 words, 5, batch 3",
            *small("SimpleCBOW", 7, 5),
            partial(around, 7, TOY, 3),
        ),
        Case(
            "SimpleSkipGram, 7 words, 5, batch 3",
            *small("SimpleSkipGram", 7, 5),
            partial(around, 7, TOY, 3),
        ),
        Case(
            "SimpleCBOW, 1,000 words, 100, batch 100",
            *small("SimpleCBOW", 1000, 100),
            partial(around, 1000, text(102, 1000), 100),
        ),
        Case(
            "SimpleSkipGram, 1,000 words, 100, batch 100",
            *small("SimpleSkipGram", 1000, 100),
            partial(around, 1000, text(102, 1000), 100),
        ),
        Case(
            "CBOW, 10,000 words, 100, batch 100",
            drawn("CBOW", VOCABULARY, 100, WINDOW, text(TEXT, VOCABULARY)),
            lambda arrays: book_words.CBOW(arrays, WINDOW, text(TEXT, VOCABULARY)),
            partial(windows, 100),
        ),
        Case(
            "SimpleRnnlm, 10,000 words, 100",
            drawn("SimpleRnnlm", VOCABULARY, 100, 100),
            partial(book_models.rnnlm, book_sequences.TimeRNN),
            batch_of_text,
            optimizer="SGD",
            lr=0.1,
        ),
        Case(
            "Rnnlm, 10,000 words, 100",
            drawn("Rnnlm", VOCABULARY, 100, 100),
            partial(book_models.rnnlm, book_sequences.TimeLSTM),
            batch_of_text,
            optimizer="SGD",
            lr=20.0,
            max_grad=0.25,
        ),
        Case(
            "BetterRnnlm, 10,000 words, 650",
            drawn("BetterRnnlm", VOCABULARY, 650, 650, DROPPED),
            our_better_in_numpy,
            batch_of_text,
            optimizer="SGD",
            lr=20.0,
            max_grad=0.25,
            memory=8e9,
        ),
        Case(
            "Seq2seq, additions, 128, batch 128",
            drawn("Seq2seq", 13, 16, 128),
            book_models.Seq2seq,
            partial(pairs, 13, 128, 7, 5),
            max_grad=5.0,
        ),
        Case(
            "AttentionSeq2seq, dates, 256, batch 128",
            drawn("AttentionSeq2seq", 59, 16, 256),
            partial(book_models.Seq2seq, attention=True),
            partial(pairs, 59, 128, 29, 11),
            max_grad=5.0,
        ),
    ]


def run(bench: Bench) -> None:
    table = bench.table("sequences", "step", "A step of the book's programs, float32", "µs")
    for case in cases():
        if case.memory and bench.quick:
            continue
        if case.memory > free_memory():
            bench.note(f"{case.name} was left out: too little memory is free.")
            continue
        table.rows.append(compare(bench, case))
    bench.finish(table)
    count(bench, 7000 if bench.quick else TEXT, 200 if bench.quick else COUNTED)


def compare(bench: Bench, case: Case) -> Row:
    bench.tell(case.name)
    ours, model = case.our_step(case.lr)
    loss = float(ours())
    wrong = words_drawn(model)
    expected = specification(case, wrong)
    check(case, expected, loss, model.params)
    plain, model = case.book_step(case.lr, wrong=wrong)
    check(case, expected, float(plain()), model.params)
    del ours, plain, model  # the book's have an array of gradients for each step
    candidates: dict[str, Candidate] = {}
    candidates[OURS], _ = case.our_step(STILL)
    candidates[NUMPY], _ = case.book_step(STILL)
    timing = bench.time(case.name, candidates, also_one_thread=True)
    return row(case.name, timing, (NUMPY,))


def specification(case: Case, wrong: Array | None) -> Expected:
    """Return the loss of a first step of the book's code in float64, and how parameters moved."""
    step, model = case.book_step(case.lr, "float64", wrong)
    before = [p.copy() for p in distinct(model.params)]
    return float(step()), before, distinct(model.params)


def check(case: Case, expected: Expected, loss: float, params: list[Array]) -> None:
    """Raise if a first step's loss or move is not that of the book's code in float64."""
    true_loss, before, after = expected
    what = f"the step of {case.name}"
    require(abs(loss - true_loss) <= 1e-4 * abs(true_loss), what)
    check_moves(what, case.optimizer, case.lr, before, distinct(params), after)


def distinct(params: list[Array]) -> list[Array]:
    """Return each array once; what is another's transposed view is left out too."""
    found: dict[int, Array] = {}
    for p in params:
        found.setdefault(p.__array_interface__["data"][0], p)
    return list(found.values())


def words_drawn(model: Any) -> Array | None:
    """Return the wrong words that nnext drew, which draws them in another order than the book."""
    loss_layer: Any = getattr(model, "loss_layer", None)
    return loss_layer.idx[:, 1:] if hasattr(loss_layer, "sampler") else None


# Models and batches, the same ones each time


def drawn(name: str, *sizes: Any) -> Callable[[], Any]:
    """Return what makes a model of nnext's, its weights drawn as the book draws them."""

    def make() -> Any:
        return getattr(models, name)(*sizes, rng=np.random.RandomState(0))

    return make


def small(name: str, vocabulary: int, hidden: int) -> tuple[Callable[[], Any], Any]:
    return drawn(name, vocabulary, hidden), getattr(book_words, name)


def our_better_in_numpy(arrays: list[Array]) -> book_models.LanguageModel:
    rng = np.random.RandomState(0)
    models.BetterRnnlm(VOCABULARY, 650, 650, DROPPED, rng=rng)  # draws from there as much as nnext
    return book_models.better_rnnlm(arrays, DROPPED, rng)


def text(words: int, vocabulary: int) -> Array:
    """Return words by Zipf's law; each of the vocabulary is there if there is room for it."""
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, vocabulary + 1)
    ids = rng.choice(vocabulary, words, p=weights / weights.sum())
    every = rng.permutation(vocabulary)
    if words >= 2 * vocabulary:
        ids[rng.permutation(words)[:vocabulary]] = every
    return ids


def around(vocabulary: int, corpus: Array, batch: int) -> Data:
    """Return one-hot rows of the words on both sides, and of those between them."""
    contexts, target = book_words.contexts_and_targets(corpus)
    return tuple(book_words.one_hot(ids[:batch], vocabulary) for ids in (contexts, target))  # type: ignore[return-value]


def windows(batch: int) -> Data:
    return book_words.contexts_and_targets(text(TEXT, VOCABULARY)[: batch + 2 * WINDOW], WINDOW)


def batch_of_text() -> Data:
    ids = text(WORDS * (TIME + 1), VOCABULARY).reshape(WORDS, TIME + 1)
    return ids[:, :-1], ids[:, 1:]


def pairs(vocabulary: int, batch: int, read: int, written: int) -> Data:
    rng = np.random.default_rng(0)
    return rng.integers(0, vocabulary, (batch, read)), rng.integers(0, vocabulary, (batch, written))


# Counts


def count(bench: Bench, words: int, vocabulary: int) -> None:
    title = f"Counts of a text of {words:,} words, {vocabulary:,} different ones"
    table = bench.table("sequences", "words", title, "s")
    corpus = text(words, vocabulary)
    modules: dict[str, Any] = {OURS: util, NUMPY: book_words}
    counts = {n: partial(m.create_co_matrix, corpus, vocabulary, 2) for n, m in modules.items()}
    C, expected = (make() for make in counts.values())
    require(C.dtype == expected.dtype and np.array_equal(C, expected), "create_co_matrix")
    ppmis = {name: partial(module.ppmi, C) for name, module in modules.items()}
    M, expected = (make() for make in ppmis.values())
    require(M.dtype == expected.dtype and np.allclose(M, expected, rtol=1e-6, atol=1e-6), "ppmi")
    for name, candidates in (("create_co_matrix, window 2", counts), ("ppmi", ppmis)):
        table.rows.append(row(name, bench.time(name, candidates), (NUMPY,)))
    bench.finish(table)
