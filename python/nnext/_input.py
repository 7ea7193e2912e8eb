"""What a model takes: its input as an array, in the type that its parameters have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnext._layer import as_numbers, is_float
from nnext._support import Array, make_array, refuse_masked, refuse_sparse


def as_input(x: Any, params: Sequence[Array] = ()) -> Array:
    """Return the input of a model as an array, floats in the type of its parameters.

    Floats of another type are cast if all parameters have one type: the model computes in that.
    Integers stay what they are: they may be indices.

    Raises
    ------
    TypeError
        If `x` is a sparse matrix, a tuple of several inputs, or an array with masked elements.
    ValueError
        If a finite number is infinite in the parameters' type, or rows are not equally long.
    """
    refuse_sparse("x", x)
    if isinstance(x, tuple) and any(isinstance(a, np.ndarray) and a.ndim > 1 for a in x):
        raise TypeError(
            f"x: expected one array, got a tuple of {len(x)}: the model has one input. Samples are "
            "joined by numpy.stack, features by numpy.concatenate(x, axis=-1)"
        )
    if isinstance(x, dict):
        raise TypeError(f"x: expected one array, got a dict of {len(x)}: the model has one input")
    refuse_masked("x", x)
    return cast_to_parameters(make_array("x", x), params)


def read_numbers(name: str, value: Any) -> Array:
    """Return a value as an array of numbers that the core knows, or say by its name why it is none.

    Raises
    ------
    ValueError
        If its rows are not equally long.
    TypeError
        If it is sparse, masked, or of another type.
    """
    refuse_sparse(name, value)
    return as_numbers(name, value)


def cast_to_parameters(x: Array, params: Sequence[Array]) -> Array:
    """Return floating `x` in the type of the parameters, if these share one but for byte order.

    Whole numbers, such as indices of words, stay what they are.

    Raises
    ------
    ValueError
        If a finite number becomes infinite, here or, a whole one, in the layers.
    """
    first = getattr(params[0], "dtype", None) if params else None
    if first is None or x.dtype == first or not is_float(first):
        return x
    dtype = first.newbyteorder("=")
    if any(getattr(p, "dtype", dtype).newbyteorder("=") != dtype for p in params):
        return x
    whole = x.dtype.kind in "iu"
    if whole and dtype != np.float16:  # the only type that is too small for some integers
        return x
    if not (whole or x.dtype.kind == "f" or is_float(x.dtype)):
        return x
    with np.errstate(all="ignore"):
        cast: Array = x.astype(dtype)
    lost = np.isinf(cast)
    if lost.any():
        if whole:  # an index is below the length of a parameter, and is never cast
            lost &= (x < 0) | (x >= max(p.shape[0] if p.ndim else 0 for p in params))
        else:
            lost &= ~np.isinf(x)
    if lost.any():
        at = tuple(map(int, np.unravel_index(lost.argmax(), lost.shape)))
        where = f"row {at[0]} holds {x[at]}" if at else f"got {x[at]}"
        raise ValueError(
            f"x: {where}, which is infinite in {dtype}, the type of the model's parameters"
        )
    return x if whole else cast
