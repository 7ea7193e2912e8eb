"""The pages of the reference, the signatures in them, and links from names in docstrings."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from public_names import MODULES, Name, collect, members, missing_modules
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
FOLDER = "reference/api"

# What stands for a type in a signature, where the source has more than a reader wants.
SHORTER = (
    (r"\bnp\.random\.", ""),
    (r"\bnp\.", ""),
    (r"\bArray\b", "ndarray"),
    (r"NDArray\[(\w+)\]", r"ndarray[\1]"),
    (r"\bLossT\b", "float | ndarray"),
    (r"\bOptimizerT\b", "Optimizer"),
    (r"os\.PathLike\[str\]", "PathLike"),
    (r"\bstr \| PathLike\b", "PathLike"),
    (r"Literal\[([^\]]*)\]", lambda found: found[1].replace(", ", " | ")),
)


def write_pages(app: Sphinx) -> None:
    """Write the pages of all modules and names; those that are gone go too."""
    missing = missing_modules()
    if missing:
        logger.warning("modules that the reference does not know: %s", ", ".join(sorted(missing)))
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    pages: dict[str, str] = {}
    found = collect()
    for module, names in found.items():
        pages[module] = _module_page(module, names)
        for name in names.values():
            if name.module == module:
                pages[name.full] = _name_page(name, found)
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for page, text in pages.items():
        path = folder / f"{page}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _heading(text: str) -> str:
    return f"{text}\n{'=' * len(text)}\n"


def _module_page(module: str, names: dict[str, Name]) -> str:
    parts = [_heading(module), f".. automodule:: {module}\n   :no-members:\n"]
    parts.append(f".. currentmodule:: {module}\n")
    titles = {
        "class": "Classes",
        "function": "Functions",
        "exception": "Exceptions",
        "data": "Data",
    }
    for kind, title in titles.items():
        own = [n for n in names.values() if n.kind == kind and n.module == module]
        if own:
            listed = "\n".join(f"   {n.name}" for n in own)
            parts.append(
                f".. rubric:: {title}\n\n.. autosummary::\n   :nosignatures:\n\n{listed}\n"
            )
    others = [(name, n) for name, n in names.items() if n.module != module]
    if others:
        links = ", ".join(
            f":py:obj:`~{n.full}`" for _, n in sorted(others, key=lambda o: o[0].lower())
        )
        parts.append(f".. rubric:: Known here too\n\n{links}\n")
    own_pages = [n.full for n in names.values() if n.module == module]
    if own_pages:
        entries = "\n".join(f"   {n.rpartition('.')[2]} <{n}>" for n in own_pages)
        parts.append(f".. toctree::\n   :hidden:\n\n{entries}\n")
    return "\n".join(parts)


def _name_page(name: Name, found: dict[str, dict[str, Name]]) -> str:
    directive = {"class": "autoclass", "exception": "autoexception", "data": "autodata"}
    lines = [
        _heading(name.name),
        f".. currentmodule:: {name.module}\n",
        f".. {directive.get(name.kind, 'autofunction')}:: {name.name}",
    ]
    if name.kind == "data":
        lines.append("   :no-value:")
    if name.kind == "class":
        methods = list(members(name.thing))
        for method in methods:
            value = inspect.getattr_static(name.thing, method)
            kind = "autoproperty" if isinstance(value, property) else "automethod"
            lines.append(f"\n   .. {kind}:: {name.name}.{method}")
    also = [
        f"``{module}.{name.name}``"
        for module, names in found.items()
        if module != name.module and name.name in names and names[name.name] is name
    ]
    if also:
        lines.insert(2, f"Also to be had as {', '.join(also)}.\n")
    return "\n".join(lines) + "\n"


def write_signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: Any, result: Any
) -> tuple[str, str | None] | None:
    """Return a signature with the types as they are written in the source, shortened."""
    if what not in ("class", "exception", "function", "method"):
        return None
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return None
    parameters = [
        p.replace(annotation=_Written(p.annotation) if p.annotation is not p.empty else p.empty)
        for p in found.parameters.values()
    ]
    if what == "method" and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    returned = found.return_annotation
    if what in ("class", "exception"):
        returned = found.empty
    shown = str(found.replace(parameters=parameters, return_annotation=found.empty))
    # The slash of arguments that have no name is noise to most readers, but is true: it stays.
    return shown, None if returned is found.empty else repr(_Written(returned))


class _Written:
    """An annotation that `str` of a signature shows as it is written."""

    def __init__(self, annotation: Any) -> None:
        text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        for pattern, replacement in SHORTER:
            text = re.sub(pattern, replacement, text)
        self.text = text

    def __repr__(self) -> str:
        return self.text


class Names:
    """Finds what a name in a docstring means, from where the docstring is."""

    def __init__(self) -> None:
        self.by_module = collect()
        self.short: dict[str, Name] = {}
        for names in self.by_module.values():
            for name, found in names.items():
                self.short.setdefault(name, found)
        self.pages = {*self.by_module, *(n.full for n in self.short.values())}

    def find(self, text: str, module: str | None, kind: str | None) -> str | None:
        """Return the full name of what is documented, or None."""
        text = text.removesuffix("()")
        if not re.fullmatch(r"[A-Za-z_][\w.]*", text):
            return None
        if kind and "." not in text:  # a method of the class that speaks
            found = self._member(kind, text, module)
            if found:
                return found
        for start in (text, f"nnext.{text}"):
            if start in self.by_module and (text.startswith("nnext") or kind is None):
                return start
            owner, _, rest = start.rpartition(".")
            if owner in self.by_module and rest in self.by_module[owner]:
                return self.by_module[owner][rest].full
        if module in self.by_module and text in self.by_module[module]:
            return self.by_module[module][text].full
        owner, _, rest = text.rpartition(".")
        return self._member(owner.rpartition(".")[2], rest, module) if owner else None

    def _member(self, kind: str, member: str, module: str | None) -> str | None:
        name = self.by_module.get(module or "", {}).get(kind) or self.short.get(kind)
        if name is None or not inspect.isclass(name.thing):
            return None
        return f"{name.full}.{member}" if member in members(name.thing) else None


_names: Names | None = None


def names() -> Names:
    """Return the finder, made when it is first needed."""
    global _names
    _names = _names or Names()
    return _names


def name_role(
    role: str,
    rawtext: str,
    text: str,
    lineno: int,
    inliner: Any,
    options: Any = None,
    content: Any = (),
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Make `` `name` `` a link if it is documented, and code if it is an argument or the like."""
    env = inliner.document.settings.env
    context = env.ref_context
    found = names().find(text, context.get("py:module"), context.get("py:class"))
    code = nodes.literal(rawtext, text, classes=["py"])
    if found is None:
        if re.match(r"nnext\.(?!_)", text):
            logger.warning("no such name is documented: %s", text, location=(env.docname, lineno))
        return [code], []
    kind = "mod" if found in MODULES else "obj"
    link = addnodes.pending_xref(
        rawtext,
        code,
        refdomain="py",
        reftype=kind,
        reftarget=found,
        refexplicit=True,
        refwarn=True,
        refdoc=env.docname,
    )
    return [link], []


def missing_reference(app: Sphinx, env: Any, node: Any, contnode: Any) -> Any:
    """Resolve names that moved (`See Also`) and the types of signatures; others are plain text."""
    if node.get("refdomain") != "py" or node.get("reftype") == "mod":
        return None
    target = node["reftarget"]
    found = names().find(target, None, None)
    if found is None and node.get("reftype") in ("class", "exc") and target in names().short:
        found = names().short[target].full
    if found is None or found == target:
        return None if target.startswith("nnext.") else contnode
    owner = found if found in names().pages else found.rpartition(".")[0]
    uri = app.builder.get_relative_uri(node["refdoc"], f"{FOLDER}/{owner}") + f"#{found}"
    return nodes.reference("", "", contnode, internal=True, refuri=uri)


def _is_in_link_or_title(node: nodes.Node) -> bool:
    while (node := node.parent) is not None:
        if isinstance(node, nodes.reference | nodes.title | addnodes.pending_xref):
            return True
    return False


def link_names(app: Sphinx, doctree: nodes.document) -> None:
    """Make the first `name` of each public name in a Markdown page a link to the reference."""
    page = app.env.docname
    if page.startswith(FOLDER):
        return
    linked: set[str] = set()
    for code in list(doctree.findall(nodes.literal)):
        text = re.sub(r"\(.*\)$", "", code.astext())
        telling = "_" in text or text[:1].isupper() or text.startswith("nnext.")
        if not telling or _is_in_link_or_title(code):
            continue
        found = names().find(text, None, None)
        if found is None and text in names().short:
            found = names().short[text].full
        if found is None or found in linked:
            continue
        linked.add(found)
        kind = "mod" if found in MODULES else "obj"
        link = addnodes.pending_xref(
            code.rawsource,
            code.deepcopy(),
            refdomain="py",
            reftype=kind,
            reftarget=found,
            refexplicit=True,
            refwarn=True,
            refdoc=page,
        )
        code.replace_self(link)


def name_types(app: Sphinx, doctree: nodes.document) -> None:
    """Say which name a type in a signature means where several modules have one like it."""
    for link in doctree.findall(addnodes.pending_xref):
        target = link.get("reftarget", "")
        if link.get("refdomain") != "py" or target not in names().short:
            continue
        here = names().by_module.get(link.get("py:module") or "", {})
        link["reftarget"] = (here.get(target) or names().short[target]).full


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect all this to Sphinx."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-signature", write_signature)
    app.connect("missing-reference", missing_reference)
    app.connect("doctree-read", name_types)
    app.connect("doctree-read", link_names)
    app.add_role("name", name_role)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
