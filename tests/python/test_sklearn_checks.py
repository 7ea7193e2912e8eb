"""scikit-learn's own checks of what an estimator must be; none is expected to fail."""

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import (
    check_sample_weight_equivalence_on_dense_data,
    parametrize_with_checks,
)

from nnext.sklearn import MLPClassifier, MLPRegressor

# That fits of 100 epochs have not converged, and what the checks' own data bring about.
IGNORED = ["sklearn.exceptions.ConvergenceWarning", "UserWarning", "RuntimeWarning"]
pytestmark = [pytest.mark.filterwarnings(f"ignore::{category}") for category in IGNORED]


@parametrize_with_checks(
    [
        MLPClassifier(max_iter=100),
        MLPRegressor(max_iter=100),
        MLPClassifier(max_iter=100, solver="lbfgs"),
        MLPRegressor(max_iter=100, solver="lbfgs"),
    ]
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "estimator",
    # The parameters that scikit-learn gives its own classes for this check.
    [MLPClassifier(solver="lbfgs"), MLPRegressor(solver="sgd", tol=1e-2, random_state=42)],
)
def test_weights_are_as_good_as_repeated_rows(estimator):
    check_sample_weight_equivalence_on_dense_data(type(estimator).__name__, estimator)
