"""Builds the pages: runs the code in them, then Sphinx, then looks at what came out, in a browser too.

    python docs/build.py [--links] [--out build/docs]

Pictures in the pages are drawn by the pages' own code, which runs here, in docs/_generated. Code
that prints something else than its page says, a warning, a public name without a page, or a link
within the pages that leads nowhere ends the build. With ``--links`` links to other sites are
followed too, which takes the network. look.py says what is looked at in the browser; without one
the pages are built all the same.
"""

import argparse
import html.parser
import logging
import os
import shutil
import sys
import urllib.parse
from pathlib import Path

from sphinx.cmd.build import main as sphinx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [
    str(HERE),
    str(HERE / "_ext"),
    str(HERE.parent / "tests" / "python"),
]

import public_names  # noqa: E402
from drawings import draw_all  # noqa: E402
from look import look  # noqa: E402

from page_code import missing_modules, pages_with_code, run_page  # noqa: E402


class _Page(html.parser.HTMLParser):
    """The links of a page and what can be linked to in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        """Note what points somewhere and what can be pointed at."""
        values = dict(attrs)
        self.ids |= {values[name] for name in ("id", "name") if values.get(name)}
        self.links += [values[name] for name in ("href", "src") if values.get(name)]


def run_pages():
    """Run the code of all pages; return what is wrong."""
    wrong = []
    shutil.rmtree(HERE / "_generated", ignore_errors=True)
    draw_all(HERE / "_generated" / "drawings")
    for name in pages_with_code():
        missing = missing_modules(name)
        if missing:
            print(f"docs/{name} is not run: there is no {', '.join(missing)} here")
            continue
        folder = (HERE / "_generated" / name).with_suffix("")
        folder.mkdir(parents=True)
        try:
            wrong += run_page(name, folder)
        except Exception as error:
            wrong.append(f"docs/{name}: {type(error).__name__}: {error}")
    return wrong


def quiet_kernels(folder):
    """Let the notebooks' kernels say what is wrong and no more, whatever this user's settings are."""
    profile = folder / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    text = 'c.IPKernelApp.log_level = "ERROR"\n'
    (profile / "ipython_kernel_config.py").write_text(text, encoding="utf-8")
    os.environ["IPYTHONDIR"] = str(folder)
    logging.getLogger("traitlets").setLevel(logging.WARNING)


def made_before_its_makers(pages):
    """Say whether what was read of the pages is older than the programs that read them."""
    makers = [HERE / "conf.py", *(HERE / "_ext").glob("*.py")]
    return pages.exists() and any(
        path.stat().st_mtime > pages.stat().st_mtime for path in makers
    )


def broken_links(folder):
    """Return the links within the built pages that lead nowhere."""
    found = (path for path in folder.rglob("*.html") if "_static" not in path.parts)
    pages = {path: _Page(path) for path in sorted(found)}
    wrong = []
    for path, page in pages.items():
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (
                path
                if not parts.path
                else path.parent / urllib.parse.unquote(parts.path)
            )
            target = target.resolve()
            fragment = urllib.parse.unquote(parts.fragment)
            lost = not target.exists()
            if not lost and fragment and target in pages:
                lost = fragment not in pages[target].ids
            if lost:
                wrong.append(f"{path.relative_to(folder)}: nothing is at {link}")
    return wrong


def names_without_page(folder):
    """Return the public names that the built pages do not have."""
    wanted = {
        n.full for names in public_names.collect().values() for n in names.values()
    }
    pages = {
        name: folder / "reference" / "api" / f"{name}.html"
        for name in sorted(wanted)
    }
    return [
        f"{name} is not in the reference"
        for name, path in pages.items()
        if not path.exists() or name not in _Page(path).ids
    ]


def main():
    """Build, and end with 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--links", action="store_true", help="follow links to other sites too"
    )
    parser.add_argument("--out", type=Path, default=HERE.parent / "build" / "docs")
    options = parser.parse_args()
    wrong = run_pages()
    quiet_kernels(options.out / "ipython")
    common = [
        "-q",
        "-W",
        "--keep-going",
        "-n",
        "-d",
        str(options.out / "doctrees"),
        str(HERE),
    ]
    if made_before_its_makers(options.out / "doctrees" / "environment.pickle"):
        common.insert(0, "-E")
    status = sphinx(["-b", "html", *common, str(options.out / "html")])
    if status == 0:
        wrong += broken_links(options.out / "html")
        wrong += names_without_page(options.out / "html")
        wrong += look(options.out / "html", options.out / "screenshots") or []
    if options.links:
        status = (
            sphinx(["-b", "linkcheck", *common, str(options.out / "links")])
            or status
        )
    for line in wrong:
        print(line, file=sys.stderr)
    if status == 0 and not wrong:
        print(f"The pages are in {options.out / 'html' / 'index.html'}")
    return int(status != 0 or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
