"""Tables of results: what they hold, how they are written, where they go in the documents."""

import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from measure import Timing

OURS = "nnext"
# Other ways of nnext's own, which stand beside the peers in a table and are none.
OWN_WAYS = ("two layers", "ordinary numbers")


@dataclass(frozen=True)
class Row:
    """One comparison: the median seconds of each candidate, and how nnext compares with it."""

    case: str
    seconds: Mapping[str, float]  # or megabytes, where the table's unit says so
    ratios: Mapping[str, float]  # of every peer: how many times longer it took than nnext
    form: str = ""  # rows of one case become one line, in the order of their forms
    work: float = 1.0  # floating-point operations, or elements: what `Table.unit` is about
    traffic: float = 0.0  # bytes of the operands and the result
    limit: float | None = None  # which part of nnext's time the limit of the machine explains
    peak: float | None = None  # operations a second at most, in the same rounds
    threads_gain: float | None = None  # how many times longer nnext takes on one thread

    @property
    def better(self) -> float:
        """How many times longer the best of the peers took; NaN where there is none."""
        return min((r for name, r in self.ratios.items() if name not in OWN_WAYS), default=math.nan)


@dataclass
class Table:
    """The rows of one kind, on one number of threads."""

    part: str
    kind: str  # with `part` and `threads`, the table's name
    title: str
    threads: int
    unit: str  # a key of _UNITS
    rows: list[Row] = field(default_factory=list)
    memory: tuple[float, float] | None = None  # bytes read, bytes written a second

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Table":
        return Table(**{**data, "rows": [Row(**row) for row in data["rows"]]})


_UNITS: dict[str, Callable[[float, float], float]] = {
    "GFLOP/s": lambda seconds, work: 1e-9 * work / seconds,
    "µs": lambda seconds, work: 1e6 * seconds,
    "ns": lambda seconds, work: 1e9 * seconds,
    "ns an element": lambda seconds, work: 1e9 * seconds / work,
    "s": lambda seconds, work: seconds,
    "MB": lambda megabytes, work: megabytes,
}


def row(case: str, timing: Mapping[str, Timing], peers: Iterable[str], **more: Any) -> Row:
    """Make a row of what `measure` returned; `peers` that are not in it are left out.

    A peer may have several ways of doing it, named "peer: way"; the fastest counts. `more` is
    what else the row shall hold.
    """
    chosen = {OURS: timing[OURS]}
    for peer in peers:
        ways = [t for name, t in timing.items() if name == peer or name.startswith(f"{peer}: ")]
        if ways:
            chosen[peer] = min(ways, key=lambda t: t.median)
    if "one thread" in timing:
        more["threads_gain"] = timing[OURS].times_faster_than(timing["one thread"])
    return Row(
        case,
        {name: t.median for name, t in chosen.items()},
        {n: timing[OURS].times_faster_than(t) for n, t in chosen.items() if n != OURS},
        **more,
    )


def render(table: Table) -> str:
    """Write the table in Markdown, its columns aligned, and below it the mean and the worst."""
    names = list(dict.fromkeys(name for row in table.rows for name in row.seconds))
    peers = names[1:]
    cases: dict[str, list[Row]] = {}
    for row in table.rows:
        cases.setdefault(row.case, []).append(row)
    forms = " / ".join(dict.fromkeys(row.form for row in table.rows))
    has_limit = any(row.limit is not None for row in table.rows)
    has_gain = any(row.threads_gain is not None for row in table.rows)

    head = ["", *(f"{name} {table.unit}" for name in names)]
    head += [f"× {peer}" for peer in peers]
    has_better = sum(peer not in OWN_WAYS for peer in peers) > 1
    head += ["× better"] if has_better else []
    head += ["of the limit"] if has_limit else []
    head += [f"× 1 thread of {OURS}"] if has_gain else []
    lines = []
    for case, rows in cases.items():
        line = [case]
        line += [_cell(rows, lambda row, n=name: _amount(table, row, n)) for name in names]
        line += [_cell(rows, lambda row, p=peer: ratio(row.ratios.get(p))) for peer in peers]
        line += [_cell(rows, lambda row: ratio(row.better))] if has_better else []
        line += [_cell(rows, lambda row: _percent(row.limit))] if has_limit else []
        line += [_cell(rows, lambda row: ratio(row.threads_gain))] if has_gain else []
        lines.append(line)
    text = [heading(table, forms), "", *_markdown([head, *lines])]
    return "\n".join([*text, "", *_conclusion(table, peers)])


def heading(table: Table, forms: str = "") -> str:
    return f"**{table.title}, {say_threads(table.threads)}**" + (f" ({forms})" if forms else "")


def say_threads(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"


def limits(tables: Iterable[Table]) -> dict[str, str]:
    """Say what limits were measured beside the products, for each number of threads."""
    found: dict[str, dict[str, str]] = {}
    for table in tables:
        peaks = [row.peak for row in table.rows if row.peak is not None]
        if table.part == "matmul" and peaks and table.memory is not None:
            texts = found.setdefault(say_threads(table.threads), {})
            dtype = table.kind.split()[0]
            texts.setdefault(dtype, f"{1e-9 * statistics.median(peaks):.0f} GFLOP/s in {dtype}")
            read, write = (f"{1e-9 * rate:.0f} GB/s" for rate in table.memory)
            texts["memory"] = f"{read} read, {write} written"
    return {name: ", ".join(texts.values()) for name, texts in found.items()}


def name_of(row: Row) -> str:
    return f"{row.case} {row.form}".rstrip()


def geometric_mean(values: Iterable[float]) -> float:
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs)) if logs else math.nan


def replace_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """Put each block between its markers ``<!-- bench:name -->`` and ``<!-- /bench:name -->``."""
    for name, block in blocks.items():
        begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        new = f"{begin}\n\n{block}\n\n{end}"
        text, found = pattern.subn(lambda match, new=new: new, text)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"expected the markers {begin} … {end} once, found them {found} times")
    return text


def _conclusion(table: Table, names: Sequence[str]) -> list[str]:
    means = []
    for name in names:
        ratios = [row.ratios[name] for row in table.rows if name in row.ratios]
        means.append(f"{ratio(geometric_mean(ratios))} × {name}")
    compared = [row for row in table.rows if not math.isnan(row.better)]
    if not means:
        return []
    if not compared:  # with itself alone
        worst = min((row for row in table.rows if row.ratios), key=_least)
        return [
            f"Geometric means: {', '.join(means)}. "
            f"Worst: {ratio(_least(worst))} at {name_of(worst)}."
        ]
    peers = [name for name in names if name not in OWN_WAYS]
    best = "the better peer" if len(peers) > 1 else peers[0]
    if len(peers) > 1:
        means.append(f"{ratio(geometric_mean(r.better for r in compared))} × the better")
    worst = min(compared, key=lambda row: row.better)
    lost = sum(row.better < 1 for row in compared)
    return [
        f"Geometric means: {', '.join(means)}. "
        f"Worst: {ratio(worst.better)} at {name_of(worst)}. "
        f"{'More' if table.unit == 'MB' else 'Slower'} than {best}: {lost} of {len(compared)}."
    ]


def _least(row: Row) -> float:
    return min(row.ratios.values())


def _cell(rows: Sequence[Row], text: Any) -> str:
    return " / ".join(text(row) for row in rows)


def _amount(table: Table, row: Row, name: str) -> str:
    if name not in row.seconds:
        return "–"
    value = _UNITS[table.unit](row.seconds[name], row.work)
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def ratio(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _percent(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.0f} %" if value >= 0.1 else f"{100 * value:.1f} %"


def _markdown(cells: Sequence[Sequence[str]]) -> list[str]:
    """Align the columns: the first flush left, figures flush right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for line in cells:
        (first, width), *rest = zip(line, widths, strict=True)
        texts = [f"{first:<{width}}", *(f"{text:>{width}}" for text, width in rest)]
        lines.append(f"| {' | '.join(texts)} |")
    rule = [f"{'':-<{widths[0] + 2}}", *(f"{'':-<{width + 1}}:" for width in widths[1:])]
    return [lines[0], f"|{'|'.join(rule)}|", *lines[1:]]


def table_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write any Markdown table."""
    return "\n".join(_markdown([head, *rows]))
