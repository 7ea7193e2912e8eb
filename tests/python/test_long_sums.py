"""Sums of millions of terms: exact where they can be, and no worse than NumPy's."""

import numpy as np
import pytest

import nnext
import reference as ref
from nnext import _nnext
from nnext.functions import linear_cross_entropy_with_grad

MANY = 1_000_000


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_2_to_the_25_ones_are_that_many(dtype):
    ones = np.broadcast_to(dtype(1), (1, 2**25))
    assert nnext.matmul(ones, ones.T)[0, 0] == 2**25


def test_the_gradients_of_a_layer_over_a_million_rows():
    layer = nnext.Affine(np.zeros((1, 2), np.float32), np.zeros(2, np.float32))
    layer.forward(np.ones((MANY, 1), np.float32))
    layer.backward(np.full((MANY, 2), 0.1, np.float32))
    exact = MANY * float(np.float32(0.1))
    for grad in layer.grads:
        np.testing.assert_allclose(grad, exact, rtol=5e-5)


def test_the_gradient_of_an_embedding_over_a_million_words():
    layer = nnext.Embedding(np.zeros((3, 2), np.float32))
    index = np.ones(MANY, np.int64)
    layer.forward(index)
    layer.backward(np.full((MANY, 2), 0.1, np.float32))
    np.testing.assert_allclose(layer.grads[0][1], MANY * float(np.float32(0.1)), rtol=5e-5)
    assert not layer.grads[0][[0, 2]].any()


@pytest.mark.parametrize("budget", [4000, 24 << 20])
def test_the_fused_loss_over_many_rows_has_the_bits_of_the_layers(budget):
    n, d, v = 17_500, 3, 5
    rng = np.random.default_rng(0)
    x, W = rng.standard_normal((n, d)), rng.standard_normal((d, v))
    b, t = np.zeros(v), rng.integers(0, v, n)
    affine, loss = nnext.Affine(W, b), nnext.SoftmaxWithLoss()
    value = loss.forward(affine.forward(x), t)
    affine.backward(loss.backward())
    before = nnext.get_score_budget()
    try:
        nnext.set_score_budget(budget)
        got, _, dW, db = linear_cross_entropy_with_grad(x, W, t, b)
    finally:
        nnext.set_score_budget(before)
    assert got == value
    np.testing.assert_array_equal(dW, affine.grads[0])
    np.testing.assert_array_equal(db, affine.grads[1])


def error(result, exact, size):
    return np.sqrt(np.mean(((result.astype(np.float64) - exact) / size) ** 2))


@pytest.mark.parametrize("k", [16_385, 20_000, 100_000, MANY])
@pytest.mark.parametrize(("low", "factor"), [(-1.0, 3), (0.0, 2)], ids=["random", "one-signed"])
@pytest.mark.parametrize("way", ["nn", "tn"])
def test_the_error_beside_numpys(way, low, factor, k):
    """Products of sums too long for one chain, and sums over rows.

    On data of both signs the blocks of 1024 come out at 1.5 times the error of OpenBLAS's AVX-512
    kernels where the sum is short, and at 2.3 times that of its AVX2 ones with their short blocks.
    """
    rng = np.random.default_rng(k)
    a = rng.uniform(low, 1, (8, k) if way == "nn" else (k, 8)).astype(np.float32)
    b = rng.uniform(low, 1, (k, 8)).astype(np.float32)
    a = a if way == "nn" else a.T
    wide = a.astype(np.float64), b.astype(np.float64)
    exact, size = wide[0] @ wide[1], abs(wide[0]) @ abs(wide[1])
    assert error(nnext.matmul(a, b), exact, size) <= factor * error(a @ b, exact, size)
    exact, size = wide[1].sum(axis=0), abs(wide[1]).sum(axis=0)
    ours = error(_nnext.sum(b, 0), exact, size)
    assert ours <= 2 * error(b.sum(axis=0), exact, size)
