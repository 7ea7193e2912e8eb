"""PyTorch's weights of recurrent layers: other gates first, two biases, all turned.

``nn.LSTM`` has its gates in the order input, forget, new memory, output; here the forget gate and
the new memory come first, as in the book. ``nn.GRU`` has the reset gate first, and its update gate
says how much of the old state stays, where here it says how much comes in: the weights of the one
are those of the other with the sign changed. Both biases of a gate add up to one, but for those of
a GRU's new state, of which the second is inside the reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnext._support import Array

__all__ = ["RECURRENT", "as_torch", "from_torch_values"]

# For each kind of layer PyTorch's gates in its order, by their places here, and their signs.
RECURRENT: dict[str, tuple[tuple[int, int], ...]] = {
    "TimeRNN": ((0, 1),),
    "TimeLSTM": ((2, 1), (0, 1), (1, 1), (3, 1)),
    "TimeGRU": ((1, 1), (0, -1), (2, 1)),
}


def as_torch(kind: str, layer: Any) -> dict[str, Array]:
    """Return new arrays by PyTorch's names.

    Raises
    ------
    TypeError
        If it is a GRU that PyTorch does not have: one whose reset acts on the state.
    """
    if kind == "TimeGRU" and not layer.reset_after:
        raise TypeError(
            f"{type(layer).__name__}: PyTorch's GRU resets the product of the state, not the "
            "state: that is TimeGRU(..., reset_after=True)"
        )
    Wx, Wh, *biases = layer.params
    arrays = {
        "weight_ih_l0": _to_torch(kind, Wx),
        "weight_hh_l0": _to_torch(kind, Wh),
    }
    if biases:
        hidden, b = len(Wh), biases[0]
        second = np.zeros(Wh.shape[1], b.dtype)
        if kind == "TimeGRU":
            second[2 * hidden :] = b[3 * hidden :]
        arrays["bias_ih_l0"] = _to_torch(kind, b[: Wh.shape[1]])
        arrays["bias_hh_l0"] = _to_torch(kind, second)
    return arrays


def from_torch_values(kind: str, layer: Any, given: Mapping[str, Array]) -> list[Array]:
    """Return what the parameters of a layer become, given PyTorch's arrays in their types."""
    values = [_from_torch(kind, given[name]) for name in ("weight_ih_l0", "weight_hh_l0")]
    if len(layer.params) > 2:
        first, second = (_from_torch(kind, given[f"bias_{side}_l0"]) for side in ("ih", "hh"))
        if kind == "TimeGRU":
            of_state = len(first) // 3 * 2
            together = _sum(first[:of_state], second[:of_state])
            values.append(np.concatenate((together, first[of_state:], second[of_state:])))
        else:
            values.append(_sum(first, second))
    return values


def _sum(first: Array, second: Array) -> Array:
    with np.errstate(over="ignore"):  # the caller looks
        total: Array = (first.astype(np.float64) + second.astype(np.float64)).astype(first.dtype)
    return total


def _to_torch(kind: str, columns: Array) -> Array:
    """Put the gates, which are parts of the last axis, into PyTorch's order; turn a matrix."""
    parts = np.split(columns, len(RECURRENT[kind]), axis=-1)
    signed = [parts[place] * columns.dtype.type(sign) for place, sign in RECURRENT[kind]]
    return np.ascontiguousarray(np.concatenate(signed, axis=-1).T)


def _from_torch(kind: str, rows: Array) -> Array:
    parts = np.split(rows, len(RECURRENT[kind]), axis=0)
    found = {
        place: part * rows.dtype.type(sign)
        for part, (place, sign) in zip(parts, RECURRENT[kind], strict=True)
    }
    return np.concatenate([found[place] for place in sorted(found)], axis=0).T
