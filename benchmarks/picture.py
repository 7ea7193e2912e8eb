"""The picture of a CPU: how many times longer the best peer took, case by case."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import optional
from groups import GROUPS, Group, grouped
from report import ratio, say_threads
from store import Measured

WON, LOST = ("#0072B2", "o"), ("#D55E00", "x")  # colours of Okabe and Ito; the shapes tell too
SPREAD = 0.28  # how far from the middle of its strip a point may lie
TICKS = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)


def draw(measured: Measured, path: Path) -> bool:
    """Draw one panel for each number of threads; say whether it was done."""
    groups = grouped(measured.tables())
    figure_module = optional("matplotlib.figure")
    if figure_module is None or not groups:
        return False
    threads = sorted({group.threads for group in groups})
    names = [name for name, _, _ in GROUPS if any(group.name == name for group in groups)]
    size = (4.6 * len(threads) + 1.6, 0.46 * len(names) + 1.7)
    figure = figure_module.Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(threads), sharex=True, sharey=True, squeeze=False)[0]
    for count, axes in zip(threads, panels, strict=True):
        axes.set_title(say_threads(count), fontsize=10)
        _panel(axes, [group for group in groups if group.threads == count], names)
    values = [row.better for group in groups for row in group.rows]
    # Last, since ticks widen it; all panels share it.
    panels[0].set_xlim(min(0.8, min(values) / 1.1), max(1.25, 1.1 * max(values)))
    figure.suptitle(f"nnext {measured.version()} on {measured.title}", fontsize=11)
    handles = {line.get_label(): line for axes in panels for line in axes.lines}
    shown = [handle for label, handle in handles.items() if not label.startswith("_")]
    figure.legend(handles=shown, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path, dpi=120)
    return True


def _panel(axes: Any, groups: Sequence[Group], names: Sequence[str]) -> None:
    places = {name: place for place, name in enumerate(names)}
    axes.axvline(1, color="black", linewidth=1.2, zorder=1, label="_level")
    for group in groups:
        _strip(axes, group, places[group.name])
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    axes.set_xlabel("how many times longer the best peer took", fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(labelsize=9)
    axes.tick_params(axis="y", length=0)
    said = {group.name: f"{ratio(group.mean)}, {_lost(group)}" for group in groups}
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(names)), [said.get(name, "") for name in names])
    right.tick_params(length=0, labelsize=8)
    for edge in ("top", "left", "right"):
        axes.spines[edge].set_visible(False)
        right.spines[edge if edge == "right" else "right"].set_visible(False)


def _strip(axes: Any, group: Group, place: int) -> None:
    """Draw the points of a group one below the other in its strip, and their mean."""
    step = 2 * SPREAD / max(1, len(group.rows) - 1)
    start = -SPREAD if len(group.rows) > 1 else 0.0
    points = [(row.better, place + start + i * step) for i, row in enumerate(group.rows)]
    for label, (color, marker), own in (
        ("nnext won", WON, [point for point in points if point[0] >= 1]),
        ("nnext lost", LOST, [point for point in points if point[0] < 1]),
    ):
        if own:
            axes.plot(
                *zip(*own, strict=True),
                color=color,
                marker=marker,
                linestyle="none",
                markersize=4 if marker == "o" else 6,
                markeredgewidth=0 if marker == "o" else 1.6,
                alpha=0.6 if marker == "o" else 1.0,
                label=label,
                zorder=3,
            )
    axes.plot(
        [group.mean],
        [place],
        color="black",
        marker="|",
        linestyle="none",
        markersize=15,
        markeredgewidth=1.6,
        label="geometric mean",
        zorder=4,
    )


def _lost(group: Group) -> str:
    return f"{group.lost} of {len(group.rows)} lost"
