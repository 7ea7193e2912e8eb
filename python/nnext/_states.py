"""Where a model stands beside its arrays: states that go from batch to batch, random streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnext._names import counters, match_counters, parts_of
from nnext._random_states import check_rng_state, rng_state, set_rng_state

# Layers, each with the name of an attribute and what that is to become. Of a generator of NumPy's
# it is a dict, the state. Arrays are not copied: layers replace theirs and never write into them.
Standing = list[tuple[Any, str, Any]]


def states(model: Any) -> dict[str, dict[str, Any]]:
    """Return what layers go on from beside counters (`Layer.state_names`), by place.

    Raises
    ------
    TypeError
        If a generator is not NumPy's own, whose state nobody knows.
    """
    found: dict[str, dict[str, Any]] = {}
    for place, part in _with_states(model).items():
        found[place] = {}
        for name in part.state_names:
            value = getattr(part, name)
            state = value if value is None or isinstance(value, np.ndarray) else rng_state(value)
            if state is None and value is not None:
                raise TypeError(
                    f"{place}.{name}: the state of {value!r} cannot be stored; arrays and NumPy's "
                    "generators can"
                )
            found[place][name] = state
    return found


def match_states(model: Any, saved: Any) -> Standing:
    """Check what `states` returned against a model; return what `put_back` takes.

    A layer that has a method ``check_states`` is asked too, with its states by their names.

    Raises
    ------
    ValueError
        If it is that of another model, or no state, or a layer could not go on from it.
    """
    parts = _with_states(model)
    if not isinstance(saved, Mapping) or saved.keys() != parts.keys():
        wanted, got = (sorted(map(str, part)) for part in (parts, saved or []))
        raise ValueError(f"expected states of {wanted}, got those of {got}")
    found: Standing = []
    for place, part in parts.items():
        given = saved[place]
        if not isinstance(given, Mapping) or given.keys() != set(part.state_names):
            raise ValueError(f"{place}: expected {sorted(part.state_names)}, got {given!r}")
        for name, value in given.items():
            _check(f"{place}.{name}", getattr(part, name), value)
            found.append((part, name, value))
        _ask(place, part, given)
    return found


def state_attributes(model: Any) -> list[tuple[Any, str]]:
    """Return all states of a model: of each the layer, and the name of its attribute there."""
    return [(part, name) for part in _with_states(model).values() for name in part.state_names]


def standing(model: Any) -> Standing:
    """Return where a model stands now, for `put_back`: states and counters.

    What is neither an array nor a generator of NumPy's comes back as the same object, whatever has
    become of it.
    """
    found: Standing = []
    for part, name in state_attributes(model):
        value = getattr(part, name)
        found.append((part, name, rng_state(value) or value))
    return [*found, *match_counters(model, counters(model))]


def put_back(found: Standing) -> None:
    """Let layers go on from there, as often as it is called."""
    for part, name, value in found:
        have = getattr(part, name)
        if isinstance(value, dict) and rng_state(have):
            set_rng_state(have, value)
        elif have is not value:
            setattr(part, name, value)


def _with_states(model: Any) -> dict[str, Any]:
    return {n: part for n, part in parts_of(model).items() if getattr(part, "state_names", ())}


def _check(where: str, have: Any, value: Any) -> None:
    """Refuse a value of another kind than an attribute has: an array or None, or a generator."""
    if have is None or isinstance(have, np.ndarray):
        if value is not None and not isinstance(value, np.ndarray):
            raise ValueError(f"{where}: expected an array or None, got {value!r}")
        return
    try:
        check_rng_state(have, value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _ask(place: str, part: Any, given: Mapping[str, Any]) -> None:
    """Let a layer refuse states from which it could not go on, if it has a check for them."""
    check = getattr(part, "check_states", None)
    if check is None:
        return
    try:
        check(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{place}: {error}") from error
