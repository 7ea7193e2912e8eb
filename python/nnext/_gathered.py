"""Whether the arrays that a model has gathered are still those of its layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from nnext._support import Array, find_shared


def check_gathered(model: Any, writable: bool = False) -> None:
    """Raise a ValueError if an array of a layer is not the model's: nothing would reach the layer.

    A model may have more parameters than its layers, and only one of the arrays that share their
    memory. What has no list ``layers`` is not looked into.

    Parameters
    ----------
    model : object
        Has ``params`` and ``grads``; ``layers`` and ``loss_layer`` if it is like `BaseModel`.
    writable : bool
        Whether to refuse read-only parameters too, which cannot be trained or loaded.

    Raises
    ------
    ValueError
        It names the array, the layer and its type.
    """
    layers = getattr(model, "layers", None)
    if isinstance(layers, (list, tuple)):
        named = [(f"layers[{i}]", layer) for i, layer in enumerate(layers)]
        named.append(("loss_layer", getattr(model, "loss_layer", None)))
        parts = [(name, layer) for name, layer in named if hasattr(layer, "params")]
        shared = _check_list("params", model.params, parts, spared=set())
        _check_list("grads", model.grads, parts, spared=shared)
    if writable:
        for k, p in enumerate(model.params):
            if not p.flags.writeable:
                raise ValueError(
                    f"params[{k}] of the model is read-only. If joblib mapped a file into memory, "
                    "load it with mmap_mode=None, or 'c' for changes that stay in memory"
                )


def list_arrays(model: Any) -> list[Sequence[Array]]:
    """Return the lists that `check_gathered` compares, the model's first, but for empty ones."""
    layers = getattr(model, "layers", None)
    if not isinstance(layers, (list, tuple)):
        return []
    parts = [model, *layers, getattr(model, "loss_layer", None)]
    named = [(part, name) for part in parts for name in ("params", "grads")]
    return [getattr(part, name) for part, name in named if getattr(part, name, None)]


def _check_list(
    name: str, have: Sequence[Array], parts: list[tuple[str, Any]], spared: set[int]
) -> set[int]:
    """Check one of the two lists but for the arrays at `spared`; return where some are shared.

    The gradient of a shared parameter may be gathered by the model itself, in one array.
    """
    places = [
        (f"{name}[{j}] of {part} ({type(layer).__name__})", array)
        for part, layer in parts
        for j, array in enumerate(getattr(layer, name))
    ]
    arrays = [array for _, array in places]
    first = [i for i, _ in find_shared([*have, *arrays])][len(have) :]
    for k, (place, array) in enumerate(places):
        if first[k] >= len(have) and array.size and k not in spared:
            raise ValueError(
                f"{name}[{k}] of the model is not the array {place}: neither training nor "
                "load_params would reach that layer. An array is changed in place, p[...] = new; "
                "after a change of the layers make the model anew"
            )
    times = Counter(first)
    return {k for k, i in enumerate(first) if times[i] > 1}
