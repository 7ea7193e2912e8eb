"""What a reader copies is true: the READMEs' code and output, the demo, the examples."""

import importlib
import inspect
import re
import tomllib

import pytest

import nnext
from page_code import ROOT, blocks, code_and_output
from programs import run

READMES = ["README.md", "README.ko.md"]
EXAMPLES_PAGE = "docs/howto/examples.md"
INSTALL_PAGE = "docs/howto/install.md"
DOCS = sorted(f"docs/{path.relative_to(ROOT / 'docs')}" for path in (ROOT / "docs").rglob("*.md"))
# Those about words and sequences are in test_word_model.py and test_sequence_examples.py.
APART = {"language_model.py", "seq2seq.py", "word_model.py", "word_vectors.py"}
EXAMPLES = sorted({path.name for path in (ROOT / "examples").glob("*.py")} - APART)


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
    assert any(block.language == "python" for block in found)
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block.language != "python":
            continue
        source = "\n" * (block.line - 1) + block.text  # so that errors name the README's line
        exec(compile(source, str(ROOT / name), "exec"), namespace)
        printed = capsys.readouterr().out.rstrip("\n")
        shown = following.text if following and following.language == "text" else ""
        assert printed == shown, f"{name}:{block.line}"


def test_code_of_the_page_about_files_prints_what_it_says(tmp_path):
    code = "\n".join(
        block.text for block in blocks("docs/howto/files.md") if block.language == "python"
    )
    printed = run("-c", code, folder=tmp_path).splitlines()
    assert printed == re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert len(printed) == 2


def test_both_readmes_show_the_same_code_and_output():
    english, korean = map(code_and_output, READMES)
    assert english == korean


def test_the_page_of_the_demo_shows_its_real_output(tmp_path):
    pytest.importorskip("sklearn")
    (shown,) = (b.text for b in blocks(EXAMPLES_PAGE) if b.text.startswith("nnext "))
    printed = run("-m", "nnext", "demo", folder=tmp_path)

    def same_everywhere(text):  # all but the machine, the speed and where the pictures are
        mine = r"nnext |Speed: |Pictures|No pictures"
        return [line for line in text.strip().splitlines() if not re.match(mine, line)]

    assert same_everywhere(printed) == same_everywhere(shown)


def rows(name, head, pattern):
    """The lines of the page's table with that head, by what their first cell matches."""
    text = (ROOT / name).read_text(encoding="utf-8")
    (table,) = re.findall(rf"^\| {head} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    found = [(re.match(rf"\| {pattern} \|", line), line) for line in table.splitlines()]
    assert all(match for match, _ in found), table
    return {match[1]: line for match, line in found}


def test_every_example_is_in_the_table():
    there = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert set(rows(EXAMPLES_PAGE, "example", r"\[(\w+\.py)\]\(\.\./\.\./examples/\1\)")) == there


def test_every_extra_is_in_the_table_with_what_it_adds():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = settings["project"]["optional-dependencies"]
    listed = rows(INSTALL_PAGE, "extra", r"`([a-z]+)`")
    assert set(listed) == set(extras)
    for extra in ("plot", "progress", "data", "files", "onnx", "pandas"):  # of one package each
        (package,) = (re.match(r"[\w-]+", requirement)[0] for requirement in extras[extra])
        assert f"| {package} |" in listed[extra]


def test_every_variable_of_the_environment_is_in_the_table():
    read = set()
    for path in (ROOT / "cpp" / "src").rglob("*.*"):
        read |= set(re.findall(r'"(NNEXT_[A-Z_]+)"', path.read_text(encoding="utf-8")))
    assert set(rows(INSTALL_PAGE, "variable", r"`(NNEXT_\w+)`")) == read


def test_public_names_are_in_the_table_and_those_of_the_table_are_there():
    inside = {"Layer", "before_forward", "Model", "Optimizer"}  # for those who write such
    listed = rows(INSTALL_PAGE, "module", r"(`nnext[\w.]*`(?:, `nnext\.\w+`)*)")
    modules = ("functions", "layers", "nodes", "callbacks", "schedules", "optimizer", "models")
    for module in (*modules, "plotting", "step"):
        names = set(re.findall(r"`(\w+)`", listed[f"`nnext.{module}`"]))
        assert set(importlib.import_module(f"nnext.{module}").__all__) - inside <= names, module
    for cell, line in listed.items():
        found = [importlib.import_module(module) for module in re.findall(r"`([\w.]+)`", cell)]
        classes = [thing for m in found for thing in vars(m).values() if inspect.isclass(thing)]
        for name in re.findall(r"`(\w+)`", line.removeprefix(f"| {cell} |")):
            assert any(hasattr(holder, name) for holder in found + classes), (cell, name)


def test_the_picture_of_the_readmes_is_drawn_by_its_program(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    monkeypatch.setattr("sys.argv", ["why.py", "--out", str(tmp_path / "why.png")])
    importlib.import_module("why").main()
    drawn, shown = imread(tmp_path / "why.png"), imread(ROOT / "docs" / "images" / "why.png")
    assert drawn.shape == shown.shape
    assert abs(drawn - shown).mean() < 0.02  # fonts differ a little from version to version
    assert drawn.std() > 0.1


@pytest.mark.parametrize("name", [*READMES, "CONTRIBUTING.md", *DOCS])
def test_documents_name_files_and_commands_that_are_there(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        if re.search(r"_generated/|\bapi/", target):
            continue  # made by make docs, which looks itself
        assert ((ROOT / name).parent / target).exists(), target
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
    needed = {
        "digits.py": ("sklearn", "matplotlib"),
        "scikit_learn.py": ("sklearn",),
        "seeing.py": ("matplotlib",),
    }
    for module in needed.get(name, ()):
        pytest.importorskip(module)
    printed = run(ROOT / "examples" / name, folder=tmp_path)
    if name == "regression.py":  # better than the mean, whose R² is 0
        explained = [float(r) for r in re.findall(r"R² (\d\.\d+)", printed)]
        assert len(explained) == 2, printed
        assert min(explained) >= 0.3, printed
        return
    share = re.search(r"(\d+\.\d)%", printed)
    assert float(share[1]) >= 95, printed
    if name == "seeing.py":
        drawn = ["boundary.png", "confusion.png", "graph.png", "learning_curve.png"]
        found = sorted(path.name for path in tmp_path.iterdir())
        assert found == [*drawn, "parameters.png"]
    if name == "from_pytorch.py":
        moved = re.findall(r"^layers\.(\d)\.\w moved by up to (\d\.\d+)$", printed, re.MULTILINE)
        assert [place for place, how_far in moved if float(how_far) == 0] == ["0", "0"]
        assert len(moved) == 6
        assert "the same scores, but for roundings: True" in printed
        assert "the same bits: True" in printed


def test_there_are_examples():
    assert {"digits.py", "own_layer.py", "spiral_by_hand.py"} <= set(EXAMPLES)
