"""scikit-learn's tools with nnext's estimators: searches, pipelines, calibration, data frames."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import joblib
from sklearn import config_context
from sklearn.base import is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, learning_curve
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from nnext.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)


def classifier(**options):
    start = {"hidden_layer_sizes": 16, "max_iter": 60, "random_state": 0}
    return MLPClassifier(learning_rate_init=0.02, **{**start, **options})


def test_they_are_what_their_tags_say():
    assert is_classifier(MLPClassifier())
    assert is_regressor(MLPRegressor())
    tags = get_tags(MLPClassifier())
    assert tags.input_tags.sparse
    assert tags.classifier_tags.multi_label
    assert get_tags(MLPRegressor()).target_tags.multi_output


def test_a_pipeline_with_a_cross_validation():
    model = make_pipeline(StandardScaler(), classifier())
    assert cross_val_score(model, X, Y, cv=3).min() > 0.9


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_search_in_processes_and_threads_finds_what_one_finds_alone(backend):
    model = make_pipeline(StandardScaler(), classifier(max_iter=10))
    grid = {"mlpclassifier__alpha": [1e-4, 10.0], "mlpclassifier__solver": ["adam", "lbfgs"]}
    alone = GridSearchCV(model, grid, cv=3).fit(X, Y)
    with joblib.parallel_backend(backend):
        search = GridSearchCV(model, grid, cv=3, n_jobs=2).fit(X, Y)
    assert search.best_params_ == alone.best_params_
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(search.cv_results_[name], alone.cv_results_[name])
    assert search.score(X, Y) > 0.9


def test_calibration():
    model = CalibratedClassifierCV(make_pipeline(StandardScaler(), classifier()), cv=3)
    probabilities = model.fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert model.score(X, Y) > 0.9


def test_ensembles_take_it():
    scaled = StandardScaler().fit_transform(X)
    bag = BaggingClassifier(classifier(), n_estimators=3, random_state=0).fit(scaled, Y)
    assert bag.score(scaled, Y) > 0.9
    vote = VotingClassifier(
        [("net", classifier()), ("line", LogisticRegression())], voting="soft", weights=[2, 1]
    )
    assert vote.fit(scaled, Y, sample_weight=np.ones(len(Y))).score(scaled, Y) > 0.9


def test_learning_curves_go_on_with_partial_fit():
    scaled = StandardScaler().fit_transform(X)
    _, train, _ = learning_curve(
        classifier(), scaled, Y, cv=3, train_sizes=[20, 60, 100], exploit_incremental_learning=True
    )
    assert train.shape == (3, 3)


def test_regressions_of_a_scaled_target():
    x, y = load_diabetes(return_X_y=True)
    net = MLPRegressor(hidden_layer_sizes=16, max_iter=300, random_state=0)
    model = make_pipeline(
        StandardScaler(), TransformedTargetRegressor(net, transformer=StandardScaler())
    )
    assert model.fit(x, y).score(x, y) > 0.5
    importance = permutation_importance(model, x, y, n_repeats=2, random_state=0)
    assert importance.importances_mean.argmax() in (2, 8)  # body mass, a serum
    both = MultiOutputRegressor(net).fit(x, np.stack([y, -y], axis=1) / 100)
    assert both.predict(x).shape == (len(y), 2)


def test_words_as_sparse_data():
    texts = ["a good day", "a bad day", "good food", "bad food", "so good", "so bad"] * 5
    mood = np.array(["up", "down"] * 15)
    model = make_pipeline(TfidfVectorizer(), classifier(early_stopping=False))
    assert model.fit(texts, mood).score(texts, mood) == 1
    assert list(model.predict(["good", "bad"])) == ["up", "down"]


def test_weights_are_routed_to_where_they_are_asked_for():
    weight = np.where(Y == 0, 5.0, 1.0)
    scaled = StandardScaler().fit_transform(X)
    with config_context(enable_metadata_routing=True):
        net = classifier(max_iter=3).set_fit_request(sample_weight=True)
        net.set_score_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        model = make_pipeline(scaler, net)
        model.fit(X, Y, sample_weight=weight)
        search = GridSearchCV(net, {"alpha": [1e-4]}, cv=3)
        search.fit(scaled, Y, sample_weight=weight)
        net.set_partial_fit_request(sample_weight=True, classes=True)
    alone = classifier(max_iter=3).fit(scaled, Y, weight)
    np.testing.assert_array_equal(model[-1].coefs_[0], alone.coefs_[0])
    np.testing.assert_array_equal(search.best_estimator_.coefs_[0], alone.coefs_[0])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames(library):
    frames = pytest.importorskip(library)
    names = ["one", "two", "three", "four"]
    frame = frames.DataFrame({name: X[:, i] for i, name in enumerate(names)})
    labels = frames.Series(np.array(["x", "y", "z"])[Y].tolist())
    model = make_pipeline(StandardScaler(), classifier()).set_output(transform=library)
    model.fit(frame, labels)
    assert list(model[-1].feature_names_in_) == names
    assert model.score(frame, labels) > 0.9
    with pytest.raises(ValueError, match="feature names should match"):
        model[-1].predict(frame[names[::-1]])
    weights = frames.Series(np.ones(len(Y)).tolist())
    assert classifier().fit(frame, labels, sample_weight=weights).n_features_in_ == 4
