"""The data of `Trainer.fit`: read, cast and checked before the first weight changes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnext._nnext import EmptyBatchError
from nnext._putting_back import putting_back
from nnext._support import Array, refuse_masked

_ROWS = 64  # looked at together for one that counts


def read_data(x: Any, t: Any) -> tuple[Array, Array]:
    """Return samples and labels as arrays of equally many rows, at least one.

    Raises
    ------
    TypeError
        If one of them is no array of numbers: sparse or masked, objects, several arrays.
    ValueError
        If there are no rows or not equally many.
    """
    several = [_several(value) for value in (x, t)]
    x_given, t_given = x, t
    x, t = _as_array("x", x), _as_array("t", t)
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"x: expected at least one sample, got shape {x.shape}")
    if t.ndim == 0 or len(t) != len(x):
        # Several arrays of one shape have become one array, of as many rows as there were arrays.
        for name, n, given in (("x", several[0], x_given), ("t", several[1], t_given)):
            if n and len({len(part) for part in given}) == 1:
                raise _one_array(name, given)
        raise ValueError(
            f"t: expected {len(x)} labels, one for each row of x {x.shape}, got shape {t.shape}"
        )
    return x, t


def check_labels(model: Any, x: Array, t: Array) -> None:
    """Check all labels in one pass, where the model and its loss can tell what fits them.

    Raises
    ------
    IndexError, ValueError, TypeError
        What the loss would say of them in training, with the row in the data.
    EmptyBatchError
        A ValueError, if no row counts: every label is ignored, or of a class of weight 0.
    """
    with putting_back(model):  # a layer may remember what it sees, such as a stateful recurrent one
        _check_labels(model, x, t)


def _check_labels(model: Any, x: Array, t: Array) -> None:
    scores = getattr(model, "scores", None)
    labels = getattr(getattr(model, "loss_layer", None), "labels", None)
    if scores is None or labels is None:
        return
    try:
        shape = np.shape(scores(x[:1]))
    except Exception:  # no scores, or not of one row: then each batch is checked as it comes
        return
    if shape[:1] != (1,):
        return
    if np.all(np.asarray(labels(t, (len(t), *shape[1:]))) < 0):
        raise EmptyBatchError("t: every label is ignored, so that there is nothing to learn from")
    _check_weights(model, x, t)


def _check_weights(model: Any, x: Array, t: Array) -> None:
    """Refuse data of which no row counts for the loss, as soon as one does it is enough."""
    evaluate = getattr(model.loss_layer, "evaluate", None)
    if evaluate is None:
        return
    row = np.zeros_like(getattr(model, "loss_input", model.scores)(x[:1]))
    for first in range(0, len(t), _ROWS):
        labels = t[first : first + _ROWS]
        if evaluate(np.broadcast_to(row, (len(labels), *row.shape[1:])), labels)[1]:
            return
    raise EmptyBatchError(
        "t: every label is ignored or of a class whose weight is 0, so that there is nothing to "
        "learn from"
    )


def _several(value: Any) -> bool:
    """Whether this is a tuple or list of arrays, which may be rows or several inputs."""
    return (
        isinstance(value, tuple | list)
        and len(value) > 0
        and all(isinstance(part, np.ndarray) and part.ndim > 0 for part in value)
    )


def _one_array(name: str, parts: Sequence[Array]) -> TypeError:
    shapes = ", ".join(str(part.shape) for part in parts[:4]) + (", ..." if len(parts) > 4 else "")
    return TypeError(
        f"{name}: expected one array with a row for each sample, got a {type(parts).__name__} of "
        f"{len(parts)} arrays {shapes}; several inputs can be joined into one, as "
        f"np.concatenate({name}, axis=1) does"
    )


def _as_array(name: str, value: Any) -> Array:
    if hasattr(value, "toarray"):
        raise TypeError(
            f"{name}: expected a NumPy array; a sparse matrix must be made dense first, "
            f"{name}.toarray()"
        )
    refuse_masked(name, value)
    try:
        array = np.asarray(value)
    except ValueError as error:
        if _several(value):
            raise _one_array(name, value) from None
        raise ValueError(
            f"{name}: expected an array, got rows of different lengths ({error})"
        ) from None
    if array.dtype.hasobject:
        what = f"objects, {array.dtype} {array.shape}" if array.ndim else type(value).__name__
        raise TypeError(f"{name}: expected a NumPy array of numbers, got {what}")
    return array
