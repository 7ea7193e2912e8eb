"""What is measured after an epoch: the loss of a validation set, and metrics."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from nnext._fit_data import (
    Samples,
    begun_anew,
    check_labels,
    one_row_shape,
    read_samples,
    take_rows,
)
from nnext._metric_functions import Answers, Metric, one_number
from nnext._putting_back import putting_back
from nnext._support import Array, as_number, has_parameter

Validation = float | tuple[Any, ...]

_TRIED = 64  # samples of which the functions are tried before training


class Evaluation:
    """The numbers of a model on some samples, in inference mode and without a trace in it.

    Parameters
    ----------
    model : object
    samples : Samples
    metrics : dict of str or callable
        By their names in the history, as `read_metric_functions` returns them.
    is_validation : bool
        Whether the loss is wanted, and names begin with ``val_``.
    batch_size : int
        How many samples to compute at a time.
    """

    def __init__(
        self,
        model: Any,
        samples: Samples,
        metrics: Mapping[str, Metric],
        is_validation: bool,
        batch_size: int = 1024,
    ) -> None:
        self._model = model
        self._samples = samples
        self._metrics = metrics
        self._is_validation = is_validation
        self._batch_size = batch_size
        self._labels: Array | None = None  # as class indices, where the loss knows classes
        self._are_rows = False  # whether those are labels of rows of scores, not of each score
        prefix = "val_" if is_validation else ""
        self.names = [*["val_loss"] * is_validation, *(prefix + name for name in metrics)]

    def check(self) -> None:
        """Refuse a model or samples that cannot be measured, before anything is trained.

        Every function is tried on a few of the samples; one that fails there, on all of them.

        Raises
        ------
        TypeError
            If the model has no ``loss``, ``predict`` or ``accuracy`` to be asked for, or a function
            does not return a number.
        ValueError, IndexError, TypeError
            What the model or its loss say of the samples.
        Exception
            What a function raises, with a note that names it.
        """
        model, samples = self._model, self._samples
        what = "validation" if self._is_validation else "metrics"
        needed = ["loss"] * self._is_validation
        needed += [m if isinstance(m, str) else "predict" for m in self._metrics.values()]
        missing = sorted({name for name in needed if not callable(getattr(model, name, None))})
        if missing:
            raise TypeError(
                f"{what}: the model {type(model).__name__} has no {', '.join(missing)}; models "
                "that derive from nnext.base_model.BaseModel have"
            )
        try:
            # A model of your own may have all that is asked for itself, and no loss_input.
            with begun_anew(model), suppress(NotImplementedError):
                if hasattr(model, "loss_input"):
                    model.loss_input(take_rows(samples.x, slice(1)))
            self._labels = check_labels(model, samples)
        except (IndexError, TypeError, ValueError) as error:
            raise type(error)(f"{what}: {error}") from None
        if self._labels is not None:
            with begun_anew(model):
                shape = one_row_shape(model, samples.x) or ()
            self._are_rows = self._labels.shape[1:] == shape[1:-1] != shape[1:]
        if any(not isinstance(metric, str) for metric in self._metrics.values()):
            self._try_functions()

    def _try_functions(self) -> None:
        """Call every function once, so that a mistake in it is told before an epoch is spent."""
        rows = self._counted_samples()[:_TRIED]
        labels = None if self._labels is None else self._labels[rows]
        with warnings.catch_warnings(), begun_anew(self._model):
            warnings.simplefilter("ignore")  # what is true of few samples only
            few = self._answers(self._samples.take(rows), labels)
            every = few if len(rows) == len(self._samples) else None
            for name, metric in self._metrics.items():
                if isinstance(metric, str):
                    continue
                few.check_call(name, metric)
                try:
                    few.measure(name, metric)
                except Exception:
                    # It may need more of them than a few, of every class for example.
                    every = self._answers(self._samples, self._labels) if every is None else every
                    try:
                        every.measure(name, metric)
                    except Exception as error:
                        error.add_note(f"metrics: {name!r} was tried before the training")
                        raise error from None

    def _counted_samples(self) -> Array:
        """Return the places of the samples of which something counts."""
        n = len(self._samples)
        counted = np.ones(n, bool)
        if self._labels is not None:
            counted &= (self._labels >= 0).reshape(n, -1).any(axis=1)
        if self._samples.weight is not None:
            counted &= (self._samples.weight > 0).reshape(n, -1).any(axis=1)
        return np.flatnonzero(counted)

    def _answers(self, samples: Samples, labels: Array | None) -> Answers:
        """Return what the model predicts of samples, with their labels."""
        # A language model's predict returns scores, as the book's does.
        predict = getattr(self._model, "_answer", None) or self._model.predict
        predictions = predict(samples.x, **self._batched(predict))
        return Answers.read(samples, labels, predictions, self._are_rows)

    def __call__(self) -> dict[str, float]:
        """Return the numbers by their names."""
        model, samples = self._model, self._samples
        values = []
        with putting_back(model):
            if self._is_validation:
                weight = {} if samples.weight is None else {"sample_weight": samples.weight}
                loss = model.loss(samples.x, samples.t, **self._batched(model.loss), **weight)
                values.append(one_number("loss", loss, "validation"))
            if self._metrics:
                values += self._measured()
        return dict(zip(self.names, values, strict=True))

    def _batched(self, method: Any) -> dict[str, int]:
        """Return the argument that makes a method compute in batches, if it can."""
        can = has_parameter(method, "batch_size")
        return {"batch_size": self._batch_size} if can else {}

    def _weighted(self, method: Any) -> dict[str, Array]:
        """Return the argument that hands a method the weights, if there are any and it can."""
        weight = self._samples.weight
        can = weight is not None and has_parameter(method, "sample_weight")
        return {"sample_weight": weight} if can and weight is not None else {}

    def _measured(self) -> list[float]:
        model, samples = self._model, self._samples
        answers = None
        values = []
        for name, metric in self._metrics.items():
            if isinstance(metric, str):
                method = getattr(model, metric)
                options = {**self._batched(method), **self._weighted(method)}
                values.append(one_number(name, method(samples.x, samples.t, **options)))
                continue
            answers = self._answers(samples, self._labels) if answers is None else answers
            values.append(answers.measure(name, metric))
        return values


def split(samples: Samples, validation: Any, seed: int) -> tuple[Samples, Samples | None]:
    """Return what to train on and what to validate on.

    Parameters
    ----------
    samples : Samples
    validation : None, float or tuple
        A part of the samples in (0, 1), drawn by `seed`, is set apart; or (x, t) or
        (x, t, sample_weight).
    seed : int

    Raises
    ------
    TypeError, ValueError
        If it is something else, or leaves nothing to train or validate on.
    """
    if validation is None:
        return samples, None
    if isinstance(validation, tuple | list):
        return samples, read_validation(validation)
    expected = "validation: expected (x, t) or a part of the samples in (0, 1), got"
    part = as_number(validation)
    if part is None:
        raise TypeError(f"{expected} {type(validation).__name__}")
    if isinstance(validation, bool) or not 0 < part < 1:
        raise ValueError(f"{expected} {validation!r}")
    n = len(samples)
    apart = round(n * part)
    if not 0 < apart < n:
        raise ValueError(
            f"validation: {validation!r} of {n} samples leaves {apart} to validate on and "
            f"{n - apart} to train on"
        )
    order = np.random.RandomState(seed).permutation(n)
    return samples.take(np.sort(order[apart:])), samples.take(np.sort(order[:apart]))


def read_validation(validation: Any) -> Samples:
    """Return the samples of a tuple (x, t) or (x, t, sample_weight).

    Raises
    ------
    TypeError, ValueError
        If it is something else, or they do not belong together.
    """
    if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
        raise TypeError(
            f"validation: expected (x, t) or (x, t, sample_weight), got {type(validation).__name__}"
            + (f" of length {len(validation)}" if hasattr(validation, "__len__") else "")
            + ("; no part of an iterable can be set apart" if np.isscalar(validation) else "")
        )
    try:
        return read_samples(*validation)
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation: {error}") from None
