"""Pictures of numbers: residuals of a regression, parameters over a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnext._figures import COLORS, PathLike, figure_for, finish
from nnext._support import Array
from nnext.callbacks import RecordParameters

_MANY = 2000  # so many points are drawn fainter
_LARGEST = 1e300  # matplotlib adds margins to the limits
_ROWS = 12  # so many parameters are drawn below each other
_WIDE = 1000.0  # a linear axis would show the smaller values as 0


def plot_residuals(t: ArrayLike, y: ArrayLike, unit: str = "", path: PathLike | None = None) -> Any:
    """Draw what a regression leaves unexplained, ``t - y``: over its predictions, and how often.

    Parameters
    ----------
    t, y : array_like of one shape
        The targets and the predictions for them.
    unit : str
        Of both, for the axes' labels.
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
        If the shapes differ, there is no number, or one is not finite or beyond 1e300.
    """
    t, y = np.asarray(t, np.float64), np.asarray(y, np.float64)
    if t.shape != y.shape:
        raise ValueError(f"y: expected the shape of t, {t.shape}, got shape {y.shape}")
    if not t.size:
        raise ValueError(f"t: expected at least one number, got shape {t.shape}")
    for name, values in (("t", t), ("y", y)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: expected finite numbers, {name} has NaN or infinities")
        if abs(values).max() > _LARGEST:
            raise ValueError(f"{name}: expected numbers up to 1e300, got {abs(values).max():g}")
    y, residuals = y.ravel(), (t - y).ravel()
    figure = figure_for(path, (4.7, 3.4))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[5, 2])
    alpha = 0.75 if y.size <= _MANY else 0.2
    left.plot(y, residuals, "o", color=COLORS[0], markersize=3.5, alpha=alpha, markeredgewidth=0)
    bins = min(max(5, round(y.size**0.5)), 50)
    right.hist(residuals, bins=bins, orientation="horizontal", color=COLORS[5], edgecolor="white")
    for ax in (left, right):
        ax.axhline(0, color="black", linewidth=1)
        ax.axhline(residuals.mean(), color=COLORS[1], linestyle="--", linewidth=1.2)
        ax.spines[["top", "right"]].set_visible(False)
    of = f" ({unit})" if unit else ""
    left.xaxis.get_major_locator().set_params(nbins=6)
    left.set(xlabel=f"prediction{of}", ylabel=f"residual: target - prediction{of}")
    left.grid(alpha=0.3)
    right.set(xlabel="count")
    right.xaxis.get_major_locator().set_params(integer=True, nbins=2)
    largest = float(abs(residuals).max()) or 1.0  # squares of 1e200 would be infinite
    size = largest * np.sqrt(np.mean((residuals / largest) ** 2))
    figure.suptitle(
        f"{y.size:,} residuals: mean {residuals.mean():.3g} (dashed),\nroot mean square {size:.3g}",
        fontsize=10,
    )
    return finish(figure, path)


def plot_parameters(record: RecordParameters, path: PathLike | None = None) -> Any:
    """Draw how the parameters and their gradients were spread over the epochs.

    A row for each parameter: its values on the left, its gradient on the right. The line is the
    median, or the middle quantile; each band lies between two quantiles, the outer ones lighter.
    NaN and infinities leave a gap. An axis is logarithmic to both sides of 0 where the values of
    some epoch are over a thousand times those of another. Many parameters go into several columns.

    Parameters
    ----------
    record : nnext.callbacks.RecordParameters
        What was among the callbacks of ``fit``.
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
        If nothing has been recorded.
    """
    if not record.epochs or not record.names:
        raise ValueError("record: nothing was recorded; give it to fit, callbacks=[record]")
    count = len(record.names)
    pairs = min(1 + (count - 1) // _ROWS, 3)
    rows = -(-count // pairs)
    figure = figure_for(path, (8.4 * pairs, (1.9 if rows <= _ROWS else 1.5) * rows + 0.9))
    axes = figure.subplots(rows, 2 * pairs, sharex=True, squeeze=False)
    for i, name in enumerate(record.names):
        row, pair = i % rows, i // rows
        for ax, what, values, color in (
            (axes[row, 2 * pair], "value", record.values[i], COLORS[0]),
            (axes[row, 2 * pair + 1], "gradient", record.gradients[i], COLORS[1]),
        ):
            _bands(ax, record.epochs, np.array(values, np.float64), color)
            ax.set_ylabel(what)
            ax.set_title(name.replace("$", r"\$"), fontsize=9, loc="right")
            ax.grid(alpha=0.3)
            ax.spines[["top", "right"]].set_visible(False)
            ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1, nbins=7)
    for i in range(count, rows * pairs):
        for ax in axes[i % rows, 2 * (i // rows) :][:2]:
            ax.axis("off")
    for pair in range(pairs):
        last = min(rows, count - pair * rows) - 1
        for ax in axes[last, 2 * pair : 2 * pair + 2]:
            ax.set_xlabel("epochs")
            ax.tick_params(labelbottom=True)
    shown = ", ".join(f"{100 * q:g}" for q in record.quantiles)
    figure.suptitle(f"Quantiles of parameters and gradients: {shown} %", fontsize=11)
    return finish(figure, path)


def _bands(ax: Any, epochs: Sequence[int], values: Array, color: str) -> None:
    """Fill between pairs of quantiles, outermost first, and draw the middle."""
    values = np.where(np.isfinite(values), values.clip(-_LARGEST, _LARGEST), np.nan)
    sizes = np.nanmax(abs(values), axis=1, initial=0.0, where=~np.isnan(values))
    sizes = sizes[sizes > 0]
    if sizes.size and sizes.max() > _WIDE * sizes.min():
        ax.set_yscale("symlog", linthresh=sizes.min())
        low, high = (math.floor(math.log10(size)) for size in (sizes.min(), sizes.max()))
        powers = [10.0**high, 10.0 ** ((low + high) // 2)]
        ax.set_yticks([-powers[0], -powers[1], 0.0, *powers[::-1]])
    half = values.shape[1] // 2
    for k in range(half):
        alpha = 0.15 + 0.2 * k / max(half - 1, 1)
        x, (low, high) = _widened(epochs, values[:, [k, -1 - k]])
        ax.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0)
    x, (middle,) = _widened(epochs, values[:, [half]])
    ax.plot(x, middle, color="black", linewidth=1.3)
    if not np.isfinite(values).any():
        ax.text(0.5, 0.5, "nowhere finite", transform=ax.transAxes, ha="center", va="center")


def _widened(epochs: Sequence[int], values: Array) -> tuple[Array, Array]:
    """Return epochs and values, those of epochs between gaps twice: a band needs a width."""
    there: Array = np.logical_and.reduce(np.isfinite(values), axis=1)
    alone = there & ~np.append(False, there[:-1]) & ~np.append(there[1:], False)
    x = np.repeat(np.array(epochs, np.float64), 1 + alone)
    x[np.cumsum(1 + alone)[alone] - 1] += 0.3
    x[np.cumsum(1 + alone)[alone] - 2] -= 0.3
    return x, np.repeat(np.where(there[:, None], values, np.nan), 1 + alone, axis=0).T
