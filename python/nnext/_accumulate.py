"""A batch that comes in parts: its loss and its gradients, with the memory that one part takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnext._fit_data import Samples, count_rows
from nnext._layer import has_methods_of
from nnext._nnext import EmptyBatchError
from nnext._support import Array, find_shared, has_parameter
from nnext.models import Sequential

Result = tuple[float, float, float]


class Totals:
    """Sums of gradients that are written over each time: in float32 where they are half."""

    def __init__(self, grads: Sequence[Array]) -> None:
        shared = find_shared(grads)
        self._grads = [grads[i] for i, (first, _) in enumerate(shared) if first == i]
        self._sums = [np.zeros(g.shape, np.result_type(g, np.float32)) for g in self._grads]

    def add(self, factor: float = 1) -> None:
        for total, grad in zip(self._sums, self._grads, strict=True):
            total += grad if factor == 1 else grad * total.dtype.type(factor)

    def write(self, divisor: float = 1) -> None:
        for total, grad in zip(self._sums, self._grads, strict=True):
            grad[...] = total if divisor == 1 else total / total.dtype.type(divisor)


def accumulate(model: Any, parts: Sequence[Samples]) -> Result:
    """Write into ``grads`` the gradients of a batch that comes in parts.

    A `Sequential` of nnext's layers has the gradients of the whole batch, to the bit up to 16384
    rows: each row's part of the loss is that in the whole, and sums go on where the last part
    ended. (Layers that see the rows of a batch together, such as batch normalization, see those of
    a part.) Other models have the mean of the parts' gradients, each weighed with what its rows
    count, or with a loss that is a sum their sum.

    Parameters
    ----------
    model : object
        As `nnext.step.Step` takes it.
    parts : sequence of Samples
        At least one.

    Returns
    -------
    loss : float
        Of all rows; NaN where nothing counts.
    count : float
        What the batch counts in a mean of several.
    total : float
        What it adds to the sum that such a mean divides.
    """
    if _counts_ahead(model):
        return _of_chain(model, parts)
    return _of_any(model, parts)


def _counts_ahead(model: Any) -> bool:
    """Whether the model is a plain chain, and its loss can say what a batch counts before it."""
    if not isinstance(model, Sequential):
        return False
    loss = model.loss_layer
    return (
        has_methods_of(model, Sequential, "forward", "backward", "forward_backward")
        and hasattr(loss, "count_of")
        and has_parameter(loss.forward, "count")
    )


def _of_chain(model: Sequential, parts: Sequence[Samples]) -> Result:
    loss_layer: Any = model.loss_layer
    is_mean = loss_layer.reduction == "mean"
    in_place = all(grad.dtype.itemsize > 2 for grad in model.grads)
    totals = None if in_place else Totals(model.grads)
    loss = count = 0.0
    for i, part in enumerate(parts):
        h = model._run(part.x, train_flg=True)
        if i == 0:
            for p in parts:  # all labels are checked before any gradient is written
                count = loss_layer.count_of(h, p.t, p.weight, before=count)
            if is_mean and not count:
                return math.nan, 0.0, _total_of(model, h, parts)
        loss += model._differentiate(
            h, part.t, part.weight, count if is_mean else None, accumulate=in_place and i > 0
        )
        if totals is not None:
            totals.add()
    if totals is not None:
        totals.write()
    loss_layer.count = count
    return loss, count, loss * count if is_mean else loss


def _total_of(model: Sequential, h: Any, parts: Sequence[Samples]) -> float:
    """Add up the losses of rows that count nothing (by `label_smoothing` and `z_loss`)."""
    evaluate: Any = model.loss_layer.evaluate  # type: ignore[attr-defined]
    total = 0.0
    for i, part in enumerate(parts):
        total += evaluate(h if i == 0 else model._run(part.x, train_flg=True), part.t, part.weight)[
            0
        ]
    return total


def _of_any(model: Any, parts: Sequence[Samples]) -> Result:
    loss_layer = getattr(model, "loss_layer", None)
    is_mean = getattr(loss_layer, "reduction", "mean") != "sum"
    totals = Totals(model.grads)
    total = count = 0.0
    for part in parts:
        weight = () if part.weight is None else (part.weight,)
        try:
            loss = float(model.forward(part.x, part.t, *weight))
        except EmptyBatchError:
            total += float(getattr(loss_layer, "total", 0.0))
            continue
        own = getattr(loss_layer, "count", None)
        rows = float(count_rows(part.x, part.t) if own is None else own)
        model.backward()
        totals.add(rows if is_mean else 1)
        total += loss * rows if is_mean else loss
        count += rows
    if not count and is_mean:
        return math.nan, 0.0, total
    totals.write(count if is_mean else 1)
    return total / count if is_mean else total, count, total
