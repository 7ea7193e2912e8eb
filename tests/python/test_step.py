"""One step of training: shared weights, joining, clipping, what is not finite, what it refuses."""

import copy
import math
import pickle

import numpy as np
import pytest

from nnext._nnext import EmptyBatchError
from nnext._support import find_shared
from nnext.datasets import spiral
from nnext.layers import MatMul, SoftmaxWithLoss
from nnext.models import Sequential, TwoLayerNet, affine
from nnext.optimizer import SGD, Adam
from nnext.step import Step
from nnext.trainer import Trainer


class Steep:
    """A model of one parameter with a given loss and gradient."""

    def __init__(self, loss=1.0, grad=1.0):
        self.params, self.grads = [np.zeros(1)], [np.zeros(1)]
        self.loss, self.grad = loss, grad

    def forward(self, x, t):
        if isinstance(self.loss, Exception):
            raise self.loss
        return self.loss

    def backward(self):
        self.grads[0][...] = self.grad


def test_a_loop_of_ones_own_does_what_the_trainer_does():
    x, t = spiral()
    model, other = (TwoLayerNet(2, 5, 3, seed=0) for _ in range(2))
    history = Trainer(model, Adam(lr=0.1), seed=0).fit(
        x, t, 2, 40, max_grad=0.1, eval_interval=1, progress="none"
    )
    step, order, losses = Step(other, Adam(lr=0.1), 0.1), np.random.RandomState(0), []
    for _ in range(2):
        rows = order.permutation(len(x))
        for first in range(0, len(x), 40):
            losses.append(step(x[rows[first : first + 40]], t[rows[first : first + 40]]))
            assert step.count == min(40, len(x) - first)
    assert losses == history.loss
    for p, q in zip(model.params, other.params, strict=True):
        np.testing.assert_array_equal(p, q)


def test_the_count_is_the_losss_or_the_number_of_rows():
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((5, 2)), np.array([0, 1, 2, 2, 1])
    for options, count in [
        ({}, 5),
        ({"ignore_label": 2}, 3),
        ({"class_weight": [1.0, 2.0, 0.0]}, 5),
    ]:
        step = Step(Sequential([affine(2, 3, rng)], SoftmaxWithLoss(**options)), SGD())
        step(x, t)
        assert step.count == count
    step = Step(Steep(), SGD())
    step(x, t)
    assert step.count == 5


# Shared weights


def test_sharing_is_a_matter_of_memory_never_of_numbers():
    W = np.ones((3, 3))
    assert find_shared([W, W, W.T, W.copy(), W[:], W[:2], np.ones(0), W.astype("f4")]) == [
        (0, False),
        (0, False),
        (0, False) if W.strides == W.T.strides else (0, True),
        (3, False),
        (0, False),
        (5, False),
        (6, False),
        (7, False),
    ]
    V = np.ones((2, 3))
    assert find_shared([V.T, V, V.copy().T]) == [(0, False), (0, True), (2, False)]


class Tied:
    """y = x W V V' with given arrays, for gradients of shared weights."""

    def __init__(self, *weights):
        self.model = Sequential([MatMul(W) for W in weights])
        self.params, self.grads = self.model.params, self.model.grads
        self.forward, self.backward = self.model.forward, self.model.backward


class Watcher(SGD):
    """Notes what it is asked to update."""

    def __init__(self, lr):
        super().__init__(lr=lr)
        self.seen = []

    def update(self, params, grads):
        self.seen.append((list(params), [g.copy() for g in grads]))
        super().update(params, grads)


def one_step(*weights):
    rng = np.random.default_rng(2)
    x, t = rng.standard_normal((4, weights[0].shape[0])), np.array([0, 1, 1, 0])
    model, optimizer = Tied(*weights), Watcher(lr=0.1)
    model.forward(x, t)
    model.backward()
    separate = [g.copy() for g in model.grads]
    Trainer(model, optimizer).fit(x, t, 1, 4, progress="none")
    return model, optimizer, separate


def test_gradients_of_one_array_in_two_layers_are_summed_and_it_is_updated_once():
    W = np.random.default_rng(0).standard_normal((3, 3))
    before = W.copy()
    model, optimizer, separate = one_step(W, W)
    ((params, grads),) = optimizer.seen
    assert len(params) == 1
    assert params[0] is W
    np.testing.assert_allclose(grads[0], separate[0] + separate[1], rtol=1e-12)
    np.testing.assert_allclose(W, before - 0.1 * (separate[0] + separate[1]), rtol=1e-12)
    assert len(model.params) == 2  # the model's own lists are left alone


def test_gradients_of_a_transposed_view_are_summed_transposed():
    W = np.random.default_rng(0).standard_normal((3, 2))
    V = np.random.default_rng(1).standard_normal((2, 2))
    _, optimizer, separate = one_step(W, V, W.T, W)
    ((params, grads),) = optimizer.seen
    assert len(params) == 2
    assert params[0] is W
    assert params[1] is V
    np.testing.assert_allclose(grads[0], separate[0] + separate[2].T + separate[3], rtol=1e-12)
    np.testing.assert_allclose(grads[1], separate[1], rtol=1e-12)


@pytest.mark.parametrize("other", [np.copy, lambda W: W.T.copy()], ids=["alike", "transposed"])
def test_equal_numbers_in_different_arrays_stay_separate(other):
    W = np.eye(3)
    V = other(W)
    _, optimizer, separate = one_step(W, V)
    ((params, grads),) = optimizer.seen
    assert params[0] is W
    assert params[1] is V
    for g, expected in zip(grads, separate, strict=True):
        np.testing.assert_allclose(g, expected, rtol=1e-12)


def test_a_gradient_that_the_model_gathered_itself_is_not_added_twice():
    class Gathered(Steep):
        def __init__(self):
            super().__init__()
            self.params, self.grads = self.params * 2, self.grads * 2

        def backward(self):
            self.grads[0][...] = 3

    model = Gathered()
    Step(model, SGD(lr=1.0))([1], [1])
    assert model.params[0] == -3


@pytest.mark.parametrize("places", [(0, 1, 1), (0, 1, 0), (0, 0, 1), (1, 0, 0, 1)])
def test_each_gradient_array_of_a_shared_weight_counts_once(places):
    class Partly(Steep):
        def __init__(self):
            super().__init__()
            gathered = [np.zeros(1), np.zeros(1)]
            self.params = self.params * len(places)
            self.grads = [gathered[i] for i in places]
            self.gathered = gathered

        def backward(self):
            self.gathered[0][...], self.gathered[1][...] = 1, 10

    model = Partly()
    Step(model, SGD(lr=1.0))([1], [1])
    assert model.params[0] == -11


def test_shared_weights_and_optimizers_with_state_go_on_over_many_steps():
    """A tied model does what one does whose gradient is summed by hand."""
    rng = np.random.default_rng(3)
    W = rng.standard_normal((3, 3))
    V = W.copy()
    x, t = rng.standard_normal((8, 3)), rng.integers(0, 3, 8)
    Trainer(Tied(W, W), Adam(lr=0.1), seed=0).fit(x, t, 3, 4, progress="none")

    model, optimizer, order = Tied(V, V), Adam(lr=0.1), np.random.RandomState(0)
    for _ in range(3):
        rows = order.permutation(8)
        for k in (0, 4):
            model.forward(x[rows[k : k + 4]], t[rows[k : k + 4]])
            model.backward()
            optimizer.update([V], [model.grads[0] + model.grads[1]])
    np.testing.assert_allclose(W, V, rtol=1e-12)


# Batches of which nothing counts


def test_an_empty_batch_changes_nothing():
    model = Steep(EmptyBatchError("nothing"))
    step = Step(model, SGD())
    assert math.isnan(step([1], [1]))
    assert step.count == 0
    assert model.params[0] == 0


def test_an_empty_batch_of_a_summed_loss_does_not_move_an_optimizer_with_memory():
    rng = np.random.default_rng(0)
    model = Sequential([affine(2, 3, rng)], SoftmaxWithLoss(reduction="sum", ignore_label=-1))
    step = Step(model, optimizer := Adam(lr=0.1))
    step(np.ones((2, 2)), [0, 1])
    before = model.params[0].copy()
    assert step(np.ones((2, 2)), [-1, -1]) == 0
    assert optimizer.iter == 1
    np.testing.assert_array_equal(model.params[0], before)


# Several processes


def test_gradients_are_joined_after_sharing_and_before_clipping():
    W = np.eye(2)
    model = Sequential([MatMul(W), MatMul(W)])
    seen = []

    def join(grads, count):
        seen.append((len(grads), count))
        for grad in grads:
            grad[...] = 10
        return count

    before = W.copy()
    Step(model, SGD(lr=1.0), max_grad=2.0, join=join)(np.ones((3, 2)), [0, 1, 1])
    assert seen == [(1, 3.0)]
    np.testing.assert_allclose(before - W, np.ones((2, 2)), rtol=1e-6)  # a norm of 20, made 2


@pytest.mark.parametrize("others", [0.0, 4.0])
def test_a_process_without_rows_joins_with_zeros_and_takes_the_others_step(others):
    model, seen = Steep(EmptyBatchError("nothing")), []
    model.grads[0][...] = 7

    def join(grads, count):
        seen.append((float(grads[0][0]), count))
        grads[0][...] = 3
        return count + others

    assert math.isnan(Step(model, SGD(lr=1.0), join=join)([1], [1]))
    assert seen == [(0, 0)]
    assert model.params[0] == (-3 if others else 0)


# What is not finite


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_reported_once_or_raised_or_ignored(value):
    step = Step(model := Steep(value), SGD(lr=1.0))
    with pytest.warns(RuntimeWarning, match=f"the loss is {value} in step 1") as told:
        losses = [step([1], [1]), step([1], [1])]
    assert len(losses) == 2 > len(told) == 1
    assert told[0].filename == __file__
    assert model.params[0] == -2
    with pytest.raises(FloatingPointError, match=f"the loss is {value} in epoch 7"):
        Step(model, SGD(lr=1.0), on_nonfinite="raise", where=lambda: "epoch 7")([1], [1])
    assert model.params[0] == -2
    Step(model, SGD(lr=1.0), on_nonfinite="ignore")([1], [1])
    assert model.params[0] == -3


@pytest.mark.parametrize("grad", [math.nan, math.inf])
def test_under_clipping_a_norm_that_is_not_finite_is_not_applied_silently(grad):
    model = Steep(grad=grad)
    step = Step(model, optimizer := Adam(), max_grad=1.0)
    with pytest.warns(RuntimeWarning, match=f"the norm of the gradients is {grad} in step") as told:
        losses = [step([1], [1]), step([1], [1])]
    assert losses == [1, 1]
    assert len(told) == 1
    model.grad = 1.0
    step([1], [1])
    assert optimizer.iter == 1
    assert np.isfinite(model.params[0])
    model.grad, before = grad, model.params[0].copy()
    with pytest.raises(FloatingPointError, match=f"the norm of the gradients is {grad}"):
        Step(model, SGD(lr=1.0), 1.0, on_nonfinite="raise")([1], [1])
    np.testing.assert_array_equal(model.params[0], before)
    Step(model, SGD(lr=1.0), 1.0, on_nonfinite="ignore")([1], [1])
    assert np.isnan(model.params[0])


# What it refuses


def test_a_step_that_fails_has_changed_nothing():
    x, t = spiral()
    model = TwoLayerNet(2, 5, 3, seed=0)
    step = Step(model, optimizer := Adam())
    step(x, t)
    before = [a.copy() for a in [*model.params, *optimizer.m, *optimizer.v]]
    saved, model.grads[1] = model.grads[1], np.zeros(9, np.float32)
    with pytest.raises(ValueError, match=r"grads\[1\]"):
        step(x, t)
    model.grads[1] = saved
    assert optimizer.iter == 1
    for a, b in zip([*model.params, *optimizer.m, *optimizer.v], before, strict=True):
        np.testing.assert_array_equal(a, b)
    step(x, t)


def lacking(*names):
    model = Steep()
    for name in names:
        if name in ("params", "grads"):
            delattr(model, name)
    parts = {k: v for k, v in vars(Steep).items() if k in ("forward", "backward")}
    cls = type("Lacking", (), {k: v for k, v in parts.items() if k not in names})
    new = cls()
    vars(new).update(vars(model))
    return new


@pytest.mark.parametrize("make", [Trainer, Step])
@pytest.mark.parametrize(
    ("model", "optimizer", "message"),
    [
        (Steep, SGD(), "model: expected a model, got the class Steep, not an object"),
        (lacking("forward"), SGD(), "model: expected a model, got .* without forward$"),
        (lacking("backward", "grads"), SGD(), "got .* without grads, backward$"),
        (None, SGD(), "got None without params, grads, forward, backward"),
        (Steep(), Adam, r"optimizer: expected an object, got the class Adam; write Adam\(\)"),
        (Steep(), "adam", r"optimizer: expected an object with update.*Adam\(\), got 'adam'"),
    ],
)
def test_what_is_no_model_or_optimizer_is_named(make, model, optimizer, message):
    with pytest.raises(TypeError, match=message):
        make(model, optimizer)


@pytest.mark.parametrize("make", [Trainer, Step])
def test_a_loss_for_each_row_is_refused(make):
    rng = np.random.default_rng(0)
    model = Sequential([affine(2, 3, rng)], SoftmaxWithLoss(reduction="none"))
    with pytest.raises(ValueError, match=r'model\.loss_layer: reduction="none"'):
        make(model, SGD())


@pytest.mark.parametrize("make", [Trainer, Step])
def test_params_and_grads_must_be_equally_many(make):
    model = Steep()
    model.grads.append(np.zeros(1))
    with pytest.raises(ValueError, match="model: has 1 params but 2 grads"):
        make(model, SGD())


def test_params_that_come_or_go_during_training_are_noticed():
    model = TwoLayerNet(2, 5, 3, seed=0)
    step = Step(model, SGD())
    model.params.pop()
    model.grads.pop()
    with pytest.raises(ValueError, match="model: has 3 params and 3 grads, and had 4"):
        step(np.ones((1, 2)), [0])


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (np.ones(3), r"model.forward: expected the loss, one number, got an array of shape \(3,\)"),
        ("1.0", "got '1.0'"),
        (None, "got None"),
    ],
)
def test_a_loss_that_is_no_number_is_named(loss, message):
    with pytest.raises(TypeError, match=message):
        Step(Steep(loss), SGD())([1], [1])


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"max_grad": 0}, ValueError, "max_grad: expected a positive number or None, got 0"),
        ({"max_grad": "1"}, TypeError, "max_grad: expected a number, got str"),
        ({"join": 3}, TypeError, "join: expected a function or None, got 3"),
        ({"where": "here"}, TypeError, "where: expected a function or None, got 'here'"),
        ({"on_nonfinite": None}, ValueError, "on_nonfinite: expected .* got None"),
    ],
)
def test_options_are_refused_by_name(options, kind, message):
    with pytest.raises(kind, match=message):
        Step(Steep(), SGD(), **options)


def test_a_step_can_be_copied_and_pickled_and_counts_on_its_own():
    step = Step(TwoLayerNet(2, 3, 2, seed=0), SGD(), max_grad=5.0)
    x, t = np.ones((2, 2), np.float32), [0, 1]
    for other in (copy.deepcopy(step), pickle.loads(pickle.dumps(step))):
        assert other(x, t) == TwoLayerNet(2, 3, 2, seed=0).forward(x, t)
        with pytest.warns(RuntimeWarning, match="step 2"):
            other(x * np.nan, t)
    assert repr(step) == "Step(TwoLayerNet, SGD(lr=0.01), max_grad=5.0)"


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_a_sum_leaves_out_no_batch_that_has_a_loss(batch_size):
    """Smoothing is counted for every class, so a row of a class of weight 0 has a loss."""
    loss = SoftmaxWithLoss(class_weight=[0, 1, 1], label_smoothing=0.1, reduction="sum")
    model = Sequential([affine(3, 3, seed=0)], loss)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    t = np.array([0, 1, 0, 2])
    history = Trainer(model, SGD(0.0)).fit(
        x, t, max_epoch=1, batch_size=batch_size, progress="none"
    )
    assert history.epoch_loss[0] == pytest.approx(model.loss(x, t), rel=1e-6)
    before = model.params[0].copy()
    step = Step(model, SGD(1.0))
    step(x[:1], t[:1])
    assert step.count == 1
    assert not np.array_equal(model.params[0], before)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_gradients_of_a_weight_in_three_places_are_rounded_once(dtype):
    class Three:
        def __init__(self):
            w = np.zeros((1, 1), dtype)
            self.params = [w, w.T, w]
            self.grads = [np.array([[g]], dtype) for g in (2048, 1, 1)]

        def forward(self, x, t):
            return 1.0

        def backward(self):
            pass

    model = Three()
    Step(model, SGD(1.0))(np.ones(1), np.ones(1))
    assert model.grads[0] == 2050
    assert model.params[0] == -2050


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("total", [None, 3.0])
def test_a_mean_over_nothing_adds_what_the_loss_says_and_never_nan(raises, total):
    class Loss:
        count = 0.0

    class Model:
        params, grads = [np.zeros(1)], [np.zeros(1)]
        loss_layer = Loss()

        def forward(self, x, t):
            if raises:
                raise EmptyBatchError("nothing")
            return math.nan

        def backward(self):
            raise AssertionError

    if total is not None:
        Model.loss_layer.total = total
    step = Step(Model(), SGD())
    assert math.isnan(step(np.ones(2), np.ones(2)))
    assert (step.count, step.total) == (0.0, total or 0.0)
