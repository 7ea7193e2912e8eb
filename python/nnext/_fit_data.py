"""The data of `Trainer.fit` and `BaseModel.loss`: read and checked, rows named as in the data."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnext._nnext import EmptyBatchError
from nnext._putting_back import putting_back
from nnext._support import Array, refuse_masked, refuse_sparse

_ROWS = 64  # looked at together for one that counts

_COLUMNS = 32  # so many columns of indices are looked at one by one


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
        What `check_rows` raises.
    EmptyBatchError
        A ValueError, if no row counts: every label is ignored, or of a class of weight 0.
    """
    with putting_back(model):  # a layer may remember what it sees, such as a stateful recurrent one
        labels = check_rows(model, x, t)
        if labels is None:
            return
        if np.all(labels < 0):
            raise EmptyBatchError(
                "t: every label is ignored, so that there is nothing to learn from"
            )
        _check_weights(model, x, t)


def check_rows(model: Any, x: Array, t: Array) -> Array | None:
    """Check the indices in `x` and all labels; return these, or None where nobody can tell.

    Raises
    ------
    IndexError, ValueError, TypeError
        What the model or its loss would say of a batch, with the row in the data.
    """
    scores = getattr(model, "scores", None)
    if scores is None:
        return None
    _check_indices(scores, x)
    read_labels = getattr(getattr(model, "loss_layer", None), "labels", None)
    if read_labels is None:
        return None
    try:
        shape = np.shape(scores(x[:1]))
    except Exception:  # no scores, or not of one row: then each batch is checked as it comes
        return None
    if shape[:1] != (1,):
        return None
    whole = (len(t), *shape[1:])
    try:
        return np.asarray(read_labels(t, whole))
    except (IndexError, ValueError):
        if len(whole) > 2 and t.shape in (whole, whole[:-1]):
            _name_sample(lambda i: read_labels(t[i : i + 1], shape), len(t))
        raise


def _check_indices(scores: Any, x: Array) -> None:
    """Look for an index out of range: if there is one, the largest or the smallest is.

    Of each column, since columns may be indices of different tables; of all where there are many.
    """
    if x.dtype.kind not in "iu" or x.size == 0:
        return
    table = x.reshape(len(x), -1)
    if table.shape[1] <= _COLUMNS:
        rows = {*table.argmax(axis=0).tolist(), *table.argmin(axis=0).tolist()}
    else:
        rows = {int(at) // table.shape[1] for at in (table.argmax(), table.argmin())}
    for row in sorted(rows):
        try:
            scores(x[row : row + 1])
        except IndexError as error:
            text = str(error).removeprefix("index: ")
            if any(text.startswith(f"index {i} ") for i in table[row]):  # or about something else
                text = text.replace(" in row 0 ", " ", 1)
                raise IndexError(f"x: row {row}: {text}") from None
        except Exception:  # no scores, or not of one row
            return


def _name_sample(check: Callable[[int], Any], n: int) -> None:
    """Say which sample is refused where each has several rows of scores, and one fails."""
    for i in range(n):
        try:
            check(i)
        except (IndexError, ValueError) as error:
            text = str(error).removeprefix("t: ")
            raise type(error)(f"t[{i}]: {text}") from None


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
    refuse_sparse(name, value)
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
