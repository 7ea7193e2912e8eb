"""Models: parameters gathered by identity, the chain forward and backward, prediction, files."""

import numpy as np
import pytest

from nnext.base_model import BaseModel
from nnext.layers import (
    Affine,
    Dropout,
    Embedding,
    MatMul,
    ReLU,
    Sigmoid,
    SigmoidWithLoss,
    SoftmaxWithLoss,
)
from nnext.models import Sequential, TwoLayerNet, affine

DTYPES = ["float32", "float64"]


def make_net(dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    return Sequential([affine(4, 5, rng, dtype=dtype), Sigmoid(), affine(5, 3, rng, dtype=dtype)])


def make_data(dtype="float64", n=6):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 4)).astype(dtype), rng.integers(0, 3, n)


def reference_scores(model, x):
    W1, b1, W2, b2 = (p.astype(np.float64) for p in model.params)
    return 1 / (1 + np.exp(-(x @ W1 + b1))) @ W2 + b2


class Scale:
    """A layer from elsewhere: y = a x, a learned number; keeps the contract all by itself."""

    def __init__(self, a):
        self.params, self.grads = [np.array([a])], [np.zeros(1)]

    def forward(self, x):
        self.x = x
        return x * self.params[0]

    def backward(self, dout):
        self.grads[0][...] = np.sum(dout * self.x)
        return dout * self.params[0]


def test_params_and_grads_are_the_layers_own_arrays_in_order():
    first, second = MatMul(np.ones((4, 2))), Affine(np.ones((2, 3)), np.zeros(3))
    model = Sequential([first, ReLU(), second])
    expected = [first.params[0], *second.params]
    assert all(a is b for a, b in zip(model.params, expected, strict=True))
    assert all(a is b for a, b in zip(model.grads, [first.grads[0], *second.grads], strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_and_loss_are_those_of_the_formula(dtype):
    model, (x, t) = make_net(dtype), make_data(dtype)
    scores = reference_scores(model, x)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(model.scores(x), scores, rtol=rtol, atol=rtol)
    assert model.scores(x).dtype == dtype
    loss = np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(t)), t])
    assert model.forward(x, t) == pytest.approx(loss, rel=rtol)
    assert type(model.forward(x, t)) is float
    assert model.forward(x, np.eye(3, dtype=int)[t]) == model.forward(x, t)


def test_backward_fills_every_gradient_in_place_with_the_slope_of_the_loss():
    model, (x, t) = make_net(), make_data()
    grads = list(model.grads)
    model.forward(x, t)
    assert model.backward() is None  # nobody asked for the gradient of the data
    assert all(g is h and np.any(g) for g, h in zip(model.grads, grads, strict=True))
    for p, g in zip(model.params, model.grads, strict=True):
        index, h = (0,) * p.ndim, 1e-6
        p[index] += h
        up = model.forward(x, t)
        p[index] -= 2 * h
        down = model.forward(x, t)
        p[index] += h
        assert g[index] == pytest.approx((up - down) / (2 * h), abs=1e-8)


def test_backward_gives_the_gradient_of_x_on_request_and_scales_with_dout():
    model, (x, t) = make_net(), make_data()
    model.forward(x, t)
    dx = model.backward(input_grad=True)
    once = [g.copy() for g in model.grads]
    model.forward(x, t)
    twice_dx = model.backward(2, input_grad=True)
    np.testing.assert_allclose(twice_dx, 2 * dx)
    for g, h in zip(model.grads, once, strict=True):
        np.testing.assert_allclose(g, 2 * h)
    x[0, 0] += 1e-6
    up = model.forward(x, t)
    x[0, 0] -= 2e-6
    assert dx[0, 0] == pytest.approx((up - model.forward(x, t)) / 2e-6, abs=1e-8)


def test_only_the_first_layer_is_told_to_skip_the_gradient_of_its_input():
    asked = []

    class Spy(MatMul):
        def backward(self, dout, input_grad=True):
            asked.append((self.name, input_grad))
            return super().backward(dout, input_grad)

    layers = [Spy(np.ones((4, 4))), Spy(np.ones((4, 3)))]
    layers[0].name, layers[1].name = "first", "second"
    model, (x, t) = Sequential(layers), make_data()
    model.forward(x, t)
    model.backward()
    assert asked == [("second", True), ("first", False)]


def test_layers_from_elsewhere_stand_among_nnexts_own():
    rng = np.random.default_rng(0)
    model = Sequential([Scale(0.5), affine(4, 3, rng, dtype="float64"), Scale(2.0)])
    x, t = make_data()
    model.forward(x, t)
    assert model.backward().shape == x.shape  # a foreign first layer cannot skip it
    a, h = model.params[0], 1e-6
    slope = -model.forward(x, t)
    a += h
    slope += model.forward(x, t)
    assert model.grads[0][0] == pytest.approx(slope / h, abs=1e-5)


def test_embedding_may_be_the_first_layer():
    model = Sequential([Embedding(np.ones((5, 4))), affine(4, 3, np.random.default_rng(0))])
    model.forward([0, 3, 3], [0, 1, 2])
    assert model.backward() is None
    assert np.any(model.grads[0][3])
    assert not np.any(model.grads[0][1])


def test_dropout_drops_in_training_alone():
    x, t = make_data()
    rng = np.random.default_rng(0)
    last = affine(4, 3, rng, dtype="float64")
    model = Sequential([Dropout(0.5, seed=0), last])
    plain = Sequential([Affine(*last.params)])
    np.testing.assert_array_equal(model.scores(x), plain.scores(x))
    np.testing.assert_array_equal(model.predict_proba(x), plain.predict_proba(x))
    assert model.forward(x, t) != plain.forward(x, t)


@pytest.mark.parametrize("dtype", DTYPES)
def test_predict_proba_gives_probabilities_and_predict_the_likeliest_class(dtype):
    model, (x, _) = make_net(dtype), make_data(dtype)
    proba, y = model.predict_proba(x), model.predict(x)
    assert proba.shape == (6, 3)
    assert proba.dtype == dtype
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    assert y.shape == (6,)
    assert y.dtype == np.int64
    np.testing.assert_array_equal(y, reference_scores(model, x).argmax(axis=1))
    assert model.predict(x[0]) == y[0]  # one sample without a batch axis
    assert model.predict(x[:0]).shape == (0,)


def test_with_sigmoid_loss_every_score_is_a_yes_or_no_of_its_own():
    model = Sequential([MatMul(np.array([[1.0, -1.0]]))], loss=SigmoidWithLoss())
    x = np.array([[2.0], [-3.0]])
    np.testing.assert_allclose(
        model.predict_proba(x), 1 / (1 + np.exp([[-2.0, 2.0], [3.0, -3.0]])), rtol=1e-12
    )
    np.testing.assert_array_equal(model.predict(x), [[1, 0], [0, 1]])
    assert model.forward(x, [[1, 0], [0, 1]]) == pytest.approx(
        (2 * np.log1p(np.exp(-2)) + 2 * np.log1p(np.exp(-3))) / 2
    )


def test_accuracy_takes_indices_and_one_hot_and_refuses_what_does_not_fit():
    model, (x, _) = make_net(), make_data()
    t = model.predict(x)
    assert model.accuracy(x, t) == 1
    assert model.accuracy(x, np.eye(3)[t]) == 1
    t[:2] = (t[:2] + 1) % 3
    assert model.accuracy(x, t) == pytest.approx(4 / 6)
    with pytest.raises(ValueError, match=r"t: expected labels .*\(6,\).*, got shape \(5,\)"):
        model.accuracy(x, t[:5])
    with pytest.raises(ValueError, match="no samples"):
        model.accuracy(x[:0], t[:0])


@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_accuracy_reads_indices_as_the_loss_does(dtype):
    model, (x, _) = make_net(), make_data()
    t = model.predict(x)
    t[:2] = (t[:2] + 1) % 3
    labels = t.astype(dtype)
    model.forward(x, labels)
    np.testing.assert_array_equal(model.loss_layer.t, t)
    assert model.accuracy(x, labels) == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    ("t", "error"),
    [
        (np.eye(4)[[0, 1, 2, 0, 1, 2]], ValueError),  # one-hot of another width
        (np.eye(2)[[0, 1, 1, 0, 1, 1]], ValueError),
        (["a", "b", "c", "a", "b", "c"], TypeError),
        ([0.5] * 6, TypeError),
        ([0, 1, 2, 3, 0, 0], IndexError),
        ([0, 1, 2, -1, 0, 0], IndexError),
        (1, ValueError),
    ],
)
def test_accuracy_refuses_the_labels_that_the_loss_refuses(t, error):
    model, (x, _) = make_net(), make_data()
    with pytest.raises(error, match=r"^t: ") as of_loss:
        model.forward(x, t)
    with pytest.raises(error, match=r"^t: ") as of_accuracy:
        model.accuracy(x, t)
    assert str(of_accuracy.value) == str(of_loss.value)


def test_accuracy_with_sigmoid_loss_is_over_every_score():
    model = Sequential([MatMul(np.array([[1.0, -1.0]]))], loss=SigmoidWithLoss())
    x = np.array([[2.0], [-3.0]])
    assert model.accuracy(x, [[1, 0], [1, 1]]) == 0.75
    for t, error in [([1, 0], ValueError), ([["a", "b"], ["a", "b"]], TypeError)]:
        with pytest.raises(error, match="t: "):
            model.accuracy(x, t)


def test_summary_lists_layers_shapes_and_counts():
    text = TwoLayerNet(64, 100, 10, seed=0).summary()
    lines = text.splitlines()
    assert lines[0] == "TwoLayerNet"
    assert any(
        "Affine" in line and "(64, 100), (100,)" in line and "6,500" in line for line in lines
    )
    assert any("Sigmoid" in line for line in lines)
    assert lines[-1].split() == ["total", "float32", "7,510"]


def test_summary_counts_a_shared_weight_once():
    W = np.ones((4, 4), np.float32)
    model = Sequential([MatMul(W), MatMul(W), MatMul(W.T), MatMul(W.copy())])
    assert model.summary().splitlines()[-1].split() == ["total", "float32", "32"]


def test_two_layer_net_is_the_books():
    model = TwoLayerNet(2, 10, 3, seed=5, dtype="float64")
    book = np.random.RandomState(5)
    np.testing.assert_array_equal(model.params[0], 0.01 * book.randn(2, 10))
    np.testing.assert_array_equal(model.params[2], 0.01 * book.randn(10, 3))
    assert not np.any(model.params[1])
    assert not np.any(model.params[3])
    assert [type(layer).__name__ for layer in model.layers] == ["Affine", "Sigmoid", "Affine"]
    assert isinstance(model.loss_layer, SoftmaxWithLoss)
    assert {p.dtype for p in TwoLayerNet(2, 10, 3).params} == {np.dtype("float32")}
    assert TwoLayerNet(400, 10, 3, seed=0, weight_scale=2).params[0].std() == pytest.approx(2, 0.1)


def test_without_a_seed_numpys_own_governs():
    def weights():
        np.random.seed(3)
        return TwoLayerNet(2, 4, 3).params[0]

    np.testing.assert_array_equal(weights(), weights())
    assert np.any(weights() != TwoLayerNet(2, 4, 3).params[0])


def test_affine_scales_its_weights_to_its_inputs():
    layer = affine(800, 50, np.random.default_rng(0))
    assert layer.params[0].std() == pytest.approx(0.05, rel=0.05)
    assert layer.params[0].dtype == layer.params[1].dtype == np.float32
    for size in (0, 2.5, "a"):
        with pytest.raises(ValueError, match=f"input_size: .* at least 1, got {size!r}"):
            affine(size, 3, np.random.default_rng(0))


def test_sequential_refuses_what_cannot_work():
    relu = ReLU()
    with pytest.raises(ValueError, match="at least one layer"):
        Sequential([])
    with pytest.raises(ValueError, match=r"layers\[2\] stands in the list twice"):
        Sequential([relu, MatMul(np.ones((2, 2))), relu])
    with pytest.raises(TypeError, match=r"layers\[1\]: expected a layer, got the class ReLU"):
        Sequential([relu, ReLU])
    with pytest.raises(TypeError, match="loss: expected a layer, got 3 without params"):
        Sequential([relu], loss=3)
    inner = make_net()
    with pytest.raises(TypeError, match=r"layers\[1\]: expected a layer, got a model.*its layers"):
        Sequential([relu, inner])
    with pytest.raises(TypeError, match="loss: expected a layer, got a model"):
        Sequential([relu], loss=inner)
    broken = Scale(1.0)
    broken.grads = []
    with pytest.raises(ValueError, match=r"layers\[0\]: 1 params but 0 grads"):
        Sequential([broken])


def test_a_model_of_ones_own_derives_from_base_model():
    class Net(BaseModel):
        def __init__(self):
            super().__init__([MatMul(np.eye(3))], SoftmaxWithLoss())

        def scores(self, x):
            return self.layers[0].forward(x)

    assert Net().predict([[0.0, 2.0, 1.0]]) == [1]
    with pytest.raises(NotImplementedError, match=r"Net does not define forward\(x, t\)"):
        Net().forward(np.eye(3), [0, 1, 2])
    with pytest.raises(NotImplementedError, match="backward"):
        Net().backward()
    with pytest.raises(NotImplementedError, match="scores"):
        BaseModel([], SoftmaxWithLoss()).scores(np.eye(3))
