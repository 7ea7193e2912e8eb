"""Looks at the built pages as readers do, in a headless browser.

    python docs/look.py build/docs/html build/docs/screenshots

The pages, of those in reference/api every eighth, are opened on a wide and on a narrow screen, in
light and in dark. What is wrong: what axe finds (https://github.com/dequelabs/axe-core), a page that
is wider than its screen, an error of a script, a page that fetches anything from another site, a
search that finds nothing. Of some pages pictures are kept, for people to look at.
"""

import argparse
import functools
import http.server
import os
import shutil
import sys
import threading
import urllib.parse
from contextlib import contextmanager
from pathlib import Path

WIDTHS = {1280: 900, 390: 844}  # a desk and a phone, each with its height
SCHEMES = ("light", "dark")
# What the scheme decides. All other rules are asked once for each width.
COLOURS = ["color-contrast", "link-in-text-block"]
PICTURED = [
    "index",
    "tutorial/training",
    "howto/index",
    "howto/examples",
    "howto/repeat",
    "howto/sequences",
    "book/index",
    "book/ch06",
    "book/ch08",
    "explanation/product",
    "explanation/recurrent",
    "explanation/same-bits",
    "performance",
    "reference/index",
    "reference/api/nnext.layers",
    "reference/api/nnext.time_layers",
    "notebooks/digits",
    "notebooks/words",
    "ko/index",
    "ko/book/index",
    "ko/book/ch08",
    "ko/tutorial/training",
]
LONGEST = 4000  # of a picture, in pixels
WORD = "softmax"  # to search for
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Hands out files without a word."""

    def log_message(self, *arguments):
        pass


@contextmanager
def served(folder):
    """Give the address at which the pages can be had."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def browser_of(playwright):
    """Return the program to start: Playwright's own where it was installed, else the system's."""
    own = playwright.chromium.executable_path
    return (
        own
        if os.path.exists(own)
        else next(filter(None, map(shutil.which, BROWSERS)), None)
    )


def violations(axe, page, rules=None):
    """Return what axe finds, a line for each rule."""
    options = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = rules
    found = axe.run(page, options=options).response["violations"]
    return [
        f"{rule['id']} ({rule['help']}), {len(rule['nodes'])} times, such as "
        f"{rule['nodes'][0]['target'][0]}"
        for rule in found
    ]


def wider_than_its_screen(page):
    """Return a line if the page has to be moved sideways."""
    sizes = "[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]"
    whole, seen = page.evaluate(sizes)
    return [f"is {whole} pixels wide"] if whole > seen else []


def searched(page, address):
    """Return a line if the search finds nothing."""
    from playwright.sync_api import TimeoutError as TooLate

    page.goto(f"{address}search.html?q={WORD}")
    try:
        page.wait_for_selector("#search-results ul.search li a", timeout=20_000)
        page.wait_for_selector(
            "#search-results h2:text('Search Results')", timeout=20_000
        )
    except TooLate:
        return [f"a search for {WORD} finds nothing"]
    return []


def kept(page, folder, name, width, scheme):
    """Keep a picture of the page."""
    height = min(LONGEST, page.evaluate("document.scrollingElement.scrollHeight"))
    path = folder / f"{name.replace('/', '-')}-{width}-{scheme}.png"
    clip = {"x": 0, "y": 0, "width": width, "height": height}
    page.screenshot(path=path, full_page=True, clip=clip)


def seen(page, axe, name, width, pictures):
    """Return what is wrong with the page that is open, in every scheme."""
    wrong = wider_than_its_screen(page)
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found = violations(axe, page, COLOURS if scheme != SCHEMES[0] else None)
        wrong += [f"{scheme}: {line}" for line in found]
        if name in PICTURED or name == "search":
            kept(page, pictures, name, width, scheme)
    return wrong


def looked_at(browser, address, names, width, pictures):
    """Return what is wrong with the pages at a width."""
    from axe_playwright_python.sync_playwright import Axe

    axe, wrong, noted = Axe(), [], []
    size = {"width": width, "height": WIDTHS[width]}
    context = browser.new_context(viewport=size, reduced_motion="reduce")
    page = context.new_page()
    page.on("pageerror", lambda error: noted.append(f"a script fails: {error}"))

    def note_if_outside(request):
        if not request.url.startswith((address, "data:", "blob:")):
            noted.append(f"fetches {request.url}")

    page.on("request", note_if_outside)
    for name in [*names, "search"]:
        page.emulate_media(color_scheme=SCHEMES[0])
        noted.clear()
        if name == "search":
            found = searched(page, address)
        else:
            page.goto(f"{address}{urllib.parse.quote(name)}.html")
            found = []
        found += seen(page, axe, name, width, pictures)
        wrong += [
            f"{name}, {width} pixels wide: {line}" for line in [*found, *noted]
        ]
    context.close()
    return wrong


def look(folder, pictures):
    """Return what is wrong with the pages in a folder; None, and say so, where no browser is."""
    try:
        import axe_playwright_python.sync_playwright  # noqa: F401
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        print(
            f"NOT DONE: no look at the pages in a browser. There is no {error.name} here."
        )
        return None
    with sync_playwright() as playwright:
        program = browser_of(playwright)
        if program is None:
            print(
                "NOT DONE: no look at the pages in a browser (accessibility, narrow screens, search).\n"
                "There is none here. On Debian: apt-get install chromium. Elsewhere: Chrome, or\n"
                ".venv-docs/bin/playwright install chromium"
            )
            return None
        paths = (
            path.relative_to(folder) for path in sorted(folder.rglob("*.html"))
        )
        names = [
            p.with_suffix("").as_posix() for p in paths if p.parts[0] != "_static"
        ]
        names.remove("search")
        api = [name for name in names if name.startswith("reference/api/")]
        left_out = {*api} - {
            *api[::8],
            *PICTURED,
        }  # one program writes them all alike
        names = [name for name in names if name not in left_out]
        shutil.rmtree(pictures, ignore_errors=True)
        pictures.mkdir(parents=True)
        browser = playwright.chromium.launch(executable_path=program)
        with served(folder) as address:
            wrong = [
                line
                for width in WIDTHS
                for line in looked_at(browser, address, names, width, pictures)
            ]
        browser.close()
    print(
        f"{len(names) + 1} pages were looked at in a browser; pictures are in {pictures}"
    )
    return wrong


def main():
    """Look, and end with 1 if something is wrong or could not be looked at."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("html", type=Path)
    parser.add_argument("pictures", type=Path)
    options = parser.parse_args()
    wrong = look(options.html, options.pictures)
    for line in wrong or []:
        print(line, file=sys.stderr)
    return int(wrong is None or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
