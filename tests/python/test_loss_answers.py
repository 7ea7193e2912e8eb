"""What the softmax losses say of scores: loss, probabilities, predictions, the best classes."""

import ml_dtypes
import numpy as np
import pytest

import nnext
from nnext import Affine, AffineSoftmaxWithLoss, Sequential, SoftmaxWithLoss

HALVES = [np.float16, ml_dtypes.bfloat16]
TYPES = [np.float32, np.float64, *HALVES]


def made(rng, shape, kind):
    return (3 * rng.standard_normal(shape)).astype(kind)


def test_probabilities_tell_scores_apart_that_half_precision_cannot():
    layer = AffineSoftmaxWithLoss(np.array([[1000, 1000], [0.1, 0.2]], np.float16))
    x = np.ones((1, 2), np.float16)
    assert layer.scores(x).tolist() == [[1000, 1000]]
    y = layer.probabilities(x)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y.astype(float), [[0.475, 0.525]], atol=1e-3)
    assert layer.predictions(x).tolist() == np.argmax(y, axis=-1).tolist() == [1]
    assert layer.top_k(x, 2)[0].tolist() == [[1, 0]]
    model = Sequential([nnext.ReLU()], layer)
    assert model.predict(x).tolist() == np.argmax(model.predict_proba(x), axis=-1).tolist() == [1]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (3, 5)])
def test_scores_and_probabilities_are_rounded_once(kind, softcap, shape):
    rng = np.random.default_rng(1)
    W, b, x = made(rng, (3, 9), kind), made(rng, (9,), kind), made(rng, (*shape, 3), kind)
    wide = np.float64 if kind == np.float64 else np.float32
    exact = Affine(W.astype(wide), b.astype(wide)).forward(x.astype(wide))
    layer = AffineSoftmaxWithLoss(W, b, softcap=softcap)
    twin = AffineSoftmaxWithLoss(W.astype(wide), b.astype(wide), softcap=softcap)
    scores = twin.scores(x.astype(wide))
    if softcap is None:
        np.testing.assert_array_equal(scores, exact)
    else:
        np.testing.assert_allclose(scores, softcap * np.tanh(exact / softcap), rtol=1e-5)
    np.testing.assert_array_equal(layer.scores(x), scores.astype(kind))
    np.testing.assert_array_equal(layer.probabilities(x), nnext.softmax(scores).astype(kind))
    assert layer.scores(x).dtype == layer.probabilities(x).dtype == np.dtype(kind)


@pytest.mark.parametrize("weights", TYPES)
@pytest.mark.parametrize("inputs", TYPES)
def test_the_loss_has_the_bits_of_two_layers_or_of_scores_in_float32(inputs, weights):
    rng = np.random.default_rng(4)
    W, x, t = made(rng, (4, 6), weights), made(rng, (11, 4), inputs), rng.integers(0, 6, 11)
    affine = Affine(W, np.zeros(6, weights))
    scores = affine.forward(x)
    if scores.dtype in HALVES:
        scores = Affine(W.astype(np.float32), np.zeros(6, np.float32)).forward(x.astype(np.float32))
    expected = SoftmaxWithLoss().forward(scores, t)
    assert AffineSoftmaxWithLoss(W).forward(x, t) == expected
    assert nnext.functions.linear_cross_entropy(x, W, t, affine.params[1]) == expected


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("softcap", [None, 0.5])
def test_a_cap_does_not_round_the_scores_of_a_layer(kind, softcap):
    x = made(np.random.default_rng(2), (20, 6), kind)
    wide = np.float64 if kind == np.float64 else np.float32
    layer = SoftmaxWithLoss(softcap=softcap)
    y = layer.probabilities(x.astype(wide))
    np.testing.assert_array_equal(layer.probabilities(x), y.astype(kind))
    np.testing.assert_array_equal(layer.predictions(x), layer.predictions(x.astype(wide)))
    layer.forward(x, np.zeros(20, int))
    np.testing.assert_array_equal(layer.y, y)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("softcap", [None, 30.0])
@pytest.mark.parametrize("shape", [(0, 4), (1, 1), (1, 2), (33, 17), (2, 3, 5), (9, 600)])
def test_predictions_are_the_first_of_the_largest(kind, softcap, shape):
    x = np.random.default_rng(3).integers(-3 - shape[-1], 4, shape).astype(kind)
    best = SoftmaxWithLoss(softcap=softcap).predictions(x)
    assert best.dtype == np.int64
    np.testing.assert_array_equal(best, np.argmax(x.astype(float), axis=-1))


ODD_ROWS = [
    ([1, 5, np.nan, 7, 7], 3),
    ([np.nan, 1, 2, 2, 0], 2),
    ([np.nan] * 5, 0),
    ([np.nan, -np.inf, np.nan, -np.inf, np.nan], 0),
    ([-np.inf, np.nan, -1e4, np.nan, -np.inf], 2),
    ([0, np.inf, np.nan, np.inf, 1], 1),
]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("row", "best"), ODD_ROWS)
def test_both_losses_predict_the_same_beside_nan(row, best, kind):
    b = np.array(row, kind)
    fused = AffineSoftmaxWithLoss(np.zeros((2, 5), kind), b)
    x = np.zeros((1, 2), kind)
    assert SoftmaxWithLoss().predictions(b).tolist() == best
    assert fused.predictions(x).tolist() == fused.top_k(x, 3)[0][:, 0].tolist() == [best]


def test_scores_of_no_class_have_no_prediction():
    message = r"x: expected scores of at least 1 class, got shape \(2, 0\)"
    with pytest.raises(ValueError, match=message):
        SoftmaxWithLoss().predictions(np.ones((2, 0)))
    assert SoftmaxWithLoss().probabilities(np.ones((2, 0))).shape == (2, 0)
    for use in (SoftmaxWithLoss().predictions, SoftmaxWithLoss().probabilities):
        with pytest.raises(ValueError, match="x: expected an array of at least 1 dimension"):
            use(np.float32(1))
        with pytest.raises(TypeError, match="x: cannot compute with type complex128"):
            use(np.ones((2, 3), complex))
