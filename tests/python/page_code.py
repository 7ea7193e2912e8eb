"""The code of a Markdown page, run from top to bottom as a reader would, and what it prints."""

import ast
import contextlib
import importlib.util
import io
import json
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# test_saving.py and test_word_model.py run these; tables of benchmarks have no code.
TESTED_ELSEWHERE = {"howto/files.md", "howto/large-vocabularies.md"}


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


def code_and_output(name):
    """What pages in two languages have in common: comments are in the page's own language."""
    return [
        ast.dump(ast.parse(block.text)) if block.language == "python" else block.text
        for block in blocks(name)
        if block.language in ("python", "text")
    ]


def pages_with_code():
    """The pages of docs/ that run, as names below it, in order.

    Not the Korean ones: a test compares their code with that of the English ones, which run.
    """
    found = (path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md")))
    run = [n for n in found if n not in TESTED_ELSEWHERE and not n.startswith(("_", "ko/"))]
    return [n for n in run if any(b.language == "python" for b in blocks(DOCS / n))]


def missing_modules(name):
    """What a page says that it needs, ``<!-- needs: torch, onnx -->``, and is not here."""
    text = (DOCS / name).read_text(encoding="utf-8")
    needed = re.findall(r"^<!-- needs: (.*?) -->$", text, re.MULTILINE)
    names = [module for line in needed for module in line.split(", ")]
    return [module for module in names if importlib.util.find_spec(module) is None]


def run_page(name, folder):
    """Run the code of a page of docs/ in a folder; return what is wrong, a line for each block.

    The block of language ``text`` that follows code is what the code prints; code without one
    prints nothing. Pictures that the page shows are written by its code, into the folder.
    """
    import matplotlib

    import nnext

    matplotlib.use("agg")
    threads, working = nnext.get_num_threads(), os.getcwd()
    namespace = {"__name__": "page"}
    found, wrong = blocks(DOCS / name), []
    os.chdir(folder)
    try:
        for block, following in zip(found, [*found[1:], None], strict=True):
            if block.language != "python":
                continue
            source = "\n" * (block.line - 1) + block.text  # so that errors name the page's line
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), warnings.catch_warnings():
                warnings.simplefilter("error")
                exec(compile(source, str(DOCS / name), "exec"), namespace)
            shown = following.text if following and following.language == "text" else ""
            if printed.getvalue().rstrip("\n") != shown:
                wrong.append(f"docs/{name}:{block.line} prints\n{printed.getvalue()}")
    finally:
        os.chdir(working)
        nnext.set_num_threads(threads)
    return wrong


def notebooks():
    """The notebooks of docs/, as names below it."""
    return sorted(path.relative_to(DOCS).as_posix() for path in DOCS.glob("notebooks/*.ipynb"))


def run_notebook(name, folder):
    """Run the cells of a notebook in a folder; return what is wrong, as `run_page` does.

    What a cell prints is compared with what is stored; pictures are drawn, and not looked at.
    """
    import matplotlib
    import matplotlib.pyplot as plt

    matplotlib.use("agg")
    cells = json.loads((DOCS / name).read_text(encoding="utf-8"))["cells"]
    namespace, wrong, working = {"__name__": "page"}, [], os.getcwd()
    os.chdir(folder)
    try:
        for cell in cells:
            if cell["cell_type"] != "code":
                continue
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed), warnings.catch_warnings():
                warnings.simplefilter("error")
                exec(compile("".join(cell["source"]), str(DOCS / name), "exec"), namespace)
            kinds = {output["output_type"] for output in cell["outputs"]}
            shown = "".join(line for out in cell["outputs"] for line in out.get("text", []))
            if not kinds <= {"stream"}:
                wrong.append(f"docs/{name}, cell {cell['id']} has stored more than text")
            if printed.getvalue() != shown:
                wrong.append(f"docs/{name}, cell {cell['id']} prints\n{printed.getvalue()}")
    finally:
        os.chdir(working)
        plt.close("all")
    return wrong
