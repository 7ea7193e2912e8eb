"""The types of the nodes: integers alone compute in float64, half gradients are rounded once."""

import ml_dtypes
import numpy as np
import pytest

import nnext
import reference as ref
from nnext import nodes

INTEGERS = [np.int8, np.uint8, np.int64, np.bool]


def top(dtype):
    """Return an array of the largest number of a type."""
    return np.array([1 if dtype == np.bool else np.iinfo(dtype).max] * 3).astype(dtype)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_alone_compute_in_float64(dtype):
    x = top(dtype)
    f = x.astype(np.float64)
    add, multiply, branch = nodes.Add(), nodes.Multiply(), nodes.Branch(2)
    repeat, total = nodes.Repeat(2), nodes.Sum()
    ref.assert_same_bits(add.forward(x, x), f + f)
    ref.assert_same_bits(multiply.forward(x, x), f * f)
    for got in (*branch.forward(x), *add.backward(x)):
        ref.assert_same_bits(got, f)
    for got in multiply.backward(x):
        ref.assert_same_bits(got, f * f)
    ref.assert_same_bits(branch.backward(x, x), f + f)
    ref.assert_same_bits(repeat.forward(x), np.repeat(f, 2))
    ref.assert_same_bits(repeat.backward(np.repeat(x, 2)), f + f)
    ref.assert_same_bits(total.forward(x), f.sum(keepdims=True))
    ref.assert_same_bits(total.backward(x[:1]), f)


def test_numbers_of_python_are_taken_as_they_are():
    node = nodes.Add()
    assert node.forward(np.uint8(200), -300) == -100
    assert node.forward(True, True) == 2
    z = nodes.Multiply().forward(np.float32(3), 2)
    assert z == 6
    assert z.dtype == np.float32
    branch = nodes.Branch()
    branch.forward(1.0)
    assert branch.backward(np.float16(1), 2.0).dtype == np.float16
    assert branch.backward(1, 2).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_among_floats_follow_numpy(dtype):
    x, i = np.ones(3, dtype), np.arange(3, dtype=np.int8)
    ref.assert_same_bits(nodes.Add().forward(x, i), x + i)
    branch = nodes.Branch()
    branch.forward(x)
    ref.assert_same_bits(branch.backward(i, x), x + i)


@pytest.mark.parametrize("dtype", ref.HALVES)
@pytest.mark.parametrize("size", [0, 1, 7])
def test_half_gradients_are_rounded_once(dtype, size):
    big = 2048 if dtype == np.float16 else 256
    branch = nodes.Branch(3)
    branch.forward(np.ones(size, dtype))
    dx = branch.backward(*(np.full(size, value, dtype) for value in (big, 1, 1)))
    ref.assert_same_bits(dx, np.full(size, big + 2, dtype))


def test_mixed_gradients_are_added_in_the_type_of_the_sum():
    branch = nodes.Branch(3)
    branch.forward(np.ones(1))
    for half, big in ((np.float16, 2048), (ml_dtypes.bfloat16, 256)):
        for other in (np.float32, np.float64):
            dx = branch.backward(np.array([big], half), np.ones(1, half), np.ones(1, other))
            ref.assert_same_bits(dx, np.array([big + 2], other))
    dx = branch.backward(np.ones(1, np.float16), np.ones(1, ml_dtypes.bfloat16), np.ones(1, "i1"))
    ref.assert_same_bits(dx, np.full(1, 3, np.float32))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_a_dropout_that_drops_nothing_passes_floats_back(dtype):
    layer, x = nnext.Dropout(seed=0), top(dtype)
    layer.forward(x, train_flg=False)
    ref.assert_same_bits(layer.backward(x), x.astype(np.float64))
    dout = np.ones(3, np.float32)
    assert layer.backward(dout) is dout
    with pytest.raises(TypeError, match="dout: cannot compute with type <U1; expected float32"):
        layer.backward(["a"])
