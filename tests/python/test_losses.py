"""The two losses as layers: exact values, labels of every kind, gradients."""

import numpy as np
import pytest

import nnext
import reference as ref
from reference import normal

N, C = 5, 6


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("loss", ["SoftmaxWithLoss", "SigmoidWithLoss"])
def test_the_gradient_of_a_loss_agrees_with_central_differences(loss, dtype):
    layer, x = getattr(nnext, loss)(), normal(dtype, N, C)
    t = rng().integers(0, C, N) if loss == "SoftmaxWithLoss" else rng().random((N, C)).astype(dtype)
    numerical = nnext.numerical_gradient(lambda a: layer.forward(a, t), x)
    layer.forward(x, t)
    ref.assert_gradient(layer.backward(), numerical, dtype)
    layer.forward(x, t)
    ref.assert_gradient(layer.backward(3), 3 * numerical, dtype)


# SoftmaxWithLoss


def test_softmax_with_loss_of_a_hand_computed_case():
    # The scores are logarithms, so the probabilities are 1/4, 1/2, 1/4 and 1/8, 1/8, 3/4.
    x = np.log([[1.0, 2.0, 1.0], [1.0, 1.0, 6.0]])
    layer = nnext.SoftmaxWithLoss()
    loss = layer.forward(x, [1, 0])
    assert type(loss) is float
    assert loss == pytest.approx((np.log(2) + np.log(8)) / 2, rel=1e-15)
    np.testing.assert_allclose(layer.y, [[0.25, 0.5, 0.25], [0.125, 0.125, 0.75]], rtol=1e-15)
    np.testing.assert_array_equal(layer.t, np.array([1, 0]), strict=True)
    expected = [[0.125, -0.25, 0.125], [-0.4375, 0.0625, 0.375]]
    np.testing.assert_allclose(layer.backward(), expected, rtol=1e-15)
    np.testing.assert_allclose(layer.backward(-2.0), np.multiply(-2, expected), rtol=1e-15)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("n_classes", [2, 3, 7, 8, 9, 16, 17, 33, 64, 65, 1000])
def test_softmax_with_loss_agrees_with_the_reference(n_classes, dtype):
    x = 4 * normal(dtype, 9, n_classes)
    t = rng().integers(0, n_classes, 9)
    layer = nnext.SoftmaxWithLoss()
    loss, size = layer.forward(x, t), 1 + abs(x).max()
    ref.assert_close(dtype(loss), ref.softmax_loss(x, t), n_classes + 8, size)
    expected = ref.softmax_loss_backward(x, t)
    dx = layer.backward()
    ref.assert_close(dx, expected, n_classes + 8, (1 + 2 * size) / 9)
    assert dx.dtype == layer.y.dtype == dtype
    ref.assert_close(dx.astype(float).sum(axis=-1).astype(dtype), np.zeros(9), n_classes + 8, 1 / 9)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_backward_of_the_loss_gives_a_new_array_each_time(dtype):
    layer = nnext.SoftmaxWithLoss()
    layer.forward(normal(dtype, N, C), np.zeros(N, int))
    y = layer.y.copy()
    first, second = layer.backward(), layer.backward()
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, layer.y)
    np.testing.assert_array_equal(layer.y, y)
    ref.assert_same_bits(first, second)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("kind", [bool, *ref.INTEGERS, *ref.HALVES, *ref.FLOATS])
def test_one_hot_and_index_labels_are_alike(kind, dtype):
    x, t = normal(dtype, N, C), np.array([0, 5, 2, 2, 4])
    by_index, by_row = nnext.SoftmaxWithLoss(), nnext.SoftmaxWithLoss()
    assert by_index.forward(x, t) == by_row.forward(x, ref.one_hot(t, C, kind))
    assert by_row.t.dtype == by_index.t.dtype == np.int64
    np.testing.assert_array_equal(by_row.t, t)
    ref.assert_same_bits(by_index.backward(), by_row.backward())


@pytest.mark.parametrize("kind", ref.INTEGERS)
def test_labels_of_every_integer_type_are_alike(kind):
    x, t = normal(np.float32, N, C), np.array([0, 5, 2, 2, 4])
    layer = nnext.SoftmaxWithLoss()
    expected = layer.forward(x, t)
    for labels in (t.astype(kind), np.repeat(t.astype(kind), 2)[::2], t[::-1].astype(kind)[::-1]):
        assert layer.forward(x, labels) == expected
        np.testing.assert_array_equal(layer.t, t, strict=True)
    assert layer.forward(x, t.tolist()) == expected


def test_the_layer_keeps_labels_of_its_own():
    layer, t = nnext.SoftmaxWithLoss(), np.array([0, 5, 2, 2, 4])
    layer.forward(normal(np.float32, N, C), t)
    expected = layer.backward()
    t[...] = 1  # the caller's array is the caller's
    ref.assert_same_bits(layer.backward(), expected)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("lead", [(), (1,), (2, 3)])
def test_any_leading_axes_are_samples(lead, dtype):
    x, t = normal(dtype, *lead, C), rng().integers(0, C, lead)
    layer, flat = nnext.SoftmaxWithLoss(), nnext.SoftmaxWithLoss()
    assert layer.forward(x, t) == flat.forward(x.reshape(-1, C), t.reshape(-1))
    assert layer.y.shape == x.shape
    assert layer.t.shape == lead
    ref.assert_same_bits(layer.backward(), flat.backward().reshape(x.shape))
    assert layer.forward(x, ref.one_hot(t, C)) == flat.forward(x.reshape(-1, C), t.reshape(-1))


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_the_bits_of_the_loss_do_not_depend_on_strides(dtype):
    x, t = normal(dtype, 9, 13), rng().integers(0, 13, 9)
    layer = nnext.SoftmaxWithLoss()
    loss, dx = layer.forward(x, t), layer.backward()
    for view in ref.VIEWS.values():
        assert layer.forward(view(x), t) == loss
        ref.assert_same_bits(layer.backward(), dx)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("gap", [0.0, 5.0, 20.0, 40.0, 100.0, 1e4])
def test_the_loss_never_saturates(gap, dtype):
    layer, two_ulps = nnext.SoftmaxWithLoss(), 2 * float(np.finfo(np.float32).eps)
    scores = np.array([[gap, 0, 0]], dtype)
    rest = np.log1p(2 * np.exp(-gap))
    assert layer.forward(scores, [1]) == pytest.approx(gap + rest, rel=two_ulps)
    if gap <= 40:  # beyond that exp(-gap) is no normal number of float32 any more
        assert layer.forward(scores, [0]) == pytest.approx(rest, rel=two_ulps, abs=0)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_the_loss_of_special_scores(dtype):
    inf, nan = np.inf, np.nan
    layer = nnext.SoftmaxWithLoss()

    def loss(row, t):
        return layer.forward(np.array([row], dtype), [t])

    big = float(dtype(1e30))
    assert loss([1e30, -1e30, 0], 0) == 0
    assert loss([1e30, -1e30, 0], 2) == pytest.approx(big, rel=1e-6)
    assert loss([-1e30, -1e30], 0) == pytest.approx(np.log(2), rel=1e-6)
    assert loss([-inf, 0], 1) == 0
    assert loss([-inf, 0], 0) == inf
    assert np.isnan(loss([-inf, -inf], 0))
    assert np.isnan(loss([inf, 0], 0))
    assert np.isnan(loss([nan, 0], 1))
    assert np.isnan(loss([nan, 0], 0))
    assert np.isnan(layer.backward()).all()


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_a_nan_in_one_row_leaves_the_gradients_of_the_others(dtype):
    x = normal(dtype, 3, C)
    layer = nnext.SoftmaxWithLoss()
    layer.forward(x, [0, 1, 2])
    expected = layer.backward()
    x[1, 3] = np.nan
    assert np.isnan(layer.forward(x, [0, 1, 2]))
    ref.assert_same_bits(layer.backward()[[0, 2]], expected[[0, 2]])


# SigmoidWithLoss


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (2, 3, 4)])
def test_sigmoid_with_loss_agrees_with_the_reference(shape, dtype):
    x, t = 3 * normal(dtype, *shape), rng().integers(0, 2, shape)
    layer = nnext.SigmoidWithLoss()
    loss = layer.forward(x, t)
    assert type(loss) is float
    terms, size = 8 + x.size, float(np.sum(1 + abs(x))) / shape[0]
    ref.assert_close(dtype(loss), ref.sigmoid_loss(x, t), terms, size)
    ref.assert_close(layer.y, ref.sigmoid(x), 8)
    np.testing.assert_array_equal(layer.t, t.astype(dtype), strict=True)
    for dout in (1, -0.5):
        expected = (ref.sigmoid(x) - t) * dout / shape[0]
        ref.assert_close(layer.backward(dout), expected, 16, 1 / shape[0])


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_the_loss_of_a_sigmoid_never_saturates(dtype):
    layer = nnext.SigmoidWithLoss()
    assert layer.forward(np.array([1e4], dtype), [0]) == 1e4
    assert layer.forward(np.array([-1e4], dtype), [1]) == 1e4
    assert layer.forward(np.array([1e4, -1e4], dtype), [1, 0]) == 0
    small = layer.forward(np.array([40.0], dtype), [1])
    assert small == pytest.approx(np.exp(-40.0), rel=4 * float(np.finfo(dtype).eps), abs=0)
    assert np.isnan(layer.forward(np.array([np.nan, 0], dtype), [1, 0]))
