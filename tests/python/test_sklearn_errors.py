"""The estimators' errors and warnings: what cannot be used is named, nothing is lost."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import train_test_split

from nnext._sklearn_network import Weights
from sklearn_nets import X, Y, classifier, regressor, same_weights

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("alpha", -1, "alpha: expected a number in [0, inf), got -1"),
        ("alpha", "x", "alpha: expected a number, got str"),
        ("learning_rate_init", 0, "learning_rate_init: expected a number in (0, inf), got 0"),
        ("momentum", 1.5, "momentum: expected a number in [0, 1], got 1.5"),
        ("beta_1", 1.0, "beta_1: expected a number in [0, 1), got 1.0"),
        ("epsilon", 0.0, "epsilon: expected a number in (0, inf), got 0.0"),
        ("dropout", 1.0, "dropout: expected a number in [0, 1), got 1.0"),
        ("tol", np.nan, "tol: expected a number in [0, inf), got nan"),
        ("validation_fraction", 1, "validation_fraction: expected a number in [0, 1), got 1"),
        ("activation", "swish", "activation: expected 'identity', 'logistic', 'tanh', 'relu', got"),
        ("solver", None, "solver: expected 'lbfgs', 'sgd', 'adam', got None"),
        ("learning_rate", "fast", "learning_rate: expected 'constant', 'invscaling', 'adaptive'"),
        ("max_iter", 0, "max_iter: expected a whole number of at least 1, got 0"),
        ("max_fun", 2.5, "max_fun: expected a whole number of at least 1, got 2.5"),
        ("batch_size", "all", "batch_size: expected a whole number of at least 1, got 'all'"),
        ("n_iter_no_change", 0, "n_iter_no_change: expected a whole number of at least 1, got 0"),
        ("hidden_layer_sizes", (5, 0), "hidden_layer_sizes: expected a whole number of at least 1"),
        ("hidden_layer_sizes", "5", "hidden_layer_sizes: expected whole numbers, got '5'"),
        ("shuffle", 1, "shuffle: expected True or False, got 1"),
        ("early_stopping", "yes", "early_stopping: expected True or False, got 'yes'"),
        ("verbose", -1, "verbose: expected a number of at least 0, got -1"),
        ("verbose", 1.5, "verbose: expected True, False or a whole number, got 1.5"),
        ("dtype", "int32", "dtype: expected 'float32', 'float64' or None, got 'int32'"),
        ("dtype", "what", "dtype: expected 'float32', 'float64' or None, got 'what'"),
        ("hidden_layer_sizes", ((5, 2), 3), "hidden_layer_sizes: expected whole numbers, got ((5"),
        ("callbacks", 3, "callbacks: expected a list of callbacks, got 3"),
        ("callbacks", iter([]), "callbacks: expected a list of callbacks, which every fit can go"),
        (
            "random_state",
            -1,
            "random_state: expected None, a whole number from 0 to 2**32 - 1 or a",
        ),
        ("random_state", np.random.default_rng(0), "numpy.random.RandomState, got Generator"),
    ],
)
@pytest.mark.parametrize("kind", [classifier, regressor])
def test_a_wrong_option_is_named_by_fit_and_leaves_the_estimator_as_it_was(kind, name, value, said):
    made = kind().fit(X, Y)
    before = [W.copy() for W in made.coefs_]
    made.set_params(**{name: value}, **({} if name == "warm_start" else {"warm_start": True}))
    with pytest.raises((ValueError, TypeError)) as caught:
        made.fit(X, Y)
    assert said in str(caught.value)
    assert all(np.array_equal(p, q) for p, q in zip(before, made.coefs_, strict=True))


def test_options_of_one_of_them():
    cases = [
        (classifier(class_weight="even"), "class_weight: expected 'balanced' or a dict or None"),
        (classifier(class_weight={7: 1}), "class_weight: there is no class 7 among [0 1 2]"),
        (classifier(class_weight={(0, 1): 1}), "class_weight: there is no class (0, 1) among"),
        (classifier(class_weight={1: "x"}), "class_weight: expected numbers of at least 0"),
        (classifier(class_weight={1: [1]}), "class_weight: expected numbers of at least 0"),
        (classifier(class_weight={1: np.nan}), "class_weight: expected numbers of at least 0"),
        (classifier(class_weight={1: -1}), "class_weight: expected numbers of at least 0"),
        (classifier(dropout=0.5, solver="lbfgs"), "dropout: solver='lbfgs' needs the same loss"),
        (regressor(loss="absolute"), "loss: expected 'squared_error', 'poisson', got 'absolute'"),
    ]
    for made, said in cases:
        with pytest.raises(ValueError, match="^" + said.split(":")[0]) as caught:
            made.fit(X, Y)
        assert said in str(caught.value)
    with pytest.raises(ValueError, match="y: expected numbers of at least 0 for loss='poisson'"):
        regressor(loss="poisson").fit(X, Y - 1.0)
    with pytest.raises(ValueError, match="class_weight: several labels at once"):
        classifier(class_weight="balanced").fit(X, np.eye(3, dtype=int)[Y])


def test_weights_of_samples_that_cannot_be_used():
    for weight, said in [
        (np.zeros(len(Y)), "sample_weight: all weights are zero"),
        (np.tile([1, -1], len(Y) // 2), r"sample_weight: .*, they add up to 0\.0"),
        (np.full(len(Y), 1e308), "sample_weight: .*, they add up to inf"),
        (np.ones(3), r"sample_weight: expected shape \(150,\), one for each sample, got \(3,\)"),
        (np.full(len(Y), np.nan), "sample_weight contains NaN"),
        (["a"] * len(Y), "could not convert string to float"),
    ]:
        with pytest.raises(ValueError, match=said):
            classifier().fit(X, Y, weight)


def test_labels_that_cannot_be_used():
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier().fit(X, X[:, 0])
    with pytest.raises(ValueError, match="multiclass-multioutput"):
        classifier().fit(X, np.stack([Y, Y], axis=1))
    made = classifier()
    with pytest.raises(ValueError, match="classes: the first call of partial_fit"):
        made.partial_fit(X, Y)
    for classes in ([], 3, [[0, 1, 2]]):
        with pytest.raises(ValueError, match="classes: expected a list of labels, got"):
            made.partial_fit(X, Y, classes=classes)
    made.partial_fit(X[:100], Y[:100], classes=[0, 1])
    with pytest.raises(ValueError, match=r"classes: expected the same .*\[0 1\]"):
        made.partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"expected labels of the classes \[0 1\], got \[2\] too"):
        made.partial_fit(X, Y)
    made.set_params(warm_start=True)
    with pytest.raises(ValueError, match=r"warm_start needs the same classes"):
        made.fit(X[:50], Y[:50])


def test_numbers_that_cannot_be_predicted():
    for y in (Y.astype(str), np.array(["a"] * len(Y))):
        with pytest.raises(ValueError, match=r"^y: expected numbers, got the type <U"):
            regressor().fit(X, y)
    huge = np.full(len(Y), 1e39)
    with pytest.raises(ValueError, match=r"^y: expected numbers that float32 can hold, got 1e\+39"):
        regressor().fit(X.astype(np.float32), huge)


def test_masked_elements_are_refused():
    mask = np.zeros(len(Y), bool)
    mask[3] = True
    x = np.ma.masked_array(X, np.repeat(mask[:, None], 4, axis=1))
    made = regressor().fit(X, Y)
    for call in (
        lambda: made.fit(x, Y),
        lambda: made.fit(X, np.ma.masked_array(Y, mask)),
        lambda: made.fit(X, Y, np.ma.masked_array(np.ones(len(Y)), mask)),
        lambda: made.predict(x),
    ):
        with pytest.raises(TypeError, match="mask"):
            call()
    assert same_weights(made, regressor().fit(np.ma.masked_array(X, False), Y))


def test_going_on_with_other_shapes_is_refused():
    made = classifier(warm_start=True).fit(X, Y)
    with pytest.raises(
        ValueError, match=r"hidden_layer_sizes: going on .*\[4, 8, 3\].*\[4, 9, 3\]"
    ):
        made.set_params(hidden_layer_sizes=9).fit(X, Y)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 4"):
        made.partial_fit(X[:, :3], Y)
    numbers = regressor().partial_fit(X, Y)
    with pytest.raises(ValueError, match="hidden_layer_sizes: going on"):
        numbers.partial_fit(X, X[:, :2])


def test_partial_fit_where_there_is_none():
    with pytest.raises(AttributeError, match="partial_fit"):
        classifier(solver="lbfgs").partial_fit  # noqa: B018
    with pytest.raises(ValueError, match="needs early_stopping=False"):
        classifier(early_stopping=True).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="class_weight: 'balanced' needs all samples"):
        classifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])


def test_a_part_that_is_too_small_to_score_is_refused():
    with pytest.raises(ValueError, match=r"validation_fraction: 0\.01 of 90 samples are 1"):
        regressor(early_stopping=True, validation_fraction=0.01).fit(X[:90], Y[:90])
    with pytest.raises(ValueError, match=r"validation_fraction: 0\.0 of 150 samples are 0"):
        regressor(early_stopping=True, validation_fraction=0).fit(X, Y)
    with pytest.raises(ValueError, match=r"validation_fraction: 0\.999 .* are 150, and training"):
        classifier(early_stopping=True, validation_fraction=0.999).fit(X, Y)


@pytest.mark.parametrize(("part", "said"), [(0, "to score"), (1, "to train on")])
def test_weights_all_in_the_other_part_are_refused(part, said):
    rng = np.random.RandomState(0)
    Weights((4, 8, 3), np.float64).draw(rng, 6.0)  # what is drawn before
    split = train_test_split(np.arange(len(Y)), test_size=0.1, random_state=rng)
    weight = np.zeros(len(Y))
    weight[split[part]] = 1
    with pytest.raises(ValueError, match=f"all weights of the samples {said} are zero"):
        classifier(early_stopping=True).fit(X, Y, weight)


def test_weights_that_overflow_are_an_error():
    huge = 1e200 * X
    with pytest.raises(ValueError, match="the weights are not finite after the fit"):
        regressor(solver="sgd", learning_rate_init=10.0).fit(huge, Y)


def test_unfitted_ones_say_so():
    for method in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises(NotFittedError):
            getattr(classifier(), method)(X)
    broken = classifier()
    with pytest.raises(ValueError, match="Unknown label type"):
        broken.fit(X, X[:, 0])
    with pytest.raises(NotFittedError):
        broken.predict(X)


def test_a_fit_that_has_not_converged_warns_at_the_callers_line():
    with pytest.warns(ConvergenceWarning, match="max_iter=5") as caught:
        classifier().fit(X, Y)
    assert caught[0].filename == __file__
    with pytest.warns(ConvergenceWarning, match="did not converge in 5 iterations") as caught:
        classifier(solver="lbfgs", alpha=0).fit(X, Y)
    assert caught[0].filename == __file__
