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


SHAPED = {
    "strided": lambda t: np.repeat(t, 2, axis=1)[:, ::2],
    "reversed": lambda t: t[:, ::-1].copy()[:, ::-1],
    "read-only": lambda t: np.frombuffer(t.tobytes(), t.dtype).reshape(t.shape),
    "unaligned": lambda t: np.frombuffer(b"\0" + t.tobytes(), t.dtype, offset=1).reshape(t.shape),
    "one row": lambda t: np.broadcast_to(t[:1], t.shape),
}


@pytest.mark.parametrize("shaped", SHAPED)
@pytest.mark.parametrize("kind", ["int32", "int64", "float32", "float64"])
def test_rows_may_lie_in_memory_in_any_way(kind, shaped):
    rows = SHAPED[shaped](np.eye(70).astype(kind))
    np.testing.assert_array_equal(read(rows), rows.argmax(axis=1))


@pytest.mark.parametrize("kind", ["int32", "float32", "float64", "soft"])
def test_rows_of_an_ignored_label_and_of_no_weight_do_not_count(kind):
    rng = np.random.default_rng(3)
    x, label = rng.standard_normal((40, 35)).astype(np.float32), rng.integers(0, 35, 40)
    t = np.eye(35)[label].astype("float32" if kind == "soft" else kind)
    if kind == "soft":
        t[::3] = 1 / 35
    weight = rng.integers(0, 2, 40).astype(float)
    counted = (weight > 0) & ((label != 7) | (t.max(axis=1) < 1))
    loss = SoftmaxWithLoss(ignore_label=7).forward(x, t, weight)
    log_p = x - np.log(np.exp(x.astype(float)).sum(axis=1, keepdims=True))
    assert loss == pytest.approx(-(t * log_p).sum(axis=1)[counted].mean(), rel=1e-6)


@pytest.mark.parametrize("kind", ["int32", "int64", "float32", "float64", "float16", "soft"])
def test_rows_may_be_changed_between_forward_and_backward(kind):
    t = np.eye(40)[:8].astype("float64" if kind == "soft" else kind)
    if kind == "soft":
        t[0] = 1 / 40
    x, layer = np.linspace(-1, 1, 320).reshape(8, 40).astype(np.float32), SoftmaxWithLoss()
    layer.forward(x, t)
    expected = layer.backward()
    layer.forward(x, t)
    t[:] = 0
    t[:, 0] = 1
    np.testing.assert_array_equal(layer.backward(), expected)
