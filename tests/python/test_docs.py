"""The pages of docs/: their code prints what they say, and no public name is left out."""

import doctest
import importlib
import inspect

import numpy as np
import pytest

import nnext
from page_code import (
    DOCS,
    code_and_output,
    missing_modules,
    notebooks,
    pages_with_code,
    run_notebook,
    run_page,
)


@pytest.fixture
def public_names(monkeypatch):
    """The module that says what is public."""
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(DOCS / "_ext")
    return importlib.import_module("public_names")


@pytest.mark.whole_programs
@pytest.mark.parametrize("name", pages_with_code())
def test_the_code_of_a_page_prints_what_the_page_says(name, tmp_path):
    pytest.importorskip("matplotlib")
    for module in missing_modules(name):
        pytest.skip(f"there is no {module} here")
    assert run_page(name, tmp_path) == []


@pytest.mark.parametrize("name", notebooks())
def test_the_cells_of_a_notebook_print_what_it_shows(name, tmp_path):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    assert run_notebook(name, tmp_path) == []


def test_a_page_that_lies_is_found(tmp_path):
    page = "```python\nprint(1)\n```\n\n```text\n2\n```\n\n```python\nprint(3)\n```\n"
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    found = run_page(tmp_path / "page.md", tmp_path)
    assert len(found) == 2
    assert ":2 prints\n1" in found[0]


KOREAN = sorted(p.relative_to(DOCS / "ko").as_posix() for p in (DOCS / "ko").glob("*/*.md"))


@pytest.mark.parametrize("name", KOREAN)
def test_korean_pages_have_the_code_and_output_of_the_english_ones(name):
    assert code_and_output(DOCS / "ko" / name) == code_and_output(DOCS / name)


@pytest.mark.parametrize("folder", ["tutorial", "book"])
def test_all_of_it_is_there_in_korean(folder):
    english = {path.name for path in (DOCS / folder).glob("*.md")}
    assert english == {path.name for path in (DOCS / "ko" / folder).glob("*.md")}


def test_the_reference_has_every_module_and_every_name(public_names):
    assert public_names.missing_modules() == set()
    names = public_names.collect()
    documented = {found.full for module in names.values() for found in module.values()}
    for module_name in public_names.MODULES:
        module = importlib.import_module(module_name)
        for name in public_names.names_of(module):
            thing = getattr(module, name)
            if thing is np:  # a star import of the book's gives it
                assert module_name == "nnext.time_layers"
            elif inspect.ismodule(thing):
                assert thing.__name__ in public_names.MODULES
            else:
                assert names[module_name][name].full in documented
                assert names[module_name][name].thing is thing
    assert "nnext.loss_layers.SoftmaxWithLoss" in documented
    assert not [name for name in documented if "._" in name.replace(".__", "")]


def test_a_name_that_nobody_lists_is_found(public_names, monkeypatch):
    monkeypatch.setattr(nnext.init, "__all__", ["affine", "invented"])
    monkeypatch.setattr(nnext.init, "invented", lambda: None, raising=False)
    assert public_names.collect()["nnext.init"]["invented"].full == "nnext.init.invented"


def test_every_public_name_says_what_it_is(public_names):
    for names in public_names.collect().values():
        for name in names.values():
            assert name.kind == "data" or inspect.getdoc(name.thing), name.full


def test_the_examples_of_docstrings_are_true(public_names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = 0
    finder = doctest.DocTestFinder()
    for path in sorted((DOCS.parent / "python" / "nnext").rglob("*.py")):
        parts = path.relative_to(DOCS.parent / "python").with_suffix("").parts
        if parts[-1] == "__main__":
            continue
        name = ".".join(parts).removesuffix(".__init__")
        module = importlib.import_module(name)
        for case in finder.find(module, name):
            failed, tried = doctest.DocTestRunner().run(case)
            assert failed == 0, case.name
            examples += tried
    assert examples >= 20
