"""The float32 masters of half-precision parameters, a part of `nnext._optimizer_state`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnext._support import Array, find_shared

HALF_PARAMS = "the half-precision params"


def _is_half(p: Any) -> bool:
    return isinstance(p, np.ndarray) and p.dtype.name in ("float16", "bfloat16")


def state_type(p: Any) -> np.dtype[Any]:
    """Return the type of what is remembered of a parameter: its own, float32 for half types."""
    return np.dtype(np.float32) if _is_half(p) else np.asarray(p).dtype.newbyteorder("=")


def check_list(name: str, arrays: Sequence[Any], models: Sequence[Any], of: str) -> None:
    """Raise an error unless `arrays` can be the state of `models`, which are called `of`."""
    if len(arrays) != len(models):
        raise ValueError(
            f"{name}: expected {len(models)} arrays, one for each of {of}, got {len(arrays)}"
        )
    for i, (array, model) in enumerate(zip(arrays, models, strict=True)):
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name}[{i}]: expected an array, got {type(array).__name__}")
        if array.shape != model.shape:
            raise ValueError(
                f"{name}[{i}]: expected shape {model.shape}, that of {of}[{i}], got {array.shape}"
            )
        if array.dtype != state_type(model):
            raise TypeError(
                f"{name}[{i}]: expected {state_type(model)}, the type of the state of {of}[{i}], "
                f"got {array.dtype}"
            )


class Halves:
    """The float16 and bfloat16 parameters among others, of which an optimizer has float32 masters.

    A step is often smaller than half the distance of two neighbouring halves, and what the
    parameter cannot hold must not be lost: 1000 steps of AdamW against gradients of 1 at
    lr = 1e-3, computed in float32 but kept in the parameter alone, left a bfloat16 of 1 at 1
    and took a 0 to -0.5, a float16 to -0.9785, where -0.995 is right. A parameter that somebody
    wrote since (it is not its rounded master any more) has the last word.
    """

    def __init__(self, params: list[Array]) -> None:
        self.own: list[Array] = []  # each memory once
        self._places: list[tuple[int, int, bool]] = []  # place, its master, whether transposed
        if not any(map(_is_half, params)):
            return
        for i, p in enumerate(params):
            if not isinstance(p, np.ndarray):
                raise TypeError(f"params[{i}]: expected an array, got {type(p).__name__}")
        masters: dict[int, int] = {}
        for i, (first, transposed) in enumerate(find_shared(params)):
            if not _is_half(params[i]):
                continue
            if first == i:
                masters[i] = len(self.own)
                self.own.append(params[i])
            self._places.append((i, masters[first], transposed))

    def new_masters(self) -> list[Array]:
        return [p.astype(np.float32, order="K") for p in self.own]

    def read(self, params: list[Array], masters: list[Array]) -> list[Array]:
        """Return `params` with the masters in the places of the halves, up to date with them."""
        check_list("master", masters, self.own, HALF_PARAMS)
        work = list(params)
        for i, k, transposed in self._places:
            if not params[i].flags.writeable:
                raise ValueError(f"params[{i}]: the array is read-only")
            work[i] = masters[k].T if transposed else masters[k]
        for p, master in zip(self.own, masters, strict=True):
            with np.errstate(all="ignore"):
                rounded = master.astype(p.dtype)
                # By their bits, so that a NaN equals itself.
                written = rounded.view(np.uint16) != p.view(np.uint16)
                np.copyto(master, p, where=written)
        return work

    def write(self, masters: list[Array]) -> None:
        """Round every master into its parameter."""
        for p, master in zip(self.own, masters, strict=True):
            # A weight too large for float16 is infinite there: no error halfway through a step.
            with np.errstate(all="ignore"):
                np.copyto(p, master, casting="same_kind")
