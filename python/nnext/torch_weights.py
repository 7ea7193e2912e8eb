"""PyTorch's weights to and from plain dicts of arrays; PyTorch itself is not needed.

``nnext.torch_weights.from_torch(torch_model.state_dict(), model)`` writes the weights of a PyTorch
model of the same layers into an nnext model, and ``to_torch(model)`` returns a dict that
``torch_model.load_state_dict`` takes, once its arrays are tensors (``torch.from_numpy``).

Layers that have arrays are matched in their order, that of the dict; where numbers in names are out
of order, as in files of safetensors, that of the numbers: "2" comes before "10". A ``Linear``'s
weight is (H, D) and lies here as W (D, H).

``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` with ``batch_first=True``, one layer and one direction, are
`TimeRNN`, `TimeLSTM` and `TimeGRU` with ``reset_after=True``: their gates are put in order, and two
biases of a gate become one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nnext._gathered import check_gathered
from nnext._names import layer_arrays, places
from nnext._support import Array, refuse_masked
from nnext._torch_recurrent import RECURRENT, as_torch, from_torch_values

__all__ = ["from_torch", "to_torch"]

_LINEAR = {"weight": "W", "bias": "b"}
_NORMAL = {"weight": "gamma", "bias": "beta"}

# What PyTorch calls the arrays of each layer, in its order.
_NAMES: dict[str, dict[str, str]] = {
    "Affine": _LINEAR,
    "AffineSoftmaxWithLoss": _LINEAR,
    "MatMul": {"weight": "W"},
    "Embedding": {"weight": "W"},
    "LayerNorm": _NORMAL,
    "BatchNorm": {**_NORMAL, "running_mean": "running_mean", "running_var": "running_var"},
}
_TURNED = ("Affine", "AffineSoftmaxWithLoss", "MatMul")
_COUNT = "num_batches_tracked"  # PyTorch's BatchNorm has it beside the means; nnext has no use


def from_torch(state: Mapping[str, Any], model: Any) -> None:
    """Write PyTorch's weights into a model.

    Parameters
    ----------
    state : mapping of str to array
        What ``torch_model.state_dict()`` returns, or a dict of NumPy arrays of these names, such as
        ``safetensors.numpy.load_file`` reads. Tensors have to be on the CPU.
    model : BaseModel
        With a layer for each of PyTorch's that has weights, in the same order; the loss layer, if
        it has weights, is the last. Numbers may be of another type if no one changes by it.

    Raises
    ------
    ValueError
        With all that does not fit. Nothing has changed then.
    TypeError
        If `state` is no mapping, or the model has a layer with arrays that PyTorch has not.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state: expected a dict of arrays by name, got {type(state).__name__}")
    check_gathered(model, writable=True)
    modules = _modules_of(state)
    layers = _layers_of(model)
    if len(modules) != len(layers):
        have = ", ".join(f"{place} ({_kind_of(layer)})" for place, layer in layers) or "none"
        raise ValueError(
            f"state: expected the weights of {len(layers)} layers, {have}, got those of "
            f"{len(modules)}: {', '.join(modules) or 'none'}"
        )
    wrong: list[str] = []
    writes: list[tuple[str, Array, Array]] = []
    for (module, given), (place, layer) in zip(modules.items(), layers, strict=True):
        arrays = {name: array for name, array in _arrays_of(layer).items() if name != _COUNT}
        where = f"{module or 'the module'} for {place} ({_kind_of(layer)})"
        names = given.keys() - {_COUNT} if "running_mean" in arrays else given.keys()
        wrong += [f"{where}: missing {name}" for name in arrays if name not in names]
        wrong += [f"{where}: unexpected {name}" for name in given if name in names - arrays.keys()]
        values = {}
        for name in (name for name in arrays if name in names):
            fault, value = _read(given[name], arrays[name])
            if fault:
                wrong.append(f"{where}: {name}: {fault}")
            else:
                values[name] = value
        if len(values) == len(arrays):
            found = _writes(where, layer, arrays, values)
            writes += found
            if all(map(_is_finite, values.values())):
                lost = [name for name, _, value in found if not _is_finite(value)]
                wrong += [f"{name}: two of them add up to infinity" for name in lost]
    if not wrong:
        wrong = _contradictions(writes)
    if wrong:
        raise ValueError("state: does not fit, nothing was loaded:\n  " + "\n  ".join(wrong))
    for _, array, value in writes:
        array[...] = value


def to_torch(model: Any) -> dict[str, Array]:
    """Return a model's weights as PyTorch names and turns them.

    Parameters
    ----------
    model : BaseModel

    Returns
    -------
    dict of str to ndarray
        New arrays. The names are those of a ``torch.nn.Sequential`` of as many modules,
        ``"0.weight"`` for the first layer and the loss layer after the last, or of the attributes
        that hold the layers. A weight that layers share is there for each, as in PyTorch.

    Raises
    ------
    TypeError
        If the model has a layer with arrays that PyTorch has not.
    """
    check_gathered(model)
    state = {}
    for place, layer in _layers_of(model):
        module = place.removeprefix("layers.")
        if place == "loss_layer" and getattr(model, "_is_chain", False):
            module = str(len(model.layers))
        for name, array in _arrays_of(layer).items():
            state[f"{module}.{name}"] = np.array(array, order="C")
    return state


def _kind_of(layer: Any) -> str:
    """Return the name of the class in `_NAMES` that a layer is of, or its own."""
    names = [cls.__name__ for cls in type(layer).__mro__]
    return next((name for name in names if name in _NAMES or name in RECURRENT), names[0])


def _layers_of(model: Any) -> list[tuple[str, Any]]:
    """Return the layers that have arrays, with their names."""
    layers = [(place, layer) for place, layer in places(model) if layer_arrays(layer)]
    for place, layer in layers:
        if _kind_of(layer) not in (*_NAMES, *RECURRENT):
            raise TypeError(
                f"{place}: PyTorch's weights are known for {', '.join((*_NAMES, *RECURRENT))}, not "
                f"for {type(layer).__name__}"
            )
    return layers


def _arrays_of(layer: Any) -> dict[str, Array]:
    """Return a layer's arrays as PyTorch has them: views, but of recurrent layers."""
    kind, own = _kind_of(layer), layer_arrays(layer)
    if kind in RECURRENT:
        return as_torch(kind, layer)
    arrays = {
        name: own[here].T if kind in _TURNED and own[here].ndim == 2 else own[here]
        for name, here in _NAMES[kind].items()
        if here in own
    }
    if "running_mean" in arrays:
        arrays[_COUNT] = np.zeros((), np.int64)
    return arrays


def _writes(
    where: str, layer: Any, arrays: Mapping[str, Array], values: Mapping[str, Array]
) -> list[tuple[str, Array, Array]]:
    """Return what is written for a layer: where it comes from, the array, the numbers."""
    kind = _kind_of(layer)
    if kind not in RECURRENT:
        return [(f"{where}: {name}", arrays[name], value) for name, value in values.items()]
    own = layer_arrays(layer)
    found = zip(own.items(), from_torch_values(kind, layer, values), strict=True)
    return [(f"{where}: {name}", array, value) for (name, array), value in found]


def _is_finite(value: Array) -> bool:
    return bool(np.isfinite(value.astype(np.float64)).all())


def _modules_of(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Gather names such as ``"0.weight"`` by what stands before the last dot, in order."""
    modules: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise TypeError(f"state: expected names, got {name!r}")
        module, _, last = name.rpartition(".")
        modules.setdefault(module, {})[last] = value
    return modules if _in_order(modules) else dict(sorted(modules.items(), key=_by_number))


def _by_number(item: tuple[str, Any]) -> list[tuple[int, str]]:
    """Return what sorts names as people do, "2" before "10"."""
    parts = item[0].split(".")
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _in_order(names: Iterable[str]) -> bool:
    """Say whether numbers after the same beginning go up."""
    last: dict[tuple[str, ...], int] = {}
    for name in names:
        parts = name.split(".")
        for i, part in enumerate(parts):
            if part.isdecimal():
                if last.get((*parts[:i],), -1) > int(part):
                    return False
                last[(*parts[:i],)] = int(part)
    return True


def _read(value: Any, array: Array) -> tuple[str, Array]:
    """Return what is wrong with a value for an array, if something is, and it in its type."""
    try:
        given = as_array(value)
    except (AttributeError, TypeError, ValueError, RuntimeError, BufferError) as error:
        return f"expected an array, got {type(value).__name__} ({error})", array
    if given.shape != array.shape:
        return f"expected shape {array.shape}, got {given.shape}", array
    if given.dtype.kind not in "fiu" and given.dtype.name != "bfloat16":
        return f"expected numbers, got {given.dtype}", array
    with np.errstate(all="ignore"):
        cast = given.astype(array.dtype)
        if not np.array_equal(cast.astype(np.float64), given.astype(np.float64), equal_nan=True):
            return f"{given.dtype} has numbers that {array.dtype} has not: cast them first", array
    return "", cast


def as_array(value: Any) -> Array:
    """Return a tensor or array as a NumPy array, its memory where that can be.

    bfloat16 tensors, which NumPy does not take, become float32.
    """
    refuse_masked("state", value)
    detach = getattr(value, "detach", None)
    value = value if detach is None else detach()
    try:
        return np.asarray(value) if hasattr(value, "__array__") else np.from_dlpack(value)
    except (TypeError, BufferError):
        if "bfloat16" not in str(getattr(value, "dtype", "")) or not hasattr(value, "float"):
            raise
        return np.asarray(value.float())


def _contradictions(writes: list[tuple[str, Array, Array]]) -> list[str]:
    """Name weights that are shared here and differ in what is to be written."""
    first: dict[tuple[Any, ...], tuple[str, Array]] = {}
    wrong = []
    for where, array, value in writes:
        for seen, turned in ((array, value), (array.T, value.T)):
            key = (seen.__array_interface__["data"][0], seen.shape, seen.strides)
            before = first.setdefault(key, (where, turned))
            if before[0] != where and not np.array_equal(before[1], turned, equal_nan=True):
                wrong.append(f"{where}: is shared with that of {before[0]}, which is another here")
                break
    return wrong
