"""What y means to an estimator: the targets of its network, and the way back from its outputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal

import numpy as np
from scipy import sparse
from sklearn.metrics import r2_score
from sklearn.utils.multiclass import type_of_target, unique_labels

from nnext._support import Array


class Labels:
    """Labels of a classifier: of two classes or one, of more, or any number at once.

    Parameters
    ----------
    y : ndarray or sparse matrix
        Labels (N,), or an indicator matrix (N, K) of several at once, which may be sparse.
    found : str
        What `kind_of` says of it.
    classes : array_like, optional
        All classes there are to be, if `y` is not known to have them all.

    Attributes
    ----------
    kind : {"binary", "multiclass", "multilabel"}
    classes : ndarray
        Sorted. Of an indicator matrix the numbers of its columns.
    activation : str
        Of the network's output.
    n_outputs : int

    """

    def __init__(self, y: Any, found: str, classes: Any = None) -> None:
        kind: Any = found
        self._is_sparse = bool(sparse.issparse(y))
        if kind == "multilabel":
            self.classes = unique_labels(y)
        else:
            given = np.asarray(y if classes is None else classes)
            if given.ndim != 1 or not len(given):
                raise ValueError(f"classes: expected a list of labels, got {classes!r}")
            self.classes = unique_labels(given).astype(given.dtype)
            kind = "multiclass" if len(self.classes) > 2 else "binary"
        self.kind: Literal["binary", "multiclass", "multilabel"] = kind
        self.activation = "softmax" if kind == "multiclass" else "logistic"
        self.n_outputs = 1 if kind == "binary" else len(self.classes)

    def encode(self, y: Any, found: str) -> Array:
        """Return the network's targets: class indices (N,), or booleans (N, K).

        Raises
        ------
        ValueError
            If `y` is of another kind, or has a label that is none of the classes.
        """
        if (found == "multilabel") != (self.kind == "multilabel"):
            raise ValueError(
                f"y: expected labels of the kind {self.kind} that came first, got shape {y.shape}"
            )
        if self.kind == "multilabel":
            if y.shape[1] != self.n_outputs:
                raise ValueError(f"y: expected {self.n_outputs} columns, got {y.shape[1]}")
            dense = y.toarray() if sparse.issparse(y) else y
            return np.ascontiguousarray(dense != 0)
        index: Array = np.searchsorted(self.classes, y)
        is_known = self.classes[np.minimum(index, len(self.classes) - 1)] == y
        if not is_known.all():
            unknown = unique_labels(y[~is_known])
            raise ValueError(
                f"y: expected labels of the classes {self.classes}, got {unknown} too: a fit with "
                "warm_start and partial_fit take no new classes"
            )
        return index if self.kind == "multiclass" else (index == 1)[:, None]

    def check_complete(self, y: Any) -> None:
        """Raise a ValueError unless every class is in `y`: a warm start is on the same classes."""
        missing = np.setdiff1d(self.classes, unique_labels(y))
        if self.kind != "multilabel" and len(missing):
            raise ValueError(
                f"y: warm_start needs the same classes as before, {self.classes}; there is no "
                f"{missing}"
            )

    def check_same(self, classes: Any) -> None:
        """Raise a ValueError unless `classes` are these."""
        if not np.array_equal(self.classes, unique_labels(classes)):
            raise ValueError(
                f"classes: expected the same as in the first call of partial_fit, {self.classes}, "
                f"got {classes!r}"
            )

    def strata(self, t: Array) -> Array | None:
        """Return what a part of the rows should have alike; None where a row has several labels.

        None for many classes too, as in scikit-learn.
        """
        return t if self.kind == "binary" else None

    def decode(self, outputs: Array) -> Any:
        """Return the labels that outputs (N, K) stand for."""
        if self.kind == "multiclass":
            return self.classes[outputs.argmax(axis=1)]
        answers = (outputs > 0.5).astype(np.int64)
        if self.kind == "multilabel":
            return sparse.csr_array(answers) if self._is_sparse else answers
        if len(self.classes) == 1:
            return np.repeat(self.classes, len(outputs))
        return self.classes[answers[:, 0]]

    def probabilities(self, outputs: Array) -> Array:
        """Return a column of probabilities for each class."""
        if self.kind != "binary":
            return outputs
        if len(self.classes) == 1:
            return np.ones_like(outputs)
        return np.hstack([1 - outputs, outputs])

    def score(self, outputs: Array, t: Array, sample_weight: Array | None) -> float:
        """Return the part of the rows that are all right."""
        if self.kind == "multiclass":
            right = outputs.argmax(axis=1) == t
        else:
            right = ((outputs > 0.5) == t).all(axis=1)
        return float(np.average(right, weights=sample_weight))

    def class_weights(self, given: Any, t: Array, sample_weight: Array | None) -> Array:
        """Return the weight of each class.

        Parameters
        ----------
        given : "balanced" or dict
            Balanced classes count alike: each row's weight is divided by what its class has in all,
            times what there is for each class on average.
        t : ndarray
            Targets.
        sample_weight : ndarray, optional

        Raises
        ------
        ValueError
            For a weight of a class that there is not, or that cannot be used; or an indicator
            matrix.
        """
        if self.kind == "multilabel":
            raise ValueError("class_weight: several labels at once have no weight of one class")
        if isinstance(given, Mapping):
            weights = np.ones(len(self.classes))
            places = {label: i for i, label in enumerate(self.classes.tolist())}
            for label, weight in given.items():
                if label not in places:
                    raise ValueError(
                        f"class_weight: there is no class {label!r} among {self.classes}"
                    )
                if not (isinstance(weight, Real) and 0 <= float(weight) < math.inf):
                    raise ValueError(f"class_weight: expected numbers of at least 0, got {given!r}")
                weights[places[label]] = weight
            return weights
        sums = np.bincount(index_of(t), sample_weight, len(self.classes)).astype(np.float64)
        balanced = np.zeros_like(sums)
        np.divide(sums.mean(), sums, out=balanced, where=sums > 0)
        return balanced


class Values:
    """Numbers of a regressor.

    Parameters
    ----------
    y : ndarray or sparse matrix, shape (N,) or (N, K)
    activation : str
        Of the network's output: ``"exp"`` takes no numbers below 0.

    Attributes
    ----------
    activation : str
    n_outputs : int
    """

    def __init__(self, y: Any, activation: str) -> None:
        self.activation = activation
        self.n_outputs = 1 if y.ndim == 1 else y.shape[1]

    def encode(self, y: Any, dtype: Any) -> Array:
        """Return the network's targets (N, K).

        Raises
        ------
        ValueError
            If they are no numbers or too large for the type, there are other numbers of outputs, or
            some are below 0 that may not be.
        """
        dense = y.toarray() if sparse.issparse(y) else y
        if dense.dtype.kind not in "biuf":
            raise ValueError(f"y: expected numbers, got the type {dense.dtype}")
        with np.errstate(over="ignore"):
            t = np.ascontiguousarray(dense if dense.ndim == 2 else dense[:, None], dtype)
        if not np.isfinite(t).all():
            raise ValueError(
                f"y: expected numbers that {t.dtype} can hold, got {np.abs(dense).max()}"
            )
        if t.shape[1] != self.n_outputs:
            raise ValueError(f"y: expected {self.n_outputs} outputs, got {t.shape[1]}")
        if self.activation == "exp" and (t < 0).any():
            raise ValueError(f"y: expected numbers of at least 0 for loss='poisson', got {t.min()}")
        return t

    @staticmethod
    def strata(t: Array) -> None:
        """Return None: numbers have no kinds."""

    @staticmethod
    def score(outputs: Array, t: Array, sample_weight: Array | None) -> float:
        """Return the coefficient of determination; NaN where an output is not finite."""
        if not np.isfinite(outputs).all():
            return np.nan
        return float(r2_score(t, outputs, sample_weight=sample_weight))


def index_of(t: Array) -> Array:
    """Return the class indices (N,) of targets, of one class each."""
    return t if t.ndim == 1 else t[:, 0].astype(np.int64)


def kind_of(y: Any) -> str:
    """Say of what kind labels are: "binary", "multiclass" or "multilabel".

    Raises
    ------
    ValueError
        For others: continuous numbers, or several labels of more than two classes.
    """
    kind = type_of_target(y, input_name="y")
    if kind in ("binary", "multiclass"):
        return str(kind)
    if kind == "multilabel-indicator":
        return "multilabel"
    raise ValueError(
        f"y: expected labels, or an indicator matrix of several at once, got {kind} ones. Unknown "
        f"label type: {kind}; for numbers there is MLPRegressor"
    )
