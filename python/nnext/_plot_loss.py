"""The picture of a training: losses and metrics, see `nnext.plotting`."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnext._figures import COLORS, MARKERS, PathLike, figure_for, finish
from nnext.history import History

_FEW = 30  # so many epochs get a dot each
_SIZE = (4.6, 3.5)  # of a panel: printed 85 mm wide its letters have seven points
_ONE_SCALE = 10.0  # metrics share an axis if their sizes are at most so many times each other's
_LARGEST = 1e300  # matplotlib adds margins to the limits, and takes their difference
_LOGARITHMIC = 1000.0  # a linear axis would show the smaller values as 0
_STYLES = ("-", "--", ":", "-.")


def plot_loss(
    history: History, ylim: tuple[float, float] | None = None, path: PathLike | None = None
) -> Any:
    """Draw the losses over the iterations, and the other metrics over the epochs.

    A metric with "loss" in its name, such as "validation loss", stands beside the training loss, at
    the ends of its epochs; a ring marks the lowest ``"val_loss"``. The others have panels of their
    own; they share one where their largest amounts are within ten times of each other. A loss axis
    starts at 0 unless there are negative losses. An axis is logarithmic where all values are
    positive and the largest is over a thousand times the smallest. NaN and infinities leave a gap;
    what is beyond 1e300 is drawn there. In print without colours lines differ by their style, more
    than four by dots of other shapes as well.

    Parameters
    ----------
    history : History
    ylim : (float, float), optional
        Range of the loss axis, which then is linear.
    path : path-like, optional
        The picture to write; left out, a window opens.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the history has no loss yet.
    """
    if not history.loss:
        raise ValueError("history: there is no loss to draw yet; fit with an eval_interval first")
    losses = {name: v for name, v in history.metrics.items() if "loss" in name.lower()}
    groups = _of_one_scale({n: v for n, v in history.metrics.items() if n not in losses})
    columns = min(1 + len(groups), 3)
    rows = -(-(1 + len(groups)) // columns)
    longest = max([1 + len(losses), *map(len, groups)])  # a legend is not to take a panel's place
    tall = _SIZE[1] + 0.2 * max(0, longest // 2 - 2)
    figure = figure_for(path, (_SIZE[0] * columns, tall * rows))

    ends, epochs = history.epoch_iteration, range(1, len(history.epoch_loss) + 1)
    few = len(epochs) <= _FEW
    curves = [_curve("training loss", history.iteration, history.loss, dots=False)]
    curves += [_curve(name, ends, values, few) for name, values in losses.items()]
    ax = figure.add_subplot(rows, columns, 1)
    _draw(ax, curves, best="val_loss" if "val_loss" in losses else None)
    right = 1.03 * max(*history.iteration, *ends)
    ax.set(xlabel="iterations (batches)", ylabel="loss", xlim=(0, right))
    low, high = _extent(curves)
    if ylim is not None:
        ax.set(yscale="linear", ylim=ylim)
    elif ax.get_yscale() == "linear" and low >= 0 and high > 0:
        ax.set_ylim(0, 1.05 * high)

    margin = max(0.5, 0.02 * len(epochs))
    for place, group in enumerate(groups, start=2):
        ax = figure.add_subplot(rows, columns, place)
        _draw(ax, [_curve(name, epochs, values, few) for name, values in group.items()])
        ax.set(xlabel="epochs", xlim=(1 - margin, len(epochs) + margin))
    return finish(figure, path)


def plot_perplexity(
    perplexities: Sequence[float],
    interval: int = 1,
    *,
    ylim: tuple[float, float] | None = None,
    path: PathLike | None = None,
) -> Any:
    """Draw the perplexities of a language model in training, `RnnlmTrainer.ppl_list`.

    The axis is logarithmic where the largest is over a thousand times the smallest.

    Parameters
    ----------
    perplexities : sequence of float
    interval : int
        How many batches lie between two of them.
    ylim : (float, float), optional
        Range of the axis of perplexities, which then is linear.
    path : path-like, optional
        The picture to write; left out, a window opens.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are none.
    """
    if not perplexities:
        raise ValueError("perplexities: there is none to draw yet; fit with an eval_interval first")
    figure = figure_for(path, _SIZE)
    ax = figure.add_subplot()
    _draw(ax, [_curve("perplexity", range(len(perplexities)), perplexities, dots=False)])
    ax.set(xlabel=f"iterations (x{interval})", ylabel="perplexity")
    if ylim is not None:
        ax.set(yscale="linear", ylim=ylim)
    return finish(figure, path)


class _Curve(NamedTuple):
    name: str
    x: Sequence[int]
    y: NDArray[np.float64]  # NaN where there is nothing to draw
    marked: NDArray[np.bool_]  # the points that get a dot


def _curve(name: str, x: Sequence[int], values: Sequence[float], dots: bool) -> _Curve:
    y = np.array(values, dtype=np.float64)
    finite = np.isfinite(y)
    y[~finite] = np.nan
    y = y.clip(-_LARGEST, _LARGEST)
    # A point between two gaps is part of no line: without a dot nothing of it would be seen.
    alone = finite & ~np.append(False, finite[:-1]) & ~np.append(finite[1:], False)
    return _Curve(name, x, y, finite if dots else alone)


def _draw(ax: Any, curves: Sequence[_Curve], best: str | None = None) -> None:
    """Draw the curves over whole numbers, with the scale that shows all of them and a legend."""
    crowded = len(curves) > len(_STYLES)
    for curve, i in zip(curves, count(), strict=False):
        marked = curve.marked | _sparse(curve, i) if crowded else curve.marked
        shape = MARKERS[i % len(MARKERS)] if crowded else "o"
        ax.plot(
            curve.x,
            curve.y,
            # Neighbours differ in both; the shift makes pairs new after each round of colours.
            linestyle=_STYLES[(i + i // len(COLORS)) % len(_STYLES)],
            color=COLORS[i % len(COLORS)],
            marker=shape if marked.any() else "",
            markersize={"o": 3.5, "*": 7.0}.get(shape, 5.0),
            markevery=marked,
        )
    low, high = _extent(curves)
    if low > 0 and high > _LOGARITHMIC * low:
        ax.set_yscale("log")
    # Ticks at whole numbers, even where there is but one, and room for those of six digits.
    ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1, nbins=7)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    # Above the axes, where it hides nothing.
    names = [_label(curve) for curve in curves]
    handles = list(ax.lines)
    for curve, line in zip(curves, ax.lines, strict=True):
        if curve.name == best and np.isfinite(curve.y).any():
            at = int(np.nanargmin(curve.y))
            ring = {"s": 90, "facecolors": "none", "edgecolors": line.get_color(), "zorder": 3}
            handles.append(ax.scatter([curve.x[at]], [curve.y[at]], linewidths=1.5, **ring))
            names.append(f"lowest: epoch {at + 1}")
    columns = 2 if max(map(len, names)) <= 17 else 1
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": columns, "frameon": False}
    ax.legend(handles, names, **place)


def _sparse(curve: _Curve, i: int) -> NDArray[np.bool_]:
    """Mark some eight points of a curve, of each curve others, to tell many lines apart."""
    step = max(1, len(curve.y) // 8)
    marked = np.zeros(len(curve.y), np.bool_)
    marked[i * step // len(MARKERS) % step :: step] = True
    return marked & np.isfinite(curve.y)


def _extent(curves: Sequence[_Curve]) -> tuple[float, float]:
    """Return the smallest and the largest value, 0 and 0 where there is none."""
    y = np.concatenate([curve.y for curve in curves])
    values = y[np.isfinite(y)].tolist()
    return min(values, default=0.0), max(values, default=0.0)


def _label(curve: _Curve) -> str:
    """Return the name as the legend takes it: "$" begins a formula there, "_" hides an entry."""
    name = curve.name if np.isfinite(curve.y).any() else f"{curve.name} (nowhere finite)"
    name = textwrap.fill(name, 40).replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name


def _of_one_scale(metrics: Mapping[str, Sequence[float]]) -> list[dict[str, Sequence[float]]]:
    """Part metrics into those that can share an axis; one without a size joins the first."""
    groups: list[tuple[list[float], dict[str, Sequence[float]]]] = []
    for name, values in metrics.items():
        size = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
        own = [size] if size else []
        for sizes, group in groups:
            if max(sizes + own, default=0) <= _ONE_SCALE * min(sizes + own, default=0):
                sizes += own
                group[name] = values
                break
        else:
            groups.append((own, {name: values}))
    return [group for _, group in groups]
