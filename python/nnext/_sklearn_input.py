"""What is asked of data before scikit-learn and SciPy read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from nnext._support import refuse_masked


def native(x: Any, kept: Any) -> Any:
    """Return the types that `x` may keep, or the one of them that it has in another byte order.

    scikit-learn would take that for another type, and the first of the kept ones instead.
    """
    dtype = getattr(x, "dtype", None)
    if isinstance(kept, tuple) and isinstance(dtype, np.dtype) and not dtype.isnative:
        native_dtype = dtype.newbyteorder("=")
        return native_dtype if native_dtype in kept else kept
    return kept


def check_readable(name: str, x: Any) -> None:
    """Raise an error for what would be read wrongly: masked elements, broken sparse matrices.

    A TypeError for a mask, which would be lost. A ValueError for a sparse matrix that points
    outside of itself: SciPy follows wrong indices out of its memory, also when it converts to
    another format. Its own ``check_format`` knows few formats, rewrites the matrix and passes one
    whose indptr ends with 0.
    """
    refuse_masked(name, x)
    if not sparse.issparse(x) or x.ndim != 2:
        return
    problem = _CHECKS.get(x.format, lambda _: None)(x)
    if problem:
        raise ValueError(f"{name}: expected a sparse matrix of shape {x.shape}, but {problem}")


def _compressed(x: Any) -> str | None:
    """Say what is wrong with rows (CSR), columns (CSC) or blocks (BSR)."""
    shape = x.shape[::-1] if x.format == "csc" else x.shape
    if x.format == "bsr":
        if x.data.ndim != 3:
            return "its data are not blocks"
        shape = shape[0] // x.data.shape[1], shape[1] // x.data.shape[2]
    indptr, indices = x.indptr, x.indices
    if indptr.shape != (shape[0] + 1,) or indices.ndim != 1:
        return f"its indptr has the shape {indptr.shape}, its indices {indices.shape}"
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any():
        return "its indptr does not rise from 0"
    if indptr[-1] > min(len(indices), len(x.data)):
        return (
            f"its indptr ends with {indptr[-1]}, and there are {len(indices)} indices and "
            f"{len(x.data)} elements"
        )
    return _outside(indices[: indptr[-1]], shape[1])


def _coordinates(x: Any) -> str | None:
    coords = getattr(x, "coords", None) or (x.row, x.col)  # SciPy before 1.13 has no coords
    if {index.shape for index in coords} != {x.data.shape} or len(coords) != 2:
        return f"it has {x.data.size} elements and indices of the shapes " + ", ".join(
            str(index.shape) for index in coords
        )
    return _outside(coords[0], x.shape[0]) or _outside(coords[1], x.shape[1])


def _lists(x: Any) -> str | None:
    if not len(x.rows) == len(x.data) == x.shape[0]:
        return f"it has {len(x.rows)} rows of indices and {len(x.data)} of elements"
    for indices, elements in zip(x.rows, x.data, strict=True):
        if len(indices) != len(elements):
            return f"a row has {len(indices)} indices and {len(elements)} elements"
        if problem := _outside(np.asarray(indices, np.int64), x.shape[1]):
            return problem
    return None


def _diagonals(x: Any) -> str | None:
    if x.data.ndim != 2 or x.offsets.shape != x.data.shape[:1]:
        return f"its data have the shape {x.data.shape}, its offsets {x.offsets.shape}"
    return None


def _outside(indices: Any, size: int) -> str | None:
    if len(indices) == 0 or (indices.min() >= 0 and indices.max() < size):
        return None
    wrong = indices[(indices < 0) | (indices >= size)][0]
    return f"an index is {wrong}, and it has to be from 0 to {size - 1}"


# By format; the keys of a DOK are checked by SciPy.
_CHECKS = {
    "csr": _compressed,
    "csc": _compressed,
    "bsr": _compressed,
    "coo": _coordinates,
    "lil": _lists,
    "dia": _diagonals,
}
