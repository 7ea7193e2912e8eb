"""Functions as metrics: what they are called, what they are given, what they may answer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnext._fit_data import Samples
from nnext._support import Array, as_number, has_parameter
from nnext.history import COLUMNS

Metric = str | Callable[..., float]
Metrics = Iterable[Metric] | Mapping[str, Metric]

# The metrics that have a name: methods of the model.
_NAMED = ("accuracy",)


def read_metric_functions(metrics: Any) -> dict[str, Metric]:
    """Return the metrics by their names.

    Parameters
    ----------
    metrics : iterable of str or callable, or dict of name to str or callable
        ``"accuracy"``, or functions of the labels and `BaseModel.predict`'s answer, as those of
        ``sklearn.metrics``. They are called what their ``__name__`` says, a `functools.partial`
        what its function is called, and any other object what its type is called.

    Raises
    ------
    TypeError
        If it is something else, or has no name.
    ValueError
        If a name is not known, or that of another one.
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
        elif isinstance(metric, type) or not callable(metric):
            what = f"the class {metric.__name__}" if isinstance(metric, type) else repr(metric)
            raise TypeError(f"metrics: expected a name or a function(t, y), got {what}")
        name = _name_of(metric) if own_name is None else own_name
        if not isinstance(name, str) or name == "<lambda>":
            raise TypeError(f'metrics: {metric!r} has no name; give a dict, {{"name": function}}')
        if name in COLUMNS:
            raise ValueError(f"metrics: every history has a column {name!r}, take another name")
        if name in named:
            raise ValueError(
                f"metrics: there are two of the name {name!r}; a dict gives them names, "
                '{"name": function}'
            )
        named[name] = metric
    return named


def _name_of(metric: Any) -> Any:
    if isinstance(metric, str):
        return metric
    if isinstance(metric, functools.partial):
        return _name_of(metric.func)
    return getattr(metric, "__name__", type(metric).__name__)


@dataclass
class Answers:
    """What a metric is given: labels and predictions of what counts, and what each counts.

    Attributes
    ----------
    t, y : ndarray
        Read-only: the labels may be the caller's own, and other metrics get both.
    weight : ndarray or None
    """

    t: Any
    y: Any
    weight: Array | None = None

    @classmethod
    def read(
        cls, samples: Samples, labels: Array | None, predictions: Any, are_rows: bool
    ) -> Answers:
        """Leave out what does not count: ignored labels, and rows of weight 0.

        Parameters
        ----------
        samples : Samples
        labels : ndarray of int64, or None
            Class indices, below 0 where a label is ignored; None for other targets, as they are.
        predictions : array_like, shape (N, ...)
        are_rows : bool
            Whether there is one label for each row of scores: those of sequences become one axis.

        Raises
        ------
        ValueError
            If there are not as many predictions as labels.
        """
        t, weight = samples.t if labels is None else labels, samples.weight
        y = np.asarray(predictions)
        if y.shape[:1] != t.shape[:1]:
            raise ValueError(
                f"metrics: predict returned an array of shape {y.shape} for {len(t)} samples"
            )
        if are_rows and t.ndim > 1:
            t, y = t.reshape(-1), y.reshape(-1, *y.shape[t.ndim :])
            weight = None if weight is None else weight.reshape(-1)
        counted = None if weight is None else weight > 0
        if labels is not None and are_rows and (t < 0).any():
            counted = t >= 0 if counted is None else counted & (t >= 0)
        if counted is not None and not counted.all():
            t, y = t[counted], y[counted]
            weight = None if weight is None else weight[counted]
        return cls(_read_only(t), _read_only(y), None if weight is None else _read_only(weight))

    def measure(self, name: str, metric: Callable[..., Any]) -> float:
        """Return what a function says of them.

        Raises
        ------
        TypeError
            If it is not one number.
        """
        weight = {}
        if self.weight is not None and takes_weight(metric):
            weight = {"sample_weight": self.weight}
        return one_number(name, metric(self.t, self.y, **weight))

    def check_call(self, name: str, metric: Callable[..., Any]) -> None:
        """Raise a TypeError if a function cannot be called with these."""
        try:
            signature = inspect.signature(metric)
        except (TypeError, ValueError):  # a compiled function may have no signature to read
            return
        weighted = self.weight is not None and takes_weight(metric)
        try:
            signature.bind(self.t, self.y, **({"sample_weight": self.weight} if weighted else {}))
        except TypeError as error:
            given = "labels and predictions" + (" and sample_weight" if weighted else "")
            raise TypeError(f"metrics: {name!r} is called with {given}: {error}") from None


def takes_weight(metric: Any) -> bool:
    """Say whether a function takes ``sample_weight``, and has none of its own."""
    if isinstance(metric, functools.partial) and "sample_weight" in metric.keywords:
        return False
    return has_parameter(metric, "sample_weight")


def one_number(name: str, value: Any, argument: str = "metrics") -> float:
    """Return what a metric answered as a float; a TypeError if it is not one number."""
    number = as_number(value)
    if number is None:
        what = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
        raise TypeError(f"{argument}: expected a number from {name!r}, got {what}")
    return number


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view
