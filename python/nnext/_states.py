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
        found[place] = {name: _taken(part, name) for name in part.state_names}
        for name, value in found[place].items():
            if value is not None and not isinstance(value, np.ndarray | dict):
                raise TypeError(
                    f"{place}.{name}: the state of {value!r} cannot be stored; arrays and NumPy's "
                    "generators can"
                )
    return found


def match_states(model: Any, saved: Any) -> Standing:
    """Check what `states` returned against a model; return what `put_back` takes.

    Raises
    ------
    ValueError
        If it is that of another model, or no state.
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
    return found


def standing(model: Any) -> Standing:
    """Return where a model stands now, for `put_back`: states and counters.

    What is no generator of NumPy's cannot be put back, and stays as it is.
    """
    found = [
        (part, name, _taken(part, name))
        for part in _with_states(model).values()
        for name in part.state_names
    ]
    return [*found, *match_counters(model, counters(model))]


def put_back(found: Standing) -> None:
    """Let layers go on from there, as often as it is called."""
    for part, name, value in found:
        if isinstance(value, dict):
            set_rng_state(getattr(part, name), value)
        elif getattr(part, name) is not value:
            setattr(part, name, value)


def _with_states(model: Any) -> dict[str, Any]:
    return {n: part for n, part in parts_of(model).items() if getattr(part, "state_names", ())}


def _taken(part: Any, name: str) -> Any:
    value = getattr(part, name)
    return rng_state(value) or value


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
