"""The estimators beside scikit-learn's own: the same losses, scores and weights, but for rounding.

The orders in which rows are drawn, the first weights, what is set apart, schedules and stopping
rules all show in these numbers.
"""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.7")  # whose own take weights

from sklearn import neural_network as theirs
from sklearn.datasets import (
    make_classification,
    make_multilabel_classification,
    make_regression,
)
from sklearn.exceptions import ConvergenceWarning

from nnext import sklearn as ours

ROWS = 150
RECORDS = ("loss_curve_", "best_loss_", "best_validation_score_", "validation_scores_")


def _data():
    rng = np.random.RandomState(0)
    x = rng.standard_normal((ROWS, 10))
    many = {"n_samples": ROWS, "n_features": 10, "n_informative": 6, "random_state": 1}
    counted, indicators = make_multilabel_classification(ROWS, 10, n_classes=4, random_state=1)
    x1, y1 = make_regression(ROWS, 10, random_state=1)
    x3, y3 = make_regression(ROWS, 10, n_targets=3, random_state=1)
    return {
        "binary": ("MLPClassifier", *make_classification(**many), {}),
        "multiclass": ("MLPClassifier", *make_classification(n_classes=4, **many), {}),
        "multilabel": ("MLPClassifier", counted / 10, indicators, {}),
        "regression": ("MLPRegressor", x1, y1 / 50, {}),
        "regressions": ("MLPRegressor", x3, y3 / 50, {}),
        "poisson": ("MLPRegressor", x, rng.poisson(np.exp(x[:, 0])), {"loss": "poisson"}),
    }


DATA = _data()
WEIGHTS = np.random.RandomState(2).uniform(0.1, 2, ROWS)
ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]
SOLVERS = {
    "adam": {"solver": "adam"},
    "adam, own options": {
        "solver": "adam",
        "beta_1": 0.8,
        "beta_2": 0.9,
        "epsilon": 1e-3,
        "learning_rate_init": 0.01,
        "alpha": 0.1,
    },
    "sgd": {"solver": "sgd"},
    "heavy ball": {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5},
    "no momentum": {"solver": "sgd", "momentum": 0.0, "alpha": 0.0},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.2},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1},
}


def pair(kind, **options):
    """Make an estimator of nnext's and one of scikit-learn's, and return the data with them."""
    name, x, y, more = DATA[kind]
    start = {"hidden_layer_sizes": (12, 7), "max_iter": 20, "random_state": 3, "batch_size": 32}
    made = [getattr(module, name)(**{**start, **more, **options}) for module in (ours, theirs)]
    return *made, x, y


def same(mine, other, x, rtol=1e-9):
    """Compare everything that a fit with epochs leaves behind."""
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(mine, name) == getattr(other, name), name
    for name in ("loss_", "loss_curve_"):
        np.testing.assert_allclose(getattr(mine, name), getattr(other, name), rtol=rtol)
    for name in ("best_loss_", "best_validation_score_", "validation_scores_"):
        found, expected = getattr(mine, name), getattr(other, name)
        assert (found is None) == (expected is None), name
        if expected is not None:
            np.testing.assert_allclose(found, expected, rtol=rtol)
    for name in ("coefs_", "intercepts_"):
        for found, expected in zip(getattr(mine, name), getattr(other, name), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)
    same_answers(mine, other, x, rtol)


def same_answers(mine, other, x, rtol=1e-9):
    if not hasattr(other, "classes_"):
        np.testing.assert_allclose(mine.predict(x), other.predict(x), rtol=rtol, atol=rtol)
        return
    np.testing.assert_array_equal(mine.classes_, other.classes_)
    found, expected = mine.predict(x), other.predict(x)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    for name in ("predict_proba", "predict_log_proba"):
        found, expected = getattr(mine, name)(x), getattr(other, name)(x)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol)


def fit(estimators, x, y, *weights):
    """Fit both; they warn alike that they have not converged, or do not."""
    said = []
    for estimator in estimators:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            estimator.fit(x, y, *weights)
        said.append(sorted(w.category.__name__ for w in caught))
    assert said[0] == said[1]
    return said[0]


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", DATA)
def test_every_activation_learns_as_there(kind, activation, solver):
    mine, other, x, y = pair(kind, activation=activation, solver=solver)
    fit((mine, other), x, y)
    same(mine, other, x)


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", ["binary", "multiclass", "regressions"])
def test_every_option_of_a_solver_with_weights_and_validation(
    kind, solver, early_stopping, weighed
):
    options = {**SOLVERS[solver], "early_stopping": early_stopping, "validation_fraction": 0.2}
    mine, other, x, y = pair(kind, **options)
    fit((mine, other), x, y, WEIGHTS if weighed else None)
    same(mine, other, x)


@pytest.mark.parametrize("kind", ["multilabel", "poisson"])
def test_weights_and_validation_of_the_other_losses(kind):
    mine, other, x, y = pair(kind, early_stopping=True, n_iter_no_change=3)
    fit((mine, other), x, y, WEIGHTS)
    same(mine, other, x)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_training_ends_in_the_same_epoch(early_stopping):
    mine, other, x, y = pair(
        "multiclass",
        max_iter=200,
        tol=0.02,
        n_iter_no_change=3,
        learning_rate_init=0.02,
        early_stopping=early_stopping,
    )
    assert fit((mine, other), x, y) == []
    assert mine.n_iter_ < 200
    same(mine, other, x, rtol=1e-6)


def test_an_adaptive_rate_falls_until_it_is_too_small():
    mine, other, x, y = pair("binary", **SOLVERS["adaptive"], learning_rate_init=0.01)
    mine.set_params(tol=1e4, max_iter=100)
    other.set_params(tol=1e4, max_iter=100)
    assert fit((mine, other), x, y) == []
    assert 10 < mine.n_iter_ < 30  # seven times divided by 5, after every other epoch
    same(mine, other, x)


@pytest.mark.parametrize("sizes", [(), 5, [3], (4, 3, 2)])
@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_any_number_of_hidden_layers(kind, sizes):
    mine, other, x, y = pair(kind, hidden_layer_sizes=sizes)
    fit((mine, other), x, y)
    same(mine, other, x)


@pytest.mark.parametrize("batch_size", ["auto", 1, 7, ROWS])
def test_any_batch_size_in_order_and_shuffled(batch_size):
    for shuffle in (False, True):
        mine, other, x, y = pair("multiclass", batch_size=batch_size, shuffle=shuffle, max_iter=5)
        fit((mine, other), x, y)
        same(mine, other, x)


def test_a_batch_larger_than_the_data_is_one_of_all_with_a_warning():
    mine, other, x, y = pair("binary", batch_size=ROWS + 1, max_iter=2)
    assert fit((mine, other), x, y) == ["ConvergenceWarning", "UserWarning"]
    same(mine, other, x)


@pytest.mark.parametrize("solver", ["adam", "adaptive", "invscaling"])
@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_a_warm_start_goes_on_as_there(kind, solver):
    mine, other, x, y = pair(kind, **SOLVERS[solver], warm_start=True, max_iter=5)
    for _ in range(3):
        fit((mine, other), x, y)
        same(mine, other, x)
    assert len(mine.loss_curve_) == 15


def test_a_warm_start_with_validation_ends_with_the_best_weights_of_all_fits():
    """scikit-learn trains on the very arrays that it keeps as the best: there it ends elsewhere."""
    options = {"early_stopping": True, "warm_start": True, "learning_rate_init": 0.05}
    mine, other, x, y = pair("multiclass", **options, max_iter=10)
    fit((mine, other), x, y)
    same(mine, other, x, rtol=1e-6)
    mine.set_params(learning_rate_init=10.0)  # which makes nothing better
    before = [W.copy() for W in mine.coefs_]
    with pytest.warns(ConvergenceWarning):
        mine.fit(x, y)
    assert max(mine.validation_scores_[10:]) <= mine.best_validation_score_
    assert mine.best_validation_score_ == other.best_validation_score_
    for found, expected in zip(mine.coefs_, before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("random_state", [3, None])
@pytest.mark.parametrize("solver", ["adam", "sgd", "adaptive"])
@pytest.mark.parametrize("kind", DATA)
def test_partial_fit_goes_on_as_there(kind, solver, random_state):
    options = {**SOLVERS[solver], "random_state": random_state, "batch_size": "auto"}
    mine, other, x, y = pair(kind, **options)
    first = {"classes": np.arange(y.max() + 1 if y.ndim == 1 else y.shape[1])}
    first = first if hasattr(mine, "predict_proba") else {}
    for estimator in (mine, other):
        np.random.seed(7)  # governs where there is no random_state
        more = first
        for part in (slice(0, 50), slice(50, 80), slice(80, 81), slice(81, ROWS)):
            estimator.partial_fit(x[part], y[part], sample_weight=WEIGHTS[part], **more)
            more = {}
    assert mine.n_iter_ == 1
    assert len(mine.loss_curve_) == 4
    same(mine, other, x)


def test_partial_fit_after_fit_and_fit_after_that():
    mine, other, x, y = pair("multiclass", max_iter=3)
    fit((mine, other), x, y)
    for estimator in (mine, other):
        for _ in range(3):
            estimator.partial_fit(x, y)
    same(mine, other, x)
    fit((mine, other), x, y)
    same(mine, other, x)


def test_a_generator_that_is_given_is_drawn_from():
    mine, other, x, y = pair("binary", max_iter=4)
    mine.random_state, other.random_state = (np.random.RandomState(5) for _ in range(2))
    for _ in range(2):  # the second fit begins where the first left it
        fit((mine, other), x, y)
        same(mine, other, x)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_stored_estimator_goes_on_with_the_bits_of_one_that_was_not(solver):
    mine, _, x, y = pair("multiclass", solver=solver)
    copy = mine.partial_fit(x, y, classes=np.unique(y))
    for _ in range(3):
        copy = pickle.loads(pickle.dumps(copy)).partial_fit(x, y)
        mine = mine.partial_fit(x, y)
    for found, expected in zip(copy.coefs_, mine.coefs_, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", DATA)
def test_lbfgs_takes_the_same_path(kind):
    options = {"solver": "lbfgs", "activation": "tanh", "alpha": 0.01, "max_iter": 15}
    mine, other, x, y = pair(kind, **options)
    assert fit((mine, other), x, y, WEIGHTS) == ["ConvergenceWarning"]
    assert mine.n_iter_ == other.n_iter_
    np.testing.assert_allclose(mine.loss_, other.loss_, rtol=1e-6)
    same_answers(mine, other, x, rtol=1e-4)
    assert not hasattr(mine, "partial_fit")


def test_lbfgs_converges_and_goes_on_from_where_it_was():
    # Where each stops depends on the roundings of its products; the minimum does not.
    mine, other, x, y = pair(
        "binary",
        solver="lbfgs",
        activation="tanh",
        alpha=1.0,
        max_iter=500,
        tol=1e-9,
        warm_start=True,
    )
    assert fit((mine, other), x, y) == []
    np.testing.assert_allclose(mine.loss_, other.loss_, rtol=1e-4)
    first = mine.n_iter_
    fit((mine, other), x, y)
    assert mine.n_iter_ < first / 2


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_float32_stays_float32(solver):
    mine, other, x, y = pair("multiclass", solver=solver)
    x = x.astype(np.float32)
    fit((mine, other), x, y)
    assert mine.coefs_[0].dtype == mine.predict_proba(x).dtype == np.float32
    np.testing.assert_allclose(mine.loss_, other.loss_, rtol=1e-4)


@pytest.mark.parametrize("zeros", [0.5, 0.95])  # with fewer, batches are made dense
@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("sizes", [(), (6,)])
@pytest.mark.parametrize("kind", DATA)
def test_sparse_data(kind, sizes, form, zeros):
    from scipy import sparse

    for options in ({"early_stopping": True}, {"shuffle": False}):
        mine, other, x, y = pair(kind, hidden_layer_sizes=sizes, max_iter=4, **options)
        x = np.where(x > np.quantile(x, zeros), x, 0)
        x = getattr(sparse, f"{form}_array")(x)
        fit((mine, other), x.tocsr(), y, WEIGHTS)
        same(mine, other, x.tocsr())
        stored, _, _, _ = pair(kind, hidden_layer_sizes=sizes, max_iter=4, **options)
        with pytest.warns(ConvergenceWarning):
            stored.fit(x, y, WEIGHTS)
        np.testing.assert_array_equal(stored.coefs_[0], mine.coefs_[0])


def test_a_loss_of_a_row_has_the_same_bound():
    """Wrong answers that are certain: the probability of the right one is 0 in floating point."""
    for kind in ("binary", "multiclass", "multilabel"):
        mine, other, x, y = pair(kind, learning_rate_init=10.0, max_iter=3, activation="identity")
        x = 1000 * x
        fit((mine, other), x, y)
        assert max(mine.loss_curve_) > 5
        np.testing.assert_allclose(mine.loss_curve_, other.loss_curve_, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("kind", ["multiclass", "regressions"])
@pytest.mark.parametrize(
    "solvers",
    [
        ["adam", "lbfgs"],
        ["sgd", "lbfgs"],
        ["adam", "sgd"],
        ["adam", "lbfgs", "adam"],
        ["sgd", "lbfgs", "lbfgs", "sgd"],
    ],
)
def test_records_of_warm_starts_with_another_solver(kind, solvers, early_stopping):
    mine, other, x, y = pair(kind, warm_start=True, max_iter=4, early_stopping=early_stopping)
    for solver in solvers:
        for made in (mine, other):
            made.set_params(solver=solver).fit(x, y)
        for name in (*RECORDS, "loss_", "t_", "n_iter_"):
            found, expected = getattr(mine, name), getattr(other, name)
            assert (found is None) == (expected is None), name
            if expected is not None:
                np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=name)
