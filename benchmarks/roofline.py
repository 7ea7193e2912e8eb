"""The roofline picture: what a product reaches, over how much it computes for each byte it moves.

Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for Multicore
Architectures", Communications of the ACM 52 (2009).
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

from bench import optional
from report import Table

MARKERS = {"nnext": ("C3", "o"), "NumPy": ("C0", "^"), "PyTorch": ("C1", "v")}


def draw(tables: Sequence[Table], path: Path) -> bool:
    """Draw the float32 products, one panel for each number of threads; say whether it was done."""
    matplotlib = optional("matplotlib")
    products = [t for t in tables if t.part == "matmul" and t.kind.startswith("float32")]
    threads = sorted({table.threads for table in products})
    if matplotlib is None or not threads:
        return False
    figure_module = optional("matplotlib.figure")
    figure = figure_module.Figure(figsize=(5.4 * len(threads) + 0.4, 4.8), layout="constrained")
    panels = figure.subplots(1, len(threads), sharey=True, squeeze=False)[0]
    for count, axes in zip(threads, panels, strict=True):
        _panel(axes, [table for table in products if table.threads == count])
        axes.set_title(f"{count} thread{'s' if count > 1 else ''}")
    panels[0].set_ylabel("GFLOP/s")
    panels[0].legend(loc="lower right")
    figure.suptitle("Matrix products, float32")
    figure.savefig(path, dpi=150)
    return True


def _panel(axes: object, tables: Sequence[Table]) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    rows = [row for table in tables for row in table.rows]
    intensity = [row.work / row.traffic for row in rows]
    for name, (color, marker) in MARKERS.items():
        there = [(i, r) for i, r in zip(intensity, rows, strict=True) if name in r.seconds]
        if there:
            axes.plot(
                [i for i, _ in there],
                [1e-9 * row.work / row.seconds[name] for _, row in there],
                *(marker,),
                color=color,
                label=name,
                markersize=4.5,
                alpha=0.75,
                linestyle="none",
                zorder=3 if name == "nnext" else 2,
            )
    peaks = [row.peak for row in rows if row.peak is not None]
    memory = next((table.memory for table in tables if table.memory is not None), None)
    if peaks and memory is not None:
        peak, read = statistics.median(peaks), memory[0]
        ends = [min(intensity) / 1.5, peak / read, max(intensity) * 1.5]
        roof = [1e-9 * min(peak, read * x) for x in ends]
        axes.plot(ends, roof, color="black", linewidth=1.2, zorder=1)
        axes.annotate(
            f"peak of the multiply-adds, {1e-9 * peak:.0f} GFLOP/s",
            (ends[2], roof[2]),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
        label = f"slope: reading memory, {1e-9 * read:.0f} GB/s"
        axes.text(0.02, 0.97, label, transform=axes.transAxes, va="top", fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("floating-point operations for each byte of the operands and the result")
    axes.grid(which="major", alpha=0.3)
