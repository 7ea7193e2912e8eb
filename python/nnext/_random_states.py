"""The states of NumPy's generators, taken out, checked, and put back."""

from __future__ import annotations

from typing import Any

import numpy as np

_BITS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")

# NumPy's own setters believe these; a larger one would read beyond the generator's memory.
_PLACES = {"MT19937": ("pos", 624), "Philox": ("buffer_pos", 4)}


def rng_state(rng: Any) -> dict[str, Any] | None:
    """Return the state of a Generator or RandomState; None of anything else."""
    if isinstance(rng, np.random.Generator):
        return {"kind": "Generator", "state": dict(rng.bit_generator.state)}
    if isinstance(rng, np.random.RandomState):
        if type(rng._bit_generator).__name__ != "MT19937":  # the only one that it can be given
            return None
        return {"kind": "RandomState", "state": dict(rng.get_state(legacy=False))}
    return None


def check_rng_state(rng: Any, state: Any) -> None:
    """Check that a generator can be put into a state.

    Raises
    ------
    ValueError
        If it is none, or that of another kind of generator.
    """
    make_rng(state)
    _check(rng_state(rng), state)


def set_rng_state(rng: Any, state: Any) -> None:
    """Put a generator into a state that `rng_state` returned, or that was checked to be one.

    Raises
    ------
    ValueError
        If it is the state of another kind of generator.
    """
    have = rng_state(rng)
    _check(have, state)
    if isinstance(rng, np.random.Generator):
        rng.bit_generator.state = state["state"]
    else:
        rng.set_state(state["state"])


def make_rng(state: Any) -> Any:
    """Make a generator in a state that `rng_state` returned.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(state, dict) or not isinstance(state.get("state"), dict):
        raise ValueError("expected the state of a random generator")
    kind, name = state.get("kind"), state["state"].get("bit_generator")
    rng: Any
    if kind == "RandomState" and name == "MT19937":
        rng = np.random.RandomState(0)
    elif kind == "Generator" and isinstance(name, str) and name in _BITS:
        rng = np.random.Generator(getattr(np.random, name)(0))
    else:
        raise ValueError(f"expected the state of a random generator, got {kind} with {name}")
    set_rng_state(rng, state)
    return rng


def _check(have: Any, state: Any) -> None:
    """Refuse a state that is not of the form of another."""
    if not isinstance(state, dict) or not _alike(have, state):
        raise ValueError("expected the state of a random generator of the same kind")
    name = state["state"]["bit_generator"]
    if name in _PLACES:
        key, most = _PLACES[name]
        inner = state["state"].get("state", {})
        place = state["state"].get(key, inner.get(key))
        if not 0 <= place <= most:
            raise ValueError(f"expected {key} from 0 to {most}, got {place}")


def _alike(have: Any, given: Any) -> bool:
    if isinstance(have, dict):
        return (
            isinstance(given, dict)
            and have.keys() == given.keys()
            and all(_alike(value, given[key]) for key, value in have.items())
        )
    if isinstance(have, np.ndarray):
        return (
            isinstance(given, np.ndarray)
            and given.dtype == have.dtype
            and given.shape == have.shape
        )
    if isinstance(have, str):
        return isinstance(given, str) and have == given
    if isinstance(have, float):
        return isinstance(given, float)
    return isinstance(given, int) and not isinstance(given, bool) and given >= 0
