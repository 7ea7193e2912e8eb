"""Models: chains of layers, and the book's of words, language and from sequence to sequence."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from nnext._encoders_decoders import (
    AttentionDecoder,
    AttentionEncoder,
    Decoder,
    Encoder,
    PeekyDecoder,
)
from nnext._language_models import BetterRnnlm, Rnnlm, SimpleRnnlm
from nnext._layer import adding_backward, has_methods_of
from nnext._one_hot_models import SimpleCBOW, SimpleSkipGram
from nnext._sampled_models import CBOW, SkipGram
from nnext._seq2seq import AttentionSeq2seq, PeekySeq2seq, Seq2seq
from nnext._support import Array, check_count, has_parameter, random_source, refuse_masked
from nnext.base_model import BaseModel, LayerLike, as_input, check_gathered
from nnext.init import affine, check_scale
from nnext.layers import Sigmoid, SoftmaxWithLoss

__all__ = [
    "CBOW",
    "AttentionDecoder",
    "AttentionEncoder",
    "AttentionSeq2seq",
    "BetterRnnlm",
    "Decoder",
    "Encoder",
    "PeekyDecoder",
    "PeekySeq2seq",
    "Rnnlm",
    "Seq2seq",
    "Sequential",
    "SimpleCBOW",
    "SimpleRnnlm",
    "SimpleSkipGram",
    "SkipGram",
    "TwoLayerNet",
    "affine",
]


class Sequential(BaseModel):
    """A chain: each layer takes what the layer before it returned, the loss takes the last.

    It computes in the type of its parameters: floats of another type are cast as they come in
    (unless the parameters themselves are of several types), integers stay what they are.
    ``model(x)`` is ``model.scores(x)``; ``len(model)``, ``model[i]`` and ``for layer in model`` are
    those of the layers.

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
        If something is not a layer; a model is none, its ``layers`` are. If there is a loss among
        the layers, or a layer in the place of the loss.

    Examples
    --------
    >>> import numpy as np
    >>> from nnext import ReLU, Sequential, affine
    >>> rng = np.random.default_rng(0)
    >>> Sequential([affine(2, 10, rng), ReLU(), affine(10, 3, rng)])
    Sequential(
      0: Affine(2, 10)         30
      1: ReLU()
      2: Affine(10, 3)         33
      loss: SoftmaxWithLoss()
    )  63 parameters, type float32
    """

    _is_chain = True  # for the names of its arrays: layers have numbers

    def __init__(self, layers: Iterable[LayerLike], loss: LayerLike | None = None) -> None:
        if isinstance(layers, type) or not isinstance(layers, Iterable):
            raise TypeError(
                f"layers: expected a list of layers, got {_shown(layers)}: Sequential([...], loss)"
            )
        layers = list(layers)
        loss = SoftmaxWithLoss() if loss is None else loss
        if not layers:
            raise ValueError("layers: expected at least one layer, got none")
        seen: set[int] = set()
        for i, layer in enumerate(layers):
            _check_layer(f"layers[{i}]", layer, inputs=1)
            if id(layer) in seen:
                raise ValueError(
                    f"layers[{i}] stands in the list twice; a layer remembers one call of forward. "
                    "To share a weight, give the same array to two layers"
                )
            seen.add(id(layer))
        _check_layer("loss", loss, inputs=2)
        super().__init__(layers, loss)
        self._note_layers()

    def _note_layers(self) -> None:
        self._noted = list(self.layers)
        self._takes_train_flg = [has_parameter(layer.forward, "train_flg") for layer in self._noted]

    def _check_changed_layers(self) -> None:
        """Take a change of the list ``layers`` if it leaves the parameters what they are."""
        for i, layer in enumerate(self.layers):
            _check_layer(f"layers[{i}]", layer, inputs=1)
        check_gathered(self)
        present = {*map(id, self.layers)}
        for layer in self._noted:
            if layer.params and id(layer) not in present:
                raise ValueError(
                    f"layers: {layer!r} was taken out after the model was made, which still has "
                    "its parameters; make a new model of the layers"
                )
        self._note_layers()

    def __len__(self) -> int:
        """Return the number of layers, without the loss."""
        return len(self.layers)

    @overload
    def __getitem__(self, index: SupportsIndex) -> LayerLike: ...
    @overload
    def __getitem__(self, index: slice) -> list[LayerLike]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> LayerLike | list[LayerLike]:
        """Return a layer, or the list of some."""
        return self.layers[index]

    def __iter__(self) -> Iterator[LayerLike]:
        """Go through the layers, without the loss."""
        return iter(self.layers)

    def _run(self, x: Any, train_flg: bool) -> Any:
        if self.layers != self._noted:
            self._check_changed_layers()
        x = as_input(x, self.params)
        for layer, takes_flag in zip(self.layers, self._takes_train_flg, strict=True):
            x = layer.forward(x, train_flg=train_flg) if takes_flag else layer.forward(x)
        return x

    def loss_input(self, x: ArrayLike) -> Any:
        """Compute what the last layer returns, in inference mode."""
        return self._run(x, train_flg=False)

    def forward(
        self,
        x: ArrayLike,
        t: ArrayLike,
        sample_weight: ArrayLike | None = None,
        count: float | None = None,
    ) -> float:
        """Compute the mean loss of a batch, in training mode.

        Parameters
        ----------
        x : array_like, shape (N, D)
        t : array_like, shape (N,) or (N, C)
            Labels as the loss layer takes them: class indices or one-hot.
        sample_weight : array_like, shape (N,), optional
            What each row counts, for a loss layer that takes it.
        count : float, optional
            What the mean divides by, where this batch is a part of a larger one, for a loss layer
            that takes it.

        Returns
        -------
        float
        """
        refuse_masked("t", t)
        given, named = _of_loss(sample_weight, count)
        loss: float = self.loss_layer.forward(self._run(x, train_flg=True), t, *given, **named)
        return loss

    @overload
    def backward(
        self, dout: float = 1, *, input_grad: Literal[True], accumulate: bool = False
    ) -> Array: ...
    @overload
    def backward(
        self, dout: float, input_grad: Literal[True], *, accumulate: bool = False
    ) -> Array: ...
    @overload
    def backward(
        self, dout: float = 1, input_grad: bool = False, *, accumulate: bool = False
    ) -> Array | None: ...
    def backward(
        self, dout: float = 1, input_grad: bool = False, *, accumulate: bool = False
    ) -> Array | None:
        """Write the gradients of the last `forward` into ``grads``, from the loss back.

        Parameters
        ----------
        dout : float
            The gradient of the loss itself.
        input_grad : bool
            Whether to compute the gradient of `x` too. Training needs it not, and for wide data
            it costs as much as the first layer's whole gradient.
        accumulate : bool
            Add to what ``grads`` hold instead of writing over it. The gradients of consecutive
            parts of a batch, each with the batch's `count` in its `forward`, add up to those of
            the whole: to the bit where all is of one type, float32 or float64, and up to 16384
            rows in all.

        Returns
        -------
        ndarray of the shape of `x`, or None
            The gradient of `x`; None if it was not asked for and the first layer could skip it,
            or if the first layer has none to give (`Embedding`).
        """
        if accumulate:
            return self._add_backward(adding_backward(self.loss_layer)(dout), input_grad)
        return self._backward(self.loss_layer.backward(dout), input_grad)

    def forward_backward(
        self,
        x: ArrayLike,
        t: ArrayLike,
        sample_weight: ArrayLike | None = None,
        count: float | None = None,
        *,
        accumulate: bool = False,
    ) -> float:
        """Do ``forward(x, t)`` and ``backward()``, in one pass over the loss layer where it can.

        Parameters
        ----------
        x : array_like, shape (N, D)
        t : array_like, shape (N,) or (N, C)
        sample_weight : array_like, shape (N,), optional
        count : float, optional
            As in `forward`.
        accumulate : bool
            As in `backward`.

        Returns
        -------
        float
            The loss.
        """
        if not has_methods_of(self, Sequential, "forward", "backward"):
            given, named = _of_loss(sample_weight, count)
            loss = self.forward(x, t, *given, **named)
            (adding_backward(self) if accumulate else self.backward)()
            return loss
        refuse_masked("t", t)
        h = self._run(x, train_flg=True)
        return self._differentiate(h, t, sample_weight, count, accumulate)

    def _differentiate(
        self,
        h: Any,
        t: ArrayLike,
        sample_weight: ArrayLike | None,
        count: float | None,
        accumulate: bool,
    ) -> float:
        """Do the same from what `_run` returned last."""
        loss: float
        loss_layer: Any = self.loss_layer
        given, named = _of_loss(sample_weight, count)
        one_pass = getattr(loss_layer, "forward_backward", None)
        if one_pass is None:
            loss = loss_layer.forward(h, t, *given, **named)
            grad = (adding_backward(loss_layer) if accumulate else loss_layer.backward)(1)
        elif accumulate:
            loss, grad = one_pass(h, t, *given, **named, accumulate=True)
        else:
            loss, grad = one_pass(h, t, *given, **named)
        (self._add_backward if accumulate else self._backward)(grad, False)
        return loss

    def _backward(self, grad: Any, input_grad: bool) -> Array | None:
        """Take the gradient of the loss layer back through the layers."""
        first = self.layers[0]
        for layer in self.layers[:0:-1]:
            grad = layer.backward(grad)
        if not input_grad and getattr(first, "skips_input_grad", False):
            first.backward(grad, input_grad=False)
            return None
        grad = first.backward(grad)
        return grad  # type: ignore[no-any-return]

    def _add_backward(self, grad: Any, input_grad: bool) -> Array | None:
        """Do the same, adding to the gradients of the layers."""
        first = self.layers[0]
        for layer in self.layers[:0:-1]:
            grad = adding_backward(layer)(grad)
        if not input_grad and getattr(first, "skips_input_grad", False):
            adding_backward(first)(grad, input_grad=False)
            return None
        grad = adding_backward(first)(grad)
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
    rng : RandomState or Generator, optional
        Draw the weights from this, in place of `seed`.
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
        rng: np.random.RandomState | np.random.Generator | None = None,
        dtype: DTypeLike = np.float32,
        weight_scale: float = 0.01,
    ) -> None:
        for name, size in [
            ("input_size", input_size),
            ("hidden_size", hidden_size),
            ("output_size", output_size),
        ]:
            check_count(name, size)
        check_scale(weight_scale)
        rng = random_source(seed, rng)
        super().__init__(
            [
                affine(input_size, hidden_size, rng, dtype=dtype, weight_scale=weight_scale),
                Sigmoid(),
                affine(hidden_size, output_size, rng, dtype=dtype, weight_scale=weight_scale),
            ]
        )


def _of_loss(sample_weight: Any, count: float | None) -> tuple[tuple[Any, ...], dict[str, float]]:
    """Return the arguments of a loss that one of one's own need not take, where there are any."""
    return () if sample_weight is None else (sample_weight,), (
        {} if count is None else {"count": count}
    )


def _shown(what: object) -> str:
    return f"the class {what.__name__}" if isinstance(what, type) else repr(what)


def _check_layer(name: str, layer: Any, inputs: int) -> None:
    """Check that something is a layer whose ``forward`` takes as many things: a loss takes two."""
    if isinstance(layer, BaseModel):
        raise TypeError(
            f"{name}: expected a layer, got a model, {type(layer).__name__}; "
            "a chain takes its layers, *model.layers"
        )
    missing = [a for a in ("params", "grads", "forward", "backward") if not hasattr(layer, a)]
    if missing or isinstance(layer, type):
        lacks = f" without {', '.join(missing)}" if missing else ", not an object of it"
        raise TypeError(f"{name}: expected a layer, got {_shown(layer)}{lacks}")
    if len(layer.params) != len(layer.grads):
        raise ValueError(f"{name}: {len(layer.params)} params but {len(layer.grads)} grads")
    least, most = _positional(layer.forward)
    if least <= inputs <= most:
        return
    takes = str(least) if least == most else f"{least} to {most}"
    if inputs == 2:
        hint = "a loss takes scores and labels"
    elif hasattr(layer, "reduction") or has_parameter(layer.forward, "t"):
        hint = "it is a loss, which is given beside the list: Sequential([...], loss=...)"
    else:
        hint = "in a chain each layer takes what the one before it returned"
    raise TypeError(f"{name}: the forward of {layer!r} takes {takes} inputs; {hint}")


def _positional(function: Any) -> tuple[int, float]:
    """Return how many positional arguments a function needs, and how many it takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a compiled function may have no signature to read
        return 0, math.inf
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [p for p in parameters if p.kind in kinds]
    least = sum(p.default is inspect.Parameter.empty for p in positional)
    endless = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    return least, math.inf if endless else len(positional)
