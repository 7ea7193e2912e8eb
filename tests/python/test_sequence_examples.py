"""The examples about words and sequences: what they learn of made-up texts, and of yours."""

import re

import numpy as np
import pytest

from page_code import ROOT
from programs import run

EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.whole_programs


def numbers_of(pattern, printed):
    return [float(number) for number in re.findall(pattern, printed)]


def test_vectors_of_words_of_a_kind_are_near(tmp_path):
    printed = run(EXAMPLES / "word_vectors.py", folder=tmp_path)
    (share,) = numbers_of(r"of the same kind: (\d+\.\d)%", printed)
    assert share >= 95
    (line,) = re.findall(r"^dog: (.*)$", printed, re.MULTILINE)
    assert len(line.split(", ")) == 5
    assert {entry.split()[0] for entry in line.split(", ")} < {
        *("cat", "horse", "cow", "sheep", "goat", "mouse", "fox"),
    }


def test_vectors_of_a_text_of_ones_own(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("One two three, four five six; seven! " * 60, encoding="utf-8")
    command = [EXAMPLES / "word_vectors.py", path, "--near", "two,six", "--top", "3"]
    printed = run(*command, folder=tmp_path)
    assert "420 words, 7 different ones" in printed
    found = re.findall(r"^(\w+): \w+ -?\d\.\d\d, \w+ -?\d\.\d\d, \w+ -?\d\.\d\d$", printed, re.M)
    assert found == ["two", "six"]
    assert "of the same kind" not in printed
    assert run(*command, folder=tmp_path) == printed
    for arguments, said in [
        ((path, "--near", "eight"), "not in the text often enough: eight"),
        ((path, "--min-count", "61"), "0 words, 0 known: a longer text?"),
        ((tmp_path / "no.txt",), "cannot read"),
    ]:
        assert said in run(EXAMPLES / "word_vectors.py", *arguments, folder=tmp_path, status=1)


def test_a_language_model_comes_near_what_can_be_known(tmp_path):
    printed = run(EXAMPLES / "language_model.py", folder=tmp_path)
    (limit,) = numbers_of(r"made has perplexity ([\d.]+)", printed)
    (found,) = numbers_of(r"held out: ([\d.]+)", printed)
    assert 2.8 < limit < 3.1
    assert found < 1.05 * limit
    written = printed.rstrip().splitlines()[-1]
    assert len(re.findall(r"\w+|\.", written)) == 60
    assert {"the"} < set(re.findall(r"\w+", written))


@pytest.mark.parametrize("chars", [False, True])
def test_a_language_model_of_a_text_of_ones_own(tmp_path, chars):
    rng = np.random.default_rng(0)
    halves = ["one two three.", "four five six."]
    path = tmp_path / "text.txt"
    path.write_text(" ".join(halves[i] for i in rng.integers(0, 2, 400)), encoding="utf-8")
    more = ["--chars"] * chars
    sizes = [
        "--epochs",
        "8" if chars else "25",
        "--batch",
        "5",
        "--steps",
        "10",
        "--generate",
        "30",
    ]
    printed = run(EXAMPLES / "language_model.py", path, *sizes, *more, folder=tmp_path)
    assert ("characters, " in printed) == chars
    (found,) = numbers_of(r"held out: ([\d.]+)", printed)
    # One of two, in every 4 words or 15 characters and less.
    assert 1 < found < 2 ** (1 / 14 if chars else 1 / 4) * 1.05
    assert re.search(r"one two three|four five six", printed.rstrip().splitlines()[-1])
    for arguments, said in [
        ((path, "--batch", "300"), "the text is too short"),
        ((tmp_path / "no.txt",), "cannot read"),
    ]:
        assert said in run(EXAMPLES / "language_model.py", *arguments, folder=tmp_path, status=1)


@pytest.mark.parametrize("kind", ["plain", "peeky", "attention"])
def test_sequences_to_sequences_learn_a_part_in_an_epoch(tmp_path, kind):
    options = ["--model", kind, "--samples", "2000", "--epochs", "2", "--hidden", "32"]
    printed = run(EXAMPLES / "seq2seq.py", *options, folder=tmp_path)
    losses = numbers_of(r"loss (\d\.\d+)", printed)
    assert losses[-1] < 0.9 * losses[0]
    assert len(re.findall(r"^\d+\+\d+ -> \d* \((?:right|wrong)\)$", printed, re.MULTILINE)) == 5
    (share,) = numbers_of(r"never saw: (\d+\.\d)%", printed)
    assert 0 <= share <= 100
    assert ("attention" in printed) == (kind == "attention")


def test_where_dates_were_looked_at_is_drawn(tmp_path):
    options = ["--task", "dates", "--samples", "3000", "--hidden", "32", "--epochs", "2"]
    printed = run(EXAMPLES / "seq2seq.py", *options, folder=tmp_path)
    losses = numbers_of(r"loss (\d\.\d+)", printed)
    assert losses[-1] < 0.6 * losses[0]
    answers = re.findall(r"^.*\d -> (\S*) \((?:right|wrong)\)$", printed, re.MULTILINE)
    assert len(answers) == 5
    if "No picture" in printed:
        assert 'pip install ".[plot]"' in printed
    else:
        assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")
