"""What a reader copies is true: the READMEs' code and output, the examples, the benchmarks."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import nnext

ROOT = Path(__file__).resolve().parents[2]
READMES = ["README.md", "README.ko.md"]
# (test_word_model.py runs the one that needs a text.)
EXAMPLES = sorted({path.name for path in (ROOT / "examples").glob("*.py")} - {"word_model.py"})


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its first line's number in the file, and its text."""

    language: str
    line: int
    text: str


def blocks(name):
    """The fenced blocks of a Markdown file; they stand at the left margin and do not nest."""
    found, language, start = [], None, 0
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.startswith("```"):
            continue
        if language is None:
            language, start = line[3:].strip(), number
        else:
            found.append(Block(language, start + 1, "\n".join(lines[start : number - 1])))
            language = None
    assert language is None, f"{name}: the block of line {start} does not end"
    return found


def run(*arguments, folder):
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def threads():
    before = nnext.get_num_threads()
    yield
    nnext.set_num_threads(before)


@pytest.mark.parametrize("name", READMES)
def test_readme_code_prints_what_the_readme_says(name, capsys, tmp_path, monkeypatch, threads):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    found = blocks(name)
    assert sum(block.language == "python" for block in found) >= 5
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.language != "python":
            continue
        source = "\n" * (block.line - 1) + block.text  # so that errors name the README's line
        exec(compile(source, str(ROOT / name), "exec"), namespace)
        printed = capsys.readouterr().out.rstrip("\n")
        shown = following.text if following and following.language == "text" else ""
        assert printed == shown, f"{name}:{block.line}"


def test_both_readmes_show_the_same_code_and_output():
    def content(name):
        return [
            # comments are in the README's own language
            ast.dump(ast.parse(block.text)) if block.language == "python" else block.text
            for block in blocks(name)
            if block.language in ("python", "text")
        ]

    english, korean = map(content, READMES)
    assert english == korean


def test_readme_shows_the_demos_real_output(tmp_path):
    pytest.importorskip("sklearn")
    (shown,) = (b.text for b in blocks("README.md") if b.text.startswith("nnext "))
    printed = run("-m", "nnext", "demo", folder=tmp_path)

    def same_everywhere(text):  # all but the machine, the speed and where the pictures are
        mine = r"nnext |Speed: |Pictures|No pictures"
        return [line for line in text.strip().splitlines() if not re.match(mine, line)]

    assert same_everywhere(printed) == same_everywhere(shown)


@pytest.mark.parametrize("name", [*READMES, "CONTRIBUTING.md"])
def test_documents_name_files_and_commands_that_are_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{''.join(command)}:", makefile, re.MULTILINE), command


def test_nobody_is_sent_to_another_project_of_the_package_index():
    """Texts may install the clone (``pip install .``) or the distribution by its own name."""
    folders = ["docs", "examples", "benchmarks", "python/nnext"]
    texts = [ROOT / name for name in [*READMES, "CONTRIBUTING.md"]]
    texts += [p for f in folders for p in (ROOT / f).rglob("*.*") if p.suffix in (".md", ".py")]
    wanted = nnext._nnext.__distribution__
    for path in texts:
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"pip install [^\n`]*?(?<![\w.])(nnext[\w-]*)", text)
        named += re.findall(r"(?<![\w.])(nnext[\w-]*)\[[a-z,]+\]", text)
        assert set(named) <= {wanted}, path
    for name in READMES:
        assert f"`{wanted}`" in (ROOT / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_and_learns(name, tmp_path):
    if name == "digits.py":
        for module in ("sklearn", "matplotlib"):
            pytest.importorskip(module)
    printed = run(ROOT / "examples" / name, folder=tmp_path)
    share = re.search(r"(\d+\.\d)%", printed)
    assert float(share[1]) >= 95, printed


def test_there_are_examples():
    assert {"digits.py", "own_layer.py", "spiral_by_hand.py"} <= set(EXAMPLES)


@pytest.fixture
def benchmarks(monkeypatch):
    """Make the modules of benchmarks/ importable."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def test_benchmarks_run_and_write_their_tables(tmp_path):
    parts = ["matmul", "calls"]
    command = ["--quick", "--threads", "1", "--parts", *parts, "--out", "results"]
    printed = run(ROOT / "benchmarks" / "run.py", *command, folder=tmp_path)
    for part in parts:
        text = (tmp_path / "results" / f"{part}.md").read_text(encoding="utf-8")
        assert text.count("\n|") >= 7
        assert all(line in printed for line in text.splitlines())
    assert re.search(r"^\| 256, 256, 256 +\| +[\d.]+ / [\d.]+ / [\d.]+ \| ", printed, re.MULTILINE)
    assert re.search(r"^Geometric means: [\d.]+ × NumPy", printed, re.MULTILINE)
    (found,) = json.loads((tmp_path / "results" / "results.json").read_text(encoding="utf-8"))
    assert {table["part"] for table in found["tables"]} == set(parts)


def test_benchmarks_ignore_and_name_what_would_slow_a_peer_down(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    command = ["--quick", "--threads", "1", "--parts", "calls"]
    printed = run(ROOT / "benchmarks" / "run.py", *command, folder=tmp_path)
    assert "Ignored, since it would slow a peer down: " in printed
    assert "OPENBLAS_CORETYPE=Haswell" in printed


def test_benchmarks_reject_a_wrong_product(benchmarks):
    import matmul

    a, b = matmul.operands("tn", 5, 7, 3)
    y = nnext.matmul(a, b)
    assert y.shape == (7, 3)
    matmul.check(a, b, y)
    for wrong in (1.001 * y, np.full_like(y, np.nan), y.astype(np.float64), y[:4]):
        with pytest.raises(AssertionError, match="the product"):
            matmul.check(a, b, wrong)


def test_benchmarks_reject_a_wrong_loss_or_gradient(benchmarks):
    import softmax

    x = np.random.default_rng(0).standard_normal((6, 4), dtype=np.float32)
    t = np.arange(6) % 4
    layer = nnext.SoftmaxWithLoss()
    loss, dx = layer.forward(x, t), layer.backward()
    softmax.check(x, t, loss, dx)
    for wrong in ((1.01 * loss, dx), (np.nan, dx), (loss, 1.001 * dx), (loss, dx[:5])):
        with pytest.raises(AssertionError, match="softmax with loss"):
            softmax.check(x, t, *wrong)


def test_benchmarks_reject_a_wrong_function_or_step(benchmarks):
    import book
    import elementwise
    import training

    y = np.exp(np.linspace(-3, 3, 50, dtype=np.float32))
    elementwise.check_ulps("exp", y, y.astype(np.longdouble))
    with pytest.raises(AssertionError, match="exp of float32"):
        elementwise.check_ulps("exp", y, 1.00001 * y.astype(np.longdouble))

    params, grads = elementwise.parameters((4, 3))
    nnext.Adam(lr=1e-4).update(params, grads)
    elementwise.check_step("Adam", book.Adam, (4, 3), params)
    with pytest.raises(AssertionError, match="the step of Adam"):
        elementwise.check_step("Adam", book.Adam, (4, 3), [1.00001 * p for p in params])

    for optimizer in training.OPTIMIZERS:
        step, params = training.our_step(training.CASES[0], optimizer, 0.001)
        loss = step()
        training.check(training.CASES[0], optimizer, loss, params)
        with pytest.raises(AssertionError, match="the step of 2-10-3"):
            training.check(training.CASES[0], optimizer, 1.001 * loss, params)
        step()
        with pytest.raises(AssertionError, match="the step of 2-10-3"):
            training.check(training.CASES[0], optimizer, loss, params)


def test_benchmarks_compare_within_a_round_and_judge_by_the_worst_case(benchmarks):
    from measure import Timing
    from report import Table, render, row
    from targets import Target

    timing = {
        "nnext": Timing((1.0, 2.0, 4.0)),
        "NumPy": Timing((2.0, 4.0, 8.0)),
        "PyTorch: loop": Timing((9.0, 9.0, 9.0)),
        "PyTorch: fused": Timing((0.5, 1.0, 2.0)),
    }
    lost = row("a", timing, ("NumPy", "PyTorch", "absent"), work=4e9, form="nn")
    assert lost.ratios == {"NumPy": 2.0, "PyTorch": 0.5}
    won = row("b", {"nnext": Timing((1.0,)), "NumPy": Timing((3.0,))}, ("NumPy",), form="nn")
    table = Table("matmul", "float32", "Products", 1, "GFLOP/s", [lost, won])
    assert Table.from_json(json.loads(json.dumps(table.to_json()))) == table
    text = render(table)
    assert re.search(r"^\| a +\| +2 \| +1 \| +4 \| +2\.00 \| +0\.50 \| +0\.50 \|", text, re.M)
    assert "Worst: 0.50 at a nn. Slower than the better peer: 1 of 2." in text

    def figures(tables):
        return ((r.case, r.better) for table in tables for r in table.rows)

    def verdict(bar, at_most=False):
        return Target("says", bar, figures, at_most).verdict([table])[2:]

    assert verdict(0.5) == ("reached", "0.50 ×: a")
    assert verdict(1) == ("missed by 1 of 2", "0.50 ×: a")
    assert verdict(3, at_most=True) == ("reached", "3.00 ×: b")
    assert Target("says", 1, figures).verdict([])[2] == "not measured"


def test_benchmarks_find_their_places_in_the_document(benchmarks):
    import report
    import run as program

    text = program.DOCUMENT.read_text(encoding="utf-8")
    names = [*program.PARTS, "machine", "notes", "targets"]
    assert sorted(re.findall(r"<!-- bench:([a-z_]+) -->", text)) == sorted(names)
    written = report.replace_blocks(text, {name: f"the block {name}" for name in names})
    for name in names:
        assert f"<!-- bench:{name} -->\n\nthe block {name}\n\n<!-- /bench:{name} -->" in written
    with pytest.raises(ValueError, match="found them 0 times"):
        report.replace_blocks(text, {"nowhere": ""})
