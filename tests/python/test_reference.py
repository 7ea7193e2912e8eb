"""The comparisons reject wrong answers, and the exact chain is exact."""

from fractions import Fraction

import numpy as np
import pytest

import reference as ref


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_assert_close_takes_one_rounding_and_rejects_two_units(dtype):
    expected = np.array([1.0, -3.0, 1000.0])
    ref.assert_close(expected.astype(dtype), expected, terms=1)
    wrong = expected.astype(dtype)
    wrong[1] += 2 * np.spacing(wrong[1])
    with pytest.raises(AssertionError, match="1 of 3 elements"):
        ref.assert_close(wrong, expected, terms=1)


def test_assert_close_rejects_zero_for_five():
    with pytest.raises(AssertionError):
        ref.assert_close(np.zeros(1, np.float32), [5.0], terms=100)


@pytest.mark.parametrize(
    "wrong",
    [[1.0, np.inf], [np.nan, np.nan], [1.0, -np.inf], [1.0, 2.0]],
    ids=["inf for NaN", "NaN for 1", "-inf for NaN", "2 for NaN"],
)
def test_assert_close_rejects_wrong_special_values(wrong):
    with pytest.raises(AssertionError):
        ref.assert_close(np.array(wrong, np.float32), [1.0, np.nan], terms=1)


def test_assert_close_rejects_nan_for_inf_and_the_wrong_sign_of_inf():
    for wrong in (np.nan, -np.inf, 1.0):
        with pytest.raises(AssertionError):
            ref.assert_close(np.array([wrong]), [np.inf], terms=1)


def test_assert_close_rejects_a_shape_that_would_broadcast_and_integers():
    with pytest.raises(AssertionError, match="shape"):
        ref.assert_close(np.ones((1, 3)), np.ones(3), terms=1)
    with pytest.raises(AssertionError, match="floats"):
        ref.assert_close(np.ones(3, int), np.ones(3), terms=1)


def test_assert_ulps_rejects_two_for_one():
    expected = np.array([1.5, 3.0])
    actual = expected.astype(np.float32)
    ref.assert_ulps(actual, expected, 0)
    actual[1] = np.nextafter(actual[1], np.float32(9))
    ref.assert_ulps(actual, expected, 1)
    actual[1] = np.nextafter(actual[1], np.float32(9))
    with pytest.raises(AssertionError, match="2 ULP"):
        ref.assert_ulps(actual, expected, 1)


def test_assert_same_bits_tells_apart_zeros_types_and_neighbours():
    ref.assert_same_bits(np.array([np.nan, -0.0]), np.array([np.nan, -0.0]))
    for wrong in (np.array([np.nan, 0.0]), np.array([np.nan, -0.0], np.float32)):
        with pytest.raises(AssertionError):
            ref.assert_same_bits(wrong, np.array([np.nan, -0.0]))
    with pytest.raises(AssertionError):
        ref.assert_same_bits(np.array([np.nextafter(1.0, 2.0)]), np.array([1.0]))


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_assert_product_rejects_a_lost_term(dtype):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((4, 9)).astype(dtype), rng.standard_normal((9, 5)).astype(dtype)
    ref.assert_product(a @ b, a, b)
    with pytest.raises(AssertionError):
        ref.assert_product(a[:, :-1] @ b[:-1], a, b)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_assert_gradient_rejects_one_number_that_is_off(dtype):
    numerical = np.array([[1.0, -2.0], [0.0, 0.5]])
    ref.assert_gradient(numerical.astype(dtype), numerical, dtype)
    for wrong in (numerical * 1.01, numerical + np.eye(2) * 0.02, numerical * np.nan, numerical[0]):
        with pytest.raises(AssertionError):
            ref.assert_gradient(wrong.astype(dtype), numerical, dtype)


def test_fma32_rounds_once_where_two_roundings_differ():
    # c + a b = 1 + 2^-23 + 2^-24 - 2^-60, just below a tie that float64 rounds it to.
    a = np.array([(1 - 2.0**-18) * 2.0**-24], np.float32)
    b, c = np.array([1 + 2.0**-18], np.float32), np.array([1 + 2.0**-23], np.float32)
    assert ref.fma32(a, b, c) == c
    assert np.float32(a.astype(float) * b.astype(float) + c.astype(float)) != c


def test_fma32_agrees_with_exact_fractions():
    rng = np.random.default_rng(2)
    a, b, c = (
        (rng.standard_normal(300) * 2.0 ** rng.integers(-20, 20, 300)).astype(np.float32)
        for _ in range(3)
    )
    c[::3] = -(a * b)[::3]  # cancellation
    actual = ref.fma32(a, b, c)
    for x, y, z, r in zip(a, b, c, actual, strict=True):
        exact = Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z))
        error = abs(Fraction(float(r)) - exact)
        for neighbour in (
            np.nextafter(r, np.float32(-np.inf)),
            np.nextafter(r, np.float32(np.inf)),
        ):
            assert error <= abs(Fraction(float(neighbour)) - exact)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_the_chain_is_the_product_and_its_bits_depend_on_the_order(dtype):
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((3, 40)).astype(dtype), rng.standard_normal((40, 4)).astype(dtype)
    chain = ref.chain_matmul(a, b)
    ref.assert_product(chain, a, b)
    assert not np.array_equal(chain, ref.chain_matmul(a[:, ::-1], b[::-1]))
