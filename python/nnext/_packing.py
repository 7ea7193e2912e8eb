"""Trees of plain values and arrays as JSON, with the arrays beside it by names.

JSON has no tuples, infinities and arrays: these are dicts of one key, ``"$tuple"``, ``"$float"`` or
``"$array"``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nnext._support import Array

_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def pack(name: str, value: Any, arrays: dict[str, Array] | None = None) -> Any:
    """Return a value as JSON knows it, and put its arrays into `arrays` by names that begin so.

    Raises
    ------
    TypeError
        For what is none of None, bool, int, float, str, list, tuple, dict of str, or with `arrays`
        an array; the message names the place.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else {"$float": str(number)}
    if isinstance(value, np.ndarray) and arrays is not None:
        while name in arrays:
            name += "_"
        arrays[name] = value
        return {"$array": name}
    if isinstance(value, list | tuple):
        items = [pack(f"{name}.{i}", item, arrays) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key.startswith("$"):
                raise TypeError(f"{name}: expected names without $ at their beginning, got {key!r}")
        return {key: pack(f"{name}.{key}", item, arrays) for key, item in value.items()}
    raise TypeError(
        f"{name}: expected a number, text, True, False, None, or a list or dict of these, got "
        f"{type(value).__name__}"
    )


def unpack(value: Any, arrays: dict[str, Array] | None = None) -> Any:
    """Return what `pack` was given, and take its arrays out of `arrays`.

    Raises
    ------
    ValueError
        For what `pack` never returns, and arrays that are not there.
    """
    if isinstance(value, list):
        return [unpack(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    marks = [key for key in value if key.startswith("$")]
    if not marks:
        return {key: unpack(item, arrays) for key, item in value.items()}
    if len(value) == 1:
        mark, inner = marks[0], value[marks[0]]
        if mark == "$tuple" and isinstance(inner, list):
            return tuple(unpack(item, arrays) for item in inner)
        if mark == "$float" and isinstance(inner, str) and inner in _FLOATS:
            return _FLOATS[inner]
        if mark == "$array" and isinstance(inner, str) and arrays is not None:
            if inner not in arrays:
                raise ValueError(f"there is no array {inner!r}, or twice named")
            return arrays.pop(inner)
    raise ValueError(f"expected a plain value, got {_shown(value)}")


def expect(where: str, value: Any, *kinds: type) -> Any:
    """Return a value of a file if it is of one of these types, or raise a ValueError."""
    if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
        return value
    names = " or ".join(kind.__name__ for kind in kinds)
    raise ValueError(f"{where}: expected {names}, got {_shown(value)}")


def expect_keys(where: str, value: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return a dict of a file if it has just these names, or raise a ValueError."""
    found: dict[str, Any] = expect(where, value, dict)
    wrong = found.keys() ^ set(names)
    if wrong:
        raise ValueError(f"{where}: missing or unknown entries {sorted(wrong)}")
    return found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
