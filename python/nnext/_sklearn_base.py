"""What the two estimators share: reading the data, the network, the fit, the outputs."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from nnext._sklearn_data import Data
from nnext._sklearn_input import check_readable, native
from nnext._sklearn_network import Network, Weights, outputs
from nnext._sklearn_optimizers import make_optimizer
from nnext._sklearn_options import Options
from nnext._sklearn_outputs import OUTPUTS
from nnext._sklearn_solvers import EpochFit, LbfgsFit
from nnext._sklearn_targets import Labels, Values, index_of
from nnext._support import Array, draw_seed

# What only the solvers with epochs write.
_OF_EPOCHS = ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")


class NeuralNetwork(BaseEstimator):  # type: ignore[misc]  # there are no types of scikit-learn
    """An estimator that is a chain of linear layers."""

    _y_is_numeric: ClassVar[bool]
    _targets: Any
    _optimizer: Any

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Fit to data, from new weights unless ``warm_start`` is set.

        Parameters
        ----------
        X : {array_like, sparse matrix}, shape (N, D)
            Samples.
        y : array_like, shape (N,) or (N, K)
            Labels, or the numbers to predict.
        sample_weight : array_like, shape (N,), optional
            What each sample counts.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For parameters and data that cannot be used. Also if a weight is not finite in the end.

        Notes
        -----
        A fit that raises, out of a callback too, leaves the estimator as it was.
        """
        return self._fit(X, y, sample_weight)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool = False, classes: Any = None
    ) -> Any:
        """Fit a draft of the estimator, which it becomes only when nothing can fail any more."""
        draft = type(self).__new__(type(self))
        draft.__dict__.update(self.__dict__)
        before = set(self.__dict__)
        draft._learn(X, y, sample_weight, incremental, classes)
        for name in before - draft.__dict__.keys():
            self.__dict__.pop(name, None)
        options = self.get_params(deep=False)  # a callback may have set one, for the next fit
        self.__dict__.update((n, v) for n, v in draft.__dict__.items() if n not in options)
        return self

    def _learn(self, X: Any, y: Any, sample_weight: Any, incremental: bool, classes: Any) -> None:
        """Check everything, and train; arrays and lists of an earlier fit are not written."""
        options = Options(self.get_params(deep=False))
        if incremental and options.early_stopping:
            raise ValueError("partial_fit: an epoch is all it makes; it needs early_stopping=False")
        if incremental and isinstance(options.class_weight, str):
            raise ValueError(
                "class_weight: 'balanced' needs all samples at once, and partial_fit has a part; "
                "expected a dict or None"
            )
        fresh = not hasattr(self, "coefs_") or not (options.warm_start or incremental)
        dtype = options.dtype if fresh else self.coefs_[0].dtype
        X, y = self._read(X, y, dtype, fresh)
        targets, t = self._encode(y, X.dtype, fresh, incremental, classes)
        data = self._weigh(X, t, sample_weight, options, targets)
        sizes = (X.shape[1], *options.hidden_layer_sizes, targets.n_outputs)
        rng = options.random_state
        if fresh:
            weights = Weights(sizes, X.dtype)
            weights.draw(rng, 2.0 if options.activation == "logistic" else 6.0)
            self.__dict__.pop("_optimizer", None)
        else:
            weights = self._copied_weights(sizes)
        self._begin(weights, targets, fresh)
        if options.is_stochastic:
            self._fit_epochs(data, weights, options, targets, rng, incremental)
        else:
            self._fit_lbfgs(data, weights, options)
        if not np.isfinite(weights.all).all():
            raise ValueError(
                "the weights are not finite after the fit: are the data of a very large scale, or "
                "is learning_rate_init too large?"
            )

    def _read(self, X: Any, y: Any, dtype: Any, fresh: bool) -> tuple[Any, Any]:
        """Check the data, and note the features if it is a new fit."""
        check_readable("X", X)
        check_readable("y", y)
        X, y = validate_data(
            self,
            X,
            y,
            reset=fresh,
            accept_sparse="csr",
            dtype=native(X, dtype),
            order="C",
            multi_output=True,
            y_numeric=self._y_is_numeric,
        )
        if y.ndim == 2 and y.shape[1] == 1 and not sparse.issparse(y):
            y = column_or_1d(y, warn=True)
        return X, y

    def _encode(
        self, y: Any, dtype: Any, fresh: bool, incremental: bool, classes: Any
    ) -> tuple[Labels | Values, Array]:
        """Return what the targets mean, and the targets."""
        raise NotImplementedError

    def _weigh(self, X: Any, t: Array, sample_weight: Any, options: Options, targets: Any) -> Data:
        """Put rows, targets and weights together."""
        given = weight = None if sample_weight is None else _read_weights(sample_weight, X.shape[0])
        if options.class_weight is not None:
            of_classes = targets.class_weights(options.class_weight, t, given)
            weight = of_classes[index_of(t)]
            if given is not None:
                weight = weight * given
        if weight is not None and not weight.any():
            raise ValueError("sample_weight: all weights are zero, nothing counts")
        if weight is not None:
            _check_sum(weight)
        return Data(X, t, weight, given)

    def _copied_weights(self, sizes: tuple[int, ...]) -> Weights:
        """Return a copy of the weights of the last fit, to go on with."""
        found = [W.shape[0] for W in self.coefs_] + [self.coefs_[-1].shape[1]]
        if tuple(found) != sizes:
            raise ValueError(
                f"hidden_layer_sizes: going on with a fit needs layers of {found} units, got "
                f"{list(sizes)} (the first are the features, the last the outputs)"
            )
        weights = Weights(sizes, self.coefs_[0].dtype)
        weights.take(self.coefs_, self.intercepts_)
        return weights

    def _begin(self, weights: Weights, targets: Labels | Values, fresh: bool) -> None:
        """Set the attributes that are known before the fit."""
        self._targets = targets
        self.coefs_, self.intercepts_ = list(weights.coefs), list(weights.intercepts)
        self.n_layers_ = len(weights.sizes)
        self.n_outputs_ = targets.n_outputs
        self.out_activation_ = targets.activation
        if fresh:
            self.t_ = 0
            for name in (*_OF_EPOCHS, "_no_improvement_count", "_best_weights"):
                self.__dict__.pop(name, None)
        self.n_iter_ = 0

    def _fit_epochs(
        self,
        data: Data,
        weights: Weights,
        options: Options,
        targets: Labels | Values,
        rng: np.random.RandomState,
        incremental: bool,
    ) -> None:
        self._begin_records(options.early_stopping, weights)
        if incremental and hasattr(self, "_optimizer"):
            self._optimizer = self._optimizer.copy()
        else:
            self._optimizer = make_optimizer(options)
        train, held_out = data, None
        if options.early_stopping:
            strata = targets.strata(data.t)
            train, held_out = _hold_out(data, options.validation_fraction, rng, strata)
        network = Network(
            weights,
            options.activation,
            OUTPUTS[targets.activation](),
            options.alpha,
            options.dropout,
            draw_seed(rng) if options.dropout else 0,
        )
        EpochFit(self, options, network, train, self._optimizer, held_out, targets.score).run(
            rng, once=incremental
        )

    def _begin_records(self, early_stopping: bool, weights: Weights) -> None:
        """Make what the epochs write, with what an earlier fit has written."""
        if not hasattr(self, "loss_curve_"):
            self.loss_curve_: list[float] = []
            self.validation_scores_: list[float] | None = None
            self.best_validation_score_: float | None = None
            self.best_loss_: float | None = None
            self._no_improvement_count = 0
        self.loss_curve_ = list(self.loss_curve_)
        if self.validation_scores_ is not None:
            self.validation_scores_ = list(self.validation_scores_)
        if early_stopping and self.validation_scores_ is None:
            self.validation_scores_, self.best_validation_score_ = [], -np.inf
            self.best_loss_ = None
            self._best_weights = weights.all.copy()
        elif not early_stopping and self.best_loss_ is None:
            self.validation_scores_ = self.best_validation_score_ = None
            self.best_loss_ = np.inf

    def _fit_lbfgs(self, data: Data, weights: Weights, options: Options) -> None:
        x, t = data.x, data.t
        work = weights
        if weights.all.dtype != np.float64:
            work = Weights(weights.sizes, np.float64)
            work.take(weights.coefs, weights.intercepts)
            x = x.astype(np.float64)
            t = t.astype(np.float64) if t.dtype.kind == "f" else t
        network = Network(work, options.activation, OUTPUTS[self.out_activation_](), options.alpha)
        LbfgsFit(self, options, network, Data(x, t, data.weight)).run()
        if work is not weights:
            weights.all[...] = work.all

    def _outputs(self, X: Any) -> Array:
        """Return what the network answers, shape (N, K)."""
        check_is_fitted(self, "coefs_")
        check_readable("X", X)
        X = validate_data(self, X, reset=False, accept_sparse="csr", dtype=self.coefs_[0].dtype)
        output = OUTPUTS[self.out_activation_]
        return outputs(X, self.coefs_, self.intercepts_, self.activation, output)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def has_epochs(estimator: Any) -> bool:
    """Return True if an estimator has a ``partial_fit``; else say why it has none."""
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit needs solver='adam' or 'sgd'; this one is 'lbfgs'")
    return True


def _read_weights(sample_weight: Any, rows: int) -> Array:
    """Return the weights of rows as float64, one for each."""
    check_readable("sample_weight", sample_weight)
    weights: Array = check_array(
        np.full(rows, sample_weight) if isinstance(sample_weight, Real) else sample_weight,
        dtype=np.float64,
        ensure_2d=False,
        order="C",
        input_name="sample_weight",
    )
    if weights.shape != (rows,):
        raise ValueError(
            f"sample_weight: expected shape ({rows},), one for each sample, got {weights.shape}"
        )
    return weights


def _check_sum(weights: Array) -> None:
    """Raise a ValueError if a mean with these weights is none."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = weights.sum()
    if not np.isfinite(total) or total == 0:
        raise ValueError(
            f"sample_weight: expected weights whose sum can be divided by, they add up to {total}"
        )


def _hold_out(
    data: Data, part: float, rng: np.random.RandomState, strata: Array | None
) -> tuple[Data, Data]:
    """Set a part of the rows apart, the same part of each stratum."""
    size = math.ceil(part * len(data))  # as train_test_split has it
    if not 2 <= size < len(data):
        needs = "a score needs at least 2" if size < 2 else "training needs at least 1"
        raise ValueError(
            f"validation_fraction: {part} of {len(data)} samples are {size}, and {needs}"
        )
    train, held_out = train_test_split(
        np.arange(len(data)), random_state=rng, test_size=part, stratify=strata
    )
    parts = data.take(train), data.take(held_out)
    for name, weight in (("train on", parts[0].weight), ("score", parts[1].given_weight)):
        if weight is not None and not weight.any():
            raise ValueError(
                f"sample_weight: all weights of the samples to {name} are zero, with "
                f"validation_fraction={part} and this random_state"
            )
    return parts
