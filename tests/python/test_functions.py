"""Functions: values against the reference, special values, shapes, strides and types."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import nnext
import reference as ref

UNARY = ["exp", "log", "sigmoid", "tanh", "relu", "leaky_relu", "gelu", "silu", "softmax"]


@pytest.mark.parametrize("name", [*UNARY, "matmul", "cross_entropy_error"])
def test_every_function_is_documented(name):
    assert getattr(nnext, name).__doc__


# Shapes, strides and types


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("shape", [(1,), (7,), (5, 3), (2, 3, 4), (1, 1), (3, 67), (2, 0, 4)])
def test_the_result_is_new_contiguous_and_of_the_shape_and_type_of_the_input(name, shape, dtype):
    x = np.random.default_rng(0).uniform(0.1, 4, shape).astype(dtype)
    before = x.copy()
    y = getattr(nnext, name)(x)
    assert y.shape == shape
    assert y.dtype == dtype
    assert y.flags.c_contiguous
    assert not np.shares_memory(x, y)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda x: x[::-1],
        lambda x: x[:, ::-1],
        lambda x: x[::2, 1::3],
        lambda x: x.T,
        lambda x: x[:0],
        lambda x: x[:1],
        lambda x: np.broadcast_to(x[0], x.shape),
    ],
    ids=["fortran", "rows back", "columns back", "slice", "transposed", "no rows", "one row", "0"],
)
def test_the_bits_do_not_depend_on_strides(name, view, dtype):
    x = view(np.random.default_rng(1).uniform(0.1, 4, (9, 13)).astype(dtype))
    f = getattr(nnext, name)
    ref.assert_same_bits(f(x), f(np.ascontiguousarray(x)))


@pytest.mark.parametrize("name", UNARY)
def test_rows_are_computed_alone(name):
    f = getattr(nnext, name)
    x = np.random.default_rng(2).uniform(0.1, 4, (70, 11)).astype(np.float32)
    ref.assert_same_bits(f(x), np.concatenate([f(x[:1]), f(x[1:34]), f(x[34:])]))


@pytest.mark.parametrize("name", UNARY)
def test_integers_and_booleans_become_float64(name):
    f = getattr(nnext, name)
    for x in ([[1, 2], [3, 4]], np.array([1, 0], bool) | True, np.arange(1, 5, dtype=np.uint8)):
        ref.assert_same_bits(f(x), f(np.asarray(x, np.float64)))


@pytest.mark.parametrize("dtype", ref.HALVES)
@pytest.mark.parametrize("name", UNARY)
def test_half_precision_is_computed_in_float32_and_rounded_once(name, dtype):
    f = getattr(nnext, name)
    x = np.random.default_rng(3).uniform(0.1, 4, (6, 5)).astype(dtype)
    ref.assert_same_bits(f(x), f(x.astype(np.float32)).astype(dtype))


@pytest.mark.parametrize("name", UNARY)
def test_unaligned_and_foreign_byte_order_are_read_rightly(name):
    f = getattr(nnext, name)
    x = np.random.default_rng(4).uniform(0.1, 4, 10).astype(np.float32)
    raw = np.zeros(41, np.uint8)
    unaligned = raw[1:].view(np.float32)
    unaligned[...] = x
    ref.assert_same_bits(f(unaligned), f(x))
    ref.assert_same_bits(f(x.astype(">f4")), f(x))


# Accuracy


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("name", ["exp", "log"])
def test_exp_and_log_are_within_one_ulp(name, dtype):
    rng = np.random.default_rng(5)
    info = np.finfo(dtype)
    if name == "exp":
        edge = float(np.log(np.longdouble(info.max)))
        x = np.concatenate([rng.uniform(-edge, edge, 20000), rng.normal(0, 1e-3, 1000)])
    else:
        x = np.exp2(rng.uniform(info.minexp + 1, info.maxexp - 1, 20000))
        x = np.concatenate([x, rng.normal(1, 1e-4, 2000), [info.smallest_normal, info.max]])
    x = x.astype(dtype)
    exact = getattr(np, name)(x.astype(np.longdouble))
    exact[abs(exact) < info.smallest_normal] = 0
    ref.assert_ulps(getattr(nnext, name)(x), exact, 1)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_exp_and_log_of_special_values(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30], dtype)
    ref.assert_same_bits(nnext.exp(x), np.array([1, 1, np.inf, 0, np.nan, np.inf, 0], dtype))
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0], dtype)
    nan, inf = np.nan, np.inf
    ref.assert_same_bits(nnext.log(x), np.array([-inf, -inf, inf, nan, nan, 0, nan], dtype))


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_sigmoid_tanh_and_relu_agree_with_the_reference(dtype):
    x = np.random.default_rng(6).normal(0, 5, 5000).astype(dtype)
    # exp (1 ULP, 2 u), an addition and a division; tanh has a few more.
    ref.assert_close(nnext.sigmoid(x), ref.sigmoid(x), terms=8)
    ref.assert_close(nnext.tanh(x), np.tanh(x.astype(np.float64)), terms=8)
    ref.assert_same_bits(nnext.relu(x), np.maximum(x, dtype(0)))


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_tanh_keeps_its_accuracy_near_zero(dtype):
    x = np.array([1e-30, -1e-20, 1e-10, 1e-5, -1e-3, 0.1], dtype)
    ref.assert_close(nnext.tanh(x), np.tanh(x.astype(np.float64)), terms=8)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_sigmoid_tanh_and_relu_of_special_values(dtype):
    x = np.array([0.0, np.inf, -np.inf, np.nan, 1e30, -1e30], dtype)
    ref.assert_same_bits(nnext.sigmoid(x), np.array([0.5, 1, 0, np.nan, 1, 0], dtype))
    ref.assert_same_bits(nnext.tanh(x), np.array([0, 1, -1, np.nan, 1, -1], dtype))
    ref.assert_same_bits(nnext.relu(x), np.array([0, np.inf, 0, np.nan, 1e30, 0], dtype))


# softmax


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("n_classes", [1, 2, 3, 7, 8, 9, 10, 16, 31, 64, 65, 127, 1000])
def test_softmax_agrees_with_the_reference_and_rows_sum_to_one(n_classes, dtype):
    x = np.random.default_rng(7).normal(0, 4, (9, n_classes)).astype(dtype)
    y = nnext.softmax(x)
    shifted = abs(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    # Rounding the shifted score moves exp by u |shifted|; then exp, the sum of C terms, a division.
    ref.assert_close(y, ref.softmax(x), n_classes + 8, ref.softmax(x) * (1 + shifted))
    assert np.all((y >= 0) & (y <= 1))
    ref.assert_close(y.sum(axis=-1, dtype=np.float64).astype(dtype), np.ones(9), n_classes + 8)


def test_softmax_of_a_hand_computed_case():
    # exp of these scores is 1, 2, 1 and 1, 1, 2: thirds would not be exact, quarters are.
    y = nnext.softmax(np.log([[1.0, 2.0, 1.0], [1.0, 1.0, 2.0]]))
    np.testing.assert_allclose(y, [[0.25, 0.5, 0.25], [0.25, 0.25, 0.5]], rtol=1e-15)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@settings(derandomize=True, deadline=None)
@given(
    x=arrays(
        np.float32,
        array_shapes(min_dims=1, max_dims=3, max_side=9),
        elements=st.floats(-50, 50, width=32),
    )
)
def test_softmax_of_any_shape_is_that_of_its_rows(x, dtype):
    x = x.astype(dtype)
    rows = nnext.softmax(x.reshape(-1, x.shape[-1]))
    ref.assert_same_bits(nnext.softmax(x), rows.reshape(x.shape))


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_softmax_of_special_values(dtype):
    inf, nan = np.inf, np.nan
    x = np.array(
        [
            [1e30, -1e30, 0],
            [-1e30, -1e30, -1e30],
            [-inf, 0, 0],
            [-inf, -inf, -inf],
            [inf, 0, 1],
            [nan, 0, 1],
            [-inf, nan, inf],
        ],
        dtype,
    )
    y = nnext.softmax(x)
    ref.assert_same_bits(y[0], np.array([1, 0, 0], dtype))
    ref.assert_close(y[1], np.full(3, 1 / 3), terms=4)
    ref.assert_same_bits(y[2], np.array([0, 0.5, 0.5], dtype))
    # -inf - -inf and inf - inf have no value: IEEE says NaN, and a NaN never becomes a number.
    assert np.isnan(y[3]).all()
    assert np.isnan(y[4, 0])
    assert np.isnan(y[5]).all()
    assert np.isnan(y[6, 1])


def test_softmax_of_no_rows_is_empty():
    assert nnext.softmax(np.zeros((0, 5), np.float32)).shape == (0, 5)


# cross_entropy_error


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_cross_entropy_error_agrees_with_the_reference(dtype):
    rng = np.random.default_rng(8)
    y = ref.softmax(rng.normal(0, 3, (50, 10))).astype(dtype)
    t = rng.integers(0, 10, 50)
    expected = ref.cross_entropy_error(y, t)
    loss = nnext.cross_entropy_error(y, t)
    assert type(loss) is float
    ref.assert_close(dtype(loss), expected, terms=8, scale=1 + abs(expected))
    assert loss == nnext.cross_entropy_error(y, ref.one_hot(t, 10))


def test_cross_entropy_error_of_the_books_example():
    t = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    y = [0.1, 0.05, 0.6, 0.0, 0.05, 0.1, 0.0, 0.1, 0.0, 0.0]
    assert nnext.cross_entropy_error(y, t) == pytest.approx(0.510825457099338, rel=1e-14)
    y = [0.1, 0.05, 0.1, 0.0, 0.05, 0.1, 0.0, 0.6, 0.0, 0.0]
    assert nnext.cross_entropy_error(y, t) == pytest.approx(2.302584092994546, rel=1e-14)


def test_cross_entropy_error_takes_one_sample_without_a_batch_axis():
    y = np.array([0.2, 0.7, 0.1])
    expected = -np.log(0.7 + 1e-7)
    for t in (1, np.int8(1), np.array(1), [0, 1, 0]):
        assert nnext.cross_entropy_error(y, t) == pytest.approx(expected, rel=1e-15)


def test_cross_entropy_error_saturates_as_the_books_does():
    assert nnext.cross_entropy_error([[1.0, 0.0]], [1]) == pytest.approx(-np.log(1e-7), rel=1e-15)
