"""The data of `Trainer.fit` and `BaseModel.loss`: read and checked, rows named as in the data."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnext._input import cast_to_parameters
from nnext._nnext import EmptyBatchError
from nnext._putting_back import putting_back
from nnext._states import put_back, standing
from nnext._support import Array, as_number, has_parameter, make_array, refuse_masked, refuse_sparse

_ROWS = 64  # looked at together for one that counts

_CLASSES = "; np.unique(t, return_inverse=True) gives names of classes numbers"

_COLUMNS = 32  # so many columns of indices are looked at one by one


@dataclass(slots=True)  # not frozen: a batch is one, and making that would take a microsecond
class Samples:
    """Samples with their labels, and what each of them counts.

    Attributes
    ----------
    x : ndarray, shape (N, ...); or a tuple or dict of such, for a model with several inputs
    t : ndarray, shape (N, ...)
    weight : ndarray, shape (N, ...), or None
    """

    x: Any
    t: Array
    weight: Array | None = None

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, rows: slice) -> Samples:
        weight = None if self.weight is None else self.weight[rows]
        return Samples(take_rows(self.x, rows), self.t[rows], weight)

    def take(self, rows: Array) -> Samples:
        """Return copies of some rows."""
        weight = None if self.weight is None else self.weight.take(rows, axis=0)
        x = map_inputs(lambda a: a.take(rows, axis=0), self.x)
        return Samples(x, self.t.take(rows, axis=0), weight)

    def copy(self) -> Samples:
        """Return the same in arrays of its own."""
        weight = None if self.weight is None else self.weight.copy()
        return Samples(map_inputs(lambda a: a.copy(), self.x), self.t.copy(), weight)

    def cast_to(self, params: Sequence[Array]) -> Samples:
        """Return the same with floats in the type of a model's parameters."""
        return Samples(
            map_inputs(lambda a: cast_to_parameters(a, params), self.x), self.t, self.weight
        )


def map_inputs(function: Callable[[Any], Any], x: Any) -> Any:
    """Apply a function to the input of a model, or to each of several."""
    if isinstance(x, dict):
        return {name: function(part) for name, part in x.items()}
    return tuple(map(function, x)) if isinstance(x, tuple) else function(x)


def take_rows(x: Any, rows: slice) -> Any:
    """Return some rows of the input of a model, of each of several."""
    return map_inputs(lambda part: part[rows], x)


def count_rows(x: Any, t: Any = None) -> int:
    """Return the number of samples in the input of a model, or in the first of several."""
    if isinstance(x, dict):
        return len(next(iter(x.values())))
    if not isinstance(x, tuple) or not _several(x):
        return len(x)
    if all(part.ndim == 1 for part in x) and np.shape(t)[:1] in ((), (len(x),)):
        return len(x)  # rows
    return len(x[0])


def read_samples(x: Any, t: Any, weight: Any = None, *, is_batch: bool = False) -> Samples:
    """Return samples and labels as arrays of equally many rows, at least one.

    A dict, or a tuple of arrays that are no rows themselves, is several inputs.

    Parameters
    ----------
    x, t, weight : array_like
    is_batch : bool
        Whether it is one of several batches: all its weights may be 0.

    Raises
    ------
    TypeError
        If one of them is no array of numbers: sparse or masked, objects, several arrays.
    ValueError
        If there are no rows or not equally many, or the weights are not one finite number of at
        least 0 for each row of scores, or all 0.
    """
    if isinstance(x, dict):
        arrays, labels = _read_inputs(x, t)
        samples = Samples(dict(zip(x, arrays, strict=True)), labels)
    elif isinstance(x, tuple) and _several(x) and _are_inputs(x, _as_array("t", t).shape[:1]):
        arrays, labels = _read_inputs(dict(enumerate(x)), t)
        samples = Samples(tuple(arrays), labels)
    else:
        samples = Samples(*read_data(x, t))
    if weight is None:
        return samples
    weight = _read_weight(weight, samples.t)
    if not (is_batch or weight.any()):
        raise ValueError("sample_weight: every weight is 0, so that there is nothing to learn from")
    return Samples(samples.x, samples.t, weight)


def _are_inputs(parts: tuple[Array, ...], rows: tuple[int, ...]) -> bool:
    """Whether these are several inputs, not as many rows themselves."""
    as_many, vectors = (len(parts),) == rows, all(part.ndim == 1 for part in parts)
    if {*map(len, parts)} == {*rows}:
        return not (as_many and vectors)
    return len(parts) > 1 and not as_many and not vectors  # inputs of which one is too short


def _read_inputs(inputs: dict[Any, Any], t: Any) -> tuple[list[Array], Array]:
    """Return several inputs and their labels, all of equally many rows."""
    if not inputs:
        raise ValueError("x: expected at least one input, got an empty dict")
    t = _as_array("t", t)
    named = {f"x[{name!r}]": _as_array(f"x[{name!r}]", part) for name, part in inputs.items()}
    lengths = {len(part) if part.ndim else 0 for part in named.values()}
    if len(lengths) > 1 and 0 not in lengths:
        rows = ", ".join(f"{name} of {len(part)}" for name, part in named.items())
        raise ValueError(f"x: expected inputs of as many rows as t, of shape {t.shape}, got {rows}")
    return [read_data(part, t, name)[0] for name, part in named.items()], t


def _read_weight(weight: Any, t: Array) -> Array:
    array = _as_array("sample_weight", weight)
    if array.ndim == 0 or len(array) != len(t):
        raise ValueError(
            f"sample_weight: expected {len(t)} weights, one for each row of t {np.shape(t)}, got "
            f"shape {array.shape}"
        )
    if array.dtype.kind not in "biuf":
        raise TypeError(f"sample_weight: expected numbers, got type {array.dtype}")
    array = array.astype(np.float64, copy=False)
    bad = ~(np.isfinite(array) & (array >= 0))
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise ValueError(
            f"sample_weight: expected finite numbers of at least 0, row {row} holds {array[row]}"
        )
    return array


def weighted_share(right: Array, counted: Array, weight: Any) -> float:
    """Return the share of the weight of what counts that is right.

    Parameters
    ----------
    right, counted : ndarray of bool, shape (N, ...)
    weight : array_like
        A weight for each of these, or for the first axes of them.

    Raises
    ------
    ValueError, TypeError
        If they are no weights or do not fit, or are 0 wherever something counts.
    """
    weight = _read_weight(weight, counted)
    if weight.shape != counted.shape[: weight.ndim]:
        raise ValueError(
            f"sample_weight: expected shape {counted.shape}, that of the labels, or of its first "
            f"axes, got {weight.shape}"
        )
    whole = np.broadcast_to(
        weight.reshape(weight.shape + (1,) * (counted.ndim - weight.ndim)), counted.shape
    )
    total = math.fsum(whole[counted].tolist())
    if total == 0:
        raise ValueError("sample_weight: the weight of every label that counts is 0")
    return math.fsum(whole[right].tolist()) / total


def check_takes_weight(model: Any) -> None:
    """Refuse weights where the model or its loss does not take them."""
    loss_layer = getattr(model, "loss_layer", None)
    for what, part in (("model", model), ("loss", loss_layer)):
        if part is not None and not has_parameter(part.forward, "sample_weight"):
            raise TypeError(
                f"sample_weight: the forward of the {what} {type(part).__name__} takes no "
                "sample_weight"
            )


def read_data(x: Any, t: Any, name: str = "x") -> tuple[Array, Array]:
    """Return one input and its labels as arrays of equally many rows, at least one.

    Raises
    ------
    TypeError
        If one of them is no array of numbers: sparse or masked, objects, several arrays.
    ValueError
        If there are no rows or not equally many.
    """
    several = [_several(value) for value in (x, t)]
    x_given, t_given = x, t
    x, t = _as_array(name, x), _as_array("t", t)
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"{name}: expected at least one sample, got shape {x.shape}")
    if t.ndim == 0 or len(t) != len(x):
        # Several arrays of one shape have become one array, of as many rows as there were arrays.
        for what, n, given in ((name, several[0], x_given), ("t", several[1], t_given)):
            if n and len({len(part) for part in given}) == 1:
                raise _one_array(what, given)
        raise ValueError(
            f"t: expected {len(x)} labels, one for each row of {name} {x.shape}, "
            f"got shape {t.shape}"
        )
    return x, t


@contextmanager
def begun_anew(model: Any) -> Iterator[None]:
    """Let layers begin without states, and put everything back afterwards.

    That is how single rows are looked at before training: states belong to the rows of a batch.
    """
    before = standing(model)
    try:
        with putting_back(model):
            for part, name, value in before:
                if isinstance(value, np.ndarray):
                    setattr(part, name, None)
            yield
    finally:
        put_back(before)


def check_labels(model: Any, samples: Samples) -> Array | None:
    """Check all labels in one pass, where the model and its loss can tell what fits them.

    Returns
    -------
    ndarray of int64, or None
        The labels as class indices, below 0 where one is ignored; None where the loss has none.

    Raises
    ------
    IndexError, ValueError, TypeError
        What `check_rows` raises.
    EmptyBatchError
        A ValueError, if no row counts: every label is ignored, or of a class of weight 0.
    """
    labels = check_rows(model, samples.x, samples.t)
    if labels is None:
        if samples.weight is not None and not np.any(samples.weight):
            raise EmptyBatchError("sample_weight: every row has weight 0")
        return None
    if np.all(labels < 0):
        raise EmptyBatchError("t: every label is ignored, so that there is nothing to learn from")
    with begun_anew(model):
        _check_weights(model, samples)
    return labels


def check_rows(model: Any, x: Any, t: Array) -> Array | None:
    """Check the indices in `x` and all labels; return these, or None where there are none.

    Raises
    ------
    IndexError, ValueError, TypeError
        What the model or its loss would say of a batch, with the row in the data.
    """
    check_samples = getattr(model, "_check_samples", None)
    if check_samples is not None:  # a model whose scores are not those of `x` alone
        check_samples(x, t)
        return None
    scores = getattr(model, "scores", None)
    if scores is None:
        return None
    with begun_anew(model):
        if isinstance(x, np.ndarray):
            _check_indices(scores, x)
        loss_layer = getattr(model, "loss_layer", None)
        check = getattr(loss_layer, "check_targets", None)
        read_labels = getattr(loss_layer, "labels", check)
        if read_labels is None:
            return None
        shape = one_row_shape(model, x)
        if shape is None:
            return None
        whole = (len(t), *shape[1:])
        try:
            labels = read_labels(t, whole)
            return None if labels is None else np.asarray(labels)
        except (IndexError, ValueError):
            if len(whole) > 2 and t.shape in (whole, whole[:-1]):
                _name_sample(lambda i: read_labels(t[i : i + 1], shape), len(t))
            raise


def one_row_shape(model: Any, x: Any) -> tuple[int, ...] | None:
    """Return the shape of the scores of the first sample, (1, ...), if the model can tell it."""
    try:
        shape = np.shape(model.scores(take_rows(x, slice(1))))
    except Exception as error:  # no scores, or not of one row: each batch is checked as it comes
        if isinstance(error, TypeError) and not isinstance(x, np.ndarray):
            raise  # the model takes no several inputs
        return None
    return shape if shape[:1] == (1,) else None


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
            name, _, text = str(error).partition(": ")
            # An error of a layer, or of a model that checks its ids; or about something else.
            text = text.replace(" in row 0 ", " ", 1)
            text = re.sub(rf"{re.escape(name)}\[.*\] is (-?\d+)$", r"got \1", text)
            if any(text.startswith(f"index {i} ") or text.endswith(f"got {i}") for i in table[row]):
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


def _check_weights(model: Any, samples: Samples) -> None:
    """Refuse data of which no row counts for the loss, as soon as one does it is enough."""
    evaluate = getattr(model.loss_layer, "evaluate", None)
    if evaluate is None:
        return
    row = np.zeros_like(getattr(model, "loss_input", model.scores)(samples[:1].x))
    for first in range(0, len(samples), _ROWS):
        part = samples[first : first + _ROWS]
        weight = () if part.weight is None else (part.weight,)
        if evaluate(np.broadcast_to(row, (len(part), *row.shape[1:])), part.t, *weight)[1]:
            return
    raise EmptyBatchError(
        "t: every label is ignored or of a class or row whose weight is 0, so that there is "
        "nothing to learn from"
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
        array = make_array(name, value)
    except ValueError:
        if _several(value):
            raise _one_array(name, value) from None
        raise
    if array.dtype.hasobject:
        shape = array.shape
        what = f"objects, {array.dtype} {shape}" if shape else type(array.item()).__name__
        at, first = _no_number(array) if shape else ("", None)
        raise TypeError(
            f"{name}: expected a NumPy array of numbers, got {what}{at}"
            f"{_CLASSES if name == 't' and isinstance(first, str) else ''}"
        )
    if array.dtype.kind not in "biuf" and not _is_number_type(array.dtype):
        raise TypeError(
            f"{name}: expected an array of numbers, got type {array.dtype}"
            f"{_CLASSES if name == 't' and array.dtype.kind in 'UST' else ''}"
        )
    return array


def _no_number(array: Array) -> tuple[str, Any]:
    """Say where objects have the first that is no number, and return it; nothing if all are."""
    for place, value in np.ndenumerate(array):
        if as_number(value) is None:
            shown = repr(value) if value is None or isinstance(value, str) else type(value).__name__
            return f"; {list(place)} is {shown}", value
    return "", None


def _is_number_type(dtype: np.dtype[Any]) -> bool:
    """Whether this is a type of numbers that another package gave NumPy, such as bfloat16."""
    return dtype.kind == "V" and dtype.type is not np.void
