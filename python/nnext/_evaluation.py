"""What is measured after an epoch: the loss of a validation set, and metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from nnext._fit_data import Samples, check_labels, read_samples, take_rows
from nnext._putting_back import putting_back
from nnext._support import check_numbers, has_parameter

Metric = str | Callable[[Any, Any], float]
Metrics = Iterable[Metric] | Mapping[str, Metric]
Validation = float | tuple[Any, ...]

# The metrics that have a name: methods of the model.
_NAMED = ("accuracy",)


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
        prefix = "val_" if is_validation else ""
        self.names = [*["val_loss"] * is_validation, *(prefix + name for name in metrics)]

    def check(self) -> None:
        """Refuse a model or samples that cannot be measured, before anything is trained.

        Raises
        ------
        TypeError
            If the model has no ``loss``, ``predict`` or ``accuracy`` to be asked for.
        ValueError, IndexError, TypeError
            What the model or its loss say of the samples.
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
            with putting_back(model):
                if hasattr(model, "loss_input"):
                    model.loss_input(take_rows(samples.x, slice(1)))
            check_labels(model, samples)
        except (IndexError, TypeError, ValueError) as error:
            raise type(error)(f"{what}: {error}") from None

    def __call__(self) -> dict[str, float]:
        """Return the numbers by their names."""
        model, samples = self._model, self._samples
        values = []
        with putting_back(model):
            if self._is_validation:
                weight = {} if samples.weight is None else {"sample_weight": samples.weight}
                loss = model.loss(samples.x, samples.t, **self._batched(model.loss), **weight)
                values.append(float(loss))
            if self._metrics:
                values += self._measured()
        return dict(zip(self.names, values, strict=True))

    def _batched(self, method: Any) -> dict[str, int]:
        """Return the argument that makes a method compute in batches, if it can."""
        can = has_parameter(method, "batch_size")
        return {"batch_size": self._batch_size} if can else {}

    def _measured(self) -> list[float]:
        model, samples = self._model, self._samples
        predictions = None
        values = []
        for name, metric in self._metrics.items():
            if isinstance(metric, str):
                method = getattr(model, metric)
                value = method(samples.x, samples.t, **self._batched(method))
            else:
                if predictions is None:
                    predictions = model.predict(samples.x, **self._batched(model.predict))
                labels = samples.t.view()
                labels.flags.writeable = False  # they may be the caller's own array
                value = metric(labels, predictions)
            try:
                math.isnan(value)
                values.append(float(value))
            except TypeError:
                raise TypeError(
                    f"metrics: expected a number from {name!r}, got {value!r}"
                ) from None
        return values


def read_metric_functions(metrics: Any) -> dict[str, Metric]:
    """Return the metrics by their names.

    Parameters
    ----------
    metrics : iterable of str or callable, or dict of name to str or callable
        ``"accuracy"``, or functions of the labels and `BaseModel.predict`'s answer, as those of
        ``sklearn.metrics``, which are called what their ``__name__`` says.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If a name is not known or there twice.
    """
    if isinstance(metrics, str | bytes) or not isinstance(metrics, Iterable):
        raise TypeError(f'metrics: expected a list such as ["accuracy"], got {metrics!r}')
    named: dict[str, Metric] = {}
    given = metrics.items() if isinstance(metrics, Mapping) else [(None, m) for m in metrics]
    for own_name, metric in given:
        if isinstance(metric, str):
            if metric not in _NAMED:
                known = ", ".join(map(repr, _NAMED))
                raise ValueError(f"metrics: expected {known} or a function, got {metric!r}")
        elif not callable(metric):
            raise TypeError(f"metrics: expected a name or a function(t, y), got {metric!r}")
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", None)
        name = name if own_name is None else own_name
        if not isinstance(name, str) or name == "<lambda>":
            raise TypeError(f'metrics: {metric!r} has no name; give a dict, {{"name": function}}')
        if name in named or name == "loss":
            raise ValueError(f"metrics: there are two of the name {name!r}")
        named[name] = metric
    return named


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
    check_numbers(validation=validation)
    if isinstance(validation, bool) or np.ndim(validation) or not 0 < validation < 1:
        raise ValueError(
            f"validation: expected (x, t) or a part of the samples in (0, 1), got {validation!r}"
        )
    n = len(samples)
    apart = round(n * float(validation))
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
        )
    try:
        return read_samples(*validation)
    except (TypeError, ValueError) as error:
        raise type(error)(f"validation: {error}") from None
