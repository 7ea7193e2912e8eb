"""The network of the estimators: as `nnext.step.Step` trains it, and to predict with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nnext import _nnext
from nnext._sklearn_linear import linear, linear_grad
from nnext._sklearn_outputs import Output, Share
from nnext._support import Array

# Rows that are predicted at a time, which bounds the memory of the layers between; each row's
# result is its own.
_ROWS = 4096

# The function and what its output and the gradient by that make of the gradient.
_ACTIVATIONS: dict[str, tuple[Callable[[Any], Array] | None, Callable[[Any, Any], Array] | None]]
_ACTIVATIONS = {
    "identity": (None, None),
    "logistic": (_nnext.sigmoid, _nnext.sigmoid_backward),
    "tanh": (_nnext.tanh, _nnext.tanh_backward),
    "relu": (_nnext.relu, _nnext.relu_backward),
}


class Weights:
    """The weights and biases of all layers in one array, their gradients in another.

    An optimizer, the penalty and a solver of SciPy's see one vector; the layers see its parts.

    Parameters
    ----------
    sizes : sequence of int
        The numbers of inputs, of each hidden layer's units and of outputs.
    dtype : numpy.dtype

    Attributes
    ----------
    all, grad : ndarray, shape (P,)
        The weights of all layers in turn, then their biases.
    coefs, intercepts : list of ndarray, shapes (D, H) and (H,)
        Views of `all`.
    coef_grads, intercept_grads : list of ndarray
        Views of `grad`.
    """

    def __init__(self, sizes: Sequence[int], dtype: Any) -> None:
        self.sizes = tuple(sizes)
        shapes = list(pairwise(self.sizes))
        self._coefs = sum(d * h for d, h in shapes)
        length = self._coefs + sum(self.sizes[1:])
        self.all, self.grad = np.zeros(length, dtype), np.zeros(length, dtype)
        self.coefs, self.intercepts = self._parts(self.all)
        self.coef_grads, self.intercept_grads = self._parts(self.grad)

    def _parts(self, vector: Array) -> tuple[list[Array], list[Array]]:
        shapes = list(pairwise(self.sizes))
        ends = np.cumsum([d * h for d, h in shapes] + [h for _, h in shapes])
        parts = np.split(vector, ends[:-1])
        weights = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=False)]
        return weights, parts[len(shapes) :]

    @property
    def penalized(self) -> Array:
        """The weights of all layers, without their biases."""
        return self.all[: self._coefs]

    @property
    def penalized_grad(self) -> Array:
        """Their gradients."""
        return self.grad[: self._coefs]

    def draw(self, rng: np.random.RandomState, factor: float) -> None:
        """Draw all uniformly, each layer's from ±√(factor / (inputs + outputs)).

        References
        ----------
        Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
        networks" (2010).
        """
        for W, b in zip(self.coefs, self.intercepts, strict=True):
            bound = np.sqrt(factor / sum(W.shape))
            W[...] = rng.uniform(-bound, bound, W.shape)
            b[...] = rng.uniform(-bound, bound, b.shape)

    def take(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> None:
        """Copy the weights and biases of other arrays."""
        for own, other in zip([*self.coefs, *self.intercepts], [*coefs, *intercepts], strict=True):
            own[...] = other


class Network:
    """Linear layers with an activation between them, and an output with its loss.

    The loss is the output's and ``alpha / 2 · Σ W²`` divided by what the batch counts: the number
    of its rows, or the sum of their weights.

    Parameters
    ----------
    weights : Weights
    activation : str
        Of the hidden layers.
    output : Output
    alpha : float
    dropout : float
        The part of the hidden layers' activations that is dropped in training.
    seed : int
        Of that.

    Attributes
    ----------
    params, grads : list of ndarray
        One of each: ``weights.all`` and ``weights.grad``.
    loss_layer : Output
        Its ``count`` is what the last batch counted.
    """

    def __init__(
        self,
        weights: Weights,
        activation: str,
        output: Output,
        alpha: float = 0.0,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.weights = weights
        self.params, self.grads = [weights.all], [weights.grad]
        self.loss_layer = output
        self.activation = activation
        self._f, self._df = _ACTIVATIONS[activation]
        self._alpha = alpha
        self._penalized, self._penalized_grads = [weights.penalized], [weights.penalized_grad]
        self._dropout, self._seed, self._offset = dropout, seed, 0
        *self._hidden, self._last = zip(
            weights.coefs,
            weights.intercepts,
            weights.coef_grads,
            weights.intercept_grads,
            strict=True,
        )
        # Of the last batch: what each hidden layer was given, its activations, which were kept.
        self._inputs: list[Any] = []
        self._activations: list[Array] = []
        self._masks: list[Array] = []
        self._dx: Array | None = None

    def forward(self, x: Any, t: Array, sample_weight: Array | None = None) -> float:
        """Return the loss of a batch; the gradients of the last layer are written already.

        Parameters
        ----------
        x : ndarray or CSR matrix, shape (N, D)
        t : ndarray
            The targets, as the output takes them.
        sample_weight : ndarray of float64, shape (N,), optional
            Weights that add up to 0 make ``loss_layer.count`` 0, and nothing else.
        """
        share: Share
        if sample_weight is None:
            count = float(x.shape[0])
            share = 1 / count
        else:
            count = float(_nnext.sum(sample_weight))
            share = sample_weight / count if count else 0.0
        self.loss_layer.count = count
        if not count:
            return 0.0
        inputs, activations, masks = [], [], []
        f = self._f
        for W, b, _, _ in self._hidden:
            inputs.append(x)
            x = linear(x, W, b)
            if f is not None:
                x = f(x)
            activations.append(x)
            if self._dropout:
                x, mask = _nnext.dropout_forward(x, self._dropout, self._seed, self._offset)
                self._offset += mask.size
                masks.append(mask)
        loss, self._dx = self.loss_layer.forward(x, t, share, self._last, bool(inputs))
        self._inputs, self._activations, self._masks = inputs, activations, masks
        if self._alpha:
            norm = _nnext.clip_grads(self._penalized, math.inf)  # which clips nothing
            loss += 0.5 * self._alpha * norm * norm / count
        return loss

    def backward(self) -> None:
        """Write the gradients of the other layers, and add the penalty's to all."""
        d: Any = self._dx
        df = self._df
        for i in range(len(self._hidden) - 1, -1, -1):
            W, _, dW, db = self._hidden[i]
            if self._dropout:
                d = _nnext.dropout_backward(d, self._masks[i], self._dropout)
            if df is not None:
                d = df(self._activations[i], d)
            d = linear_grad(self._inputs[i], W, d, dW, db, i > 0)
        if self._alpha:
            # grad += alpha / count · W, as one pass: a step of descent with this rate.
            rate = -self._alpha / self.loss_layer.count
            _nnext.sgd_update(self._penalized_grads, self._penalized, rate)

    def outputs(self, x: Any) -> Array:
        """Return what the network answers, without dropout."""
        weights = self.weights
        return outputs(x, weights.coefs, weights.intercepts, self.activation, self.loss_layer)


def outputs(
    x: Any, coefs: Sequence[Array], intercepts: Sequence[Array], activation: str, output: Any
) -> Array:
    """Return what a network answers, shape (N, K), a block of rows at a time.

    Parameters
    ----------
    x : ndarray or CSR matrix, shape (N, D)
    coefs, intercepts : sequence of ndarray
    activation : str
        Of the hidden layers.
    output : Output or type[Output]
    """
    f, _ = _ACTIVATIONS[activation]
    rows = x.shape[0]
    found = np.empty((rows, coefs[-1].shape[1]), coefs[-1].dtype) if rows > _ROWS else None
    for first in range(0, max(rows, 1), _ROWS):
        y = x if found is None else x[first : first + _ROWS]
        for i, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
            y = linear(y, W, b)
            if f is not None and i < len(coefs) - 1:
                y = f(y)
        y = output.outputs(y)
        if found is None:
            return y  # type: ignore[no-any-return]
        found[first : first + _ROWS] = y
    assert found is not None  # there was more than one block
    return found
