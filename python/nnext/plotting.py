"""Pictures of training and of what was learned; needs matplotlib (the extra ``plot``).

Every function writes a file if it is given a path and opens a window otherwise.
"""

import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnext._support import require
from nnext.base_model import BaseModel
from nnext.trainer import History

PathLike = str | os.PathLike[str]
# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
_RIGHT, _WRONG = "#222222", "#D50000"
_COLUMNS = 10
_FEW = 30  # so many epochs get a dot each
_ONE_SCALE = 10.0  # metrics share an axis if their sizes are at most so many times each other's
_LARGEST = 1e300  # matplotlib adds margins to the limits, and takes their difference
_LOGARITHMIC = 1000.0  # a linear axis would show the smaller values as 0


def plot_loss(
    history: History, ylim: tuple[float, float] | None = None, path: PathLike | None = None
) -> None:
    """Draw the losses over the iterations, and the other metrics over the epochs.

    A metric with "loss" in its name, such as "validation loss", stands beside the training loss,
    at the ends of its epochs. The others have panels of their own; they share one where their
    largest amounts are within ten times of each other. A loss axis starts at 0 unless there are
    negative losses. An axis is logarithmic where all values are positive and the largest is over
    a thousand times the smallest. NaN and infinities leave a gap; what is beyond 1e300 is
    drawn there.

    Parameters
    ----------
    history : History
    ylim : (float, float), optional
        Range of the loss axis, which then is linear.
    path : path-like, optional
        The picture to write; left out, a window opens.

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
    figure = _figure(path, (5.2 * columns, 3.8 * rows))

    ends, epochs = history.epoch_iteration, range(1, len(history.epoch_loss) + 1)
    few = len(epochs) <= _FEW
    curves = [_curve("training loss", history.iteration, history.loss, dots=False)]
    curves += [_curve(name, ends, values, few) for name, values in losses.items()]
    ax = figure.add_subplot(rows, columns, 1)
    _draw(ax, curves)
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
    _finish(figure, path)


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


def _draw(ax: Any, curves: Sequence[_Curve]) -> None:
    """Draw the curves over whole numbers, with the scale that shows all of them and a legend."""
    styles = cycle((style, color) for style in ("-", "--", ":") for color in _COLORS)
    for curve, (style, color) in zip(curves, styles, strict=False):
        ax.plot(
            curve.x,
            curve.y,
            linestyle=style,
            color=color,
            marker="o" if curve.marked.any() else "",
            markersize=3.5,
            markevery=curve.marked,
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
    columns = 2 if max(map(len, names)) <= 20 else 1
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": columns, "frameon": False}
    ax.legend(ax.lines, names, **place)


def _extent(curves: Sequence[_Curve]) -> tuple[float, float]:
    """Return the smallest and the largest value, 0 and 0 where there is none."""
    y = np.concatenate([curve.y for curve in curves])
    values = y[np.isfinite(y)].tolist()
    return min(values, default=0.0), max(values, default=0.0)


def _label(curve: _Curve) -> str:
    """Return the name as the legend takes it: "$" begins a formula there, "_" hides an entry."""
    name = curve.name if np.isfinite(curve.y).any() else f"{curve.name} (nowhere finite)"
    name = textwrap.fill(name, 50).replace("$", r"\$")
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


def plot_predictions(
    images: ArrayLike, t: ArrayLike, proba: ArrayLike, path: PathLike | None = None
) -> None:
    """Draw images with what the model takes them for: the first forty, then mistakes.

    Parameters
    ----------
    images : array_like, shape (N, H, W)
    t : array_like of int, shape (N,)
        The true labels.
    proba : array_like, shape (N, C)
        The probabilities that the model gives.
    path : path-like, optional
        The picture to write; left out, a window opens.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is no image.
    """
    images, t, proba = np.asarray(images), np.asarray(t), np.asarray(proba)
    if not len(images):
        raise ValueError(f"images: expected at least one, got shape {images.shape}")
    y = proba.argmax(axis=-1)
    wrong = np.flatnonzero(y != t)
    first, mistakes = np.arange(min(len(t), 4 * _COLUMNS)), wrong[: 2 * _COLUMNS]
    rows = [-(-len(part) // _COLUMNS) for part in (first, mistakes)]
    figure = _figure(path, (9.0, 1.12 * sum(rows) + 1.2))
    share = 100 * (1 - len(wrong) / len(t))
    figure.suptitle(f"{len(t) - len(wrong):,} of {len(t):,} test images right ({share:.1f} %)")
    parts = figure.subfigures(2, 1, height_ratios=[rows[0] + 0.3, rows[1] + 0.3]) if rows[1] else []
    for part, chosen, height, title in zip(
        parts if rows[1] else [figure.subfigures(1, 1)],
        (first, mistakes),
        rows,
        (
            f"The first {len(first)}: predicted digit and its probability (mistakes in red)",
            f"{'All' if len(wrong) == len(mistakes) else f'The first {len(mistakes)} of'} "
            f"{len(wrong)} mistakes: predicted digit, probability, and the true digit",
        ),
        strict=False,
    ):
        part.suptitle(title, fontsize=10)
        axes = part.subplots(height, _COLUMNS, squeeze=False).ravel()
        for ax in axes:
            ax.axis("off")
        for ax, i in zip(axes, chosen, strict=False):
            ax.imshow(images[i], cmap="gray_r", vmin=0, vmax=1)
            label = f"{y[i]}  ({100 * proba[i, y[i]]:.0f} %)"
            if y[i] != t[i]:
                label += f"\ntrue: {t[i]}"
            ax.set_title(label, fontsize=8, color=_WRONG if y[i] != t[i] else _RIGHT, pad=3)
    _finish(figure, path)


def plot_decision_boundary(
    model: BaseModel, x: ArrayLike, t: ArrayLike, path: PathLike | None = None
) -> None:
    """Draw the regions that a model assigns to each class of points in the plane.

    Parameters
    ----------
    model : BaseModel
        Takes points of shape (N, 2).
    x : array_like, shape (N, 2)
    t : array_like, shape (N,) or (N, C)
        Labels of the points, class indices or one-hot.
    path : path-like, optional
        The picture to write; left out, a window opens.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is no point.
    """
    x, t = np.asarray(x), np.asarray(t)
    if not len(x):
        raise ValueError(f"x: expected at least one point, got shape {x.shape}")
    labels = t.argmax(axis=-1) if t.ndim == 2 else t
    low, high = x.min(axis=0), x.max(axis=0)
    # Points on one horizontal or vertical line need a margin too.
    margin = np.where(high > low, 0.1 * (high - low), 0.5)
    a, b = (np.linspace(low[i] - margin[i], high[i] + margin[i], 400) for i in (0, 1))
    points = np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2).astype(x.dtype)
    proba = model.predict_proba(points)
    region, sure = proba.argmax(axis=-1), proba.max(axis=-1)

    colors = require("matplotlib.colors", "plot", "Drawing").to_rgb
    table = np.array([colors(_COLORS[k % len(_COLORS)]) for k in range(proba.shape[1])])
    # The surer, the more colour: white where all classes are alike, at most 60 % of the colour.
    chance = 1 / proba.shape[1]
    weight = 0.6 * (sure - chance) / (1 - chance)
    pixels = (1 - weight[:, None] * (1 - table[region])).reshape(len(b), len(a), 3)

    figure = _figure(path, (6.6, 5.0))
    ax = figure.subplots()
    sides = high - low + 2 * margin
    # A plane of one scale, unless that made a strip of it.
    aspect = "equal" if sides.max() <= 4 * sides.min() else "auto"
    extent = (a[0], a[-1], b[0], b[-1])
    ax.imshow(pixels, origin="lower", extent=extent, aspect=aspect, interpolation="bilinear")
    for k, color in enumerate(table):
        mine = labels == k
        ax.plot(
            *x[mine].T,
            "o^sDvP*X"[k % 8],
            color=color,
            markeredgecolor="white",
            markeredgewidth=0.6,
            markersize=5.5,
            label=f"class {k}",
        )
    right = 100 * np.mean(model.predict(x) == labels)
    ax.set(
        xlabel="x[0]",
        ylabel="x[1]",
        title=f"What the model has learned ({right:.1f} % of the points right)",
    )
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    _finish(figure, path)


def _figure(path: PathLike | None, size: tuple[float, float]) -> Any:
    """Make a figure; one for a file needs neither pyplot nor a display."""
    if path is None:
        pyplot = require("matplotlib.pyplot", "plot", "Drawing")
        return pyplot.figure(figsize=size, layout="constrained")
    figure = require("matplotlib.figure", "plot", "Drawing").Figure
    return figure(figsize=size, layout="constrained")


def _finish(figure: Any, path: PathLike | None) -> None:
    if path is None:
        require("matplotlib.pyplot", "plot", "Drawing").show()
    else:
        figure.savefig(path, dpi=150)
