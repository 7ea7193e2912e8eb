"""What the estimators are beside scikit-learn's: own options, errors, the same bits, imports."""

import copy

import joblib
import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import load_digits

import nnext
from nnext import callbacks, schedules
from nnext.sklearn import MLPClassifier, MLPRegressor
from programs import run
from sklearn_nets import X, Y, classifier, regressor, same_weights

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# --- imports --------------------------------------------------------------------------------------


def test_importing_nnext_loads_neither_scikit_learn_nor_scipy(tmp_path):
    program = "import sys, nnext; print(sorted({'sklearn', 'scipy'} & set(sys.modules)))"
    assert run("-c", program, folder=tmp_path).strip() == "[]"


def test_without_scikit_learn_the_import_says_how_to_install_it(tmp_path):
    program = "import sys; sys.modules['sklearn'] = None; import nnext.sklearn"
    printed = run("-c", program, folder=tmp_path, status=1)
    assert "ImportError: nnext.sklearn needs scikit-learn, which is not installed" in printed
    assert f'pip install "{nnext._nnext.__distribution__}[sklearn]"' in printed


# --- the same bits --------------------------------------------------------------------------------


@pytest.fixture
def threads():
    before = nnext.get_num_threads()
    yield
    nnext.set_num_threads(before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighed", [False, True])
def test_the_weights_do_not_depend_on_threads(threads, dtype, weighed):
    rng = np.random.RandomState(0)
    x = rng.standard_normal((1500, 90)).astype(dtype)
    weight = rng.uniform(size=1500) if weighed else None
    several = (x[:, :3] > 0).astype(int)
    cases = [
        (MLPClassifier, x[:, :4].argmax(axis=1), {}),
        (MLPClassifier, several, {"dropout": 0.2}),
        (MLPRegressor, x[:, :2], {"solver": "sgd", "early_stopping": True}),
    ]
    for kind, y, options in cases:
        fits = []
        for n in (1, 2, 3):
            nnext.set_num_threads(n)
            sizes = {"hidden_layer_sizes": (120, 70), "batch_size": 500, "max_iter": 3}
            made = kind(random_state=1, **sizes, **options)
            fits.append(made.fit(x, y, weight))
        assert fits[0].loss_curve_ == fits[1].loss_curve_ == fits[2].loss_curve_
        assert same_weights(fits[0], fits[1])
        assert same_weights(fits[0], fits[2])


def test_the_weights_do_not_depend_on_the_instruction_set(tmp_path):
    program = """
import hashlib, numpy as np
from nnext.sklearn import MLPClassifier, MLPRegressor
x = np.random.RandomState(0).standard_normal((200, 30))
made = []
for y in (x[:, :4].argmax(axis=1), x[:, 0] > 0):
    made.append(MLPClassifier((20, 10), "tanh", max_iter=200, tol=0.01, early_stopping=True))
    made[-1].set_params(random_state=0, dropout=0.1).fit(x, y)
for loss in ("squared_error", "poisson"):
    made.append(MLPRegressor(loss, 20, "logistic", max_iter=200, tol=1, solver="sgd"))
    made[-1].set_params(random_state=0).fit(x, abs(x[:, :2]))
for one in made:
    print(one.n_iter_, *(hashlib.sha256(w).hexdigest() for w in one.coefs_ + one.intercepts_))
"""
    names = nnext.show_config("dicts")["isa_available"]
    printed = {run("-c", program, folder=tmp_path, NNEXT_ISA=name) for name in names}
    assert len(printed) == 1


def test_a_row_is_predicted_the_same_in_any_company():
    rows = np.random.RandomState(0).standard_normal((9000, 4))  # more than are predicted at a time
    for made in (classifier().fit(X, Y), regressor().fit(X, X[:, :2])):
        whole = made._outputs(rows)
        for part in (slice(0, 1), slice(4095, 4098), slice(8999, 9000)):
            np.testing.assert_array_equal(made._outputs(rows[part]), whole[part])


# --- options of nnext's own -----------------------------------------------------------------------


@pytest.mark.parametrize("given", [{0: 2.0, 2: 0.5}, "balanced"])
@pytest.mark.parametrize("classes", [2, 3])
def test_class_weights_are_weights_of_the_samples(given, classes):
    x, y = X[: 50 * classes - 20], Y[: 50 * classes - 20]
    own = np.random.RandomState(0).uniform(0.5, 2, len(y))
    if given == "balanced":
        sums = np.array([own[y == c].sum() for c in range(classes)])
        of_class = own.sum() / (classes * sums)
    else:
        given = {c: w for c, w in given.items() if c < classes}
        of_class = np.array([given.get(c, 1.0) for c in range(classes)])
    weighed = classifier(class_weight=given).fit(x, y, own)
    by_hand = classifier().fit(x, y, own * of_class[y])
    np.testing.assert_allclose(weighed.loss_curve_, by_hand.loss_curve_, rtol=1e-12)
    assert weighed.loss_curve_ != classifier().fit(x, y, own).loss_curve_


def test_class_weights_know_labels_of_any_kind():
    names = np.array(["setosa", "versicolor", "virginica"])[Y]
    by_name = classifier(class_weight={"virginica": 3.0}).fit(X, names)
    assert same_weights(by_name, classifier(class_weight={2: 3.0}).fit(X, Y))
    first = classifier(class_weight={"virginica": 3.0})
    first.partial_fit(X, names, classes=np.unique(names))
    assert first.loss_ == by_name.loss_curve_[0]


def test_dropout_drops_in_training_alone_and_as_the_seed_says():
    plain = classifier(hidden_layer_sizes=(30, 20)).fit(X, Y)
    one, other = (classifier(hidden_layer_sizes=(30, 20), dropout=0.5).fit(X, Y) for _ in range(2))
    assert same_weights(one, other)
    assert one.loss_curve_ != plain.loss_curve_
    np.testing.assert_array_equal(one.predict_proba(X), one.predict_proba(X))
    # A rate that moves nothing: epochs of the same weights have other losses, as others are dropped
    still = classifier(dropout=0.3, learning_rate_init=1e-300).fit(X, Y)
    assert len(set(still.loss_curve_)) == 5


def test_dropout_learns_with_every_activation():
    x, y = load_digits(return_X_y=True)
    for activation in ("identity", "logistic", "tanh", "relu"):
        made = classifier(hidden_layer_sizes=64, activation=activation, dropout=0.2, max_iter=30)
        made.set_params(learning_rate_init=0.01)
        assert made.fit(x[:1000] / 16, y[:1000]).score(x[1000:] / 16, y[1000:]) > 0.85


def test_callbacks_see_every_batch_and_epoch():
    class Watch(callbacks.Callback):
        def __init__(self):
            self.seen = []

        def on_train_begin(self, fit):
            self.seen.append("begin")

        def on_gradients(self, fit):
            assert fit.model.grads[0].shape == fit.model.params[0].shape

        def on_batch_end(self, fit):
            self.seen.append((fit.history.batches, fit.step.loss, fit.step.count))

        def on_epoch_end(self, fit):
            self.seen.append(fit.history.epoch_loss[-1])

        def on_train_end(self, fit):
            self.seen.append(fit.history.metrics)

    watch = Watch()
    made = classifier(callbacks=[watch], batch_size=75, max_iter=2, early_stopping=True)
    made.fit(X, Y)
    begin, first, second, one, *_, two, metrics = watch.seen
    assert begin == "begin"
    assert first[0], second[0] == (1, 2)
    assert (first[2], second[2]) == (75, 60)
    assert one == (75 * first[1] + 60 * second[1]) / 135 == made.loss_curve_[0]
    assert two == made.loss_
    assert metrics == {"validation_score": made.validation_scores_}
    assert same_weights(made, classifier(batch_size=75, max_iter=2, early_stopping=True).fit(X, Y))


def test_early_stopping_of_nnexts_own_puts_the_best_weights_back():
    stopping = callbacks.EarlyStopping("loss", patience=2)
    made = classifier(callbacks=[stopping], learning_rate_init=0.5, max_iter=500, tol=0)
    made.fit(X, Y)
    assert made.n_iter_ == stopping.stopped_epoch == stopping.best_epoch + 2
    assert stopping.best == min(made.loss_curve_)
    again = classifier(learning_rate_init=0.5, max_iter=stopping.best_epoch).fit(X, Y)
    assert same_weights(made, again)
    with pytest.raises(ValueError, match="monitors 'val_loss', and there will be 'loss'"):
        made.set_params(callbacks=[callbacks.EarlyStopping()]).fit(X, Y)


def test_a_schedule_sets_the_rate():
    constant = callbacks.LearningRateSchedule(schedules.Constant(0.01))
    made = classifier(callbacks=[constant], learning_rate_init=0.5).fit(X, Y)
    assert same_weights(made, classifier(learning_rate_init=0.01).fit(X, Y))


def test_callbacks_of_lbfgs_are_called_once_an_iteration():
    class Stop(callbacks.Callback):
        def on_epoch_end(self, fit):
            return len(fit.history.epoch_loss) == 4

    made = classifier(solver="lbfgs", callbacks=[Stop()], max_iter=100).fit(X, Y)
    whole = classifier(solver="lbfgs", max_iter=4).fit(X, Y)
    assert made.n_iter_ == 4
    for found, expected in zip(made.coefs_, whole.coefs_, strict=True):
        np.testing.assert_allclose(found, expected)


def test_ctrl_c_ends_a_fit_and_leaves_it_usable():
    class Interrupt(callbacks.Callback):
        def on_epoch_end(self, fit):
            if len(fit.history.epoch_loss) == 2:
                raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted by user"):
        made = classifier(callbacks=[Interrupt()]).fit(X, Y)
    assert same_weights(made, classifier(max_iter=2).fit(X, Y))


@pytest.mark.parametrize("kind", [classifier, regressor])
def test_dtype_is_the_type_computed_in(kind):
    exact = kind(dtype="float64").fit(X.astype(np.float32), Y)
    assert exact.coefs_[0].dtype == exact._outputs(X[:1].astype(np.float32)).dtype == np.float64
    assert same_weights(exact, kind().fit(X.astype(np.float32).astype(np.float64), Y))
    single = kind(dtype=np.float32).fit(X, Y)
    assert same_weights(single, kind().fit(X.astype(np.float32), Y))
    assert single._outputs(X).dtype == np.float32


def test_verbose_shows_the_epochs(capsys):
    classifier(verbose=True, early_stopping=True, max_iter=2).fit(X, Y)
    printed = capsys.readouterr().out
    assert "| epoch 2 |  iter 1 / 1 | time 0[s] | loss 1." in printed
    assert "| epoch 2 |  validation_score 0." in printed
    classifier(verbose=2, solver="lbfgs", max_iter=3).fit(X, Y)
    assert "| epoch 3 |" in capsys.readouterr().out
    classifier().fit(X, Y)
    assert capsys.readouterr().out == ""


# --- weights --------------------------------------------------------------------------------------


def test_a_batch_of_weight_0_is_passed_over():
    weight = np.ones(len(Y))
    weight[::3] = 0
    options = {"batch_size": 1, "shuffle": False, "max_iter": 2, "hidden_layer_sizes": 3}
    with_zeros = classifier(**options).fit(X, Y, weight)
    without = classifier(**options).fit(X[weight > 0], Y[weight > 0])
    assert same_weights(with_zeros, without)
    assert with_zeros.loss_curve_ == without.loss_curve_


def test_one_weight_for_all_samples_is_no_weight_but_for_the_penalty():
    np.testing.assert_allclose(
        classifier(alpha=0.0).fit(X, Y, 3.0).loss_curve_,
        classifier(alpha=0.0).fit(X, Y).loss_curve_,
    )


# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [np.array(["a", "b", "c"]), np.array(["a", "b", "c"], object), [1.0, 5.0, -2.0]]
)
def test_labels_of_any_kind_come_back(names):
    y = np.asarray(names)[Y]
    made = MLPClassifier(16, max_iter=200, random_state=0, learning_rate_init=0.01).fit(X, y)
    assert made.predict(X).dtype == y.dtype
    assert (made.predict(X) == y).mean() > 0.9
    np.testing.assert_array_equal(made.classes_, np.unique(y))
    order = np.argsort(np.asarray(names))
    most = np.argsort(order)[np.arange(3)][Y]
    assert (made.predict_proba(X).argmax(axis=1) == most).mean() > 0.9


def test_several_labels_at_once_come_back_as_they_were_given():
    from scipy import sparse

    y = np.stack([Y == 0, Y > 0, X[:, 0] > 0], axis=1).astype(int)
    made = MLPClassifier(16, max_iter=200, random_state=0, learning_rate_init=0.01).fit(X, y)
    assert made.out_activation_ == "logistic"
    assert made.predict_proba(X).shape == y.shape
    assert (made.predict(X) == y).mean() > 0.95
    stored = clone(made).fit(X, sparse.csr_array(y))
    assert same_weights(stored, made)
    np.testing.assert_array_equal(stored.predict(X).toarray(), made.predict(X))


def test_one_class_alone_is_always_predicted():
    made = classifier().fit(X, np.full(len(X), "yes"))
    assert set(made.predict(X)) == {"yes"}
    np.testing.assert_array_equal(made.predict_proba(X), np.ones((len(X), 1)))


def test_partial_fit_knows_classes_that_come_later():
    made = classifier(hidden_layer_sizes=16, learning_rate_init=0.05)
    made.partial_fit(X[:50], Y[:50], classes=[0, 1, 2])
    assert made.predict_proba(X).shape == (150, 3)
    for _ in range(40):
        made.partial_fit(X, Y)
    assert made.score(X, Y) > 0.9


# --- going on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [None, "r", "c"])
def test_a_file_mapped_into_memory_predicts_and_goes_on(tmp_path, mode):
    made = classifier().fit(X, Y)
    joblib.dump(made, tmp_path / "model")
    loaded = joblib.load(tmp_path / "model", mmap_mode=mode)
    np.testing.assert_array_equal(loaded.predict_proba(X), made.predict_proba(X))
    loaded.partial_fit(X, Y)
    assert same_weights(loaded, made.partial_fit(X, Y))


def test_read_only_data_and_columns_in_fortran_order():
    x, y, weight = X.copy(order="F"), Y.copy(), np.ones(len(Y))
    for array in (x, y, weight):
        array.flags.writeable = False
    assert same_weights(classifier().fit(x, y, weight), classifier().fit(X, Y, weight))


def test_copies_go_on_apart():
    made = classifier().fit(X, Y)
    deep, shallow = copy.deepcopy(made), copy.copy(made)
    before = [W.copy() for W in made.coefs_]
    deep.partial_fit(X, Y)
    shallow.partial_fit(X, Y)
    assert all(np.array_equal(p, q) for p, q in zip(before, made.coefs_, strict=True))
    assert same_weights(deep, shallow)
    assert same_weights(deep, made.partial_fit(X, Y))
    assert not hasattr(clone(made), "coefs_")


def test_weights_that_were_replaced_are_gone_on_from():
    made = classifier().fit(X, Y)
    other = classifier().fit(X, Y)
    made.coefs_[0] = 2 * made.coefs_[0]
    other.coefs_[0] *= 2
    assert same_weights(made.partial_fit(X, Y), other.partial_fit(X, Y))


def test_solvers_and_options_may_change_between_warm_starts():
    made = classifier(warm_start=True, solver="lbfgs").fit(X, Y)
    assert not hasattr(made, "loss_curve_")
    first = made.loss_
    made.set_params(solver="adam").fit(X, Y)
    assert len(made.loss_curve_) == 5
    assert made.loss_curve_[0] == pytest.approx(first, rel=0.1)
    made.set_params(early_stopping=True).fit(X, Y)
    assert len(made.validation_scores_) == 5
    assert made.best_loss_ is None
    made.set_params(early_stopping=False).fit(X, Y)
    assert made.validation_scores_ is None
    assert made.best_loss_ == min(made.loss_curve_[10:])
    made.set_params(warm_start=False, solver="lbfgs").fit(X, Y)
    assert not hasattr(made, "loss_curve_")


# --- beside scikit-learn's own --------------------------------------------------------------------


def test_accuracy_is_scikit_learns():
    from sklearn.neural_network import MLPClassifier as Theirs

    x, y = load_digits(return_X_y=True)
    scores = [
        made(max_iter=60, random_state=0).fit(x[:1200], y[:1200]).score(x[1200:], y[1200:])
        for made in (MLPClassifier, Theirs)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)
    assert scores[0] > 0.85
