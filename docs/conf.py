"""How the pages are built: `make docs`."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_ext"))

import nnext  # noqa: E402

project = "nnext"
author = "the nnext developers"
copyright = "the nnext developers"
version = release = nnext.__version__
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "reference",
]
exclude_patterns = ["_generated", "_ext"]

# --- the reference --------------------------------------------------------------------------------
default_role = "name"  # of `name` in docstrings, see _ext/reference.py
autosummary_generate = False
autodoc_typehints = (
    "none"  # _ext/reference.py writes the signatures, with short types
)
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
maximum_signature_line_length = 72
python_display_short_literal_types = True
add_module_names = True
toc_object_entries_show_parents = "hide"
nitpicky = True

# --- the pages ------------------------------------------------------------------------------------
myst_heading_anchors = 3
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
nb_execution_mode = "cache"  # of the notebooks; the pages' code is run by build.py
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 120  # seconds a cell, on a machine that does other work too
nb_merge_streams = True

# --- the looks ------------------------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = f"nnext {release}"
html_static_path = ["_static"]
html_css_files = ["nnext.css"]
html_js_files = ["nnext.js"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "logo": {"text": "nnext"},
}
pygments_style = "a11y-high-contrast-light"


def read(app, docname, source):
    """Add what Markdown on its own has no use for, and name files that are not among the pages."""
    if docname == "performance":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\nperformance/*\n```\n"
    page = HERE / f"{docname}.md"

    def outside(link):
        text, target = link[1], (page.parent / link[2]).resolve()
        if target.is_relative_to(HERE) or not target.exists():
            return link[0]
        name = f"`{target.relative_to(HERE.parent)}`"
        return name if text in name else f"{text} ({name})"

    source[0] = re.sub(r"(?<!!)\[([^]]*)\]\((\.\./[^)#:]+)\)", outside, source[0])


def context(app, pagename, templatename, context, doctree):
    """Say which pages are in Korean, for screen readers and fonts; make lists of arguments lists."""
    if pagename.startswith("ko/"):
        context["language"] = "ko"

    def arguments(
        found,
    ):  # Sphinx writes a <dl> without terms, which no reader understands
        items = (
            found[1]
            .replace("<dd>", '<div role="listitem">')
            .replace("</dd>", "</div>")
        )
        return f'<div role="list" class="sig-arguments">\n{items}</div>'

    body = context.get("body", "")
    body = re.sub(r"<dl>\n((?:<dd>.*</dd>\n)+)</dl>", arguments, body)
    # the empty corner of a table is no header
    context["body"] = re.sub(
        r'<th class="head[^"]*">(<p></p>)?</th>', "<td></td>", body
    )


def setup(app):
    """Connect these."""
    app.connect("source-read", read)
    app.connect("html-page-context", context)
