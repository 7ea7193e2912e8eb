"""Results below the smallest normal number are zero, with their sign."""

import numpy as np
import pytest

import nnext
import reference as ref
from nnext import _nnext


def tiny(dtype):
    """Return the smallest normal number, and three below it."""
    least = np.finfo(dtype).smallest_normal
    return least, np.array([0.6 * least, -0.3 * least, np.finfo(dtype).smallest_subnormal], dtype)


def assert_zero(actual, sign):
    ref.assert_same_bits(np.asarray(actual), np.copysign(np.zeros_like(actual), sign))


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_functions_of_small_numbers(dtype):
    least, x = tiny(dtype)
    assert_zero(nnext.tanh(x), x)
    assert_zero(nnext.relu(x), 1)
    ref.assert_same_bits(nnext.exp(x), np.ones(3, dtype))
    ref.assert_same_bits(nnext.sigmoid(x), np.full(3, 0.5, dtype))
    far = np.array([-90, -103] if dtype == np.float32 else [-710, -740], dtype)
    assert_zero(nnext.exp(far), 1)
    assert_zero(nnext.sigmoid(far), 1)
    at = np.array([least, -least], dtype)
    ref.assert_same_bits(nnext.tanh(at), at)
    ref.assert_same_bits(nnext.relu(at), np.array([least, 0], dtype))


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("scale", [20, 50, 200])
@pytest.mark.parametrize("n", [2, 10, 16, 17, 1000])
def test_softmax_is_exact_or_zero(n, scale, dtype):
    x = (scale * ref.normal(np.float64, 20, n)).astype(dtype)
    least = np.finfo(dtype).smallest_normal
    shifted = x.astype(np.longdouble) - x.max(axis=-1, keepdims=True)
    exact = np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True)
    y = nnext.softmax(x)
    assert np.all((y == 0) | (y >= least))
    np.testing.assert_array_equal(y[exact < 0.999 * least], 0)
    normal = exact > 1.001 * least
    np.testing.assert_allclose(
        y[normal], exact[normal].astype(float), rtol=12 * np.finfo(dtype).eps
    )
    loss = nnext.SoftmaxWithLoss()
    loss.forward(x, np.zeros(20, int))
    dx = loss.backward()
    assert np.all((dx == 0) | (abs(dx) >= least))


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize(
    "name", ["Sigmoid", "Tanh", "ReLU", "LeakyReLU", "GELU", "SiLU", "Softmax", "Dropout"]
)
def test_gradients_of_layers_are_zero_where_they_are_small(name, dtype):
    least, small = tiny(dtype)
    layer = nnext.Dropout(0.5, seed=0) if name == "Dropout" else getattr(nnext, name)()
    x = np.tile(np.array([[0.5, -2, 1]], dtype), (50, 1))
    layer.forward(x)
    assert_zero(abs(layer.backward(np.tile(small, (50, 1)))), 1)
    dx = layer.backward(x * dtype(1e-3) * least)
    assert np.all((dx == 0) | (abs(dx) >= least))


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("name", nnext.optimizer.__all__)
def test_what_an_optimizer_remembers_ends_at_zero_or_above(name, dtype):
    least, small = tiny(dtype)
    optimizer = getattr(nnext.optimizer, name)(lr=0.1)
    p = [np.array([1, -1, *small], dtype)]
    zero = [np.zeros(5, dtype)]
    optimizer.update(p, [np.array([1e-3, 1e-9, 0, 0, 0], dtype)])
    for _ in range(1500 if dtype == np.float32 else 9000):
        optimizer.update(p, zero)
    assert_zero(abs(p[0][2:]), 1)
    for state in optimizer._state:
        [array] = getattr(optimizer, state)
        assert np.all((array == 0) | (abs(array) >= least)), state
    if name in ("Momentum", "Nesterov"):
        assert np.all(optimizer.v[0] == 0)
    if name in ("Adam", "AdamW"):
        assert np.all(optimizer.m[0] == 0)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_clipping_makes_small_gradients_zero(dtype):
    least, small = tiny(dtype)
    grads = [np.array([4, 3], dtype), np.array([3 * least, -least], dtype), small.copy()]
    assert _nnext.clip_grads(grads, 0.5) == 5
    np.testing.assert_allclose(grads[0], [0.4, 0.3], rtol=1e-5)
    assert_zero(grads[1], grads[1])
    assert_zero(grads[2], small)
    assert _nnext.clip_grads([small], 1.0) == 0


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("options", "soft", "weighted"),
    [
        ({}, False, False),
        ({}, True, False),
        ({}, False, True),
        ({"class_weight": [1, 1, 1]}, False, False),
        ({"label_smoothing": 0.1}, False, False),
        ({"z_loss": 0.1}, True, False),
        ({"softcap": 30.0}, False, False),
    ],
    ids=str,
)
def test_a_nan_never_becomes_a_number_in_a_gradient(options, soft, weighted, bad, dtype):
    loss = nnext.SoftmaxWithLoss(**options)
    t = np.array([[0.5, 0.5, 0], [0, 1, 0]]) if soft else np.array([0, 1])
    x = np.array([[1, bad, 2], [1, 2, 3]], dtype)
    if "softcap" in options:
        x[0, 1] = np.nan  # the cap of an infinite score is finite
    loss.forward(x, t, np.array([0.5, 1.0]) if weighted else None)
    dx = loss.backward()
    assert np.all(np.isnan(dx[0]))
    assert np.all(np.isfinite(dx[1]))


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize(
    "options",
    [{}, {"class_weight": [1, 2, 3]}, {"softcap": 30.0}, {"label_smoothing": 0.1}],
    ids=str,
)
def test_gradients_of_losses_are_zero_where_they_are_small(options, dtype):
    least = float(np.finfo(dtype).smallest_normal)
    loss = nnext.SoftmaxWithLoss(**options)
    loss.forward(np.array([[8, 1, 2], [12, 3, 3], [0, 0, 1]], dtype), [0, 0, 1])
    for factor in (1, 10, 100, 1e4):
        dx = loss.backward(factor * least)
        assert np.all((dx == 0) | (abs(dx) >= least))
    assert np.all(loss.backward(1e4 * least)[2] != 0)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_small_scores_under_a_cap_keep_their_order(dtype):
    least = np.finfo(dtype).smallest_normal
    x = np.array([[8 * least, 16 * least]], dtype)
    loss = nnext.AffineSoftmaxWithLoss(np.eye(2, dtype=dtype), softcap=30.0)
    ref.assert_same_bits(loss.scores(x), x)
    assert loss.predictions(x) == [1]


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop", "AdaGrad"])
def test_small_gradients_make_no_giant_steps(name, dtype):
    tiny = np.finfo(dtype).smallest_normal
    options = {"eps": float(tiny) ** 0.9} if name == "AdamW" else {}
    for gradient in (1e3 * np.sqrt(tiny), np.sqrt(tiny), 10 * tiny):
        optimizer, p = getattr(nnext, name)(lr=1e-3, **options), np.zeros(1, dtype)
        optimizer.update([p], [np.full(1, gradient, dtype)])
        assert -1.01e-3 * 10 <= p[0] <= 0  # RMSprop's first step is lr / sqrt(1 - decay_rate)
        if name in ("RMSprop", "AdaGrad"):
            assert p[0] < 0
