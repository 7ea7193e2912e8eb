"""Models that are copied or pickled: what shares its memory does so again."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from nnext._names import buffers_of, layers_of
from nnext._support import find_shared


def state_to_copy(model: Any) -> dict[str, Any]:
    """Return a model's attributes with places for the layers' arrays in ``params`` and ``grads``.

    And with what shares memory. So the arrays are the layers' own again whatever copies or loads
    the model, also where that knows no two places of one array (joblib), and views of shared
    weights are views again.
    """
    layers = layers_of(model)
    state = dict(vars(model))
    for name in ("params", "grads"):
        if state.get(name) is None:  # a model of the book that is not made yet
            continue
        inside = [array for layer in layers for array in getattr(layer, name, ())]
        places = {id(array): place for place, array in enumerate(inside)}
        state[name] = [places.get(id(array), array) for array in state[name]]
        state[f"_shared_{name}"] = find_shared([*inside, *getattr(model, name)])
    state["_shared_buffers"] = find_shared([b for layer in layers for b in buffers_of(layer)])
    return state


def copied_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of the copy."""
    state = dict(state)
    layers = layers_of(SimpleNamespace(**state))
    for name in ("params", "grads"):
        if f"_shared_{name}" not in state:
            continue
        state[name] = list(state[name])  # not the list of whoever copies
        lists = [getattr(layer, name, []) for layer in layers]
        _share_again([*lists, state[name]], state.pop(f"_shared_{name}"))
    shared = state.pop("_shared_buffers", None)  # a file of an earlier version has none
    if shared:
        found = map(buffers_of, layers)
        _share_again([b if isinstance(b, list) else list(b) for b in found], shared)
    return state


def _share_again(lists: Sequence[list[Any]], shared: Sequence[tuple[int, bool]]) -> None:
    """Give arrays one memory again where they had one; a whole number is the place of an array."""
    places = [(arrays, j) for arrays in lists for j in range(len(arrays))]
    for (arrays, j), (first, transposed) in zip(places, shared, strict=True):
        if isinstance(place := arrays[j], int):
            of, k = places[place]
            arrays[j] = of[k]
            continue
        of, k = places[first]
        if find_shared([of[k], arrays[j]])[1][0] != 0:  # they shared it, and do no longer
            arrays[j] = of[k].T if transposed else of[k]
