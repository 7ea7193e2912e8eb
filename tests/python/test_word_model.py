"""The model of words, and the page about large vocabularies."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "howto" / "large-vocabularies.md"


def run_model(folder, *arguments):
    command = [sys.executable, "-P", str(ROOT / "examples" / "word_model.py"), *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "MPLBACKEND": "agg"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Write a text in which each word follows from those before it."""
    rng = np.random.default_rng(0)
    lines = ["the cat sat on the mat .", "a dog ran to the door .", "who is there ? nobody , sir !"]
    words = "\n".join(lines[i] for i in rng.integers(0, 3, 400)) + "\nonce"
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(words, encoding="utf-8")
    return path


def test_it_learns_writes_and_draws(text, tmp_path):
    pytest.importorskip("matplotlib")
    options = ["--epochs", "6", "--dim", "16", "--hidden", "32", "--batch", "32", "--lr", "0.01"]
    done = run_model(tmp_path, str(text), *options, "--generate", "60", "--out", "loss.png")
    assert done.returncode == 0, done.stderr
    # 14 words, 5 punctuation marks, the end of a line, and the unknown one: "once" is rare.
    assert "21 different ones known" in done.stdout
    first, last = map(float, re.search(r"loss ([\d.]+) -> ([\d.]+) a word", done.stdout).groups())
    perplexities = [float(p) for p in re.findall(r"perplexity of words held out ([\d.]+)",
                                                 done.stdout)]  # fmt: skip
    assert last < 0.6 < first
    # A third of the words ends a line, after which any of three may follow: 3 ** (1 / 8) or so.
    assert len(perplexities) == 6
    assert 1 < perplexities[-1] < 1.5
    assert re.search(r"peak memory of this program: [\d,]+ MB", done.stdout) or os.name != "posix"
    written = done.stdout.partition("shows the loss")[2]
    assert "sat on the mat." in written or "ran to the door." in written
    assert "<unknown>" not in written
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    again = run_model(tmp_path, str(text), *options, "--generate", "60")
    assert again.stdout.partition("shows the loss")[2] == written


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, [], "cannot read"),
        ("", [], "is too short: 0 words"),
        ("one two three", [], "is too short: 3 words"),
        ("word " * 500, ["--epochs", "0"], "--epochs must be at least 1"),
        ("word " * 500, ["--min-count", "1000"], "no word occurs 1000 times"),
        ("word " * 500, ["--lr", "nan"], "--lr must be a positive number"),
        ("word " * 500, ["--seed", "-1"], "--seed must be from 0"),
        ("word " * 500, ["--generate", "-1"], "--generate must not be negative"),
        ("word " * 500, ["--out", "loss.txt"], "expected the name of a .png, .pdf or .svg file"),
        ("word " * 500, ["--out", "nowhere/loss.png"], "there is no folder nowhere"),
    ],
)
def test_what_cannot_work_is_said_plainly(tmp_path, content, arguments, message):
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    done = run_model(tmp_path, str(path), *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_code_of_the_page_runs(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    names = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert capsys.readouterr().out.split() == ["(256,)", "True", "True", str(64 * 2**20)]


def test_the_links_of_the_page_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text("utf-8")):
        assert (PAGE.parent / target).exists(), target
