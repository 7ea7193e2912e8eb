"""scikit-learn's multi-layer perceptrons on nnext's core: `MLPClassifier` and `MLPRegressor`.

They take scikit-learn's parameters, have its attributes and follow its algorithm: from the same
``random_state`` the same weights are drawn, the same samples set apart, the same batches made, so
that losses and weights agree but for rounding. Pipelines, searches, calibration and whatever else
takes estimators take these. The bits of a fit do not depend on threads or instruction sets (but
with ``solver="lbfgs"``, where SciPy does a part of the work).

`class_weight`, `dropout`, `callbacks` and `dtype` are nnext's own. What else is different:

- a batch whose weights add up to 0 is passed over, where scikit-learn divides by 0;
- after a warm start with ``early_stopping`` the best weights of all fits are put back;
- with ``solver="lbfgs"`` float32 data are computed in float64, and the weights are float32 again;
- a fit that raises leaves the estimator as it was, its weights and records included;
- labels that are Python objects stay objects, and one class alone has one column of probabilities;
- masked elements are refused, and weights of samples whose sum is 0 or infinite;
- ``loss="poisson"`` refuses negative targets; wrong parameters are ValueErrors or TypeErrors that
  name them.

Needs scikit-learn, which nothing else in nnext loads: ``pip install "nnext-core[sklearn]"``.

Examples
--------
>>> from sklearn.datasets import load_iris
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import StandardScaler
>>> from nnext.sklearn import MLPClassifier
>>> X, y = load_iris(return_X_y=True)
>>> model = make_pipeline(StandardScaler(), MLPClassifier(random_state=0, max_iter=500))
>>> model.fit(X, y).score(X, y) > 0.95
True
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnext import _nnext
from nnext._support import Array, require

require("sklearn", "sklearn", "nnext.sklearn")

from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin  # noqa: E402
from sklearn.utils.metaestimators import available_if  # noqa: E402

from nnext._sklearn_base import NeuralNetwork, has_epochs  # noqa: E402
from nnext._sklearn_targets import Labels, Values, kind_of  # noqa: E402
from nnext._threadpoolctl import register_if_loaded  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor"]

register_if_loaded()  # scikit-learn has loaded it


class MLPClassifier(ClassifierMixin, MultiOutputMixin, NeuralNetwork):  # type: ignore[misc]
    """A network of linear layers for classes: of two, of many, or of several at once.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default (100,)
        Units of each hidden layer; ``()`` is logistic regression.
    activation : {"relu", "tanh", "logistic", "identity"}
        Of the hidden layers.
    solver : {"adam", "sgd", "lbfgs"}
        ``"lbfgs"`` is SciPy's, on all samples at once: for some thousand samples at most.
    alpha : float, default 0.0001
        The penalty ``alpha / 2 · Σ W²`` is added to the sum of the samples' losses of a batch.
    batch_size : int or "auto"
        ``"auto"`` is 200, or all samples if there are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}
        Of "sgd". The first rate; or divided by ``t_ ** power_t``; or by 5 whenever
        `n_iter_no_change` epochs have brought nothing, instead of stopping.
    learning_rate_init : float, default 0.001
    power_t : float, default 0.5
    max_iter : int, default 200
        Epochs, or iterations of "lbfgs".
    shuffle : bool
        Whether each epoch has an order of its own.
    random_state : int, RandomState or None
        Of the first weights, what is set apart, the orders and the dropout.
    tol : float, default 0.0001
        What is better by less is no improvement; of "lbfgs" the largest slope at the end.
    verbose : bool
        A bar (with tqdm, on a terminal), or a line for each epoch.
    warm_start : bool
        Whether ``fit`` goes on from the weights that are there.
    momentum : float, default 0.9
    nesterovs_momentum : bool
        Of "sgd".
    early_stopping : bool
        Whether to set `validation_fraction` of the samples apart, to stop by the score on them, and
        to end with the weights that had the best one.
    validation_fraction : float, default 0.1
    beta_1, beta_2, epsilon : float, default 0.9, 0.999, 1e-8
        Of "adam".
    n_iter_no_change : int or inf, default 10
        More epochs than this without improvement end the fit.
    max_fun : int, default 15000
        Calls of the loss by "lbfgs", at most.
    class_weight : {"balanced"}, dict or None
        What the samples of each class count; in a dict 1 for those that it leaves out.
    dropout : float, default 0
        The part of the hidden layers' activations that is dropped in training.
    callbacks : iterable of callbacks, optional
        See `nnext.callbacks`. What they get has the ``model``, ``optimizer``, ``history`` and
        ``step`` of a trainer; columns of the history are ``"loss"`` and ``"validation_score"``.
        Its ``estimator`` is the one in training; this one has the old weights until the end.
        With "lbfgs" they are called for epochs alone, which are its iterations.
    dtype : {"float32", "float64"}, optional
        The type computed in; left out, float32 samples are computed in float32, all others in
        float64.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted; of an indicator matrix its columns' numbers.
    coefs_, intercepts_ : list of ndarray
        Of each layer the weights (inputs, units) and the biases.
    loss_ : float
        The mean of the batches' losses in the last epoch, before their steps.
    loss_curve_ : list of float
        The same for each epoch.
    best_loss_ : float or None
        The smallest of these; None with early stopping.
    validation_scores_ : list of float or None
        The accuracy after each epoch, with early stopping.
    best_validation_score_ : float or None
    n_iter_ : int
        Epochs of the last fit.
    t_ : int
        Samples seen in all.
    n_layers_, n_outputs_, n_features_in_ : int
    feature_names_in_ : ndarray
        If the data had names.
    out_activation_ : str
        ``"softmax"``, or ``"logistic"`` for two classes and for indicator matrices.
    """

    _y_is_numeric = False

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: str | Mapping[Any, float] | None = None,
        dropout: float = 0.0,
        callbacks: Iterable[Any] | None = None,
        dtype: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.class_weight = class_weight
        self.dropout = dropout
        self.callbacks = callbacks
        self.dtype = dtype

    def _encode(
        self, y: Any, dtype: Any, fresh: bool, incremental: bool, classes: Any
    ) -> tuple[Labels, Array]:
        kind = kind_of(y)
        labels: Labels | None = None if fresh else self._targets
        if labels is None:
            if incremental and classes is None:
                raise ValueError("classes: the first call of partial_fit has to be told them")
            labels = Labels(y, kind, classes)
        elif classes is not None:
            labels.check_same(classes)
        t = labels.encode(y, kind)
        if self.warm_start and not fresh:
            labels.check_complete(y)
        return labels, t

    def _begin(self, weights: Any, targets: Any, fresh: bool) -> None:
        super()._begin(weights, targets, fresh)
        self.classes_ = targets.classes

    @available_if(has_epochs)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> MLPClassifier:
        """Train for one epoch on some samples, from the weights that are there.

        Parameters
        ----------
        X : {array_like, sparse matrix}, shape (N, D)
            Samples.
        y : array_like, shape (N,) or (N, K)
            Labels.
        sample_weight : array_like, shape (N,), optional
            What each sample counts.
        classes : array_like, optional
            All classes that there are to be; the first call needs them.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, True, classes)  # type: ignore[no-any-return]

    def predict(self, X: Any) -> Any:
        """Return the most probable class of each sample, or which of several are probable.

        Parameters
        ----------
        X : {array_like, sparse matrix}, shape (N, D)
            Samples.

        Returns
        -------
        ndarray, shape (N,) or (N, K)
        """
        outputs = self._outputs(X)
        return self._targets.decode(outputs)

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class.

        Parameters
        ----------
        X : {array_like, sparse matrix}, shape (N, D)
            Samples.

        Returns
        -------
        ndarray, shape (N, C)
            In the order of ``classes_``.
        """
        outputs = self._outputs(X)
        return self._targets.probabilities(outputs)  # type: ignore[no-any-return]

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : {array_like, sparse matrix}, shape (N, D)
            Samples.

        Returns
        -------
        ndarray, shape (N, C)
        """
        return _nnext.log(self.predict_proba(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, MultiOutputMixin, NeuralNetwork):  # type: ignore[misc]
    """A network of linear layers for numbers, one or several of each sample.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}
        Half the mean of the squared errors, or half the Poisson deviance: of numbers of at least 0,
        which are the exponentials of the last layer then.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init
    power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum
    nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon
    n_iter_no_change, max_fun, dropout, callbacks, dtype
        As in `MLPClassifier`; the validation score is R², the coefficient of determination.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Of each layer the weights (inputs, units) and the biases.
    loss_, loss_curve_, best_loss_, validation_scores_, best_validation_score_, n_iter_, t_
    n_layers_, n_outputs_, n_features_in_, feature_names_in_
        As in `MLPClassifier`.
    out_activation_ : str
        ``"identity"``, or ``"exp"`` with ``loss="poisson"``.
    """

    _y_is_numeric = True

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        callbacks: Iterable[Any] | None = None,
        dtype: Any = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.callbacks = callbacks
        self.dtype = dtype

    def _encode(
        self, y: Any, dtype: Any, fresh: bool, incremental: bool, classes: Any
    ) -> tuple[Values, Array]:
        values = Values(y, "exp" if self.loss == "poisson" else "identity")
        return values, values.encode(y, dtype)

    @available_if(has_epochs)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train for one epoch on some samples, from the weights that are there.

        Parameters
        ----------
        X : {array_like, sparse matrix}, shape (N, D)
            Samples.
        y : array_like, shape (N,) or (N, K)
            Numbers to predict.
        sample_weight : array_like, shape (N,), optional
            What each sample counts.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, True)  # type: ignore[no-any-return]

    def predict(self, X: Any) -> Array:
        """Return the numbers predicted for each sample.

        Parameters
        ----------
        X : {array_like, sparse matrix}, shape (N, D)
            Samples.

        Returns
        -------
        ndarray, shape (N,) or (N, K)
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs
