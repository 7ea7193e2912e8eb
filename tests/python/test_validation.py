"""Validation, metrics, weights, several inputs and batches of an iterable in ``Trainer.fit``."""

import math

import numpy as np
import pytest

from nnext.base_model import BaseModel
from nnext.datasets import spiral
from nnext.layers import Affine, AffineSoftmaxWithLoss, Dropout, SigmoidWithLoss, SoftmaxWithLoss
from nnext.models import Sequential, TwoLayerNet, affine
from nnext.optimizer import SGD
from nnext.trainer import Trainer

X, ONE_HOT = spiral()
X = X.astype(np.float32)
T = ONE_HOT.argmax(axis=1)


def trainer(model=None, lr=0.1):
    return Trainer(model or TwoLayerNet(2, 5, 3, seed=0, weight_scale=1.0), SGD(lr), seed=0)


def fit(over, *data, max_epoch=2, batch_size=50, **options):
    data = data or (X, T)
    return over.fit(*data, max_epoch, batch_size, progress="none", **options)


def params(over):
    return [p.copy() for p in over.model.params]


def assert_same(first, second):
    for p, q in zip(first, second, strict=True):
        np.testing.assert_array_equal(p, q)


# --- validation -----------------------------------------------------------------------------------


def test_the_models_loss_on_the_validation_is_in_the_history_and_trains_nothing():
    own, plain = trainer(), trainer()
    history = fit(own, X[:200], T[:200], validation=(X[200:], T[200:]))
    fit(plain, X[:200], T[:200])
    assert_same(params(own), params(plain))
    assert len(history.metrics["val_loss"]) == 2
    assert history.metrics["val_loss"][-1] == own.model.loss(X[200:], T[200:])


def test_the_validation_leaves_no_trace_in_the_model():
    def model():
        layers = [affine(2, 9, seed=0), Dropout(0.5, seed=1), affine(9, 3, seed=2)]
        return Sequential(layers)

    own, plain = trainer(model()), trainer(model())
    fit(own, validation=(X, T), metrics=["accuracy"])
    fit(plain)
    assert_same(params(own), params(plain))
    assert own.model.layers[1].offset == plain.model.layers[1].offset


def test_a_part_is_set_apart_the_same_in_every_call():
    class Sees(Sequential):
        def __init__(self):
            super().__init__([affine(2, 3, seed=0)])
            self.trained, self.measured = [], []

        def forward(self, x, t, sample_weight=None):
            self.trained += x[:, 0].tolist()
            return super().forward(x, t)

        def loss(self, x, t, batch_size=1024):
            self.measured.append(x[:, 0].tolist())
            return super().loss(x, t, batch_size)

    x = np.stack([np.arange(300), np.zeros(300)], axis=1).astype(np.float32) / 300
    model = Sees()
    over = trainer(model)
    fit(over, x, T, max_epoch=1, validation=0.2)
    fit(over, x, T, max_epoch=1, validation=0.2)
    first, second = model.measured
    assert first == second
    assert len(first) == 60
    assert {*T[np.round(np.array(first) * 300).astype(int)].tolist()} == {0, 1, 2}  # mixed
    assert sorted(model.trained) == sorted([*({*x[:, 0].tolist()} - {*first})] * 2)


def test_a_validation_may_have_weights():
    weight = np.r_[np.ones(10), np.zeros(290)]
    over = trainer()
    history = fit(over, validation=(X, T, weight))
    assert history.metrics["val_loss"][-1] == pytest.approx(over.model.loss(X[:10], T[:10]))


@pytest.mark.parametrize("kind", ["bar", "lines"])
def test_the_numbers_are_shown(kind, capsys):
    if kind == "bar":
        pytest.importorskip("tqdm")
    trainer().fit(X, T, 1, 50, progress=kind, validation=(X, T), metrics=["accuracy"])
    shown = "".join(capsys.readouterr())
    assert "val_loss 1." in shown
    assert "val_accuracy 0." in shown


@pytest.mark.parametrize(
    ("validation", "kind", "message"),
    [
        (0, ValueError, r"validation: expected \(x, t\) or a part .* in \(0, 1\), got 0"),
        (1.0, ValueError, r"validation: expected \(x, t\) or a part"),
        (math.nan, ValueError, r"validation: expected \(x, t\) or a part"),
        (True, ValueError, r"validation: expected \(x, t\) or a part"),
        ("a", TypeError, r"validation: expected \(x, t\) or a part of .*, got str"),
        (X, TypeError, r"validation: expected \(x, t\) or a part of .*, got ndarray"),
        (0.001, ValueError, "validation: 0.001 of 300 samples leaves 0 to validate on and 300"),
        (0.9999, ValueError, "leaves 300 to validate on and 0 to train on"),
        ((X,), TypeError, r"validation: expected \(x, t\) .* got tuple of length 1"),
        ((X, T[:5]), ValueError, "validation: t: expected 300 labels, one for each row of x"),
        ((X[:0], T[:0]), ValueError, "validation: x: expected at least one sample"),
        ((X[:, :1], T), ValueError, "validation: .*"),
        ((X, T + 1), IndexError, "validation: t: .*3"),
        ((X, T, np.ones(3)), ValueError, "validation: sample_weight: expected 300 weights"),
    ],
)
def test_a_validation_that_cannot_be_used_is_refused_before_anything_changes(
    validation, kind, message
):
    over = trainer()
    before = params(over)
    with pytest.raises(kind, match=message):
        fit(over, validation=validation)
    assert_same(params(over), before)
    assert over.history.batches == 0


def test_a_model_that_cannot_be_measured_is_told_what_it_lacks():
    class Bare:
        def __init__(self):
            self.params, self.grads = [np.zeros(1)], [np.zeros(1)]

        def forward(self, x, t):
            return 0.0

        def backward(self):
            pass

    with pytest.raises(TypeError, match="validation: the model Bare has no loss; models"):
        fit(trainer(Bare()), validation=(X, T))
    with pytest.raises(TypeError, match="metrics: the model Bare has no accuracy"):
        fit(trainer(Bare()), metrics=["accuracy"])


# --- metrics --------------------------------------------------------------------------------------


def share(t, y):
    return np.mean(t == y)


def test_metrics_are_of_the_validation_or_else_of_the_training():
    over = trainer()
    history = fit(over, validation=(X[:90], T[:90]), metrics=["accuracy", share])
    assert history.metrics["val_share"] == history.metrics["val_accuracy"]
    assert history.metrics["val_accuracy"][-1] == over.model.accuracy(X[:90], T[:90])
    over = trainer()
    history = fit(over, metrics={"right": share, "wrong": lambda t, y: np.mean(t != y)})
    assert history.metrics["right"][-1] == over.model.accuracy(X, T)
    assert np.add(history.metrics["right"], history.metrics["wrong"]) == pytest.approx(1)


def test_metrics_may_be_monitored_and_stand_beside_what_on_epoch_returns():
    history = fit(trainer(), metrics=[share], on_epoch=lambda over: {"other": 1})
    assert [*history.metrics] == ["share", "other"]


@pytest.mark.parametrize(
    ("metrics", "kind", "message"),
    [
        ("accuracy", TypeError, r'metrics: expected a list such as \["accuracy"\], got \'acc'),
        (3, TypeError, "metrics: expected a list"),
        (["speed"], ValueError, "metrics: expected 'accuracy' or a function, got 'speed'"),
        ([3], TypeError, r"metrics: expected a name or a function\(t, y\), got 3"),
        ([lambda t, y: 0], TypeError, "metrics: <function .* has no name; give a dict"),
        ([share, share], ValueError, "metrics: there are two of the name 'share'"),
        ({"loss": share}, ValueError, "metrics: every history has a column 'loss'"),
        ({1: share}, TypeError, "has no name"),
        ({"a": lambda t, y: "b"}, TypeError, "metrics: expected a number from 'a', got 'b'"),
    ],
)
def test_what_is_no_metric_is_refused(metrics, kind, message):
    with pytest.raises(kind, match=message):
        fit(trainer(), metrics=metrics)


def test_a_name_that_is_measured_already_is_refused_of_on_epoch():
    with pytest.raises(ValueError, match="on_epoch: 'val_loss' is measured already"):
        fit(trainer(), validation=(X, T), on_epoch=lambda over: {"val_loss": 0})


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [False, True])
def test_a_weight_counts_like_so_many_rows(fused):
    def model():
        if not fused:
            return Sequential([affine(2, 3, seed=0, dtype="float64")])
        layer = affine(4, 3, seed=1, dtype="float64")
        return Sequential(
            [affine(2, 4, seed=0, dtype="float64")], AffineSoftmaxWithLoss(*layer.params)
        )

    weight = np.arange(300) % 3
    x = X.astype(np.float64)
    weighted, repeated = trainer(model()), trainer(model())
    fit(weighted, x, T, batch_size=300, sample_weight=weight)
    rows = np.repeat(np.arange(300), weight)
    fit(repeated, x[rows], T[rows], batch_size=len(rows))
    for p, q in zip(params(weighted), params(repeated), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-12)
    assert weighted.history.epoch_loss == pytest.approx(repeated.history.epoch_loss, rel=1e-12)


@pytest.mark.parametrize(
    ("weight", "kind", "message"),
    [
        (np.ones(299), ValueError, r"sample_weight: expected 300 weights.*got shape \(299,\)"),
        (1.0, ValueError, "sample_weight: expected 300 weights"),
        (np.zeros(300), ValueError, "sample_weight: every weight is 0"),
        (np.r_[np.ones(299), -1], ValueError, "of at least 0, row 299 holds -1"),
        (np.r_[np.nan, np.ones(299)], ValueError, "sample_weight: .* row 0 holds nan"),
        (["a"] * 300, TypeError, "sample_weight: expected an array of numbers, got type <U1"),
        (np.ones(300, complex), TypeError, "sample_weight: .* of numbers, got type complex"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(weight, kind, message):
    over = trainer()
    before = params(over)
    with pytest.raises(kind, match=message):
        fit(over, sample_weight=weight)
    assert_same(params(over), before)


def test_a_loss_that_takes_no_weights_is_named():
    class Own:
        params, grads = [], []

        def forward(self, x, t):
            return 0.0

        def backward(self, dout=1):
            return np.zeros((1, 3), np.float32)

    with pytest.raises(TypeError, match="forward of the loss Own takes no sample_weight"):
        fit(trainer(Sequential([affine(2, 3, seed=0)], Own())), sample_weight=np.ones(300))


def test_the_loss_of_a_model_takes_weights():
    model = TwoLayerNet(2, 5, 3, seed=0)
    weight = np.r_[np.ones(7), np.zeros(293)]
    assert model.loss(X, T, 100, sample_weight=weight) == pytest.approx(model.loss(X[:7], T[:7]))


# --- several inputs -------------------------------------------------------------------------------


class TwoInputs(BaseModel):
    """The scores are a sum over two inputs."""

    def __init__(self, names):
        self.names = names
        self.a, self.b = affine(2, 3, seed=0), affine(3, 3, seed=1)
        super().__init__([self.a, self.b], SoftmaxWithLoss())

    def _scores(self, x):
        first, second = (x[name] for name in self.names)
        return self.a.forward(first) + self.b.forward(second)

    def loss_input(self, x):
        return self._scores(x)

    def forward(self, x, t):
        return self.loss_layer.forward(self._scores(x), t)

    def backward(self, dout=1):
        dout = self.loss_layer.backward(dout)
        self.a.backward(dout)
        self.b.backward(dout)


@pytest.mark.parametrize("as_dict", [False, True])
def test_a_model_may_have_several_inputs(as_dict):
    names = ["points", "classes"] if as_dict else [0, 1]
    inputs = X.astype(np.float64), ONE_HOT.astype(np.float64)
    x = dict(zip(names, inputs, strict=True)) if as_dict else inputs
    over = trainer(TwoInputs(names), lr=5.0)
    history = fit(over, x, T, validation=(x, T), metrics=["accuracy"], max_epoch=5)
    assert history.metrics["val_accuracy"][-1] == 1.0  # its second input is the answer
    assert history.epoch_loss[-1] < history.epoch_loss[0]
    assert over.model.predict(x, batch_size=7).tolist() == T.tolist()
    part = fit(trainer(TwoInputs(names)), x, T, validation=0.5, max_epoch=1)
    assert len(part.metrics["val_loss"]) == 1


def test_inputs_of_other_lengths_are_refused_by_name():
    with pytest.raises(
        ValueError, match=r"as t, of shape \(300,\), got x\['a'\] of 300, x\['b'\] of 5"
    ):
        fit(trainer(TwoInputs(["a", "b"])), {"a": X, "b": X[:5]}, T)


# --- iterables of batches -------------------------------------------------------------------------


class Batches:
    """The same batches again and again."""

    def __init__(self, *batches, length=True):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_an_iterable_gives_the_batches_one_pass_an_epoch():
    batches = [(X[i : i + 50].astype(np.float64), T[i : i + 50]) for i in range(0, 300, 50)]
    over, by_hand = trainer(), trainer()
    history = over.fit(Batches(*batches), max_epoch=3, progress="none", validation=(X, T))
    for _ in range(3):
        for x, t in batches:
            by_hand.fit(x, t, 1, 50, progress="none")
    assert history.epoch_iteration == [6, 12, 18]
    assert len(history.metrics["val_loss"]) == 3
    for p, q in zip(params(over), params(by_hand), strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-6)  # fit shuffles within a batch
    assert {p.dtype for p in over.model.grads} == {np.dtype(np.float32)}


def test_batches_may_have_weights_and_lists_do_as_well(capsys):
    batches = [(X[:9], T[:9], np.r_[1, np.zeros(8)])]
    over, single = trainer(), trainer()
    over.fit(batches, max_epoch=1, eval_interval=1)
    single.fit(X[:1], T[:1], max_epoch=1, progress="none")
    assert_same(params(over), params(single))
    assert "iter 1 / 1" in capsys.readouterr().out


def test_a_generator_can_be_gone_through_once():
    over = trainer()
    batches = ((X[:9], T[:9]) for _ in range(3))
    with pytest.raises(ValueError, match=r"x: 2 epochs are 2 passes .* generator can be gone"):
        over.fit(batches, max_epoch=2, progress="none")
    assert over.history.batches == 0
    over.fit(batches, max_epoch=1, progress="none")
    assert over.history.batches == 3
    with pytest.raises(ValueError, match=r"the iterable gave no batch; .* a generator can be gone"):
        over.fit(batches, max_epoch=1, progress="none")


@pytest.mark.parametrize(
    ("batches", "kind", "message"),
    [
        (X, TypeError, "t: expected labels; without them x is to be an iterable of batches"),
        (5, TypeError, "t: expected labels; without them"),
        ([X[:5]], TypeError, r"x: expected batches \(x, t\) .* batch 1 is ndarray"),
        ([(X[:5], T[:5]), (X,)], TypeError, "batch 2 is tuple of length 1"),
        ([(X[:5], T[:4])], ValueError, "batch 1: t: expected 5 labels"),
        ([], ValueError, "x: the iterable gave no batch"),
    ],
)
def test_what_gives_no_batches_is_refused(batches, kind, message):
    with pytest.raises(kind, match=message):
        trainer().fit(batches, progress="none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_weight": np.ones(9)}, "sample_weight: an iterable gives its own batches"),
        ({"drop_last": True}, "drop_last: an iterable gives its own batches"),
        ({"metrics": ["accuracy"]}, "metrics: with an iterable of batches they need a validation"),
        ({"validation": 0.1}, "validation: expected"),
    ],
)
def test_options_that_an_iterable_has_no_use_for_are_refused(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        trainer().fit([(X[:9], T[:9])], progress="none", **options)


# --- inference in batches -------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [SoftmaxWithLoss, SigmoidWithLoss])
@pytest.mark.parametrize("batch_size", [1, 7, 300, 1000])
def test_predictions_in_batches_are_those_of_all_at_once(loss, batch_size):
    model = Sequential([affine(2, 9, seed=0), Affine(*affine(9, 3, seed=1).params)], loss())
    labels = T if loss is SoftmaxWithLoss else ONE_HOT
    np.testing.assert_array_equal(model.predict(X, batch_size), model.predict(X))
    np.testing.assert_array_equal(model.predict_proba(X, batch_size), model.predict_proba(X))
    assert model.accuracy(X, labels, batch_size) == model.accuracy(X, labels)
    with pytest.raises(ValueError, match="batch_size: expected a whole number of at least 1"):
        model.predict(X, 0)


def test_methods_of_ones_own_need_not_know_batches():
    class Own(TwoLayerNet):
        def loss(self, x, t):
            return 7.0

        def predict(self, x):
            return np.zeros(len(x), int)

        def accuracy(self, x, t):
            return 0.25

    model = Own(2, 5, 3, seed=0)
    history = fit(trainer(model), validation=(X, T), metrics=["accuracy", share])
    assert history.metrics["val_loss"] == [7.0] * 2
    assert history.metrics["val_accuracy"] == [0.25] * 2

    class Bare:
        params, grads = model.params, model.grads
        forward, backward, loss = model.forward, model.backward, model.loss

    assert fit(trainer(Bare()), validation=(X, T)).metrics["val_loss"] == [7.0] * 2


def test_a_tuple_of_as_many_rows_as_numbers_in_each_is_rows():
    x = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    t = np.array([0, 1, 2, 0])
    model = Sequential([affine(4, 3, seed=0)])
    expected = model.loss(x, t)
    for rows in (list(x), tuple(x)):
        over = trainer(model, lr=0.0)
        assert fit(over, rows, t, max_epoch=1).epoch_loss == [pytest.approx(expected)]
        np.testing.assert_array_equal(model.predict(rows, 4), model.predict(x))


def test_inputs_of_other_lengths_are_refused_in_batches_too():
    model = TwoInputs(["a", "b"])
    with pytest.raises(ValueError, match="x: expected inputs of equally many rows, got 5, 300"):
        model.predict({"a": X[:5], "b": ONE_HOT}, batch_size=2)


def test_a_metric_cannot_write_into_the_labels():
    t = T.copy()
    with pytest.raises(ValueError, match="read-only"):
        fit(trainer(), X, t, metrics={"bad": lambda t, y: t.fill(0)})
    np.testing.assert_array_equal(t, T)
