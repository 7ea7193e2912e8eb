"""The pages: one for each CPU and instruction set, and what the other documents say of speed.

All of it is written from benchmarks/results, so that no figure can be older than the data.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import picture
import report
import roofline
import targets
from groups import TRAINING, Group, grouped, joined
from report import Table, name_of, ratio, say_threads, table_of
from store import Measured, Part

ROOT = Path(__file__).resolve().parent.parent
INDEX = "docs/performance.md"
FOLDER = "docs/performance"
READMES = {"README.md": "en", "README.ko.md": "ko"}

HEADINGS = {
    "matmul": "Matrix products",
    "softmax": "Softmax with loss",
    "losses": "Losses of regression and of labels",
    "vocabulary": "Large vocabularies",
    "elementwise": "Element by element",
    "near_zero": "Numbers near zero",
    "training": "Training steps",
    "recurrent": "Recurrent layers",
    "sequences": "Programs of words and sequences",
    "calls": "The cost of a call",
    "digits": "A whole training",
    "estimators": "Fits of estimators",
}
GENERATED = "<!-- Written by `make bench ARGS=--write-docs` from benchmarks/results. -->"


def write_all(root: Path, everything: Sequence[Measured], key: str) -> list[str]:
    """Draw the pictures of one CPU, then write every text anew; return what was written."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for measured in (m for m in everything if m.key == key):
        ratios, roof = folder / f"{key}.png", folder / f"{key}-roofline.png"
        done = picture.draw(measured, ratios), roofline.draw(measured.tables(), roof)
        for path, was_drawn in zip((ratios, roof), done, strict=True):
            if was_drawn:
                drawn.append(f"{FOLDER}/{path.name}")
            else:
                path.unlink(missing_ok=True)  # it would show other figures
    found = texts(everything, root)
    for name, text in found.items():
        (root / name).write_text(text, encoding="utf-8")
    return [*drawn, *found]


def texts(everything: Sequence[Measured], root: Path) -> dict[str, str]:
    """Return what each document shall hold, the hand-written parts of those in `root` kept."""
    found = {f"{FOLDER}/{m.key}.md": page(m, root) for m in everything}
    blocks = {INDEX: {"cpus": index(everything, root)}}
    blocks |= {name: {"speed": speed(everything, lang)} for name, lang in READMES.items()}
    for name, own in blocks.items():
        text = (root / name).read_text(encoding="utf-8")
        found[name] = report.replace_blocks(text, own)
    return found


def write(path: Path, text: str) -> None:
    path.write_text(f"{text}\n", encoding="utf-8")


# --- the page of a CPU ----------------------------------------------------------------------------


def page(measured: Measured, root: Path) -> str:
    """Write everything that is known of one CPU."""
    text = [
        GENERATED,
        f"# {measured.title}",
        f"How fast nnext {measured.version()} is on this CPU, every table in full."
        " [Performance](../performance.md) says what the tables are about and how they come about.",
    ]
    text += [*_picture(measured, root, ""), summary(measured)]
    for name, heading in HEADINGS.items():
        if name in measured.parts:
            text += [f"## {heading}", part(measured, name)]
            image = f"{measured.key}-roofline.png"
            if name == "matmul" and (root / FOLDER / image).exists():
                text.append(
                    "![Products in GFLOP/s over the operations for each byte moved, below the"
                    f" limits of memory and arithmetic]({image})"
                )
    return "\n\n".join(text) + "\n"


def summary(measured: Measured) -> str:
    """Say what was measured on what, how it came out, and which targets are reached."""
    tables = measured.tables()
    text = ["## What was measured, and on what", *_runs(measured)]
    groups = grouped(tables)
    if groups:
        text += ["## Against the best peer", _against_best(groups)]
    gains = scaling(measured)
    if gains:
        text += ["## Whole training steps, two threads over one", gains]
    reached = targets.summary(tables)
    if reached:
        text += ["## What nnext sets out to reach", reached]
    return "\n\n".join(text)


def part(measured: Measured, name: str) -> str:
    """Write the tables of a part; below products, what all shapes of a type come to."""
    own = measured.parts[name].tables
    text = [report.render(table) for table in own]
    return "\n\n".join([*text, all_products(own)] if name == "matmul" else text)


def all_products(tables: Sequence[Table]) -> str:
    """Say what the products of each type come to, and the limits measured beside them."""
    text = [
        f"All {len(group.rows)} cases of **{group.name}, {say_threads(group.threads)}**:"
        f" geometric mean {ratio(group.mean)} × the better peer, {group.lost} lost,"
        f" worst {ratio(group.worst.better)} at {name_of(group.worst)}."
        for group in grouped(tables)
    ]
    found = report.limits(tables).items()
    return "\n\n".join([*text, *(f"Limits, {threads}: {said}." for threads, said in found)])


def scaling(measured: Measured) -> str:
    """Tell how many times longer nnext's own training steps take on one thread."""
    gains: dict[str, dict[str, str]] = {}
    kinds: list[str] = []
    for table in measured.parts["training"].tables if "training" in measured.parts else ():
        for row in table.rows:
            if row.threads_gain is not None:
                kinds += [table.kind] * (table.kind not in kinds)
                gains.setdefault(row.case, {})[table.kind] = ratio(row.threads_gain)
    rows = [[case, *(found.get(kind, "–") for kind in kinds)] for case, found in gains.items()]
    return table_of(["layer sizes, batch", *kinds], rows) if rows else ""


def _runs(measured: Measured) -> list[str]:
    """List each run with its parts, its machine and its notes."""
    runs: dict[str, list[str]] = {}
    for name in (name for name in HEADINGS if name in measured.parts):
        runs.setdefault(_about(measured.parts[name]), []).append(HEADINGS[name])
    text = []
    for about, names in runs.items():
        if len(runs) > 1:
            text.append(f"{', '.join(names)}:")
        text.append(about)
    return text


def _about(own: Part) -> str:
    lines = {"measured": own.date, **own.about}
    text = [f"- {what}: {said}" for what, said in lines.items()]
    return "\n".join([*text, *(f"- note: {note}" for note in own.notes)])


def _against_best(groups: Sequence[Group]) -> str:
    threads = sorted({group.threads for group in groups})
    head = ["× best peer, geometric means"]
    for count in threads:
        head += [say_threads(count), "lost", "worst"]
    rows = []
    for name in dict.fromkeys(group.name for group in groups):
        row = [name]
        for count in threads:
            group = joined(groups, [name], count)
            row += _cells(group) if group else ["–", "–", "–"]
        rows.append(row)
    return table_of(head, rows)


def _cells(group: Group) -> list[str]:
    worst = f"{ratio(group.worst.better)}: {name_of(group.worst)}"
    return [ratio(group.mean), f"{group.lost} of {len(group.rows)}", worst]


# --- what the other documents say -----------------------------------------------------------------


def index(everything: Iterable[Measured], root: Path) -> str:
    """Write the part of docs/performance.md that has the CPUs one below the other."""
    text = []
    for measured in everything:
        link = f"[All tables](performance/{measured.key}.md)"
        groups = grouped(measured.tables())
        text.append(f"### {measured.title}")
        if not groups:
            names = ", ".join(HEADINGS[name] for name in measured.parts)
            text.append(f"Beside no peer so far, only: {names}. {link}")
            continue
        won, lost = _won_and_lost(groups)
        dates = sorted({part.date for part in measured.parts.values()})
        text.append(
            f"nnext {measured.version()}, measured {' and '.join(dates)}, beside"
            f" {', '.join(_peers(measured))}: {won + lost} cases, {won} won, {lost} lost. {link}"
        )
        text += _picture(measured, root, "performance/")
    return "\n\n".join(text)


WORDS = {
    "en": (
        *("CPU, instruction set", "nnext", "peers", "products, float32", "products, float64"),
        *("training steps", "cases won", "lost"),
    ),
    "ko": (
        *("CPU, 명령어 집합", "nnext", "비교 대상", "행렬 곱 float32", "행렬 곱 float64"),
        *("학습 한 단계", "이긴 경우", "진 경우"),
    ),
}


def speed(everything: Iterable[Measured], language: str) -> str:
    """Write the claim of a README: a line for each CPU that was measured beside peers."""
    rows = []
    for measured in everything:
        groups = grouped(measured.tables())
        if not groups:
            continue
        won, lost = _won_and_lost(groups)
        rows.append(
            [
                f"[{measured.title}]({FOLDER}/{measured.key}.md)",
                measured.version(),
                ", ".join(_peers(measured)),
                *(
                    _means(groups, names)
                    for names in (("Products, float32",), ("Products, float64",), TRAINING)
                ),
                str(won),
                str(lost),
            ]
        )
    return table_of(WORDS[language], rows)


def _means(groups: Sequence[Group], names: Sequence[str]) -> str:
    threads = sorted({group.threads for group in groups})
    own = [joined(groups, names, count) for count in threads]
    return " / ".join(ratio(group.mean) if group else "–" for group in own)


def _won_and_lost(groups: Iterable[Group]) -> tuple[int, int]:
    lost = cases = 0
    for group in groups:
        lost, cases = lost + group.lost, cases + len(group.rows)
    return cases - lost, lost


def _peers(measured: Measured) -> list[str]:
    names = (n for table in measured.tables() for row in table.rows for n in row.ratios)
    return [name for name in dict.fromkeys(names) if name not in report.OWN_WAYS]


def _picture(measured: Measured, root: Path, before: str) -> list[str]:
    """Link to the picture, if there is one."""
    name = f"{measured.key}.png"
    if not (root / FOLDER / name).exists():
        return []
    return [
        f"![{measured.title}: for each case how many times longer the best peer took, one strip"
        f" for each kind of case]({before}{name})"
    ]
