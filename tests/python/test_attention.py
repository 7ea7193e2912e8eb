"""Attention: of all steps at once what the book's formulas say of each."""

import copy

import numpy as np
import pytest

import nnext
import sequence_reference as book
from nnext.attention import Attention, AttentionWeight, TimeAttention, WeightSum
from reference import FLOATS, assert_close, assert_same_bits, normal

SIZES = [(1, 1, 1, 1), (3, 5, 4, 7), (2, 3, 9, 2)]  # N, encoder's steps, decoder's, H


def states(dtype, sizes, seed=0):
    N, T, S, H = sizes
    return normal(dtype, N, T, H, seed=seed), normal(dtype, N, S, H, seed=seed + 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sizes", SIZES)
def test_all_steps_at_once_are_the_books_steps(dtype, sizes):
    enc, dec = states(dtype, sizes)
    dout = normal(dtype, *dec.shape, seed=2)
    layer, want = TimeAttention(), book.Attention()
    assert layer.attention_weights is None
    c = layer.forward(enc, dec)
    assert c.dtype == dtype
    assert_close(c, want.forward(enc.astype("f8"), dec.astype("f8")), 200, 1)
    weights = layer.attention_weights
    assert len(weights) == sizes[2]
    for a, expected in zip(weights, want.weights, strict=True):
        assert_close(a, expected, 200, 1)
        assert_close(a.sum(axis=1), np.ones(sizes[0]), 10)
    for got, expected in zip(layer.backward(dout), want.backward(dout.astype("f8")), strict=True):
        assert got.dtype == dtype
        assert_close(got, expected, 1000, 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sizes", SIZES)
def test_one_step_is_that_of_all(dtype, sizes):
    enc, dec = states(dtype, sizes)
    dout = normal(dtype, *dec.shape, seed=2)
    steps = TimeAttention()
    c = steps.forward(enc, dec)
    denc, ddec = steps.backward(dout)
    total = np.zeros_like(enc)
    for t in range(sizes[2]):
        layer = Attention()
        assert_close(layer.forward(enc, dec[:, t]), c[:, t], 100, 1)
        assert_close(layer.attention_weight, steps.attention_weights[t], 100, 1)
        dhs, dh = layer.backward(dout[:, t])
        assert_close(dh, ddec[:, t], 1000, 1)
        total += dhs
    assert_close(total, denc, 1000, 1)


@pytest.mark.parametrize("kind", [WeightSum, AttentionWeight, Attention, TimeAttention])
def test_gradients_agree_with_central_differences(kind):
    enc, dec = states("f8", (2, 3, 4, 5))
    other = {WeightSum: dec[:, 0, :3], TimeAttention: dec}.get(kind, dec[:, 0])
    other = np.ascontiguousarray(other)
    layer = kind()
    weights = normal("f8", *layer.forward(enc, other).shape, seed=5)
    grads = layer.backward(weights)

    def loss(_):
        return (layer.forward(enc, other) * weights).sum()

    for array, grad in zip((enc, other), grads, strict=True):
        expected = nnext.numerical_gradient(loss, array)
        np.testing.assert_allclose(grad, expected, rtol=1e-6, atol=1e-8)


def test_a_state_far_like_the_decoders_gets_all_the_weight():
    hs = np.zeros((1, 3, 2))
    hs[0, 1] = [100, 0]
    layer = Attention()
    np.testing.assert_array_equal(layer.forward(hs, np.array([[10.0, 0]])), hs[:, 1])
    np.testing.assert_array_equal(layer.attention_weight, [[0, 1, 0]])
    np.testing.assert_array_equal(layer.attention_weight_layer.softmax.out, [[0, 1, 0]])


def test_the_weighed_sum_is_exact_for_whole_numbers():
    hs, a = np.arange(24).reshape(2, 3, 4), np.array([[1, 0, 2], [0, 3, 0]])
    layer = WeightSum()
    np.testing.assert_array_equal(layer.forward(hs, a), [hs[0, 0] + 2 * hs[0, 2], 3 * hs[1, 1]])
    dhs, da = layer.backward(np.ones((2, 4), int))
    np.testing.assert_array_equal(dhs, np.broadcast_to(a[:, :, None], (2, 3, 4)))
    np.testing.assert_array_equal(da, hs.sum(axis=2))
    assert dhs.dtype == da.dtype == np.float64


def test_a_sequence_is_computed_as_alone_whatever_stands_beside_it_and_where():
    enc, dec = states("f4", (4, 5, 3, 8))
    together = TimeAttention().forward(enc, dec)
    alone = TimeAttention().forward(enc[2:3], dec[2:3])
    assert_same_bits(together[2:3], alone)
    turned = TimeAttention().forward(np.asfortranarray(enc), np.asfortranarray(dec))
    assert_same_bits(turned, together)


def test_weights_that_were_given_out_stay_what_they_are():
    layer = TimeAttention()
    layer.forward(*states("f4", (2, 3, 4, 5)))
    kept = layer.attention_weights
    before = copy.deepcopy(kept)
    layer.forward(*states("f4", (2, 3, 4, 5), seed=9))
    for a, b in zip(kept, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 3, 0)])
def test_nothing_to_read_is_no_error(shape):
    enc, dec = np.zeros(shape), np.zeros((shape[0], 4, shape[2]))
    layer = TimeAttention()
    assert layer.forward(enc, dec).shape == dec.shape
    assert [d.shape for d in layer.backward(dec)] == [enc.shape, dec.shape]


def test_what_does_not_fit_is_refused_with_its_shape():
    enc, dec = states("f4", (2, 3, 4, 5))
    for layer in (TimeAttention(), Attention(), AttentionWeight(), WeightSum()):
        with pytest.raises(RuntimeError, match=type(layer).__name__):
            layer.backward(dec)
        with pytest.raises(ValueError, match=r"hs.*: expected states of shape \(N, T, H\)"):
            layer.forward(enc[0], dec)
        with pytest.raises(TypeError, match="hs"):
            layer.forward(enc.astype(complex), dec)
    steps = TimeAttention()
    for wrong in (dec[:1], dec[:, :, :4]):
        with pytest.raises(ValueError, match=r"hs_dec: expected shape \(2, T', 5\)"):
            steps.forward(enc, wrong)
    steps.forward(enc, dec)
    with pytest.raises(ValueError, match=r"dout: expected shape \(2, 4, 5\)"):
        steps.backward(dec[:, :3])
    for layer in (Attention(), AttentionWeight()):
        for wrong in (dec, dec[:1, 0], dec[:, 0, :4]):
            with pytest.raises(ValueError, match=r"h: expected shape \(2, 5\)"):
                layer.forward(enc, wrong)
    one = AttentionWeight()
    one.forward(enc, dec[:, 0])
    with pytest.raises(ValueError, match=r"da: expected shape \(2, 3\)"):
        one.backward(np.zeros((2, 4)))
    total = WeightSum()
    with pytest.raises(ValueError, match=r"a: expected shape \(2, 3\)"):
        total.forward(enc, np.zeros((2, 4)))
    total.forward(enc, np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"dc: expected shape \(2, 5\)"):
        total.backward(np.zeros((2, 3)))
