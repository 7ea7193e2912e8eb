"""Pictures of training and of what was learned; needs matplotlib (the extra ``plot``).

Every function writes a file if it is given a path and opens a window otherwise.
"""

import os
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnext._support import require
from nnext.base_model import BaseModel
from nnext.trainer import History

PathLike = str | os.PathLike[str]
# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
_RIGHT, _WRONG = "#222222", "#D50000"
_COLUMNS = 10


def plot_loss(
    history: History, ylim: tuple[float, float] | None = None, path: PathLike | None = None
) -> None:
    """Draw the training loss over the iterations, and the metrics over the epochs if there are any.

    Parameters
    ----------
    history : History
    ylim : (float, float), optional
        Range of the loss axis.
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
    panels = 2 if history.metrics else 1
    figure = _figure(path, (5.2 * panels, 3.8))
    axes = np.atleast_1d(figure.subplots(1, panels))
    # A marker where a line alone would show nothing.
    style = {"marker": "o" if len(history.loss) == 1 else "", "linewidth": 1.5}
    axes[0].plot(history.iteration, history.loss, color=_COLORS[0], **style)
    axes[0].set(xlabel="iterations (batches)", ylabel="mean loss", title="Training loss")
    axes[0].set_ylim(ylim if ylim is not None else (0, None))
    if history.metrics:
        epochs = np.arange(1, len(history.epoch_loss) + 1)
        marker = "o" if len(epochs) <= 30 else ""
        for (name, values), color in zip(history.metrics.items(), cycle(_COLORS), strict=False):
            axes[1].plot(epochs, values, color=color, label=name, marker=marker, markersize=3.5)
        axes[1].set(xlabel="epochs", title="After each epoch")
        axes[1].xaxis.get_major_locator().set_params(integer=True)
        axes[1].legend(frameon=False)
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    _finish(figure, path)


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
    """
    images, t, proba = np.asarray(images), np.asarray(t), np.asarray(proba)
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
    """
    x, t = np.asarray(x), np.asarray(t)
    labels = t.argmax(axis=-1) if t.ndim == 2 else t
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.1 * (high - low)
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
    ax.imshow(pixels, origin="lower", extent=(a[0], a[-1], b[0], b[-1]), interpolation="bilinear")
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
