"""The linear layer of the estimators, whose input may also be sparse.

A sparse matrix is multiplied by SciPy, in the order of its elements and by one thread: the work
goes with the elements it stores, and the bits do not depend on threads either.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nnext import _nnext
from nnext._support import Array


def linear(x: Any, W: Array, b: Array) -> Array:
    """Return ``x W + b``, shape (N, H), for `x` an array or a CSR matrix of shape (N, D)."""
    if isinstance(x, np.ndarray):
        return _nnext.affine_forward(x, W, b)
    y: Array = x @ W
    y += b
    return y


def linear_grad(
    x: Any, W: Array, dout: Array, dW: Array, db: Array, input_grad: bool
) -> Array | None:
    """Write ``xᵀ dout`` into `dW` and the sum of `dout` into `db`; return ``dout Wᵀ``.

    None without `input_grad`. A sparse `x` is data, whose gradient nobody needs.
    """
    if isinstance(x, np.ndarray):
        return _nnext.affine_backward(x, W, dout, dW, db, input_grad)
    dW[...] = x.T @ dout
    db[...] = _nnext.sum(dout, 0)
    return None
