"""The drawings of the explanations: blocks of a product, orders of a sum, chunks of a loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

INK, PALE, BLUE, ORANGE, GREEN = "#222222", "#E8E8E8", "#56B4E9", "#E69F00", "#009E73"


def _axes(width: float, height: float) -> tuple[Figure, Any]:
    """Return a figure whose unit is an inch."""
    figure = Figure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.axis("off")
    return figure, ax


def _box(
    ax: Any, x: float, y: float, w: float, h: float, color: str = PALE, **options: Any
) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((x, y), w, h, facecolor=color, edgecolor=INK, linewidth=1, **options))


def _text(ax: Any, x: float, y: float, text: str, **options: Any) -> None:
    ax.text(x, y, text, **{"ha": "center", "va": "center", "fontsize": 10, "color": INK} | options)


def _arrow(ax: Any, start: tuple[float, float], end: tuple[float, float], **options: Any) -> None:
    style = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.1, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", xy=end, xytext=start, arrowprops=style | options)


def _chain(ax: Any, y: float, links: range, color: str, end: tuple[float, float]) -> None:
    """Draw a chain of multiply-adds, from zero to where its sum goes."""
    for place, name in enumerate(["+0", *(f"fma {k}" for k in links)]):
        x = 0.3 + 0.85 * place
        _box(ax, x, y - 0.13, 0.52, 0.26, color if place else PALE)
        _text(ax, x + 0.26, y, name, fontsize=8)
        _arrow(ax, (x + 0.52, y), (x + 0.85, y) if place < len(links) else end)


def blocks() -> Figure:
    """Draw C = A B with the parts that are at work at one moment."""
    figure, ax = _axes(8.0, 3.4)
    for x, w, h, name, shape in (
        (0.2, 1.7, 1.9, "A", "M × K"),
        (2.7, 2.2, 1.7, "B", "K × N"),
        (5.6, 2.2, 1.9, "C", "M × N"),
    ):
        _box(ax, x, 2.9 - h, w, h)
        _text(ax, x + w / 2, 3.1, f"{name}, {shape}", fontsize=11)
    _text(ax, 2.3, 1.9, "·", fontsize=20)
    _text(ax, 5.25, 1.9, "=", fontsize=16)
    _box(ax, 0.2 + 0.5, 2.9 - 1.25, 0.6, 0.75, BLUE)  # rows of A in L2
    _box(ax, 0.2 + 0.5, 2.9 - 0.75, 0.6, 0.25, "#2A7FB8")  # those of a tile
    _box(ax, 2.7, 2.9 - 1.1, 2.2, 0.6, "#F6D9A0")  # rows of B in L3
    _box(ax, 2.7 + 0.7, 2.9 - 1.1, 0.4, 0.6, ORANGE)  # a panel
    _box(ax, 5.6, 2.9 - 1.25, 2.2, 0.75, "#BFE3D6")
    _box(ax, 5.6 + 0.7, 2.9 - 0.75, 0.4, 0.25, GREEN)
    notes = (
        (0.95, "rows of A, kept in\nthe second cache", (1.0, 1.65), (1.0, 0.75)),
        (
            3.3,
            "a block of k of B, in the third cache,\nand its panel, in the first",
            (3.6, 1.8),
            (3.5, 0.75),
        ),
        (6.5, "a tile of C, whose sums\nstay in registers", (6.5, 2.15), (6.5, 0.75)),
    )
    for x, text, to, start in notes:
        _arrow(ax, start, to)
        _text(ax, x, 0.45, text, fontsize=9)
    return figure


def chains() -> Figure:
    """Draw one chain for each element against a sum that is split."""
    figure, ax = _axes(8.0, 3.7)
    _text(
        ax,
        0.15,
        3.45,
        "nnext: one chain for each element; vectors run along the columns of C",
        ha="left",
        fontsize=10.5,
    )
    for row in range(3):
        y = 2.95 - 0.4 * row
        _chain(ax, y, range(1, 7), BLUE, (6.55, y))
        _text(ax, 7.0, y, f"C[i, {row}]", fontsize=9)
    _text(
        ax,
        0.15,
        1.55,
        "elsewhere: a sum is split over lanes or threads, and joined in the end",
        ha="left",
        fontsize=10.5,
    )
    for lane in range(2):
        y = 1.1 - 0.45 * lane
        _chain(ax, y, range(1 + lane, 7, 2), ORANGE, (4.4, 0.88 - 0.04 * lane))
    _box(ax, 4.4, 0.73, 0.4, 0.26, ORANGE)
    _text(ax, 4.6, 0.86, "+", fontsize=11)
    _arrow(ax, (4.8, 0.86), (5.2, 0.86))
    _text(ax, 5.65, 0.86, "C[i, j]", fontsize=9)
    _text(
        ax,
        0.3,
        0.2,
        "How many lanes and threads there are decides how the sum is rounded.",
        ha="left",
        fontsize=9,
    )
    return figure


def chunks() -> Figure:
    """Draw what the two layers keep, and what the fused loss keeps."""
    figure, ax = _axes(8.0, 3.0)
    _text(ax, 2.0, 2.8, "Affine and SoftmaxWithLoss", fontsize=10.5)
    for i, name in enumerate(("scores", "probabilities", "gradient")):
        _box(ax, 0.15 + 1.3 * i, 0.75, 1.15, 1.75, ORANGE)
        _text(ax, 0.15 + 1.3 * i + 0.575, 1.62, f"{name}\nN × V", fontsize=9.5)
    _text(ax, 2.0, 0.4, "arrays of N·V numbers, two or three at a time", fontsize=9.5)
    _text(ax, 6.15, 2.8, "AffineSoftmaxWithLoss", fontsize=10.5)
    _box(ax, 5.55, 0.75, 1.2, 1.75, "white", linestyle=(0, (3, 3)))
    _box(ax, 5.55, 1.75, 1.2, 0.3, GREEN)
    _text(ax, 6.15, 1.9, "24 MiB", fontsize=9.5)
    _arrow(ax, (6.95, 2.45), (6.95, 0.8))
    _text(ax, 7.45, 1.62, "chunk\nby chunk", fontsize=9.5)
    _text(ax, 6.15, 0.4, "some rows of scores at a time", fontsize=9.5)
    return figure


def rounding() -> Figure:
    """Draw the numbers of float32 near zero: what is normal, and what nnext takes for zero."""
    figure, ax = _axes(8.0, 1.7)
    ax.plot([0.5, 7.8], [0.9, 0.9], color=INK, linewidth=1.2)
    for x in np.arange(0.7, 2.4, 0.2):
        ax.plot([x, x], [0.82, 0.98], color=ORANGE, linewidth=1.2)
    for x in (*np.arange(2.5, 4.4, 0.2), *np.arange(4.5, 7.6, 0.4)):
        ax.plot([x, x], [0.78, 1.02], color=GREEN, linewidth=1.6)
    ax.plot([0.5, 0.5], [0.72, 1.08], color=INK, linewidth=2)
    _text(ax, 0.5, 0.5, "0")
    _text(ax, 2.5, 0.5, "1.2e-38")
    _text(ax, 1.5, 1.3, "subnormal: taken for 0", fontsize=9.5)
    _text(ax, 5.2, 1.3, "normal: twice as far apart after each doubling", fontsize=9.5)
    return figure


def draw_all(folder: Path) -> None:
    """Write the drawings into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "nnext"}):
        for draw in (blocks, chains, chunks, rounding):
            draw().savefig(folder / f"{draw.__name__}.svg", metadata={"Date": None})
