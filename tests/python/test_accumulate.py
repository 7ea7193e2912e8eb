"""Batches that come in parts: the gradients of layers and losses add up to those of the whole."""

import math

import numpy as np
import pytest

from nnext.layers import (
    Affine,
    AffineSoftmaxWithLoss,
    Embedding,
    HuberLoss,
    MatMul,
    PoissonLoss,
    SigmoidWithLoss,
    SoftmaxWithLoss,
    SquaredError,
)
from parts import CLASSES, CUTS, TARGETS, C, D, N, loss_case, same
from reference import normal

# Layers


def affine_of(dtype):
    return Affine(normal(dtype, D, C), normal(dtype, C, seed=1)), normal(dtype, N, D, seed=2)


def matmul_of(dtype):
    return MatMul(normal(dtype, D, C).T.copy().T), normal(dtype, N, D, seed=2)


def embedding_of(dtype):
    return Embedding(normal(dtype, 5, C)), np.arange(N) * 7 % 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [affine_of, matmul_of, embedding_of])
def test_gradients_of_parts_add_up_to_the_bits_of_the_whole(make, dtype):
    layer, x = make(dtype)
    dout = normal(dtype, N, C, seed=3)
    layer.forward(x)
    layer.backward(dout)
    expected = [grad.copy() for grad in layer.grads]
    grads = list(layer.grads)
    for i, (first, end) in enumerate(CUTS):
        layer.forward(x[first:end])
        layer.backward(dout[first:end], accumulate=i > 0)
    same(layer.grads, expected)
    assert all(a is b for a, b in zip(layer.grads, grads, strict=True))


@pytest.mark.parametrize("make", [affine_of, matmul_of, embedding_of])
@pytest.mark.parametrize("layout", ["fortran", "every second", "reversed", ">f4", "half"])
def test_gradients_add_up_in_arrays_of_any_kind(make, layout):
    layer, x = make(np.float32)
    dout = normal(np.float32, N, C, seed=3)
    layer.forward(x)
    layer.backward(dout)
    once = [grad.copy() for grad in layer.grads]
    for i, grad in enumerate(layer.grads):
        if layout == "fortran":
            layer.grads[i] = np.asfortranarray(grad)
        elif layout == "every second":
            layer.grads[i] = np.zeros([2 * n for n in grad.shape], grad.dtype)[
                tuple(slice(None, None, 2) for _ in grad.shape)
            ]
            layer.grads[i][...] = grad
        elif layout == "reversed":
            layer.grads[i] = grad[::-1].copy()[::-1]
        elif layout == ">f4":
            layer.grads[i] = grad.astype(">f4")
        else:
            layer.grads[i] = grad.astype(np.float16)
    layer.backward(dout, accumulate=True)
    for grad, g in zip(layer.grads, once, strict=True):
        np.testing.assert_allclose(grad, 2 * g, 2e-3 if layout == "half" else 1e-5, 1e-5)


def test_the_padding_row_gets_no_gradient_in_any_part():
    layer, idx = Embedding(np.ones((5, C)), padding_idx=0), np.arange(N) % 5
    for accumulate in (False, True):
        layer.forward(idx)
        layer.backward(np.ones((N, C)), accumulate=accumulate)
    assert not layer.grads[0][0].any()
    assert layer.grads[0][1].tolist() == [10.0] * C


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_the_fused_loss_adds_up_its_gradients(dtype, bias):
    W, b = normal(dtype, D, C), normal(dtype, C, seed=1) if bias else None
    layer = AffineSoftmaxWithLoss(W, b, ignore_label=1)
    x, t = normal(dtype, N, D, seed=2), np.arange(N) % C
    whole = layer.forward(x, t)
    dx = layer.backward()
    count, expected = layer.count, [grad.copy() for grad in layer.grads]
    for one_pass in (False, True):
        loss, parts = 0.0, []
        for i, (first, end) in enumerate(CUTS):
            h, labels = x[first:end], t[first:end]
            if one_pass:
                part, grad = layer.forward_backward(h, labels, None, count, accumulate=i > 0)
            else:
                part = layer.forward(h, labels, count=count)
                grad = layer.backward(accumulate=i > 0)
            assert layer.count == count
            loss += part
            parts.append(grad)
        assert loss == pytest.approx(whole, rel=1e-14)
        same(layer.grads, expected)
        np.testing.assert_array_equal(np.concatenate(parts), dx)


# Losses


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("cls", "options"), CLASSES + TARGETS, ids=str)
def test_a_loss_of_parts_with_the_count_of_the_whole(cls, options, dtype, weighted):
    layer = cls(**options)
    x, t = loss_case(cls, dtype)
    weight = np.random.default_rng(0).uniform(0, 1, N) if weighted else None
    whole = layer.forward(x, t, weight)
    expected, y, count = layer.backward(0.7), layer.y, layer.count
    assert layer.count_of(x, t, weight) == count
    counted = 0.0
    for first, end in CUTS:
        part = None if weight is None else weight[first:end]
        counted = layer.count_of(x, t[first:end], part, before=counted)
    assert counted == count
    given = {} if layer.reduction == "sum" else {"count": count}
    loss, grads, probabilities = 0.0, [], []
    for first, end in CUTS:
        part = None if weight is None else weight[first:end]
        loss += layer.forward(x[first:end], t[first:end], part, **given)
        grads.append(layer.backward(0.7))
        probabilities.append(layer.y)
    assert loss == pytest.approx(whole, rel=1e-13)
    same([np.concatenate(grads), np.concatenate(probabilities)], [expected, y])


@pytest.mark.parametrize(("cls", "options"), [CLASSES[0], TARGETS[0]], ids=str)
def test_a_count_that_cannot_be_one_is_refused(cls, options):
    layer = cls(**options)
    x, t = loss_case(cls, np.float64)
    for count in (0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="count: expected a finite number above 0"):
            layer.forward(x, t, count=count)
    with pytest.raises(TypeError, match="count"):
        layer.forward(x, t, count="many")
    for reduction in ("sum", "none"):
        with pytest.raises(ValueError, match="count: nothing is divided"):
            cls(reduction=reduction).forward(x, t, count=3.0)
    assert layer.y is None


def test_counting_checks_labels_and_targets():
    scores = np.zeros((1, C))
    with pytest.raises(IndexError, match="t: "):
        SoftmaxWithLoss().count_of(scores, [0, 3])
    with pytest.raises(ValueError, match=r"t: expected shape"):
        SquaredError().count_of(scores, np.zeros((5, C + 1)))
    with pytest.raises(ValueError, match="counts of at least 0"):
        PoissonLoss().count_of(scores, np.full((2, C), -1.0))
    with pytest.raises(ValueError, match="sample_weight"):
        SoftmaxWithLoss().count_of(scores, [0, 1], np.ones(3))


def test_the_gradient_is_that_of_the_options_of_its_forward():
    layer = HuberLoss(delta=2.0)
    layer.forward(np.array([5.0]), np.array([0.0]))
    layer.delta = 0.5
    assert layer.backward().tolist() == [2.0]


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize(("cls", "options"), [CLASSES[0], TARGETS[0]], ids=str)
def test_weights_that_are_none_are_refused(cls, options, weight):
    x, t = loss_case(cls, np.float64)
    with pytest.raises(ValueError, match="sample_weight: expected finite numbers of at least 0"):
        cls(**options).forward(x, t, np.full(N, weight))
    for call in (cls(**options).forward, cls(**options).count_of):
        with pytest.raises(ValueError, match="sample_weight: the weights add up to infinity"):
            call(x, t, np.full(N, 1e308))
    for before in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="before: expected a finite number of at least 0"):
            cls(**options).count_of(x, t, before=before)


@pytest.mark.parametrize("cls", [PoissonLoss, SigmoidWithLoss, SquaredError])
def test_a_row_without_weight_may_have_any_target(cls):
    x, t = np.ones((3, 2)), np.ones((3, 2))
    expected = cls().forward(x[:2], t[:2])
    t[2] = math.nan
    layer = cls()
    assert layer.forward(x, t, [1, 1, 0]) == expected
    assert not layer.backward()[2].any()
