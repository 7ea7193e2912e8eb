"""A step over the fused loss is one pass, with the bits of forward and backward."""

import numpy as np
import pytest

import nnext
from nnext import _nnext
from nnext.loss_layers import AffineSoftmaxWithLoss
from reference import normal

OPTIONS = [
    {},
    {"reduction": "sum", "ignore_label": 2},
    {"class_weight": [0.0, 1.0, 2.0, 0.5, 1.0], "label_smoothing": 0.1},
    {"z_loss": 0.01, "softcap": 5.0},
]


def model_of(options, dtype=np.float32, kind=nnext.Sequential, loss=AffineSoftmaxWithLoss):
    layers = [nnext.affine(3, 4, seed=0, dtype=dtype), nnext.ReLU()]
    return kind(layers, loss(normal(dtype, 4, 5), np.zeros(5, dtype), **options))


def data(dtype=np.float32):
    return normal(dtype, 7, 3, seed=1), np.array([0, 1, 2, 3, 4, 0, 1])


@pytest.fixture
def passes(monkeypatch):
    """Count the passes over the fused loss: forward alone, and with the gradients."""
    counted = {"linear_cross_entropy": 0, "linear_cross_entropy_with_grad": 0}

    def counting(name, function):
        def call(*arguments, **named):
            counted[name] += 1
            return function(*arguments, **named)

        return call

    for name in counted:
        monkeypatch.setattr(_nnext, name, counting(name, getattr(_nnext, name)))
    return counted


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_bits_are_those_of_forward_and_backward(options, dtype):
    one, two = model_of(options, dtype), model_of(options, dtype)
    x, t = data(dtype)
    loss = two.forward(x, t)
    two.backward()
    assert one.forward_backward(x, t) == loss
    assert one.loss_layer.count == two.loss_layer.count
    for g, h in zip(one.grads, two.grads, strict=True):
        np.testing.assert_array_equal(g, h, strict=True)
    one.backward()  # what it needs was remembered
    for g, h in zip(one.grads, two.grads, strict=True):
        np.testing.assert_array_equal(g, h, strict=True)
    weight = np.linspace(0, 1, 7)
    h = normal(dtype, 7, 4, seed=2)
    a, b = one.loss_layer, two.loss_layer
    loss, dx = a.forward_backward(h, t, weight)
    assert loss == b.forward(h, t, weight)
    np.testing.assert_array_equal(dx, b.backward(), strict=True)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_step_is_one_pass_and_learns_the_same(options, passes):
    x, t = data()
    one, two = model_of(options), model_of(options)
    step, optimizer = nnext.Step(one, nnext.SGD(lr=0.1)), nnext.SGD(lr=0.1)
    losses = [step(x, t) for _ in range(3)]
    assert passes == {"linear_cross_entropy": 0, "linear_cross_entropy_with_grad": 3}
    for loss in losses:
        assert two.forward(x, t) == loss
        two.backward()
        optimizer.update(two.params, two.grads)
    for p, q in zip(one.params, two.params, strict=True):
        np.testing.assert_array_equal(p, q, strict=True)


def test_a_batch_without_a_row_that_counts_writes_no_gradient(passes):
    model = model_of({"ignore_label": 0, "label_smoothing": 0.1})
    for g in model.grads:
        g[...] = 7
    before = [p.copy() for p in model.params]
    step = nnext.Step(model, nnext.SGD(lr=0.1))
    assert np.isnan(step(data()[0], np.zeros(7, int)))
    assert step.count == 0
    assert all(np.all(g == 7) for g in model.grads)
    for p, q in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, q)


def test_what_a_subclass_or_an_object_does_in_forward_and_backward_is_done():
    seen = []

    class Net(nnext.Sequential):
        def forward(self, x, t):
            seen.append("net forward")
            return super().forward(x, t)

    class Loss(AffineSoftmaxWithLoss):
        def backward(self, dout=1, input_grad=True):
            seen.append("loss backward")
            return super().backward(dout, input_grad)

    x, t = data()
    expected = nnext.Step(model_of({}), nnext.SGD())(x, t)
    assert nnext.Step(model_of({}, kind=Net), nnext.SGD())(x, t) == expected
    assert nnext.Step(model_of({}, loss=Loss), nnext.SGD())(x, t) == expected
    model = model_of({})
    forward = model.forward
    model.forward = lambda x, t: seen.append("own forward") or forward(x, t)
    assert nnext.Step(model, nnext.SGD())(x, t) == expected
    assert seen == ["net forward", "loss backward", "own forward"]


def test_other_losses_have_their_two_passes():
    model = nnext.TwoLayerNet(3, 4, 5, seed=0)
    other = nnext.TwoLayerNet(3, 4, 5, seed=0)
    loss = other.forward(*data())
    other.backward()
    assert model.forward_backward(*data()) == loss
    for g, h in zip(model.grads, other.grads, strict=True):
        np.testing.assert_array_equal(g, h)


@pytest.mark.parametrize("kind", [nnext.SoftmaxWithLoss, AffineSoftmaxWithLoss])
def test_an_empty_batch_does_not_ask_what_a_subclass_makes_of_evaluate(kind):
    class Own(kind):
        def evaluate(self, x, t):
            return self.forward(x, t), self.count

    loss = Own(*[np.eye(3)] * (kind is AffineSoftmaxWithLoss), ignore_label=-1)
    with pytest.raises(nnext.EmptyBatchError):
        loss.forward(np.zeros((2, 3)), [-1, -1])
