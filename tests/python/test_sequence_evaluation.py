"""Perplexity of a text, and answers that are right or not."""

import io
import math
import sys

import numpy as np
import pytest

from nnext._sequence_evaluation import eval_perplexity, eval_seq2seq
from nnext.models import BetterRnnlm, Rnnlm

CHARS = dict(enumerate("0123456789+ _"))


class Reads:
    """Notes what it is given, and returns a loss for each batch."""

    def __init__(self, losses=None):
        self.seen, self.losses = [], losses

    def forward(self, xs, ts):
        self.seen.append((xs, ts))
        return self.losses[len(self.seen) - 1] if self.losses else 0.0


class Writes:
    def __init__(self, ids):
        self.ids = ids

    def generate(self, question, start_id, sample_size):
        self.asked = question, start_id, sample_size
        return self.ids


# Perplexity


@pytest.mark.parametrize(("size", "batch_size", "time_size"), [(23, 3, 2), (13, 3, 4), (2, 1, 1)])
def test_the_text_is_read_in_parts_side_by_side(size, batch_size, time_size):
    model, corpus = Reads(), np.random.default_rng(0).integers(0, 9, size)
    eval_perplexity(model, corpus, batch_size, time_size)
    batches, jump = (size - 1) // (batch_size * time_size), (size - 1) // batch_size
    assert len(model.seen) == batches
    for i, (xs, ts) in enumerate(model.seen):
        assert xs.shape == ts.shape == (batch_size, time_size)
        for n in range(batch_size):
            for t in range(time_size):
                at = i * time_size + n * jump + t
                assert (xs[n, t], ts[n, t]) == (corpus[at], corpus[at + 1])


def test_the_perplexity_is_that_of_the_mean_loss(capsys):
    assert eval_perplexity(Reads([1.0, 2.0]), [0] * 9, 2, 2) == pytest.approx(math.exp(1.5))
    assert capsys.readouterr().out == "evaluating perplexity ...\n\r0 / 2\r1 / 2\n"
    assert eval_perplexity(Reads([1e5]), [0, 1], 1, 1) == math.inf
    assert math.isnan(eval_perplexity(Reads([math.nan]), [0, 1], 1, 1))


def test_a_model_that_knows_nothing_wavers_between_all_words():
    corpus = np.random.default_rng(0).integers(0, 50, 1000)
    model = Rnnlm(50, 4, 4, rng=np.random.default_rng(0))
    assert eval_perplexity(model, corpus) == pytest.approx(50, rel=0.01)
    assert model.get_state()[0].shape == (10, 4)


def test_no_element_is_dropped():
    model = BetterRnnlm(5, 4, 4, 0.9, dtype="f8")
    found = []
    for _ in range(2):
        model.reset_state()
        found.append(eval_perplexity(model, np.arange(100) % 5, 2, 7))
    assert found[0] == found[1]


def test_what_is_no_text_is_refused(capsys):
    model = Reads()
    for corpus in ([], np.zeros(0), range(350)):
        with pytest.raises(ValueError, match=r"corpus: expected at least 351 words, 10 x 35 for"):
            eval_perplexity(model, corpus)
    for corpus in (np.zeros((2, 400), int), 3):
        with pytest.raises(ValueError, match=r"corpus: expected ids of shape \(N,\), got"):
            eval_perplexity(model, corpus)
    for corpus in (np.zeros(400), ["a"] * 400, np.ones(400, bool)):
        with pytest.raises(TypeError, match="corpus: expected ids, whole numbers"):
            eval_perplexity(model, corpus)
    with pytest.raises(IndexError, match=r"corpus: expected ids at least 0, corpus\[3\] is -1"):
        eval_perplexity(model, [0, 1, 2, -1] * 100)
    with pytest.raises(TypeError, match=r"corpus: .*masked"):
        eval_perplexity(model, np.ma.masked_equal(range(400), 3))
    for name in ("batch_size", "time_size"):
        for wrong in (0, 2.5, True):
            with pytest.raises(ValueError, match=name):
                eval_perplexity(model, range(400), **{name: wrong})
    assert not model.seen
    assert not capsys.readouterr().out
    eval_perplexity(model, range(351))
    assert len(model.seen) == 1


# Answers


def test_an_answer_is_right_or_not():
    question, correct = np.array([[5, 7, 10, 5]]), np.array([[12, 6, 2, 11, 11]])
    for ids, expected in [([6, 2, 11, 11], 1), ([6, 2, 11, 1], 0), ([6, 2], 0)]:
        model = Writes(ids)
        found = eval_seq2seq(model, question, correct, CHARS)
        assert type(found) is int
        assert found == expected
        asked, start, size = model.asked
        np.testing.assert_array_equal(asked, question)
        assert (start, size) == (12, 4)
    assert eval_seq2seq(Writes([np.int64(1)]), question, [12, 1], "0123456789+ _") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="has letters for marks")
def test_questions_and_answers_are_printed_if_told(monkeypatch):
    def shown(ids, encoding="utf-8", positional=(), **options):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
        monkeypatch.setattr(sys, "stdout", out)
        question, correct = np.array([[5, 7, 10]]), np.array([[12, 6, 2]])
        eval_seq2seq(Writes(ids), question, correct, CHARS, *positional, **options)
        out.flush()
        return out.buffer.getvalue().decode(encoding)

    assert shown([6, 2]) == ""
    assert shown([6, 2], verbos=True) == "Q 57+\nT 62\n\033[92m☑\033[0m 62\n---\n"
    assert shown([6, 2], positional=(True,)) == shown([6, 2], verbos=True)
    back = shown([6, 3], verbos=True, is_reverse=True)
    assert back == "Q +75\nT 62\n\033[91m☒\033[0m 63\n---\n"
    assert shown([6, 2], "ascii", verbos=True) == "Q 57+\nT 62\nO 62\n---\n"
    assert shown([6, 3], "ascii", verbos=True) == "Q 57+\nT 62\nX 63\n---\n"


def test_what_is_no_answer_is_refused():
    for correct in ([], [12], np.zeros((1, 0), int)):
        with pytest.raises(ValueError, match="correct: expected the character of the beginning"):
            eval_seq2seq(Writes([]), np.array([[1]]), correct, CHARS)
    with pytest.raises(TypeError, match="correct: expected ids"):
        eval_seq2seq(Writes([]), np.array([[1]]), [1.5, 2.0], CHARS)
    with pytest.raises(TypeError, match="question: expected ids"):
        eval_seq2seq(Writes([]), "57+", [1, 2], CHARS)
    with pytest.raises(IndexError, match=r"correct: expected ids at least 0, correct\[1\] is -2"):
        eval_seq2seq(Writes([]), [[1]], [1, -2], CHARS)
    with pytest.raises(ValueError, match=r"question: expected ids of shape .* got shape \(\)"):
        eval_seq2seq(Writes([]), 1, [1, 2], CHARS)
    with pytest.raises(TypeError, match="verbos"):
        eval_seq2seq(Writes([]), [[1]], [1, 2], CHARS, verbos=1.5)


@pytest.mark.parametrize(
    ("question", "correct", "match"),
    [
        ([[1, 2]], [[0, 1], [2, 3]], r"correct: .* one answer, got shape \(2, 2\)"),
        ([[1, 2]], [0], r"correct: .* one answer, got shape \(1,\)"),
        ([1, 2], [0, 1], "question: expected"),
    ],
)
def test_a_question_has_one_answer(question, correct, match):
    with pytest.raises(ValueError, match=match):
        eval_seq2seq(None, question, correct, "abcde")
