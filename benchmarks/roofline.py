"""The roofline picture: what a product reaches, over how much it computes for each byte it moves.

Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures", Communications of the ACM 52 (2009).
"""

import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import optional
from report import Row, Table

MARKERS = {"nnext": ("C3", "o"), "NumPy": ("C0", "^"), "PyTorch": ("C1", "v")}
CAPTION = (
    "Points above the slope: the operands stay in the caches. Points above the peak: it is measured"
    " in turns with the products, and the machine is not as fast in every turn; the line is the"
    " median over the products, the grey band reaches from the lowest to the highest."
)


def draw(tables: Sequence[Table], path: Path) -> bool:
    """Draw the float32 products, one panel for each number of threads; say whether it was done."""
    matplotlib = optional("matplotlib")
    products = [t for t in tables if t.part == "matmul" and t.kind.startswith("float32")]
    threads = sorted({table.threads for table in products})
    if matplotlib is None or not threads:
        return False
    figure_module = optional("matplotlib.figure")
    figure = figure_module.Figure(figsize=(5.4 * len(threads) + 0.4, 5.6), layout="constrained")
    panels = figure.subplots(1, len(threads), sharey=True, squeeze=False)[0]
    limited = False
    for count, axes in zip(threads, panels, strict=True):
        own = [table for table in products if table.threads == count]
        axes.set_title(f"Matrix products, float32, {count} thread{'s' if count > 1 else ''}")
        _points(axes, [row for table in own for row in table.rows])
        limited |= _roof(axes, own)
    panels[0].set_ylabel("GFLOP/s")
    # Every legend lies outside the axes: points may be anywhere within.
    points = [line for line in panels[0].lines if line.get_label() in MARKERS]
    figure.legend(handles=points, loc="outside upper center", ncols=len(MARKERS), frameon=False)
    if limited:
        figure.supxlabel(textwrap.fill(CAPTION, 90 * len(threads)), fontsize=8)
    figure.savefig(path, dpi=150)
    return True


def _points(axes: Any, rows: Sequence[Row]) -> None:
    for name, (color, marker) in MARKERS.items():
        there = [row for row in rows if name in row.seconds]
        if there:
            axes.plot(
                [row.work / row.traffic for row in there],
                [1e-9 * row.work / row.seconds[name] for row in there],
                *(marker,),
                color=color,
                label=name,
                markersize=4.5,
                alpha=0.75,
                linestyle="none",
                zorder=3 if name == "nnext" else 2,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("floating-point operations for each byte of the operands and the result")
    axes.grid(which="major", alpha=0.3)


def _roof(axes: Any, tables: Sequence[Table]) -> bool:
    """Draw the limits, their figures below the axes; say whether they were measured."""
    rows = [row for table in tables for row in table.rows]
    intensity = [row.work / row.traffic for row in rows]
    peaks = [row.peak for row in rows if row.peak is not None]
    memory = next((table.memory for table in tables if table.memory is not None), None)
    if not peaks or memory is None:
        return False
    peak, read = statistics.median(peaks), memory[0]
    ends = [min(intensity) / 1.5, peak / read, max(intensity) * 1.5]
    roof = [1e-9 * min(peak, read * x) for x in ends]
    low, high = 1e-9 * min(peaks), 1e-9 * max(peaks)
    (line,) = axes.plot(ends, roof, color="black", linewidth=1.2, zorder=1)
    band = axes.fill_between(ends[1:], low, high, color="black", alpha=0.15, linewidth=0, zorder=0)
    labels = (
        f"slope: reading memory, {1e-9 * read:.0f} GB/s;"
        f" peak of the multiply-adds, {1e-9 * peak:.0f} GFLOP/s",
        f"the peak as measured beside each product, {low:.0f} to {high:.0f} GFLOP/s",
    )
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.13), "frameon": False}
    axes.legend([line, band], labels, fontsize=8, **place)
    return True
