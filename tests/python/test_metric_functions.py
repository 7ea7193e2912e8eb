"""Functions as ``metrics`` of ``Trainer.fit``: what they are given, and what they are called."""

import functools
import math
import warnings

import numpy as np
import pytest

from nnext import (
    SGD,
    Dropout,
    Sequential,
    SigmoidWithLoss,
    SoftmaxWithLoss,
    SquaredError,
    Trainer,
    affine,
)
from nnext.base_model import BaseModel
from nnext.callbacks import Callback

rng = np.random.default_rng(0)
X = rng.standard_normal((90, 4)).astype(np.float32)
T = rng.integers(0, 3, 90)
WEIGHT = rng.integers(0, 4, 90) / 2


def chain(loss=None, outputs=3):
    return Sequential([affine(4, outputs, seed=0), Dropout(0.2, seed=1)], loss)


def fit(metrics, *, model=None, data=(X, T), **options):
    model = chain() if model is None else model
    trainer = Trainer(model, SGD(0.1), seed=0)
    options = {"max_epoch": 1, "progress": "none", **options}
    return trainer.fit(*data, metrics=metrics, **options).metrics


class Seen:
    """A metric that remembers what it was given."""

    def __init__(self):
        self.calls = []

    def __call__(self, t, y, sample_weight=None):
        self.calls.append((t, y, sample_weight))
        return len(t)

    @property
    def last(self):
        return self.calls[-1]


# --- what they are given --------------------------------------------------------------------------


def test_labels_come_first_and_then_predictions():
    seen, model = Seen(), chain()
    fit([seen], model=model)
    t, y, weight = seen.last
    np.testing.assert_array_equal(t, T)
    np.testing.assert_array_equal(y, model.predict(X))
    assert weight is None


@pytest.mark.parametrize("kind", ["one_hot", "soft", "lists", "float_rows"])
def test_labels_of_classes_are_class_indices(kind):
    rows = np.eye(3)[T]
    given = {
        "one_hot": rows.astype(int),
        "soft": 0.8 * rows + 0.2 / 3,
        "lists": T.tolist(),
        "float_rows": rows.astype(np.float32),
    }[kind]
    seen = Seen()
    fit([seen], data=(X, given))
    np.testing.assert_array_equal(seen.last[0], T)
    assert seen.last[0].dtype == np.int64


def test_ignored_labels_are_left_out():
    seen, model = Seen(), chain(SoftmaxWithLoss(ignore_label=1))
    history = fit({"n": seen}, model=model)
    np.testing.assert_array_equal(seen.last[0], T[T != 1])
    np.testing.assert_array_equal(seen.last[1], model.predict(X)[T != 1])
    assert history["n"] == [np.count_nonzero(T != 1)]


@pytest.mark.parametrize("ignore", [None, 2])
def test_labels_of_sequences_come_in_one_row(ignore):
    x, t = X.reshape(15, 6, 4), T.reshape(15, 6)
    seen, model = Seen(), chain(SoftmaxWithLoss(ignore_label=ignore))
    weight = WEIGHT.reshape(15, 6)
    fit([seen], model=model, data=(x, t), sample_weight=weight)
    kept = (weight > 0) & (t != (-5 if ignore is None else ignore))
    np.testing.assert_array_equal(seen.last[0], t[kept])
    np.testing.assert_array_equal(seen.last[1], model.predict(x)[kept])
    np.testing.assert_array_equal(seen.last[2], weight[kept])


def test_as_many_classes_as_rows_are_told_from_scores():
    x, t = X[:9].reshape(3, 3, 4), T[:9].reshape(3, 3)
    seen = Seen()
    fit([seen], data=(x, t))
    assert seen.last[0].shape == (9,)
    binary = np.eye(3)[T]
    fit([seen], model=chain(SigmoidWithLoss()), data=(X, binary))
    np.testing.assert_array_equal(seen.last[0], binary)
    assert seen.last[1].shape == (90, 3)


def test_weights_are_those_of_the_training_or_of_a_validation_that_has_them():
    counted = WEIGHT > 0
    seen = Seen()
    fit([seen], sample_weight=WEIGHT)
    np.testing.assert_array_equal(seen.last[0], T[counted])
    np.testing.assert_array_equal(seen.last[2], WEIGHT[counted])
    fit([seen], validation=(X, T, WEIGHT))
    np.testing.assert_array_equal(seen.last[2], WEIGHT[counted])
    fit([seen], validation=(X, T), sample_weight=WEIGHT)
    assert seen.last[2] is None
    assert len(seen.last[0]) == 90


def test_rows_without_weight_are_left_out_of_functions_that_take_none():
    history = fit({"n": lambda t, y: len(t)}, sample_weight=WEIGHT)
    assert history["n"] == [np.count_nonzero(WEIGHT)]


def test_weights_that_a_partial_has_are_its_own():
    seen = Seen()
    own = functools.partial(seen, sample_weight="own")
    fit({"n": own}, sample_weight=WEIGHT)
    assert seen.last[2] == "own"


def test_targets_of_a_regression_are_what_they_are():
    seen, t = Seen(), X[:, :1] * 2
    model = chain(SquaredError(), outputs=1)
    fit([seen], model=model, data=(X, t), sample_weight=WEIGHT)
    np.testing.assert_array_equal(seen.last[0], t[WEIGHT > 0])
    np.testing.assert_array_equal(seen.last[1], model.predict(X)[WEIGHT > 0])


def test_several_metrics_cannot_write_into_what_the_others_get():
    weight = WEIGHT + 1
    for name in ("t", "y", "sample_weight"):

        def bad(t, y, sample_weight, name=name):
            {"t": t, "y": y, "sample_weight": sample_weight}[name].fill(0)
            return 0

        with pytest.raises(ValueError, match="read-only"):
            fit([bad], sample_weight=weight)
    assert weight.min() == 1


def test_predictions_of_another_number_are_refused():
    class Own(Sequential):
        def predict(self, x):
            return np.zeros(3)

    with pytest.raises(
        ValueError, match=r"metrics: predict returned an array of shape \(3,\) for 64"
    ):
        fit([Seen()], model=Own([affine(4, 3, seed=0)]))


# --- scikit-learn ---------------------------------------------------------------------------------


def test_functions_of_scikit_learn_work_as_they_are():
    sk = pytest.importorskip("sklearn.metrics")
    macro = functools.partial(sk.f1_score, average="macro")
    model = chain(SoftmaxWithLoss(ignore_label=0))
    history = fit(
        [sk.accuracy_score, macro, "accuracy"],
        model=model,
        data=(X, np.eye(3, dtype=int)[T]),
        validation=(X, T, WEIGHT),
    )
    kept = (T != 0) & (WEIGHT > 0)
    t, y, weight = T[kept], model.predict(X)[kept], WEIGHT[kept]
    assert [*history] == ["val_loss", "val_accuracy_score", "val_f1_score", "val_accuracy"]
    expected = sk.accuracy_score(t, y, sample_weight=weight)
    assert history["val_accuracy_score"] == [expected]
    assert history["val_accuracy"] == pytest.approx([expected], rel=1e-15)
    assert history["val_f1_score"] == [macro(t, y, sample_weight=weight)]


@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error", "r2_score"])
@pytest.mark.parametrize("outputs", [1, 2])
def test_scores_of_regressions_of_scikit_learn_work_as_they_are(name, outputs):
    function = getattr(pytest.importorskip("sklearn.metrics"), name)
    model, t = chain(SquaredError(), outputs), X[:, :outputs] * 2
    history = fit([function], model=model, data=(X, t), validation=(X, t, WEIGHT))
    kept = WEIGHT > 0
    expected = function(t[kept], model.predict(X)[kept], sample_weight=WEIGHT[kept])
    assert history[f"val_{name}"] == [expected]


@pytest.mark.parametrize("outputs", [1, 3])
def test_scores_of_binary_labels_of_scikit_learn_work_as_they_are(outputs):
    sk = pytest.importorskip("sklearn.metrics")
    t = (X[:, :outputs] > 0).astype(int)
    model = chain(SigmoidWithLoss(), outputs)
    metrics = [sk.accuracy_score, functools.partial(sk.f1_score, average="macro")]
    history = fit(metrics, model=model, data=(X, t))
    assert history["accuracy_score"] == [sk.accuracy_score(t, model.predict(X))]


# --- tried before the training --------------------------------------------------------------------


def snapshot(trainer):
    layer = trainer.model.layers[1]
    remembered = [{name: id(v) for name, v in vars(inner).items()} for inner in trainer.model]
    numbers = (layer.offset, trainer.history.batches, remembered)
    return [p.copy() for p in trainer.model.params], numbers


def wrong_shape(t, y):
    return t == y


def raises(t, y):
    raise ZeroDivisionError("no")


@pytest.mark.parametrize(
    ("metric", "kind", "message"),
    [
        (wrong_shape, TypeError, r"metrics: expected a number from 'wrong_shape', got an array of"),
        (lambda t, y: None, TypeError, "metrics: expected a number from 'own', got None"),
        (lambda t, y: "0.5", TypeError, "metrics: expected a number from 'own', got '0.5'"),
        (lambda t, y: np.ones(1), TypeError, r"a number from 'own', got an array of shape \(1,\)"),
        (lambda t, y: (1, 2), TypeError, r"metrics: expected a number from 'own', got \(1, 2\)"),
        (lambda t, y: 10**400, TypeError, "metrics: expected a number from 'own', got 1000"),
        (lambda t: 0, TypeError, "metrics: 'own' is called with labels and predictions: too many"),
        (lambda t, y, k: 0, TypeError, "'own' is called with labels and predictions: missing.*'k'"),
        (
            lambda t, y, sample_weight: 0,
            TypeError,
            "'own' is called with labels and predictions: missing .*'sample_weight'",
        ),
        (raises, ZeroDivisionError, "no"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_mistake_is_told_before_anything_is_trained(metric, kind, message, streamed):
    trainer = Trainer(chain(), SGD(0.1), seed=0)
    before = snapshot(trainer)
    data = ([(X, T)],) if streamed else (X, T)
    name = metric.__name__ if metric.__name__ != "<lambda>" else "own"
    with pytest.raises(kind, match=message) as caught:
        trainer.fit(*data, max_epoch=1, metrics={name: metric}, validation=(X, T), progress="none")
    params, numbers = snapshot(trainer)
    for p, q in zip(params, before[0], strict=True):
        np.testing.assert_array_equal(p, q)
    assert numbers == before[1]
    if kind is ZeroDivisionError:
        assert caught.value.__notes__ == ["metrics: 'raises' was tried before the training"]


def test_it_is_tried_on_the_first_samples_that_count():
    seen = Seen()
    t = np.r_[np.zeros(60, int), T[60:]]
    fit([seen], model=chain(SoftmaxWithLoss(ignore_label=0)), data=(X, t))
    assert [len(t) for t, _, _ in seen.calls] == [np.count_nonzero(t)] * 2
    seen = Seen()
    fit([seen], data=(np.repeat(X, 9, axis=0), np.repeat(T, 9)))
    assert [len(t) for t, _, _ in seen.calls] == [64, 810]


def test_one_that_needs_more_samples_is_tried_on_all():
    def of_every_class(t, y):
        if len({*t.tolist()}) < 3:
            raise ValueError("a class is missing")
        return len(t)

    order = np.argsort(np.repeat(T, 5), kind="stable")
    x, t = np.repeat(X, 5, axis=0)[order], np.repeat(T, 5)[order]
    assert fit([of_every_class], data=(x, t))["of_every_class"] == [450]
    with pytest.raises(ValueError, match="a class is missing"):
        fit([of_every_class], data=(x, np.minimum(t, 1)))


def test_what_it_warns_of_a_few_samples_is_not_told():
    def wary(t, y):
        if len(t) < 450:
            warnings.warn("too few", UserWarning, stacklevel=2)
        return 0

    fit([wary], data=(np.repeat(X, 5, axis=0), np.repeat(T, 5)))
    with pytest.warns(UserWarning, match="too few"):
        fit([wary])


def test_trying_takes_nothing_from_the_training():
    class Noted(Callback):
        def __init__(self):
            self.losses = []

        def on_batch_end(self, trainer):
            self.losses.append(trainer.step.loss)

    with_metric, without = Noted(), Noted()
    fit([Seen()], callbacks=[with_metric])
    fit([], callbacks=[without])
    assert with_metric.losses == without.losses


def test_a_number_that_is_nan_is_one():
    assert math.isnan(fit({"none": lambda t, y: math.nan})["none"][0])


# --- what they are called -------------------------------------------------------------------------


def share(t, y):
    return np.mean(t == y)


def test_what_they_are_called():
    class Object:
        def __call__(self, t, y):
            return 0.5

        def method(self, t, y):
            return 0.25

    twice = functools.partial(functools.partial(share))
    history = fit([twice, Object(), Object().method])
    assert [*history] == ["share", "Object", "method"]


@pytest.mark.parametrize(
    ("metrics", "kind", "message"),
    [
        ([share, functools.partial(share)], ValueError, r"two of the name 'share'; a dict gives"),
        ([functools.partial(lambda t, y: 0)], TypeError, "has no name; give a dict"),
        ([Seen], TypeError, r"expected a name or a function\(t, y\), got the class Seen"),
        ({"seconds": share}, ValueError, "every history has a column 'seconds'"),
        (share, TypeError, "metrics: expected a list such as"),
        (None, TypeError, "metrics: expected a list such as"),
        (["f1"], ValueError, "metrics: expected 'accuracy' or a function, got 'f1'"),
    ],
)
def test_what_has_no_name_of_its_own_is_refused(metrics, kind, message):
    with pytest.raises(kind, match=message):
        fit(metrics)


# --- models of other kinds ------------------------------------------------------------------------


def test_a_model_whose_loss_knows_no_classes_gets_labels_as_they_are():
    class Own(BaseModel):
        def __init__(self):
            self.layer = affine(4, 3, seed=0)
            super().__init__([self.layer], SoftmaxWithLoss())
            self.inner, self.loss_layer = self.loss_layer, None

        def forward(self, x, t):
            return self.inner.forward(self.layer.forward(x), t)

        def backward(self, dout=1):
            return self.layer.backward(self.inner.backward(dout))

        def predict(self, x):
            return self.layer.forward(x).argmax(axis=1).tolist()

    seen, rows = Seen(), np.eye(3)[T]
    fit([seen], model=Own(), data=(X, rows))
    np.testing.assert_array_equal(seen.last[0], rows)


# --- accuracy with weights ------------------------------------------------------------------------


def test_the_accuracy_of_a_model_takes_weights():
    model = chain(SoftmaxWithLoss(ignore_label=2))
    right, kept = model.predict(X) == T, T != 2
    expected = WEIGHT[right & kept].sum() / WEIGHT[kept].sum()
    assert model.accuracy(X, T, sample_weight=WEIGHT) == pytest.approx(expected, rel=1e-15)
    assert model.accuracy(X, T, 7, sample_weight=WEIGHT) == model.accuracy(
        X, T, sample_weight=WEIGHT
    )
    assert model.accuracy(X, T, sample_weight=np.full(90, 3)) == model.accuracy(X, T)
    binary = chain(SigmoidWithLoss())
    t = np.eye(3)[T]
    right = binary.predict(X) == t
    expected = (right * WEIGHT[:, None]).sum() / (3 * WEIGHT.sum())
    assert binary.accuracy(X, t, sample_weight=WEIGHT) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(4), "sample_weight: expected 90 weights"),
        (np.ones((90, 1)), r"sample_weight: expected shape \(90,\), that of the labels"),
        (-np.ones(90), "sample_weight: expected finite numbers of at least 0"),
        ((T == 2).astype(float), "sample_weight: the weight of every label that counts is 0"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_the_accuracy(weight, message):
    with pytest.raises(ValueError, match=message):
        chain(SoftmaxWithLoss(ignore_label=2)).accuracy(X, T, sample_weight=weight)
