"""Pictures of what a classifier learned, see `nnext.plotting`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nnext._figures import COLORS, MARKERS, PathLike, axes_for, figure_for, finish
from nnext._putting_back import putting_back
from nnext._support import Array, require
from nnext.base_model import BaseModel

_LUMA = np.array([0.299, 0.587, 0.114])  # how light a colour is in grey
_RIGHT, _WRONG = "#222222", "#D50000"
_COLUMNS = 10
_SIZES = {"D": 4.0, "o": 4.6, "s": 4.4, "*": 8.0, "P": 6.2, "X": 6.2}  # that look as large
_WITH_TEXT = 12  # classes whose confusion is written out
_LETTERS = 24  # of a class's name


def plot_predictions(
    images: ArrayLike, t: ArrayLike, proba: ArrayLike, path: PathLike | None = None
) -> Any:
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
    figure = figure_for(path, (7.6, 1.02 * sum(rows) + 1.2))
    share = 100 * (1 - len(wrong) / len(t))
    figure.suptitle(f"{len(t) - len(wrong):,} of {len(t):,} test images right ({share:.1f} %)")
    parts = figure.subfigures(2, 1, height_ratios=[rows[0] + 0.3, rows[1] + 0.3]) if rows[1] else []
    for part, chosen, height, title in zip(
        parts if rows[1] else [figure.subfigures(1, 1)],
        (first, mistakes),
        rows,
        (
            f"The first {len(first)}: predicted digit, probability, and the true digit of mistakes",
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
    return finish(figure, path)


def plot_decision_boundary(
    model: BaseModel,
    x: ArrayLike,
    t: ArrayLike,
    path: PathLike | None = None,
    ax: Any = None,
) -> Any:
    """Draw the regions that a model assigns to each class of points in the plane.

    The surer the model, the fuller the colour; lines part the regions, and each has its class's
    number where there is room. Classes differ by the shapes of their points as well, those from 8
    on, whose shapes come again, by being hollow.

    Parameters
    ----------
    model : BaseModel
        Takes points of shape (N, 2), and gives one class for each: any number of scores, or one
        score where the loss is binary.
    x : array_like, shape (N, 2)
    t : array_like, shape (N,) or (N, C)
        Labels of the points as the loss takes them; points of ignored labels are not drawn.
    path : path-like, optional
        The picture to write; left out, a window opens.
    ax : matplotlib.axes.Axes, optional
        Draw there.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is no point, `x` is not of shape (N, 2), or the model gives several answers for
        one point.
    """
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"x: expected points in the plane, shape (N, 2), got shape {x.shape}")
    if not len(x):
        raise ValueError(f"x: expected at least one point, got shape {x.shape}")
    if x.dtype.kind in "biu":
        x = x.astype(np.float64)
    low, high = x.min(axis=0), x.max(axis=0)
    # Points on one horizontal or vertical line need a margin too.
    margin = np.where(high > low, 0.1 * (high - low), 0.5)
    a, b = (np.linspace(low[i] - margin[i], high[i] + margin[i], 400) for i in (0, 1))
    points = np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2).astype(x.dtype)
    with putting_back(model):
        predicted = _one_class("model", model.predict(x))
        labels = _labels(model, x, t)
        proba = _probabilities(model, points, int(max(predicted.max(), labels.max())) + 1)
    region, sure = proba.argmax(axis=-1), proba.max(axis=-1)

    colors = _class_colors(proba.shape[1])
    # The surer, the more colour: white where all classes are alike, at most 60 % of the colour.
    chance = 1 / proba.shape[1]
    weight = 0.6 * (sure - chance) / (1 - chance) if chance < 1 else np.full(len(sure), 0.6)
    pixels = (1 - weight[:, None] * (1 - colors[region])).reshape(len(b), len(a), 3)

    sides = high - low + 2 * margin
    # A plane of one scale, unless that made a strip of it.
    aspect = "equal" if sides.max() <= 4 * sides.min() else "auto"
    tall = min(max(sides[1] / sides[0], 0.4), 1.2) if aspect == "equal" else 0.8
    columns = -(-len(colors) // 14)
    given, ax = ax, axes_for(path, (3.7 + 0.6 * columns, 3.2 * tall + 1.0), ax)
    extent = (a[0], a[-1], b[0], b[-1])
    ax.imshow(pixels, origin="lower", extent=extent, aspect=aspect, interpolation="bilinear")
    plane = region.reshape(len(b), len(a))
    for k in np.unique(region)[1:]:
        ax.contour(a, b, plane >= k, levels=[0.5], colors="#555555", linewidths=0.7)
    for k, color in enumerate(colors):
        mine = labels == k
        shape, dark = MARKERS[k % len(MARKERS)], color @ _LUMA < 0.3
        hollow = k // len(MARKERS) % 2 == 1
        ax.plot(
            *x[mine].T,
            shape,
            color="white" if hollow else color,
            markeredgecolor="white" if dark and not hollow else "black",
            markeredgewidth=1.1 if hollow else 0.6,
            markersize=_SIZES.get(shape, 5.0),
            label=str(k),
        )
    for k, i, j in _middles(plane, x, extent):
        box = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
        ax.text(a[j], b[i], str(k), ha="center", va="center", fontsize=9, bbox=box)
    counted = labels >= 0
    share = 100 * np.mean(predicted[counted] == labels[counted]) if counted.any() else np.nan
    ax.set(xlabel="x[0]", ylabel="x[1]")
    ax.set_title(f"What the model has learned\n({share:.1f} % of the points right)", fontsize=10)
    place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1), "frameon": False}
    ax.legend(
        **place, ncols=columns, title="class", fontsize=9, handletextpad=0.2, columnspacing=0.8
    )
    return finish(ax.figure, path, given)


def _middles(plane: Array, x: Array, extent: tuple[float, ...]) -> Iterator[tuple[int, int, int]]:
    """Give for each class with room its number and a pixel far from its border and the points."""
    step = len(plane) // 40
    rows = np.arange(step // 2, len(plane), step)
    coarse = plane[np.ix_(rows, rows)]
    left, right, low, high = extent
    sites = np.stack(np.meshgrid(rows, rows, indexing="ij"), axis=-1).reshape(-1, 2) / len(plane)
    points = np.stack([(x[:, 1] - low) / (high - low), (x[:, 0] - left) / (right - left)], axis=1)
    points = points[:: max(1, len(points) // 1000)]
    walls = np.minimum(sites, 1 - sites).min(axis=1)
    for k in np.unique(coarse):
        mine = coarse.ravel() == k
        own = sites[mine]
        room = walls[mine]
        for others, share in ((sites[~mine], 1.0), (points, 1.5)):
            if len(others):
                squares = ((own[:, None] - others) ** 2).sum(axis=-1)
                room = np.minimum(room, share * np.sqrt(squares.min(axis=1)))
        if room.max() >= 0.045:
            i, j = np.round(own[room.argmax()] * len(plane)).astype(int)
            yield int(k), int(i), int(j)


def plot_confusion_matrix(
    predicted: BaseModel | ArrayLike,
    t: ArrayLike,
    x: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    ignore_label: int | None = -1,
    path: PathLike | None = None,
    ax: Any = None,
) -> Any:
    """Draw how often each class was taken for each: counts, and shares of the true class.

    Parameters
    ----------
    predicted : BaseModel, or array_like of int, shape (...)
        The predicted labels, or a model that predicts them for `x`.
    t : array_like, shape (...)
        The true labels; with a model as its loss takes them.
    x : array_like, shape (N, ...), optional
        Samples for the model.
    class_names : sequence of str, optional
        What the classes are called; their numbers if left out. Of more than 24 letters those
        in the middle are left out.
    ignore_label : int, optional
        Labels that are left out. With a model they are those that its loss ignores.
    path : path-like, optional
        The picture to write; left out, a window opens.
    ax : matplotlib.axes.Axes, optional
        Draw there.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError, TypeError
        If labels are no class indices or not equally many, none counts, there are names too few or
        too many, or `x` is missing or of no use.
    """
    if isinstance(predicted, BaseModel):
        if x is None:
            raise ValueError("x: a model needs samples to predict")
        with putting_back(predicted):
            y = np.asarray(predicted.predict(x, batch_size=1024)).ravel()
            labels = _labels(predicted, np.asarray(x), t)
        counted = labels >= 0
    elif x is not None:
        raise ValueError("x: of no use beside predicted labels; give a model to predict")
    else:
        y, labels = _indices("predicted", predicted), _indices("t", t)
        if y.shape != labels.shape:
            raise ValueError(f"t: has shape {labels.shape}, and predicted {y.shape}")
        y, labels = y.ravel(), labels.ravel()
        counted = np.full(labels.shape, True) if ignore_label is None else labels != ignore_label
    y, labels = y[counted], labels[counted]
    if not y.size:
        raise ValueError("t: there is no label that counts")
    if min(y.min(), labels.min()) < 0:
        raise ValueError(f"t: expected class indices, got {min(y.min(), labels.min())}")
    size = int(max(y.max(), labels.max())) + 1
    if class_names is not None:
        if isinstance(class_names, str) or len(class_names) < size:
            raise ValueError(
                f"class_names: expected a name for each of {size} classes, got {class_names!r}"
            )
        size = len(class_names)
    if size > 1000:
        raise ValueError(f"t: expected at most 1,000 classes, got {size:,}")
    counts = np.bincount(labels * size + y, minlength=size * size).reshape(size, size)
    rows = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(rows, 1)

    names = [str(k) for k in range(size)] if class_names is None else list(map(str, class_names))
    half = _LETTERS // 2
    names = [n if len(n) <= _LETTERS else f"{n[:half]}\u2026{n[1 - half :]}" for n in names]
    longest = max(map(len, names))
    digits = len(f"{counts.max():,}")
    if size <= _WITH_TEXT:
        cell = max(0.5, 0.068 * digits + 0.1, 1.8 / size)
    else:
        cell = max(0.2, 3.6 / size) if size <= 30 else 6.0 / size
    letters = 0.068 * (longest if size <= 30 else len(str(size)))
    wide, tall = cell * size + letters + 1.5, cell * size + 0.9
    if size <= 30:
        tall += 0.75 * letters if longest > 5 else 0.0
    given, ax = ax, axes_for(path, (wide, tall), ax)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.05, pad=0.02, aspect=25)
    bar.set_label("% of the true class", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    ax.tick_params(labelsize=8)
    names = [name.replace("$", r"\$") for name in names]
    if size <= 30:
        turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if longest > 5 else {}
        ax.set_xticks(range(size), names, **turned)
        ax.set_yticks(range(size), names)
    if size <= _WITH_TEXT:
        for i, j in np.ndindex(size, size):
            text = f"{counts[i, j]:,}\n{shares[i, j]:.0f} %" if rows[i, 0] else "0"
            color = "white" if shares[i, j] > 55 else "black"
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color=color)
    right = 100 * np.trace(counts) / counts.sum()
    ax.set(xlabel="predicted class", ylabel="true class")
    title = f"{np.trace(counts):,} of {counts.sum():,} right ({right:.1f} %)"
    if 0.083 * len(title) > cell * size + 0.6:
        title = title.replace(" right", "\nright")
    ax.set_title(title, fontsize=10)
    return finish(ax.figure, path, given)


def _indices(name: str, labels: ArrayLike) -> Array:
    array = np.asarray(labels)
    if array.dtype.kind not in "biu":
        raise TypeError(f"{name}: expected class indices, integers, got type {array.dtype}")
    return array.astype(np.int64)


def _one_class(name: str, predicted: Array) -> Array:
    """Return predictions as a row, if each sample has one."""
    if predicted.size != len(predicted):
        raise ValueError(
            f"{name}: expected one class for each point, got predictions of shape {predicted.shape}"
        )
    return predicted.ravel()


def _labels(model: BaseModel, x: Array, t: ArrayLike) -> Array:
    """Return the labels as class indices, -1 where the loss ignores them."""
    read = getattr(model.loss_layer, "labels", None)
    if read is None:
        return _indices("t", t).ravel()
    first = model.scores(x[:1])
    shape = (len(x), *first.shape[1:])
    if getattr(model.loss_layer, "ignore_label", None) is None and np.size(t) == np.prod(shape):
        t = np.reshape(t, shape)  # (N,) for scores of shape (N, 1), and the other way
    return np.asarray(read(t, shape)).ravel()


def _probabilities(model: BaseModel, points: Array, classes: int) -> Array:
    """Return a probability for each class: 0 and 1 where the loss knows none."""
    if not hasattr(model.loss_layer, "probabilities"):
        region = _one_class("model", model.predict(points, batch_size=16384))
        return np.eye(max(classes, int(region.max()) + 1))[region]
    proba = np.asarray(model.predict_proba(points, batch_size=16384), np.float64)
    if proba.size == len(proba):
        proba = proba.reshape(-1, 1)
        return np.concatenate([1 - proba, proba], axis=1)
    return proba


def _class_colors(count: int) -> Array:
    """Return a colour for each class, of viridis where there are many."""
    if count <= len(COLORS):
        colors = require("matplotlib.colors", "plot", "Drawing").to_rgb
        return np.array([colors(color) for color in COLORS[:count]])
    return np.asarray(
        require("matplotlib", "plot", "Drawing").colormaps["viridis"](np.linspace(0, 1, count))
    )[:, :3]
