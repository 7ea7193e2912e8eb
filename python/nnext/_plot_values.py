"""Pictures of numbers: residuals of a regression, parameters over a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnext._figures import COLORS, PathLike, figure_for, finish
from nnext._support import Array
from nnext.callbacks import RecordParameters

_MANY = 2000  # so many points are drawn fainter


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
        If the shapes differ, there is no number, or one is not finite.
    """
    t, y = np.asarray(t, np.float64), np.asarray(y, np.float64)
    if t.shape != y.shape:
        raise ValueError(f"y: expected the shape of t, {t.shape}, got shape {y.shape}")
    if not t.size:
        raise ValueError(f"t: expected at least one number, got shape {t.shape}")
    for name, values in (("t", t), ("y", y)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: expected finite numbers, {name} has NaN or infinities")
    y, residuals = y.ravel(), (t - y).ravel()
    figure = figure_for(path, (8.2, 4.2))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    alpha = 0.75 if y.size <= _MANY else 0.2
    left.plot(y, residuals, "o", color=COLORS[0], markersize=4, alpha=alpha, markeredgewidth=0)
    bins = min(max(5, round(y.size**0.5)), 50)
    right.hist(residuals, bins=bins, orientation="horizontal", color=COLORS[5], edgecolor="white")
    for ax in (left, right):
        ax.axhline(0, color="black", linewidth=1)
        ax.axhline(residuals.mean(), color=COLORS[1], linestyle="--", linewidth=1.2)
        ax.spines[["top", "right"]].set_visible(False)
    of = f" ({unit})" if unit else ""
    left.set(xlabel=f"prediction{of}", ylabel=f"residual: target - prediction{of}")
    left.grid(alpha=0.3)
    right.set(xlabel="count")
    right.xaxis.get_major_locator().set_params(integer=True, nbins=4)
    figure.suptitle(
        f"{y.size:,} residuals: mean {residuals.mean():.3g} (dashed), "
        f"root mean square {np.sqrt(np.mean(residuals**2)):.3g}",
        fontsize=11,
    )
    return finish(figure, path)


def plot_parameters(record: RecordParameters, path: PathLike | None = None) -> Any:
    """Draw how the parameters and their gradients were spread over the epochs.

    A row for each parameter: its values on the left, its gradient on the right. The line is the
    median, or the middle quantile; each band lies between two quantiles, the outer ones lighter.

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
    rows = len(record.names)
    figure = figure_for(path, (9.0, 1.9 * rows + 0.9))
    axes = figure.subplots(rows, 2, sharex=True, squeeze=False)
    for i, name in enumerate(record.names):
        for ax, what, values, color in (
            (axes[i, 0], "value", record.values[i], COLORS[0]),
            (axes[i, 1], "gradient", record.gradients[i], COLORS[1]),
        ):
            _bands(ax, record.epochs, np.array(values), color)
            ax.set_ylabel(what)
            ax.set_title(name.replace("$", r"\$"), fontsize=9, loc="left")
            ax.grid(alpha=0.3)
            ax.spines[["top", "right"]].set_visible(False)
            ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1, nbins=7)
    for ax in axes[-1]:
        ax.set_xlabel("epochs")
    shown = ", ".join(f"{100 * q:g}" for q in record.quantiles)
    figure.suptitle(f"Quantiles of parameters and gradients: {shown} %", fontsize=11)
    return finish(figure, path)


def _bands(ax: Any, epochs: Sequence[int], values: Array, color: str) -> None:
    """Fill between pairs of quantiles, outermost first, and draw the middle."""
    x = np.array(epochs, np.float64)
    if len(x) == 1:  # a band needs a width
        x, values = np.array([x[0] - 0.3, x[0] + 0.3]), np.repeat(values, 2, axis=0)
    count = values.shape[1]
    for k in range(count // 2):
        alpha = 0.15 + 0.2 * k / max(count // 2 - 1, 1)
        band = {"color": color, "alpha": alpha, "linewidth": 0}
        ax.fill_between(x, values[:, k], values[:, count - 1 - k], **band)
    ax.plot(x, values[:, count // 2], color="black", linewidth=1.3)
