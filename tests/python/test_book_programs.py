"""Programs like those of the book, run as they are by ``python -m nnext.book``."""

import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

import book_programs

pytestmark = pytest.mark.whole_programs


@pytest.fixture
def tree(tmp_path):
    pytest.importorskip("matplotlib")
    book_programs.write(tmp_path)
    return tmp_path


def run(program, folder):
    """Run a program in its folder; return what it printed."""
    quiet = ("-W", "error", "-W", "ignore:FigureCanvasAgg")  # which shows no figures
    done = subprocess.run(
        [sys.executable, *quiet, "-m", "nnext.book", program],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def figures(output, name):
    """Return the numbers of the lines that begin with a name."""
    lines = [line for line in output.splitlines() if line.startswith(f"{name} ")]
    return [[float(word) for word in line.split()[1:]] for line in lines]


# The chapters


def test_chapter_1_the_spiral(tree):
    output = run("train.py", tree / "ch01")
    ((count, first, last),) = figures(output, "losses")
    assert count == 60
    assert first == pytest.approx(np.log(3), rel=1e-2)
    assert last < 0.8
    assert "state 60 10" in output
    assert len(re.findall(r"\| epoch \d+ \|  iter 1 / 10 \| time 0\[s\] \| loss", output)) == 60
    output = run("train_custom_loop.py", tree / "ch01")
    ((count, first, last),) = figures(output, "losses")
    assert (count, last < first) == (40, True)


def test_chapter_2_counting(tree):
    output = run("count_method.py", tree / "ch02")
    assert "0.70710" in output  # cos of "you" and "i"
    assert "[query] you" in output
    assert "[0 1 0 0 0 0 0]" in output


def test_chapter_3_cbow_and_a_pickle_of_its_own(tree):
    output = run("train.py", tree / "ch03")
    cbow, skip_gram = figures(output, "losses")
    for (count, first, last), contexts in ((cbow, 1), (skip_gram, 2)):
        assert count == 400
        assert first == pytest.approx(contexts * np.log(7), rel=1e-2)
        assert last < 0.8 * first
    assert "kept ndarray float16" in output


def test_chapter_4_negative_sampling(tree):
    output = run("train.py", tree / "ch04")
    ((_, first, last),) = figures(output, "losses")
    assert first == pytest.approx(4 * np.log(2), rel=1e-2)
    assert last < first
    output = run("eval.py", tree / "ch04")
    assert output.count("[query] ") == 2
    assert "[analogy] you:say = hello:?" in output


@pytest.mark.parametrize("program", ["train.py", "train_custom_loop.py"])
def test_chapter_5_a_simple_language_model(tree, program):
    output = run(program, tree / "ch05")
    ((first, last),) = figures(output, "ppl")
    assert 5 < first < 11
    assert last < 4


def test_chapters_6_and_7_language_models_that_are_kept(tree):
    output = run("train_rnnlm.py", tree / "ch06")
    ((first, last),) = figures(output, "ppl")
    assert first == pytest.approx(10, rel=0.05)
    assert last < 4
    better = run("train_better_rnnlm.py", tree / "ch06")
    ((first, best),) = figures(better, "ppl")
    assert best < first < 11
    kept = run("eval.py", tree / "ch06")
    (_, read), (_, better_read) = figures(kept, "ppl")
    assert read == pytest.approx(last, rel=1e-6)
    assert better_read < 11
    text = run("generate_text.py", tree / "ch07")
    assert text.startswith("you ")
    assert "words (1, 8) (1, 8) 20 []" in text
    text = run("generate_better_text.py", tree / "ch07")
    assert "words 12 2 hello and you " in text
    # And with a file that the book's own program has written.
    with np.load(tree / "ch06" / "Rnnlm.pkl") as file:
        arrays = [file[f"param_{i}"].astype(np.float16) for i in range(len(file.files))]
    (tree / "ch06" / "Rnnlm.pkl").write_bytes(pickle.dumps(arrays))
    text = run("generate_text.py", tree / "ch07")
    assert "words (1, 8) (1, 8) 20 []" in text


def test_chapter_7_sequence_to_sequence(tree):
    output = run("train_seq2seq.py", tree / "ch07")
    for accuracy, first, last in figures(output, "accuracy"):
        assert first == pytest.approx(np.log(11), rel=0.05)
        assert last < 0.3 * first
        assert accuracy > 0.5
    assert len(figures(output, "accuracy")) == 2
    assert "Q " in output


def test_chapter_8_attention(tree):
    output = run("train.py", tree / "ch08")
    ((_, first, last),) = figures(output, "accuracy")
    assert last < 0.3 * first
    output = run("visualize_attention.py", tree / "ch08")
    assert "map (2, 3) True" in output
