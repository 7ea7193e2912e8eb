"""A model as text: its ``summary`` and its ``repr``."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnext._putting_back import putting_back
from nnext._support import Array, find_shared
from nnext._trace import tracing

if TYPE_CHECKING:
    from nnext.base_model import BaseModel


def summary_of(model: BaseModel, input_shape: Sequence[int] | None) -> str:
    """Return the table that `BaseModel.summary` describes."""
    layers = [layer for _, layer in _shown(model)]
    columns = [["layer", *(type(layer).__name__ for layer in layers)]]
    if input_shape is not None:
        columns.append(["output", *_output_shapes(model, layers, input_shape)])
    shapes = [", ".join(str(p.shape) for p in _params(layer)) for layer in layers]
    columns.append(["shapes of parameters", *(text or "-" for text in shapes)])
    counts = [sum(p.size for p in _params(layer)) for layer in layers]
    columns.append(["parameters", *(f"{count:,}" for count in counts)])
    count, kinds = _totals(model)
    last = ["total", *([""] if input_shape is not None else []), kinds, f"{count:,}"]
    for column, text in zip(columns, last, strict=True):
        column.append(text)
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for row in zip(*columns, strict=True):
        cells = [f"{cell:<{width}}" for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("  ".join([*cells, f"{row[-1]:>{widths[-1]}}"]))
    rule = "-" * len(lines[0])
    return "\n".join([type(model).__name__, rule, lines[0], rule, *lines[1:-1], rule, lines[-1]])


def repr_of(model: BaseModel) -> str:
    """Return the layers, each on a line with its number of parameters."""
    rows = []
    for name, layer in _shown(model):
        own = getattr(type(layer), "__repr__", None) is not object.__repr__
        count = sum(p.size for p in _params(layer))
        rows.append((f"{name}: {layer if own else type(layer).__name__}", f"{count:,}"))
    a, b = (max(map(len, column)) for column in zip(("", ""), *rows, strict=True))
    lines = [f"  {x}" if y == "0" else f"  {x:<{a}}  {y:>{b}}" for x, y in rows]
    count, kinds = _totals(model)
    return "\n".join([f"{type(model).__name__}(", *lines, f")  {count:,} parameters, type {kinds}"])


def _shown(model: BaseModel) -> list[tuple[str, Any]]:
    """Return the layers by the names that they are shown with.

    A model of the book without a list ``layers`` shows what it has in attributes.
    """
    layers, loss_layer = getattr(model, "layers", None), getattr(model, "loss_layer", None)
    if isinstance(layers, list | tuple):
        numbered = [(str(i), layer) for i, layer in enumerate(layers)]
        return numbered if loss_layer is None else [*numbered, ("loss", loss_layer)]
    return [
        (name, part)
        for name, part in vars(model).items()
        if hasattr(part, "forward") and hasattr(part, "backward")
    ]


def _params(layer: Any) -> Sequence[Array]:
    return getattr(layer, "params", ())


def _totals(model: BaseModel) -> tuple[int, str]:
    """Return the number of parameters, shared ones once, and their types."""
    params = getattr(model, "params", None) or []
    shared = find_shared(params)
    own = [p for i, p in enumerate(params) if shared[i][0] == i]
    return sum(p.size for p in own), "/".join(sorted({str(p.dtype) for p in own})) or "-"


def _output_shapes(
    model: BaseModel, layers: Sequence[Any], input_shape: Sequence[int]
) -> list[str]:
    """Return what each layer returns for a row of zeros, "-" for one that is not asked."""
    from nnext.layers import Embedding

    try:
        shape = tuple(operator.index(n) for n in input_shape)
    except TypeError:
        shape = (-1,)
    if any(n < 0 for n in shape):
        raise ValueError(
            "input_shape: expected the shape of a sample, without the batch, such as (784,), "
            f"got {input_shape!r}"
        )
    indices = bool(layers) and isinstance(layers[0], Embedding)
    zeros = np.zeros((1, *shape), np.int64 if indices else np.float32)
    with putting_back(model), tracing(getattr(model, "layers", ())) as calls:
        try:
            model.loss_input(zeros)
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"input_shape: the model does not take samples of shape {shape}: {error}"
            ) from error
    shown = {id(call.layer): _with_batch(call.output_shape) for call in calls}
    return [shown.get(id(layer), "-") for layer in layers]


def _with_batch(shape: tuple[int, ...]) -> str:
    if not shape:
        return "()"
    rest = ", ".join(map(str, shape[1:]))
    first = "N" if shape[0] == 1 else str(shape[0])
    return f"({first}, {rest})" if rest else f"({first},)"
