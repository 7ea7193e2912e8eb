"""Models that are chains of layers."""

import inspect
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nnext._support import Array, check_count, random_state
from nnext.base_model import BaseModel, LayerLike
from nnext.layers import Affine, AffineSoftmaxWithLoss, Sigmoid, SoftmaxWithLoss


class Sequential(BaseModel):
    """A chain: each layer takes what the layer before it returned, the loss takes the last.

    Parameters
    ----------
    layers : iterable of layers
        nnext's own, or any objects that keep the contract of `nnext.base_model.LayerLike`. A layer
        whose ``forward`` has a parameter ``train_flg`` (`Dropout`) is told whether it trains.
    loss : layer, optional
        ``forward(scores, t)`` returns the mean loss. `SoftmaxWithLoss` if left out. With
        `AffineSoftmaxWithLoss` the last layer gives that layer's input instead of scores.

    Raises
    ------
    ValueError
        If there are no layers, or one object stands there twice: a layer remembers one call of
        ``forward``. To share a weight, give the same array to two layers.
    TypeError
        If something is not a layer; a model is none, its ``layers`` are.

    Examples
    --------
    >>> import numpy as np
    >>> from nnext.layers import Affine, ReLU
    >>> from nnext.models import Sequential, affine
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential([affine(2, 10, rng), ReLU(), affine(10, 3, rng)])
    >>> model.predict_proba([[0.5, -1.0]]).shape
    (1, 3)
    """

    def __init__(self, layers: Iterable[LayerLike], loss: LayerLike | None = None) -> None:
        layers = list(layers)
        loss = SoftmaxWithLoss() if loss is None else loss
        if not layers:
            raise ValueError("layers: expected at least one layer, got none")
        for i, layer in enumerate([*layers, loss]):
            name = f"layers[{i}]" if i < len(layers) else "loss"
            if isinstance(layer, BaseModel):
                raise TypeError(
                    f"{name}: expected a layer, got a model, {type(layer).__name__}; "
                    "a chain takes its layers, *model.layers"
                )
            missing = [
                a for a in ("params", "grads", "forward", "backward") if not hasattr(layer, a)
            ]
            if missing or isinstance(layer, type):
                what = f"the class {layer.__name__}" if isinstance(layer, type) else repr(layer)
                lacks = f" without {', '.join(missing)}" if missing else ", not an object of it"
                raise TypeError(f"{name}: expected a layer, got {what}{lacks}")
            if len(layer.params) != len(layer.grads):
                raise ValueError(f"{name}: {len(layer.params)} params but {len(layer.grads)} grads")
            if any(layer is other for other in layers[:i]):
                raise ValueError(
                    f"{name} stands in the list twice; a layer remembers one call of forward. "
                    "To share a weight, give the same array to two layers"
                )
        super().__init__(layers, loss)
        self._takes_train_flg = [_has_parameter(layer.forward, "train_flg") for layer in layers]

    def _run(self, x: Any, train_flg: bool) -> Any:
        for layer, takes_flag in zip(self.layers, self._takes_train_flg, strict=True):
            x = layer.forward(x, train_flg=train_flg) if takes_flag else layer.forward(x)
        return x

    def scores(self, x: ArrayLike) -> Array:
        """Compute the scores (logits): what the last layer returns, in inference mode.

        The layers remember this call as they do any other: do not call it, or `predict` or
        `predict_proba`, between `forward` and `backward`.

        Parameters
        ----------
        x : array_like, shape (N, D)

        Returns
        -------
        ndarray, shape (N, C)
        """
        out: Array = self._run(x, train_flg=False)
        if isinstance(self.loss_layer, AffineSoftmaxWithLoss):
            return self.loss_layer.scores(out)
        return out

    def _best_class(self, x: ArrayLike) -> tuple[Array, int]:
        if isinstance(self.loss_layer, AffineSoftmaxWithLoss):  # whole scores may not fit in memory
            best = self.loss_layer.predict(self._run(x, train_flg=False))
            return best, self.loss_layer.params[0].shape[1]
        return super()._best_class(x)

    def forward(self, x: ArrayLike, t: ArrayLike) -> float:
        """Compute the mean loss of a batch, in training mode.

        Parameters
        ----------
        x : array_like, shape (N, D)
        t : array_like, shape (N,) or (N, C)
            Labels as the loss layer takes them: class indices or one-hot.

        Returns
        -------
        float
        """
        loss: float = self.loss_layer.forward(self._run(x, train_flg=True), t)
        return loss

    def backward(self, dout: float = 1, input_grad: bool = False) -> Array | None:
        """Write the gradients of the last `forward` into ``grads``, from the loss back.

        Parameters
        ----------
        dout : float
            The gradient of the loss itself.
        input_grad : bool
            Whether to compute the gradient of `x` too. Training needs it not, and for wide data
            it costs as much as the first layer's whole gradient.

        Returns
        -------
        ndarray of the shape of `x`, or None
            The gradient of `x`; None if it was not asked for and the first layer could skip it,
            or if the first layer has none to give (`Embedding`).
        """
        grad = self.loss_layer.backward(dout)
        first = self.layers[0]
        for layer in self.layers[:0:-1]:
            grad = layer.backward(grad)
        if not input_grad and getattr(first, "skips_input_grad", False):
            first.backward(grad, input_grad=False)
            return None
        grad = first.backward(grad)
        return grad  # type: ignore[no-any-return]


class TwoLayerNet(Sequential):
    """The book's network: Affine, Sigmoid, Affine, and softmax with loss (ch. 1.4).

    Weights are drawn as in the book, normal with a standard deviation of 0.01, first ``W1``, then
    ``W2``; biases are 0. With ``numpy.random.seed(s)`` in the book's program and ``seed=s`` here
    the weights are the book's, rounded to `dtype`.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
    seed : int, optional
        Of the weights. Drawn from ``numpy.random`` if left out.
    dtype : dtype
        Of the parameters.
    weight_scale : float
        Standard deviation of the weights. The book's 0.01 suits a few inputs; about
        ``1 / sqrt(input_size)`` is better for many layers or small learning rates.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        *,
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
        weight_scale: float = 0.01,
    ) -> None:
        rng = random_state(seed)
        super().__init__(
            [
                affine(input_size, hidden_size, rng, dtype=dtype, weight_scale=weight_scale),
                Sigmoid(),
                affine(hidden_size, output_size, rng, dtype=dtype, weight_scale=weight_scale),
            ]
        )


def affine(
    input_size: int,
    output_size: int,
    rng: np.random.RandomState | np.random.Generator,
    *,
    dtype: DTypeLike = np.float32,
    weight_scale: float | None = None,
) -> Affine:
    """Make an `Affine` layer with normal random weights and biases of 0.

    Parameters
    ----------
    input_size, output_size : int
    rng : RandomState or Generator
        Where the weights come from.
    dtype : dtype
    weight_scale : float, optional
        Standard deviation of the weights; ``sqrt(2 / input_size)`` if left out, which keeps the
        size of the signal through layers with ReLU (He et al., 2015).

    Raises
    ------
    ValueError
        If a size is not a whole number of at least 1.
    """
    check_count("input_size", input_size)
    check_count("output_size", output_size)
    scale = math.sqrt(2.0 / input_size) if weight_scale is None else weight_scale
    W = scale * rng.standard_normal((input_size, output_size))
    return Affine(W.astype(dtype), np.zeros(output_size, dtype))


def _has_parameter(function: Any, name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # a compiled function may have no signature to read
        return False
