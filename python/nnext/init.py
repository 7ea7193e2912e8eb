"""Layers of given sizes, with weights drawn at random or the usual first ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nnext._layer import is_float
from nnext._support import Array, check_count, check_numbers, check_source, random_state
from nnext.layers import Affine, BatchNorm, LayerNorm

__all__ = ["affine", "batch_norm", "layer_norm"]


def affine(
    input_size: int,
    output_size: int,
    rng: np.random.RandomState | np.random.Generator | None = None,
    *,
    seed: int | None = None,
    dtype: DTypeLike = np.float32,
    weight_scale: float | None = None,
) -> Affine:
    """Make an `Affine` layer (Linear, Dense) with normal random weights and biases of 0.

    Parameters
    ----------
    input_size, output_size : int
    rng : RandomState or Generator, optional
        Where the weights come from. Left out, ``numpy.random`` itself, as in the book, so that
        ``numpy.random.seed`` governs it.
    seed : int, optional
        Draw from a stream of this seed, in place of `rng`.
    dtype : dtype
        float32, float64, float16 or bfloat16.
    weight_scale : float, optional
        Standard deviation of the weights; ``sqrt(2 / input_size)`` if left out, which keeps the
        size of the signal through layers with ReLU (He et al., 2015).

    Raises
    ------
    ValueError
        If a size is not a whole number of at least 1, `weight_scale` is below 0, not finite or too
        large for `dtype`, or both `rng` and `seed` are given.
    TypeError
        If `rng` is no source of random numbers, `weight_scale` no number, or `dtype` not one of
        those above.

    Examples
    --------
    >>> from nnext import affine
    >>> affine(64, 10, seed=0)
    Affine(64, 10)
    """
    input_size = check_count("input_size", input_size)
    output_size = check_count("output_size", output_size)
    if weight_scale is None:
        weight_scale = math.sqrt(2.0 / input_size)
    check_scale(weight_scale)
    kind = float_type(dtype)
    normal = _source(rng, seed).standard_normal((input_size, output_size))
    with np.errstate(over="ignore"):  # said below
        W: Array = (weight_scale * normal).astype(kind)
    if not np.isfinite(W).all():
        raise ValueError(
            f"weight_scale: weights of standard deviation {weight_scale:g} are too large for {kind}"
        )
    return Affine(W, np.zeros(output_size, kind))


def layer_norm(size: int, *, eps: float = 1e-5, dtype: DTypeLike = np.float32) -> LayerNorm:
    """Make a `LayerNorm` for rows of `size` numbers, with factors of 1 and nothing added.

    Parameters
    ----------
    size : int
    eps : float
        See `LayerNorm`.
    dtype : dtype
        float32, float64, float16 or bfloat16.

    Raises
    ------
    ValueError
        If `size` is not a whole number of at least 1, or `eps` out of its range.
    TypeError
        If `dtype` is not one of those above, or `eps` no number.

    Examples
    --------
    >>> from nnext import layer_norm
    >>> layer_norm(64)
    LayerNorm(64)
    """
    return LayerNorm(*_ones_and_zeros(size, dtype), eps=eps)


def batch_norm(
    size: int, *, momentum: float = 0.9, eps: float = 1e-5, dtype: DTypeLike = np.float32
) -> BatchNorm:
    """Make a `BatchNorm` of `size` columns, with factors of 1 and nothing added.

    Parameters
    ----------
    size : int
    momentum : float
        How much of the running statistics each batch leaves: one less PyTorch's; see `BatchNorm`.
    eps : float
    dtype : dtype
        float32, float64, float16 or bfloat16, of the parameters. The running statistics are float32
        where that is a half type.

    Raises
    ------
    ValueError
        If `size` is not a whole number of at least 1, or an option out of its range.
    TypeError
        If `dtype` is not one of those above, or an option no number.

    Examples
    --------
    >>> from nnext import batch_norm
    >>> batch_norm(64).buffers[1][:2]
    array([1., 1.], dtype=float32)
    """
    return BatchNorm(*_ones_and_zeros(size, dtype), momentum=momentum, eps=eps)


def _ones_and_zeros(size: int, dtype: DTypeLike) -> tuple[Array, Array]:
    size, kind = check_count("size", size), float_type(dtype)
    return np.ones(size, kind), np.zeros(size, kind)


def check_scale(weight_scale: float) -> None:
    """Raise a ValueError if weights cannot have this standard deviation."""
    check_numbers(weight_scale=weight_scale)
    if not 0 <= weight_scale < math.inf:
        raise ValueError(
            f"weight_scale: expected a finite number of at least 0, got {weight_scale!r}"
        )


def float_type(dtype: DTypeLike) -> np.dtype[Any]:
    """Return a type of parameters, or raise a TypeError that names the argument."""
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = None
    if kind is None or not is_float(kind):
        found = repr(dtype) if kind is None else kind
        raise TypeError(f"dtype: expected float32, float64, float16 or bfloat16, got {found}")
    return kind


def _source(rng: Any, seed: int | None) -> Any:
    if rng is None:
        return np.random if seed is None else random_state(seed)
    if rng is not np.random or seed is not None:
        check_source(rng, seed)
    return rng
