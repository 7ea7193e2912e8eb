"""LeakyReLU, GELU, SiLU and Flatten: values, special values, options and what they remember."""

import copy
import math
import pickle

import numpy as np
import pytest

import nnext
import reference as ref
from nnext import functions

SMOOTH = {
    "silu": (nnext.silu, nnext.SiLU, ref.silu, ref.silu_backward),
    "gelu": (nnext.gelu, nnext.GELU, ref.gelu, ref.gelu_backward),
    "gelu_tanh": (
        lambda x: nnext.gelu(x, approximate="tanh"),
        lambda: nnext.GELU(approximate="tanh"),
        ref.gelu_tanh,
        ref.gelu_tanh_backward,
    ),
}


def numbers(dtype, high, n=4001):
    """Draw numbers of both signs up to `high`, small ones and zeros among them."""
    r = np.random.default_rng(0)
    x = r.uniform(-high, high, n)
    x[::7] *= 10.0 ** r.uniform(-12, 0, len(x[::7]))
    x[:2] = 0.0, -0.0
    return x.astype(dtype)


# Values and gradients


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("high", [1, 5, 9])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_agree_with_the_reference_relative_to_themselves(name, high, dtype):
    function, layer, exact, _ = SMOOTH[name]
    x = numbers(dtype, high)
    # float64's specification is itself off by the rounding of its exponent, up to 90 or so.
    terms = 4 if dtype == np.float32 else 200
    ref.assert_close(function(x), exact(x), terms)
    ref.assert_same_bits(layer().forward(x), function(x))


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("high", [1, 5, 9])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_gradients_agree_with_the_reference(name, high, dtype):
    _, make, _, backward = SMOOTH[name]
    layer, x = make(), numbers(dtype, high)
    dout = ref.normal(dtype, *x.shape, seed=1)
    layer.forward(x)
    expected = backward(x, dout)
    near_the_zero = (x > -2) & (x < -0.3)
    scale = np.where(near_the_zero, np.maximum(abs(expected), 0.1 * abs(dout)), abs(expected))
    ref.assert_close(layer.backward(dout), expected, 12 if dtype == np.float32 else 200, scale)


def test_gelu_has_all_digits_far_below_zero():
    # x Phi(x) to 20 digits, of a computation with 60.
    for x, exact in [
        (-5.0, -1.4332578593959695584e-6),
        (-12.5, -4.6657053735971417215e-35),
        (-35.0, -3.9371874726534218539e-267),
    ]:
        y = nnext.gelu(np.float64([x]))[0]
        assert abs(y - exact) <= 2 * math.ulp(exact)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("slope", [0, 0.01, 1, 2.5])
def test_leaky_relu_and_its_gradient_are_their_formulas_to_the_bit(slope, dtype):
    x, dout = numbers(dtype, 3), ref.normal(dtype, 4001, seed=1)
    layer = nnext.LeakyReLU(negative_slope=slope)
    below = dtype(slope)
    y = layer.forward(x)
    expected = np.where(x > 0, x, below * x)
    if slope == 0:
        expected = expected + dtype(0)  # ReLU knows no -0
    ref.assert_same_bits(y, expected)
    ref.assert_same_bits(nnext.leaky_relu(x, slope), y)
    expected = np.where(x > 0, dout, below * dout)
    if slope == 0:
        expected = expected + dtype(0)
    ref.assert_same_bits(layer.backward(dout), expected)


def test_the_default_slope_is_a_hundredth():
    x = np.float64([-2, 0, 3])
    np.testing.assert_array_equal(nnext.leaky_relu(x), [-0.02, 0, 3])
    np.testing.assert_array_equal(nnext.LeakyReLU().forward(x), [-0.02, 0, 3])
    assert nnext.LeakyReLU().negative_slope == 0.01
    assert nnext.GELU().approximate == "none"


# Special values


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_of_special_values(name, dtype):
    function, make, _, _ = SMOOTH[name]
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30], dtype)
    expected = np.array([0.0, -0.0, np.inf, -0.0, np.nan, 1e30, -0.0], dtype)
    ref.assert_same_bits(function(x), expected)
    layer = make()
    layer.forward(x)
    slopes = np.array([0.5, 0.5, 1, -0.0, np.nan, 1, -0.0], dtype)
    ref.assert_same_bits(layer.backward(np.ones_like(x)), slopes)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_leaky_relu_of_special_values(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)
    layer = nnext.LeakyReLU(0.5)
    ref.assert_same_bits(layer.forward(x), x)
    ref.assert_same_bits(layer.backward(np.ones_like(x)), np.array([0.5, 0.5, 1, 0.5, 1], dtype))
    ref.assert_same_bits(nnext.leaky_relu(x, 0), nnext.relu(x))
    ref.assert_same_bits(nnext.leaky_relu(x, 1e-320), nnext.relu(x))


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_results_below_the_normal_range_are_zero_with_their_sign(dtype):
    least = float(np.finfo(dtype).smallest_normal)
    x = np.array([0.3 * least, -0.3 * least, 1.5 * least, -1.5 * least], dtype)
    zeros = np.array([0.0, -0.0, 0.0, -0.0], dtype)
    for function, *_ in SMOOTH.values():
        ref.assert_same_bits(function(x), zeros)
        y = function(np.linspace(-800, 0, 20001).astype(dtype))
        assert np.all((y == 0) | (abs(y) >= least))
        assert np.all(np.signbit(y[:-1]))
    ref.assert_same_bits(nnext.leaky_relu(x[:2]), zeros[:2])
    ref.assert_same_bits(nnext.leaky_relu(x[2:], 0.5), np.array([x[2], -0.0], dtype))


# Options and errors


@pytest.mark.parametrize("slope", [-0.01, -1, np.nan, np.inf, -np.inf])
def test_a_slope_that_the_sign_of_the_output_cannot_tell_is_refused(slope):
    for call in (nnext.LeakyReLU, lambda s: nnext.leaky_relu([1.0], s)):
        with pytest.raises(ValueError, match="negative_slope"):
            call(slope)


def test_a_slope_that_is_no_number_or_none_of_float32_is_refused():
    for call in (nnext.LeakyReLU, lambda s: nnext.leaky_relu([1.0], s)):
        for slope in ("0.1", None, [0.1]):
            with pytest.raises(TypeError, match="negative_slope: expected a number"):
                call(slope)
    x = np.ones(3, np.float32)
    with pytest.raises(ValueError, match=r"negative_slope: .*float32"):
        nnext.LeakyReLU(1e300).forward(x)
    assert nnext.LeakyReLU(1e300).forward([-1.0]) == [-1e300]


@pytest.mark.parametrize("form", ["Tanh", "erf", None, True, 3, ["tanh"]])
def test_gelu_has_two_forms(form):
    for call in (nnext.GELU, lambda a: functions.gelu([1.0], approximate=a)):
        with pytest.raises(ValueError, match="approximate: expected 'none' or 'tanh'"):
            call(form)


@pytest.mark.parametrize(
    "make", [nnext.LeakyReLU, nnext.GELU, nnext.SiLU, nnext.Flatten], ids=lambda m: m.__name__
)
def test_backward_comes_after_forward(make):
    with pytest.raises(RuntimeError, match=f"{make.__name__}.backward was called before"):
        make().backward(np.ones((2, 3)))


@pytest.mark.parametrize("make", [nnext.GELU, nnext.SiLU])
def test_smooth_layers_remember_their_input_and_only_of_a_call_that_succeeded(make):
    layer, x = make(), np.float32([[1, -2]])
    layer.forward(x)
    assert layer.x is x
    with pytest.raises(TypeError):
        layer.forward(np.ones(2, complex))
    assert layer.x is x


def test_layers_can_be_pickled_and_copied():
    x = ref.normal(np.float32, 4, 3)
    for layer in (nnext.LeakyReLU(0.3), nnext.GELU("tanh"), nnext.SiLU(), nnext.Flatten()):
        y = layer.forward(x)
        for again in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
            assert repr(again) == repr(layer)
            ref.assert_same_bits(again.backward(y), layer.backward(y))


# Flatten


@pytest.mark.parametrize("dtype", [*ref.FLOATS, *ref.HALVES, np.uint8, np.bool_, ">f4"])
@pytest.mark.parametrize(
    "shape", [(5,), (5, 3), (2, 3, 4), (2, 1, 3, 2), (0, 3, 4), (0,), (3, 0, 2), (1, 1)]
)
def test_flatten_makes_rows_and_backward_their_shape(shape, dtype):
    x = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    layer = nnext.Flatten()
    y = layer.forward(x)
    assert y.shape == (shape[0], math.prod(shape[1:]))
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y.ravel(), x.ravel())
    assert y.size == 0 or np.shares_memory(y, x)  # no copy of what lies in order
    dout = np.array(y)
    dx = layer.backward(dout)
    assert dx.shape == shape
    np.testing.assert_array_equal(dx, x)


@pytest.mark.parametrize("view", ref.VIEWS)
def test_flatten_takes_rows_in_the_order_of_their_axes_whatever_the_strides(view):
    x = ref.normal(np.float32, 4, 3, 5)
    layer = nnext.Flatten()
    ref.assert_same_bits(layer.forward(ref.VIEWS[view](x)), x.reshape(4, 15))
    dout = ref.normal(np.float32, 4, 15, seed=1)
    ref.assert_same_bits(layer.backward(ref.VIEWS[view](dout)), dout.reshape(4, 3, 5))


def test_what_flatten_refuses():
    layer = nnext.Flatten()
    with pytest.raises(ValueError, match="x: expected an array of at least 1 dimension"):
        layer.forward(1.0)
    with pytest.raises(TypeError, match="x: cannot compute with type complex128"):
        layer.forward(np.ones((2, 2), complex))
    layer.forward(np.ones((2, 3, 4)))
    for shape in [(2, 3, 4), (3, 8), (24,), (2, 11), ()]:
        with pytest.raises(ValueError, match=r"dout: expected shape \(2, 12\)"):
            layer.backward(np.ones(shape))


# In a model


@pytest.mark.parametrize(
    "activation",
    [nnext.LeakyReLU(0.2), nnext.GELU(), nnext.GELU("tanh"), nnext.SiLU()],
    ids=repr,
)
def test_models_take_them_and_their_gradients_are_right(activation):
    layers = [
        nnext.Flatten(),
        nnext.affine(6, 8, seed=0, dtype=np.float64),
        activation,
        nnext.affine(8, 3, seed=1, dtype=np.float64),
    ]
    model = nnext.Sequential(layers)
    x, t = ref.normal(np.float64, 5, 2, 3), np.array([0, 1, 2, 0, 1])
    assert nnext.check_gradients(model, x, t).ok
    assert model.predict(x).shape == (5,)
    assert repr(activation) in repr(model)


def test_an_image_network_learns():
    r = np.random.default_rng(0)
    t = r.integers(0, 2, 60)
    x = (r.normal(0, 0.3, (60, 4, 4)) + np.where(t, 1, -1)[:, None, None]).astype(np.float32)
    hidden, last = nnext.affine(16, 8, seed=0), nnext.affine(8, 2, seed=1)
    model = nnext.Sequential([nnext.Flatten(), hidden, nnext.GELU(), last])
    trainer = nnext.Trainer(model, nnext.Adam(lr=0.02), seed=0)
    trainer.fit(x, t, max_epoch=10, batch_size=20, progress="none")
    assert model.accuracy(x, t) > 0.95
