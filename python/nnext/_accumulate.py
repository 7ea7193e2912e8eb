"""A batch that comes in parts: its gradients added up, and those of the whole to the bit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnext._fit_data import Samples, take_rows
from nnext._layer import distinct, has_methods_of
from nnext._putting_back import putting_back
from nnext._support import Array, has_parameter
from nnext.layers import Embedding
from nnext.models import Sequential

_LONGEST_CHAIN = 16384  # terms that the core sums in one chain, see cpp/include/nnext/sum.h


class Totals:
    """Sums, in float64, of gradients that each part writes over."""

    def __init__(self, grads: Sequence[Array]) -> None:
        self._grads = distinct(grads)
        self._sums = [np.zeros(grad.shape) for grad in self._grads]

    def add(self, factor: float) -> None:
        for total, grad in zip(self._sums, self._grads, strict=True):
            total += grad if factor == 1 else factor * grad.astype(np.float64)

    def write(self, divisor: float) -> None:
        for total, grad in zip(self._sums, self._grads, strict=True):
            grad[...] = total / divisor


def refuse_stateful(model: Any) -> None:
    """Raise a ValueError if a part would go on from the states that other rows have left."""
    for layer in getattr(model, "layers", ()):
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"parts: expected one, got several for a model with a stateful layer, {layer!r}: "
                "it would go on from the states of the rows of the part before"
            )


def goes_on(model: Any, parts: Sequence[Samples]) -> bool:
    """Say whether the gradients of a part can go on where those of the last part ended.

    That is so for a plain `Sequential` whose loss knows parts of a batch. Gradients of half
    precision would be rounded with each part, and more rows than the core sums in one chain would
    be one all the same: these are better added up apart.
    """
    if not isinstance(model, Sequential) or any(isinstance(p.x, tuple | dict) for p in parts):
        return False  # several inputs, which a chain refuses in its own words
    of_words = isinstance(model.layers[0], Embedding)  # else whole numbers are features
    shapes = [np.shape(part.x) for part in parts]
    rows = sum(math.prod(shape if of_words else shape[:-1]) for shape in shapes)
    return (
        rows <= _LONGEST_CHAIN
        and has_methods_of(model, Sequential, "forward", "backward", "forward_backward")
        and all(grad.dtype.itemsize > 2 for grad in model.grads)
        and _knows_parts(model.loss_layer)
    )


def _knows_parts(loss: Any) -> bool:
    """Say whether a loss has all that a part needs, and no ``forward`` newer than ``count_of``."""
    order = [vars(loss), *map(vars, type(loss).__mro__)]
    forward, count_of = (
        next((place for place, names in enumerate(order) if name in names), len(order))
        for name in ("forward", "count_of")
    )
    one_pass = getattr(loss, "forward_backward", None)
    passes = [loss.forward] if one_pass is None else [loss.forward, one_pass]
    return (
        count_of <= forward < len(order)
        and hasattr(loss, "reduction")
        and hasattr(loss, "evaluate")
        and all(has_parameter(function, "count") for function in passes)
        and (one_pass is None or has_parameter(one_pass, "accumulate"))
    )


def go_on(model: Sequential, parts: Sequence[Samples]) -> tuple[float, float, float]:
    """Write the gradients of a batch into ``grads``, part by part, with the bits of the whole.

    Each row's part of the loss is that in the whole, since the loss is told what all rows count.

    Returns
    -------
    loss, count, total : float
        What `nnext.step.Step` says of a batch. Where nothing counts, no gradient has been written.
    """
    loss_layer: Any = model.loss_layer
    is_mean = loss_layer.reduction == "mean"
    loss = count = 0.0
    for i, part in enumerate(parts):
        h = model._run(part.x, train_flg=True)
        if i == 0:
            count = _count_all(model, h, parts)
            if is_mean and not count:
                loss_layer.count = 0.0
                return math.nan, 0.0, _total_of(model, h, parts)
        of_all = count if is_mean else None
        loss += model._differentiate(h, part.t, part.weight, of_all, accumulate=i > 0)
    loss_layer.count = count
    return loss, count, loss * count if is_mean else loss


def _count_all(model: Any, h: Any, parts: Sequence[Samples]) -> float:
    """Check all labels, and say what they count; `h` is what the loss takes of the first part."""
    count, shape = 0.0, np.shape(parts[0].x)[1:]
    for i, part in enumerate(parts):
        try:
            if len(part.x) != len(part.t):
                raise ValueError(
                    f"t: expected {len(part.x)} labels, one for each row of x "
                    f"{np.shape(part.x)}, got shape {np.shape(part.t)}"
                )
            like = h
            if np.shape(part.x)[1:] != shape:  # rows of another length, such as sentences
                with putting_back(model):
                    like = model.loss_input(take_rows(part.x, slice(1)))
            count = model.loss_layer.count_of(like, part.t, part.weight, before=count)
        except (IndexError, TypeError, ValueError) as error:
            if len(parts) == 1:
                raise
            raise type(error)(f"part {i + 1} of {len(parts)}: {error}") from None
    return count


def _total_of(model: Any, h: Any, parts: Sequence[Samples]) -> float:
    """Add up the losses of rows that count nothing (they have one by smoothing and z loss)."""
    total = 0.0
    for i, part in enumerate(parts):
        inputs = h if i == 0 else model._run(part.x, train_flg=True)
        total += model.loss_layer.evaluate(inputs, part.t, part.weight)[0]
    return total
