"""The layers that take mean and variance out of their input: of each row, or of each column."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from nnext import _nnext
from nnext._layer import Layer, before_forward, check_parameter
from nnext._support import Array, check_numbers


class LayerNorm(Layer):
    """Normalize each row: ``y = (x - mean) / sqrt(variance + eps) gamma + beta``.

    Mean and variance are those of the row, so a row has the same result alone and in a batch, in
    training and in inference. `nnext.init.layer_norm` makes one of a given size.

    Parameters
    ----------
    gamma : ndarray, shape (D,)
        The factors, ``params[0]``: this very array.
    beta : ndarray, shape (D,)
        What is added, ``params[1]``.
    eps : float
        What keeps a row of equal elements from a division by 0: its output is `beta`.

    Raises
    ------
    ValueError
        If `gamma` has not one dimension, `beta` another shape, or `eps` is not above 0 and finite.
    TypeError
        If one is not an array of floats, or `eps` no number.

    Attributes
    ----------
    x : array_like or None
        The input of the last ``forward``, the object itself.

    References
    ----------
    Ba, Kiros and Hinton, "Layer Normalization", arXiv:1607.06450 (2016).
    """

    skips_input_grad = True
    param_names = ("gamma", "beta")

    def __init__(self, gamma: Array, beta: Array, eps: float = 1e-5) -> None:
        _check_vectors(gamma, beta=beta)
        eps = _checked_eps(eps)
        super().__init__(gamma, beta)
        self.eps = eps
        self.x: ArrayLike | None = None
        self._moments: tuple[Array, Array] | None = None

    def forward(self, x: ArrayLike) -> Array:
        """Return `x`, shape (..., D), with its rows normalized."""
        gamma, beta = self.params
        y, mean, rstd = _nnext.layer_norm_forward(x, gamma, beta, self.eps)
        self.x, self._moments = x, (mean, rstd)
        return y

    @overload
    def backward(self, dout: ArrayLike, input_grad: Literal[True] = True) -> Array: ...
    @overload
    def backward(self, dout: ArrayLike, input_grad: Literal[False]) -> None: ...
    @overload
    def backward(self, dout: ArrayLike, input_grad: bool) -> Array | None: ...
    def backward(self, dout: ArrayLike, input_grad: bool = True) -> Array | None:
        """Write the gradients of gamma and beta into ``grads`` and return that of the input.

        Parameters
        ----------
        dout : array_like, shape (..., D)
            Gradient by the output. Leading axes are summed over.
        input_grad : bool
            With False the gradient by the input is left out, and None returned.

        Returns
        -------
        ndarray, shape (..., D), or None
        """
        if self.x is None or self._moments is None:
            raise before_forward(self)
        (mean, rstd), (dgamma, dbeta) = self._moments, self.grads
        return _nnext.layer_norm_backward(
            self.x, self.params[0], dout, mean, rstd, dgamma, dbeta, input_grad
        )

    def _arguments(self) -> str:
        return f"{len(self.params[0])}"


class BatchNorm(Layer):
    """Normalize each column: ``y = (x - mean) / sqrt(variance + eps) gamma + beta``.

    In training mean and variance are those of the batch's columns; in inference the running ones,
    which each training ``forward`` moves towards the batch's,
    ``running = momentum * running + (1 - momentum) * batch``. `nnext.init.batch_norm` makes one of
    a given size.

    Parameters
    ----------
    gamma : ndarray, shape (D,)
        The factors, ``params[0]``: this very array.
    beta : ndarray, shape (D,)
        What is added, ``params[1]``.
    running_mean, running_var : ndarray, shape (D,), optional
        ``buffers``: these very arrays, which training writes into. Zeros and ones of gamma's type
        if left out, of float32 where that is a half type, in which small steps would get lost.
    momentum : float
        How much of the running statistics each batch leaves, in [0, 1], as in "Deep Learning from
        Scratch" (ch. 6.3), Keras and ONNX. PyTorch's momentum is one less this: its 0.1 is 0.9
        here.
    eps : float
        What keeps a column of equal elements from a division by 0: its output is `beta`.

    Raises
    ------
    ValueError
        If `gamma` has not one dimension, another array another shape, or an option is out of its
        range.
    TypeError
        If something is not an array of floats, or an option no number.

    Attributes
    ----------
    x : array_like or None
        The input of the last ``forward``, the object itself.
    train_flg : bool or None
        Whether that was in training mode.

    Notes
    -----
    The batch is normalized by its biased variance, ``Σ (x - mean)² / N``, and the running one is
    the mean of unbiased ones, ``Σ (x - mean)² / (N - 1)``, as in PyTorch. A batch of one row is its
    own mean: the output is `beta`, the gradient of the input 0, and the running variance stays what
    it is, since one row says nothing of it. (PyTorch raises an error.) An empty batch changes
    nothing.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal
    Covariate Shift", ICML 2015.
    """

    skips_input_grad = True
    param_names = ("gamma", "beta")
    buffer_names = ("running_mean", "running_var")

    def __init__(
        self,
        gamma: Array,
        beta: Array,
        running_mean: Array | None = None,
        running_var: Array | None = None,
        momentum: float = 0.9,
        eps: float = 1e-5,
    ) -> None:
        _check_vectors(gamma, beta=beta)
        kind = gamma.dtype if gamma.dtype.itemsize > 2 else np.dtype(np.float32)
        if running_mean is None:
            running_mean = np.zeros(gamma.shape, kind)
        if running_var is None:
            running_var = np.ones(gamma.shape, kind)
        _check_vectors(gamma, running_mean=running_mean, running_var=running_var)
        _check_apart(gamma=gamma, beta=beta, running_mean=running_mean, running_var=running_var)
        check_numbers(momentum=momentum)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum: expected a number in [0, 1], got {momentum!r}")
        eps = _checked_eps(eps)
        super().__init__(gamma, beta)
        self.buffers = [running_mean, running_var]
        self.momentum = float(momentum)
        self.eps = eps
        self.x: ArrayLike | None = None
        self.train_flg: bool | None = None
        self._moments: tuple[Array, Array] | None = None

    def forward(self, x: ArrayLike, train_flg: bool = True) -> Array:
        """Return `x`, shape (..., D), with its columns normalized; leading axes are rows.

        With `train_flg` by the batch's statistics, which go into the running ones once all else is
        done; without it by the running ones, a row the same alone and in a batch.
        """
        (gamma, beta), (running_mean, running_var) = self.params, self.buffers
        if train_flg:
            y, mean, var = _nnext.batch_norm_forward(
                x, gamma, beta, running_mean, running_var, self.momentum, self.eps
            )
        else:
            y, mean, var = _nnext.batch_norm_inference(
                x, gamma, beta, running_mean, running_var, self.eps
            )
        self.x, self._moments, self.train_flg = x, (mean, var), bool(train_flg)
        return y

    @overload
    def backward(self, dout: ArrayLike, input_grad: Literal[True] = True) -> Array: ...
    @overload
    def backward(self, dout: ArrayLike, input_grad: Literal[False]) -> None: ...
    @overload
    def backward(self, dout: ArrayLike, input_grad: bool) -> Array | None: ...
    def backward(self, dout: ArrayLike, input_grad: bool = True) -> Array | None:
        """Write the gradients of gamma and beta into ``grads`` and return that of the input.

        After a training ``forward`` it goes through the batch's mean and variance too; after one in
        inference these were constants.

        Parameters
        ----------
        dout : array_like, shape (..., D)
            Gradient by the output. Leading axes are summed over.
        input_grad : bool
            With False the gradient by the input is left out, and None returned.

        Returns
        -------
        ndarray, shape (..., D), or None
        """
        if self.x is None or self._moments is None:
            raise before_forward(self)
        (mean, var), (dgamma, dbeta) = self._moments, self.grads
        of_batch = bool(self.train_flg)
        return _nnext.batch_norm_backward(
            self.x, self.params[0], dout, mean, var, self.eps, of_batch, dgamma, dbeta, input_grad
        )

    def _arguments(self) -> str:
        return f"{len(self.params[0])}"


def _checked_eps(eps: Any) -> float:
    check_numbers(eps=eps)
    if not np.finfo(np.float64).smallest_normal <= eps < math.inf:
        raise ValueError(f"eps: expected a finite number above 0, got {eps!r}")
    return float(eps)


def _check_apart(**arrays: Array) -> None:
    """Raise a ValueError if two of them share memory: training would write one over the other."""
    for (a, first), (b, second) in combinations(arrays.items(), 2):
        if np.shares_memory(first, second):
            raise ValueError(f"{b}: expected an array of its own, it shares memory with {a}")


def _check_vectors(gamma: Any, **others: Any) -> None:
    """Raise a TypeError or ValueError if arrays are not floats, as many as gamma has."""
    check_parameter("gamma", gamma)
    if gamma.ndim != 1:
        raise ValueError(f"gamma: expected one dimension, got shape {gamma.shape}")
    for name, array in others.items():
        check_parameter(name, array)
        if array.shape != gamma.shape:
            raise ValueError(
                f"{name}: expected shape {gamma.shape}, that of gamma, got {array.shape}"
            )
