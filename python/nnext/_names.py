"""The names of a model's arrays, and their numbers taken out and put back by these names.

A layer's are those of its ``param_names`` and ``buffer_names``, or ``params.0`` where it has none;
a model puts before them the attribute that holds the layer, or ``layers.0``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nnext._support import Array, find_overlap, find_shared, refuse_masked, whole_number

Shared = dict[str, tuple[str, bool]]


class Unmatched(NamedTuple):
    """What did not belong together when a state was loaded.

    Attributes
    ----------
    missing : list of str
        Names of arrays that the state lacks; they are what they were.
    unexpected : list of str
        Names in the state that are nobody's.
    """

    missing: list[str]
    unexpected: list[str]


def buffers_of(layer: Any) -> Sequence[Array]:
    """Return the list ``buffers`` of a layer or model, or those of the layers that it has."""
    found = getattr(layer, "buffers", None)
    if isinstance(found, list | tuple):
        return found
    layers = getattr(layer, "layers", None)
    if not isinstance(layers, list | tuple):
        return ()
    return [b for part in [*layers, getattr(layer, "loss_layer", None)] for b in buffers_of(part)]


def layers_of(model: Any) -> list[Any]:
    """Return what a model has in its list ``layers``, and its ``loss_layer``: none need be there.

    Models of the book may have neither, and hold their layers in attributes alone.
    """
    layers, loss_layer = getattr(model, "layers", None), getattr(model, "loss_layer", None)
    found = list(layers) if isinstance(layers, list | tuple) else []
    return found if loss_layer is None else [*found, loss_layer]


def layer_arrays(layer: Any) -> dict[str, Array]:
    """Return the arrays of a layer by their names: parameters, then buffers."""
    named: list[tuple[str, Array]] = []
    for kind in ("param", "buffer"):
        arrays = buffers_of(layer) if kind == "buffer" else getattr(layer, "params", [])
        names: Sequence[str] = getattr(layer, f"{kind}_names", ())
        if len(names) < len(arrays):
            names = [f"{kind}s.{i}" for i in range(len(arrays))]
        named += zip(names, arrays, strict=False)  # a layer without bias has the first name alone
    return _without_doubles(named)


def places(model: Any) -> list[tuple[str, Any]]:
    """Return the layers of a model with their names, the loss layer last.

    A chain's have numbers; elsewhere a layer has the name of the attribute that holds it, if any.
    """
    layers = getattr(model, "layers", None)
    found = []
    if isinstance(layers, list | tuple):
        own: dict[int, str] = {}
        attributes = {} if getattr(model, "_is_chain", False) else getattr(model, "__dict__", {})
        for name, value in attributes.items():
            if not name.startswith("_"):
                own.setdefault(id(value), name)
        found = [(own.get(id(layer), f"layers.{i}"), layer) for i, layer in enumerate(layers)]
    loss_layer = getattr(model, "loss_layer", None)
    return found if loss_layer is None else [*found, ("loss_layer", loss_layer)]


def model_arrays(model: Any) -> dict[str, Array]:
    """Return all arrays of a model by their names, those that share memory too.

    What the model itself has and no layer is named by the attribute that holds it, or
    ``params.4`` by its place.
    """
    named = [
        (f"{place}.{name}", array)
        for place, layer in places(model)
        for name, array in layer_arrays(layer).items()
    ]
    for kind in ("params", "buffers"):
        own = buffers_of(model) if kind == "buffers" else getattr(model, kind, [])
        inside = [array for _, array in named]
        first = find_shared([*inside, *own])[len(inside) :]
        held = {id(v): k for k, v in getattr(model, "__dict__", {}).items() if k[0] != "_"}
        for i, array in enumerate(own):
            if first[i][0] == len(inside) + i:
                named.append((held.get(id(array), f"{kind}.{i}"), array))
    return _without_doubles(named)


def _without_doubles(named: Iterable[tuple[str, Array]]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name, array in named:
        if found.setdefault(name, array) is not array:
            raise ValueError(f"two arrays have the name {name!r}: names have to differ")
    return found


def shared_names(arrays: Mapping[str, Array]) -> Shared:
    """Say which arrays have the memory of an earlier one: its name, and whether transposed."""
    names = list(arrays)
    found = zip(names, find_shared(list(arrays.values())), strict=True)
    return {
        name: (names[first], transposed)
        for name, (first, transposed) in found
        if names[first] != name
    }


def own_arrays(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return the arrays without those that have the memory of an earlier one."""
    shared = shared_names(arrays)
    return {name: array for name, array in arrays.items() if name not in shared}


def state_of(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Return copies of the arrays by their names, of each memory one."""
    return {name: np.array(array, order="K") for name, array in own_arrays(arrays).items()}


def load_state(
    arrays: Mapping[str, Array], state: Any, strict: bool = True, *, what: str
) -> Unmatched:
    """Write the numbers of a state into arrays; see `nnext.base_model.BaseModel.load_state_dict`.

    `what` is how a message names whose arrays they are.
    """
    own, given, unmatched = match_state(arrays, state, strict, what=what)
    for name, array in given.items():
        own[name][...] = array
    return unmatched


def match_state(
    arrays: Mapping[str, Array], state: Any, strict: bool = True, *, what: str
) -> tuple[dict[str, Array], dict[str, Array], Unmatched]:
    """Check all of a state; return the arrays to write into and what to write, and write nothing.

    Raises
    ------
    ValueError
        With all that does not fit: missing and unexpected names, shapes, types, read-only arrays.
    TypeError
        If the state is no mapping of names.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"state: expected what state_dict() returns, got {type(state).__name__}")
    own = own_arrays(arrays)
    unmatched = Unmatched(
        [name for name in own if name not in state], [name for name in state if name not in own]
    )
    wrong = []
    if strict:
        wrong += [f"missing {name}" for name in unmatched.missing]
        wrong += [f"unexpected {name}" for name in unmatched.unexpected]
    given: dict[str, Array] = {}
    for name, array in own.items():
        if name not in state:
            continue
        fault, value = _read(state[name], array)
        if fault:
            wrong.append(f"{name}: {fault}")
        given[name] = value
    if wrong:
        raise ValueError(
            f"state: does not fit {what}, nothing was loaded:\n  " + "\n  ".join(map(str, wrong))
        )
    if find_overlap(list(own.values()), list(given.values())) is not None:
        given = {name: value.copy() for name, value in given.items()}
    return own, given, unmatched


def _read(value: Any, array: Array) -> tuple[str, Array]:
    """Return what is wrong with a value for an array, if something is, and the value as one."""
    expected = f"{array.dtype} {array.shape}"
    try:
        refuse_masked("state", value)
        given = np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError):
        return f"expected {expected}, got {type(value).__name__}", array
    if given.shape != array.shape or _native(given) != _native(array):
        return f"expected {expected}, got {given.dtype} {given.shape}", array
    return "" if array.flags.writeable else "is read-only", given


def _native(array: Array) -> np.dtype[Any]:
    return array.dtype.newbyteorder("=")


def parts_of(model: Any) -> dict[str, Any]:
    """Return a model's layers, and layers within these, by names that say where they stand."""
    return dict(all_parts(model))


def all_parts(model: Any) -> list[tuple[str, Any]]:
    """Return the same with their names, which need not be different: keys of dicts are anything."""
    found: dict[int, tuple[str, Any]] = {id(model): ("", model)}

    def visit(name: str, part: Any) -> None:
        is_layer = hasattr(part, "forward") and hasattr(part, "backward")
        if is_layer and not isinstance(part, type) and id(part) not in found:
            found[id(part)] = name, part
            look_into(f"{name}.", part)

    def look_into(prefix: str, part: Any) -> None:
        for name, value in getattr(part, "__dict__", {}).items():
            for place, inner in _items(name, value):
                visit(prefix + place, inner)

    for name, layer in places(model):
        visit(name, layer)
    look_into("", model)
    return [*found.values()]


# No layers: a model may hold all words of its corpus in a list, or a number for each in a dict.
_PLAIN = frozenset([type(None), bool, int, float, str, bytes, np.ndarray])


def _items(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Name a value, or what is in a list or dict, but for what is no layer."""
    if isinstance(value, dict):
        found = ((key, inner) for key, inner in value.items() if type(inner) not in _PLAIN)
    elif isinstance(value, list | tuple):
        found = ((i, inner) for i, inner in enumerate(value) if type(inner) not in _PLAIN)
    else:
        yield name, value
        return
    yield from ((f"{name}.{place}", inner) for place, inner in found)


def counters(model: Any) -> dict[str, dict[str, int]]:
    """Return what training changes in layers beside arrays (`Layer.counter_names`), by place."""
    return {
        place: {name: int(getattr(part, name)) for name in part.counter_names}
        for place, part in parts_of(model).items()
        if getattr(part, "counter_names", ())
    }


def match_counters(model: Any, saved: Any) -> list[tuple[Any, str, int]]:
    """Check what `counters` returned against a model; return whose attributes are to become what.

    Raises
    ------
    ValueError
        If it is that of another model.
    """
    have = counters(model)
    if not isinstance(saved, Mapping) or saved.keys() != have.keys():
        wanted, got = (sorted(map(str, part)) for part in (have, saved or []))
        raise ValueError(f"expected counters of {wanted}, got those of {got}")
    parts = parts_of(model)
    found: list[tuple[Any, str, int]] = []
    for place, numbers in have.items():
        if not isinstance(saved[place], Mapping) or saved[place].keys() != numbers.keys():
            raise ValueError(f"{place}: expected {sorted(numbers)}, got {saved[place]!r}")
        for name, value in saved[place].items():
            found.append((parts[place], name, whole_number(f"{place}.{name}", value)))
    return found
