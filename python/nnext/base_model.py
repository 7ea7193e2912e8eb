"""What every model computes; how its layers are wired is up to the model (see models.py)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from nnext._fit_data import (
    Samples,
    check_rows,
    check_takes_weight,
    count_rows,
    read_samples,
    take_rows,
    weighted_share,
)
from nnext._gathered import check_gathered
from nnext._input import as_input
from nnext._keeping import Kept
from nnext._names import buffers_of, layers_of
from nnext._nnext import EmptyBatchError
from nnext._putting_back import putting_back
from nnext._summary import repr_of, summary_of
from nnext._support import Array, check_count, make_array, refuse_masked, refuse_sparse

__all__ = ["BaseModel", "LayerLike", "as_input", "check_gathered"]


class LayerLike(Protocol):
    """The contract of a layer; any object that keeps it can stand among nnext's own.

    ``backward`` writes the gradients into ``grads[i]``, an array of the shape of ``params[i]`` that
    is never replaced, and returns the gradient of the layer's input.

    A layer may have a list ``buffers`` too: arrays that it writes into and that are not trained,
    such as running statistics. They are stored and copied with the parameters, and put back where a
    batch does not count. What its arrays are called is in ``param_names`` and ``buffer_names``.
    """

    @property
    def params(self) -> list[Any]:
        """The parameters, arrays."""

    @property
    def grads(self) -> list[Any]:
        """Their gradients."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output and remember what ``backward`` needs."""

    def backward(self, *args: Any, **kwargs: Any) -> Any:
        """Write the parameters' gradients and return the input's."""


class BaseModel(Kept):
    """A model: layers, their parameters gathered into two lists, and what follows from these.

    A model of your own derives from this class, names its layers and its loss, and says how they
    are wired in `loss_input` (or `scores`, where the loss takes the scores themselves), `forward`
    and `backward`; `nnext.models.Sequential` does it for a chain. All else is here. After the
    book's ``common/base_model.py``.

    The loss answers for itself: ``predictions(h)``, ``probabilities(h)``, ``scores(h)``,
    ``labels(t, shape)`` and ``evaluate(h, t)`` are methods of nnext's losses, h what their
    ``forward`` takes. A loss without them works too, all but `predict`, `predict_proba` and
    `accuracy`, which raise a ``TypeError`` that says what is missing.

    A model of the book derives from this class and does not call its constructor: it sets its
    ``params`` and ``grads`` itself, and defines ``forward``, ``backward`` and a ``predict`` that
    returns the scores. It can be trained, copied, saved and loaded as any other; ``layers`` and
    ``loss_layer`` it may have.

    Parameters
    ----------
    layers : iterable of layers, optional
        All layers that have parameters, and those that `summary` shall show. None, if left out.
    loss_layer : layer, optional
        The layer that turns scores and labels into the loss.

    Attributes
    ----------
    layers : list of layers
    loss_layer : layer or None
    params, grads : list of ndarray
        The layers' own arrays, in the order of the layers. Training writes into them and never
        replaces them. A model may append parameters of its own that no layer has.
    """

    layers: list[LayerLike]
    loss_layer: Any  # a layer or None

    def __init__(
        self, layers: Iterable[LayerLike] = (), loss_layer: LayerLike | None = None
    ) -> None:
        self.layers = list(layers)
        self.loss_layer = loss_layer
        self.params: list[Array] = []
        self.grads: list[Array] = []
        for layer in self._all_layers():
            self.params += layer.params
            self.grads += layer.grads

    @property
    def buffers(self) -> list[Array]:
        """The layers' arrays that are saved and not trained (`LayerLike`), in their order."""
        return [b for layer in self._all_layers() for b in buffers_of(layer)]

    def loss_input(self, x: ArrayLike) -> Any:
        """Compute what the loss layer takes of `x`, in inference mode: `scores`, if not overridden.

        A model whose loss makes the scores itself (`AffineSoftmaxWithLoss`) defines this method.
        """
        if type(self).scores is BaseModel.scores:
            name = type(self).__name__
            raise NotImplementedError(f"{name} defines neither loss_input(x) nor scores(x)")
        return self.scores(x)

    def scores(self, x: ArrayLike) -> Array:
        """Compute the scores (logits), in inference mode; works with every loss.

        The layers remember this call as they do any other: do not call it, or `predict` or
        `predict_proba`, between `forward` and `backward`.

        Parameters
        ----------
        x : array_like, shape (N, ...)

        Returns
        -------
        ndarray, shape (N, C)
        """
        return self._scores_of(self.loss_input(x))

    def _scores_of(self, h: Any) -> Array:
        scores = getattr(self.loss_layer, "scores", None)
        return h if scores is None else scores(h)  # type: ignore[no-any-return]

    def __call__(self, x: ArrayLike) -> Array:
        """Compute the `scores` of `x`."""
        return self.scores(x)

    def forward(self, x: ArrayLike, t: ArrayLike) -> float:
        """Compute the loss of a batch, in training mode."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward(x, t)")

    def backward(self, dout: float = 1) -> Array | None:
        """Write the gradients of the last `forward` into ``grads``."""
        raise NotImplementedError(f"{type(self).__name__} does not define backward(dout)")

    def loss(
        self,
        x: Any,
        t: ArrayLike,
        batch_size: int = 1024,
        sample_weight: ArrayLike | None = None,
    ) -> float | Array:
        """Compute the loss of any number of samples in inference mode, without side effects.

        A `forward` before it can still be followed by its ``backward``, and `Dropout` goes on where
        it was: whatever the model, its layers and layers within these remember in attributes is put
        back. No more than a batch is computed at a time.

        Parameters
        ----------
        x : array_like, shape (N, ...); a tuple or dict of such for a model with several inputs
        t : array_like, shape (N, ...)
            Labels as the loss layer takes them.
        batch_size : int
            How many samples to compute at a time; the result is that of all at once, but for
            rounding.
        sample_weight : array_like, shape (N, ...), optional
            What each row of scores counts, for a loss layer that takes it.

        Returns
        -------
        float
            The mean over all that counts, or with ``reduction="sum"`` of the loss the sum; with
            ``"none"`` an ndarray, the loss of each row.

        Raises
        ------
        ValueError
            If there are no samples, or labels that the loss refuses, which are named by their row
            in the data; an `EmptyBatchError` if none counts and the loss is a mean.
        """
        batch_size = check_count("batch_size", batch_size)
        samples = read_samples(x if isinstance(x, tuple | dict) else as_input(x), t, sample_weight)
        if sample_weight is not None:
            check_takes_weight(self)
        with putting_back(self):
            try:
                batches = [
                    self._evaluate(samples[i : i + batch_size])
                    for i in range(0, len(samples), batch_size)
                ]
            except (IndexError, TypeError, ValueError):
                # Of a batch; the row in the data is told here.
                samples = samples.cast_to(self.params)
                check_rows(self, samples.x, samples.t)
                raise
        reduction = getattr(self.loss_layer, "reduction", "mean")
        if reduction == "none":
            return np.concatenate([loss for loss, _ in batches])
        if reduction == "sum":
            return math.fsum(float(loss) for loss, _ in batches)
        count = math.fsum(count for _, count in batches)
        if count == 0:
            raise EmptyBatchError(
                f"t: none of the {len(samples)} samples counts, and the loss is a mean"
            )
        # Where nothing counts in a batch its loss is the sum of its rows'.
        return math.fsum(float(loss) * (n or 1.0) for loss, n in batches) / count

    def _evaluate(self, batch: Samples) -> tuple[Any, float]:
        """Return the loss of a batch, the sum over its rows if nothing counts, and what counts."""
        h = self.loss_input(batch.x)
        weight = () if batch.weight is None else (batch.weight,)
        evaluate = getattr(self.loss_layer, "evaluate", None)
        if evaluate is not None:
            return evaluate(h, batch.t, *weight)  # type: ignore[no-any-return]
        try:
            loss = self.loss_layer.forward(h, batch.t, *weight)
            count = getattr(self.loss_layer, "count", len(batch))
            empty = not count and getattr(self.loss_layer, "reduction", "mean") == "mean"
        except EmptyBatchError:
            empty = True
        return (getattr(self.loss_layer, "total", 0.0), 0.0) if empty else (loss, count)

    def predict_proba(self, x: ArrayLike, batch_size: int | None = None) -> Array:
        """Compute the probabilities of the classes.

        Parameters
        ----------
        x : array_like, shape (N, ...)
        batch_size : int, optional
            How many samples to compute at a time, all if left out. The bits are the same.

        Returns
        -------
        ndarray, shape (N, C)
            The softmax of `scores`; its rows sum to 1. If the model's loss is `SigmoidWithLoss`,
            the sigmoid of each score instead.

        Raises
        ------
        TypeError
            If the loss knows no probabilities; `scores` works then too.
        """
        probabilities = self._ask_loss("predict_proba", "probabilities")
        return self._in_batches(lambda part: probabilities(self.loss_input(part)), x, batch_size)

    def predict(self, x: ArrayLike, batch_size: int | None = None) -> Array:
        """Predict the class of every sample.

        The book's ``predict`` returns the raw scores. Here those are called `scores`, and
        ``predict`` answers the question that its name asks, as it does in scikit-learn.

        Parameters
        ----------
        x : array_like, shape (N, ...)
        batch_size : int, optional
            How many samples to compute at a time, all if left out. The result is the same.

        Returns
        -------
        ndarray of int64, shape (N,)
            The index of the highest score (the first one if several are equal). If the model's
            loss is `SigmoidWithLoss`, 0 or 1 for each score, in the shape of the scores.

        Raises
        ------
        TypeError
            If the loss knows no predictions; `scores` works then too.
        """
        predictions = self._ask_loss("predict", "predictions")
        return self._in_batches(lambda part: predictions(self.loss_input(part)), x, batch_size)

    @staticmethod
    def _in_batches(function: Callable[[Any], Array], x: Any, batch_size: int | None) -> Array:
        """Return a function's answers for all samples, computed so many at a time."""
        if batch_size is None:
            return function(x)
        batch_size = check_count("batch_size", batch_size)
        parts = list(x.values()) if isinstance(x, dict) else list(x) if isinstance(x, tuple) else []
        if not any(isinstance(part, np.ndarray) and part.ndim > 1 for part in parts):
            if isinstance(x, dict) or any(isinstance(part, np.ndarray) for part in parts):
                return function(x)  # inputs of one number a row or rows: who knows
            refuse_sparse("x", x)
            refuse_masked("x", x)
            x = make_array("x", x)
            if x.ndim == 0:
                return function(x)
        elif len({len(part) for part in parts}) > 1:
            lengths = ", ".join(str(len(part)) for part in parts)
            raise ValueError(f"x: expected inputs of equally many rows, got {lengths}")
        n = count_rows(x)
        if n <= batch_size:
            return function(x)
        batches = [slice(i, i + batch_size) for i in range(0, n, batch_size)]
        return np.concatenate([function(take_rows(x, rows)) for rows in batches])

    def accuracy(
        self,
        x: Any,
        t: ArrayLike,
        batch_size: int | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> float:
        """Compute the share of samples that `predict` gets right.

        Parameters
        ----------
        x : array_like, shape (N, ...)
        t : array_like, shape (N,) or (N, C)
            The labels as the loss takes them: for `SoftmaxWithLoss` class indices or one-hot; those
            that the loss ignores do not count. If the model's loss is `SigmoidWithLoss`, 0 or 1 for
            each score, in the shape of the scores, and the share is that of the scores; a label
            between counts as 1 if it is above 0.5.
        batch_size : int, optional
            How many samples to compute at a time, all if left out.
        sample_weight : array_like, shape (N, ...), optional
            What each label counts, or all labels of each sample; the share is of their sum.

        Raises
        ------
        ValueError
            If the labels do not fit the scores, or there are none; or the weights do not fit, or
            are 0 wherever a label counts.
        TypeError
            If the labels are not of a type that the loss takes, or the loss knows no predictions.
        IndexError
            If a class index is out of range.
        """
        predictions = self._ask_loss("accuracy", "predictions")
        read_labels = self._ask_loss("accuracy", "labels")
        shape: tuple[int, ...] = ()

        def predict(part: Any) -> Array:
            nonlocal shape
            h = self.loss_input(part)
            shape = self._scores_shape(h)
            return predictions(h)  # type: ignore[no-any-return]

        y = self._in_batches(predict, x, batch_size)
        if y.size == 0:
            raise ValueError(f"x: there are no samples, got shape {np.shape(x)}")
        labels = read_labels(t, (y.shape[:1] + shape[1:]) if y.ndim else shape)
        counted = labels >= 0
        if not counted.any():
            raise ValueError("t: every label is ignored")
        if sample_weight is not None:
            return weighted_share((y == labels) & counted, counted, sample_weight)
        return float(np.count_nonzero((y == labels) & counted) / np.count_nonzero(counted))

    def _scores_shape(self, h: Any) -> tuple[int, ...]:
        """Return the shape that `_scores_of` would have: whole scores may not fit in memory."""
        if h.ndim < 2:
            return self._scores_of(h).shape
        return h.shape[:-1] + self._scores_of(h[(slice(0),) * (h.ndim - 1)]).shape[-1:]  # type: ignore[no-any-return]

    def _ask_loss(self, purpose: str, method: str) -> Any:
        answer = getattr(self.loss_layer, method, None)
        if answer is None:
            raise TypeError(
                f"{purpose}: the loss {type(self.loss_layer).__name__} has no method {method}; "
                "scores(x) works with every loss"
            )
        return answer

    def summary(self, input_shape: Sequence[int] | None = None) -> str:
        """Describe the model as a table: layers, shapes of their parameters, numbers of them.

        A shared parameter is counted once in the total. The type in the last line is that of the
        parameters. `Sequential` computes in it whatever floats come in; a model with wiring of its
        own does so if it calls ``nnext.base_model.as_input(x, self.params)`` first.

        Parameters
        ----------
        input_shape : sequence of int, optional
            The shape of a sample, such as ``(784,)``: adds what each layer returns, N the batch.
            A row of zeros is run through the model in inference mode, without side effects.

        Raises
        ------
        ValueError
            If the model does not take samples of this shape.
        """
        return summary_of(self, input_shape)

    def __repr__(self) -> str:
        return repr_of(self)

    def _all_layers(self) -> list[LayerLike]:
        return layers_of(self)
