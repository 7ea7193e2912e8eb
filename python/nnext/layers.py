"""The layers: forward and backward pairs over the compiled core, on the book's contract.

A layer has two lists, ``params`` and ``grads``, of arrays of the same shapes, and two methods.
``forward`` computes the output and remembers what ``backward`` will need; ``backward(dout)`` takes
the gradient of the loss by the output, writes the gradients of the parameters *into* ``grads[i]``
(the arrays and their memory stay the same for ever) and returns the gradient by the input.
Parameters are read from ``params`` at every call, so whoever holds the array may update it in
place. Any object that keeps this contract can stand among these layers. What a layer keeps in
arrays and does not train, such as the running statistics of `BatchNorm`, is in a third list,
``buffers``, which it may have: they are stored with the parameters, and written in place too.

Weights are checked when a layer is made, and whatever is in ``params`` later by the core, which
checks every argument of a call before it writes anything, and raises ``ValueError`` for shapes that
do not fit, ``TypeError`` for types that cannot be used and
``IndexError`` for labels and indices out of range. A layer remembers a call only if it succeeded.

A layer remembers its input or its output itself, not a copy: do not write into an array between
the ``forward`` that took or returned it and the ``backward`` that follows.

The layers that end in a loss are in `nnext.loss_layers`, and known here too.

Shapes are written with N for the batch, D for the input, H for the output and C for the classes;
``...`` stands for any number of leading axes. The layers are those of "Deep Learning from
Scratch 2", chapter 1, where nothing else is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnext import _nnext
from nnext._activations import GELU, Flatten, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from nnext._layer import Layer, as_floats, before_forward, check_weights, no_attribute
from nnext._normalization import BatchNorm, LayerNorm
from nnext._support import Array, check_numbers, check_source, draw_seed, whole_number
from nnext.loss_layers import (
    AbsoluteError,
    AffineSoftmaxWithLoss,
    HuberLoss,
    PoissonLoss,
    SigmoidWithLoss,
    SoftmaxWithLoss,
    SquaredError,
)

__all__ = [
    "GELU",
    "AbsoluteError",
    "Affine",
    "AffineSoftmaxWithLoss",
    "BatchNorm",
    "Dropout",
    "Embedding",
    "Flatten",
    "HuberLoss",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MatMul",
    "PoissonLoss",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "SigmoidWithLoss",
    "Softmax",
    "SoftmaxWithLoss",
    "SquaredError",
    "Tanh",
    "before_forward",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        raise no_attribute(__name__, name)


class MatMul(Layer):
    """Matrix product, ``y = x W``: a linear layer without bias.

    Parameters
    ----------
    W : ndarray, shape (D, H)
        The weights: ``params[0]`` is this very array.

    Raises
    ------
    ValueError
        If `W` is not a matrix.
    TypeError
        If it is not an array of floats.

    Attributes
    ----------
    x : array_like or None
        The input of the last ``forward``, the object itself.
    """

    skips_input_grad = True
    param_names = ("W",)

    def __init__(self, W: Array) -> None:
        check_weights(W)
        super().__init__(W)
        self.x: ArrayLike | None = None

    def forward(self, x: ArrayLike) -> Array:
        """Return ``x W``, shape (..., H), for `x` of shape (..., D)."""
        y = _nnext.affine_forward(x, self.params[0], None)
        self.x = x
        return y

    @overload
    def backward(
        self, dout: ArrayLike, input_grad: Literal[True] = True, *, accumulate: bool = False
    ) -> Array: ...
    @overload
    def backward(
        self, dout: ArrayLike, input_grad: Literal[False], *, accumulate: bool = False
    ) -> None: ...
    @overload
    def backward(
        self, dout: ArrayLike, input_grad: bool, *, accumulate: bool = False
    ) -> Array | None: ...
    def backward(
        self, dout: ArrayLike, input_grad: bool = True, *, accumulate: bool = False
    ) -> Array | None:
        """Write ``xᵀ dout`` into ``grads[0]`` and return ``dout Wᵀ``.

        Parameters
        ----------
        dout : array_like, shape (..., H)
            Gradient by the output. Leading axes are summed over.
        input_grad : bool
            With False the gradient by the input is left out, and None returned.
        accumulate : bool
            Add to what ``grads`` hold instead of writing over it. Where all is of one type, float32
            or float64, the gradients of consecutive parts of a batch, of up to 16384 rows in all,
            add up to the very bits of the whole.

        Returns
        -------
        ndarray, shape (..., D), or None
        """
        if self.x is None:
            raise before_forward(self)
        return _nnext.affine_backward(
            self.x, self.params[0], dout, self.grads[0], None, input_grad, accumulate
        )


class Affine(Layer):
    """Matrix product with bias, ``y = x W + b``: what others call Linear or Dense.

    `nnext.affine` makes one of given sizes, with weights drawn at random.

    Parameters
    ----------
    W : ndarray, shape (D, H)
        The weights, ``params[0]``.
    b : ndarray, shape (H,)
        The bias, ``params[1]``.

    Raises
    ------
    ValueError
        If `W` is not a matrix, or `b` has another shape than (H,).
    TypeError
        If one is not an array of floats.

    Attributes
    ----------
    x : array_like or None
        The input of the last ``forward``, the object itself.
    """

    skips_input_grad = True
    param_names = ("W", "b")

    def __init__(self, W: Array, b: Array) -> None:
        if isinstance(W, (int, np.integer)):
            raise TypeError(
                f"W: expected a NumPy array of floats, got {W!r}; "
                "nnext.affine(input_size, output_size) makes a layer of these sizes"
            )
        if b is None:
            raise TypeError(
                "b: expected a NumPy array of floats, got None; MatMul(W) is the layer without bias"
            )
        check_weights(W, b)
        super().__init__(W, b)
        self.x: ArrayLike | None = None

    def forward(self, x: ArrayLike) -> Array:
        """Return ``x W + b``, shape (..., H), for `x` of shape (..., D)."""
        W, b = self.params
        y = _nnext.affine_forward(x, W, b)
        self.x = x
        return y

    @overload
    def backward(
        self, dout: ArrayLike, input_grad: Literal[True] = True, *, accumulate: bool = False
    ) -> Array: ...
    @overload
    def backward(
        self, dout: ArrayLike, input_grad: Literal[False], *, accumulate: bool = False
    ) -> None: ...
    @overload
    def backward(
        self, dout: ArrayLike, input_grad: bool, *, accumulate: bool = False
    ) -> Array | None: ...
    def backward(
        self, dout: ArrayLike, input_grad: bool = True, *, accumulate: bool = False
    ) -> Array | None:
        """Write ``xᵀ dout`` and the sum of `dout` into ``grads`` and return ``dout Wᵀ``.

        Parameters
        ----------
        dout : array_like, shape (..., H)
            Gradient by the output. Leading axes are summed over.
        input_grad : bool
            With False the gradient by the input is left out, and None returned.
        accumulate : bool
            Add to what ``grads`` hold instead of writing over it. Where all is of one type, float32
            or float64, the gradients of consecutive parts of a batch, of up to 16384 rows in all,
            add up to the very bits of the whole.

        Returns
        -------
        ndarray, shape (..., D), or None
        """
        if self.x is None:
            raise before_forward(self)
        dW, db = self.grads
        return _nnext.affine_backward(self.x, self.params[0], dout, dW, db, input_grad, accumulate)


class Dropout(Layer):
    """Inverted dropout: in training each element is zeroed with probability `dropout_ratio`.

    What is left is divided by ``1 - dropout_ratio``, so that nothing is to be done when the
    network is used. The elements to drop come from a counter, not from a state: they depend on the
    seed and on how many elements this layer has seen, never on threads or instruction sets.

    Parameters
    ----------
    dropout_ratio : float
        Probability of dropping an element, in [0, 1).
    seed : int, optional
        Seed of the stream; without it one is drawn from ``numpy.random``, so that
        ``numpy.random.seed`` governs it as in the book.
    rng : RandomState or Generator, optional
        Draw the seed from this.
    offset : int
        How many elements of the stream were used already, by a layer that goes on in this one.

    Raises
    ------
    ValueError
        If `dropout_ratio` or `offset` is out of its range.
    TypeError
        If it is no number, or `seed` or `offset` no whole number.

    Attributes
    ----------
    mask : ndarray of bool or None
        True where the last training ``forward`` kept the element.

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    JMLR 15 (2014); "Deep Learning from Scratch 2", chapter 6.
    """

    counter_names = ("seed", "offset")

    def __init__(
        self,
        dropout_ratio: float = 0.5,
        seed: int | None = None,
        *,
        rng: np.random.RandomState | np.random.Generator | None = None,
        offset: int = 0,
    ) -> None:
        check_numbers(dropout_ratio=dropout_ratio)
        if seed is not None:
            seed = whole_number("seed", seed, "a whole number or None")
        if rng is not None:
            check_source(rng, seed)
        if not 0 <= dropout_ratio < 1:
            raise ValueError(f"dropout_ratio must be in [0, 1), not {dropout_ratio}")
        offset = whole_number("offset", offset)
        if offset < 0:
            raise ValueError(f"offset: expected a whole number of at least 0, got {offset}")
        super().__init__()
        self.dropout_ratio = dropout_ratio
        self.seed = draw_seed(np.random if rng is None else rng) if seed is None else seed
        self.offset = offset
        self.mask: NDArray[np.bool_] | None = None
        self.train_flg: bool | None = None

    def forward(self, x: ArrayLike, train_flg: bool = True) -> Array:
        """Return `x` with elements dropped; with `train_flg` False, `x` itself as an array.

        Integers and booleans become float64 in both cases.
        """
        if train_flg:
            y, mask = _nnext.dropout_forward(x, self.dropout_ratio, self.seed, self.offset)
            self.mask = mask
            self.offset += mask.size
        else:
            y = as_floats("x", x)
        self.train_flg = train_flg
        return y

    def backward(self, dout: ArrayLike) -> Array:
        """Return `dout` with the same elements dropped; after a ``forward`` without, `dout`.

        Integers and booleans become float64 in both cases.
        """
        if self.train_flg is None:
            raise before_forward(self)
        if not self.train_flg or self.mask is None:
            return as_floats("dout", dout)
        return _nnext.dropout_backward(dout, self.mask, self.dropout_ratio)

    def _arguments(self) -> str:
        return f"{self.dropout_ratio:g}"


class Embedding(Layer):
    """Rows of a table, ``y = W[idx]``.

    Parameters
    ----------
    W : ndarray, shape (V, D)
        The table, one row a word: ``params[0]`` is this very array.
    padding_idx : int, optional
        The index that fills up short rows of `idx`: its row of the gradient is 0, so that the row
        of the table stays what it is, zeros best of all. Below 0 it counts from the end. (Another
        layer that shares the table, and weight decay, may still change it.)

    Raises
    ------
    ValueError
        If `W` is not a matrix, or has no row `padding_idx`.
    TypeError
        If it is not an array of floats, or `padding_idx` no whole number.

    Attributes
    ----------
    idx : array_like of integers or None
        The indices of the last ``forward``, the object itself.

    References
    ----------
    "Deep Learning from Scratch 2", chapter 4.
    """

    param_names = ("W",)

    def __init__(self, W: Array, padding_idx: int | None = None) -> None:
        check_weights(W)
        if padding_idx is not None:
            padding_idx = whole_number("padding_idx", padding_idx, "a whole number or None")
            if not -len(W) <= padding_idx < len(W):
                raise ValueError(
                    f"padding_idx: expected a row of W, which has {len(W)}, got {padding_idx}"
                )
            padding_idx %= len(W)
        super().__init__(W)
        self.padding_idx = padding_idx
        self.idx: ArrayLike | None = None

    def forward(self, idx: ArrayLike) -> Array:
        """Return ``W[idx]``, shape (..., D), for indices of any shape, each in [0, V)."""
        y = _nnext.embedding_forward(self.params[0], idx)
        self.idx = idx
        return y

    def backward(self, dout: ArrayLike, *, accumulate: bool = False) -> None:
        """Write into ``grads[0]`` the rows of `dout` (..., D), added up where indices repeat.

        With `accumulate` they are added to what it holds, as `Affine.backward` does.
        """
        if self.idx is None:
            raise before_forward(self)
        _nnext.embedding_backward(dout, self.idx, self.grads[0], accumulate)
        if self.padding_idx is not None:
            self.grads[0][self.padding_idx] = 0

    def _arguments(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return super()._arguments() + padding
