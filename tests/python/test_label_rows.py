"""Rows of labels, one-hot or probabilities, of every length and with their numbers in every place.

Rows are read in vectors of many elements, and what is left of them one by one.
"""

import numpy as np
import pytest

from nnext import SoftmaxWithLoss

LENGTHS = [2, 3, 8, 9, 31, 32, 33, 63, 64, 65, 100]
WHOLE = ["bool", "int8", "uint8", "int32", "int64", "uint64", ">i4"]
FLOATS = ["float16", "float32", "float64", ">f4"]


def read(t):
    """Return the classes that the loss reads in rows (N, C)."""
    return SoftmaxWithLoss().labels(t, t.shape)


@pytest.mark.parametrize("kind", WHOLE + FLOATS)
@pytest.mark.parametrize("classes", LENGTHS)
def test_the_class_of_a_one_hot_row_is_where_its_1_stands(classes, kind):
    rows = np.eye(classes).astype(kind)
    np.testing.assert_array_equal(read(rows), np.arange(classes))
    np.testing.assert_array_equal(read(np.asfortranarray(rows[::-1])), np.arange(classes)[::-1])


@pytest.mark.parametrize("kind", FLOATS)
@pytest.mark.parametrize("classes", LENGTHS)
def test_a_zero_with_a_sign_is_a_zero(classes, kind):
    rows = np.eye(classes).astype(kind)
    rows[rows == 0] = -0.0
    layer = SoftmaxWithLoss()
    layer.forward(np.zeros((classes, classes), np.float32), rows)
    np.testing.assert_array_equal(layer.t, np.arange(classes))


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8"])
@pytest.mark.parametrize("classes", LENGTHS)
def test_a_second_number_is_found_wherever_it_stands(classes, kind):
    for second in range(classes - 1):
        row = np.zeros((1, classes), kind)
        row[0, -1] = 1
        row[0, second] = 1
        with pytest.raises(ValueError, match="t: row 0 is not one-hot: it holds 1 more than once"):
            read(row)
        row[0, second] = 2
        with pytest.raises(ValueError, match="t: row 0 is not one-hot: it holds 2, expected 0"):
            read(row)
    with pytest.raises(ValueError, match="t: row 0 is not one-hot: it holds no 1"):
        read(np.zeros((1, classes), kind))


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("classes", LENGTHS)
def test_a_number_that_is_no_probability_is_found_wherever_it_stands(classes, kind):
    for place in range(classes):
        for wrong in (-0.25, np.nan):
            rows = np.full((2, classes), 1 / classes, kind)
            rows[1, place] = wrong
            with pytest.raises(ValueError, match=f"t: row 1 holds {wrong}, expected probabilities"):
                read(rows)
        rows = np.eye(classes, dtype=kind)
        rows[0, place] += 0.5
        with pytest.raises(ValueError, match=r"t: row 0 adds up to 1\.5, expected"):
            read(rows)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("classes", LENGTHS)
def test_all_of_a_soft_row_adds_up(classes, kind):
    for place in range(1, classes):
        rows = np.zeros((1, classes), kind)
        rows[0, 0], rows[0, place] = 0.25, 0.75
        layer = SoftmaxWithLoss()
        loss = layer.forward(np.zeros((1, classes), kind), rows)
        assert loss == pytest.approx(np.log(classes))
        np.testing.assert_array_equal(layer.t, rows)  # soft: all of it is kept
        assert read(rows) == [place]
        rows[0, place] = 0.5
        with pytest.raises(ValueError, match=r"t: row 0 adds up to 0\.75, expected"):
            read(rows)


def test_what_a_soft_batch_keeps_is_its_own():
    x, t = np.zeros((2, 40), np.float32), np.full((2, 40), 1 / 40, np.float32)
    layer = SoftmaxWithLoss()
    layer.forward(x, t)
    expected = layer.backward()
    layer.forward(x, t)
    t[:] = 0
    t[:, 0] = 1
    np.testing.assert_array_equal(layer.backward(), expected)
