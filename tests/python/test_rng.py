"""Whatever is drawn can be drawn from a generator that the caller has."""

import numpy as np
import pytest

from nnext import SGD, Dropout, Trainer, TwoLayerNet, affine
from nnext.datasets import spiral, train_test_split
from nnext.models import AttentionSeq2seq, BetterRnnlm, PeekyDecoder, Rnnlm
from nnext.time_layers import TimeDropout

X, T = spiral()


def order(seed=None, rng=None):
    trainer = Trainer(TwoLayerNet(2, 3, 3, seed=0), SGD(), seed=seed, rng=rng)
    return trainer.fit(X, T, 1, 30, eval_interval=1, progress="none").loss


def weights(seed=None, rng=None):
    return TwoLayerNet(2, 3, 3, seed=seed, rng=rng).params[0].tolist()


def mask(seed=None, rng=None):
    layer = Dropout(0.5, seed=seed, rng=rng)
    layer.forward(np.ones(100))
    return layer.mask.tolist()


def part(seed=None, rng=None):
    return train_test_split(X, T, seed=seed, rng=rng)[0].tolist()


def layer(seed=None, rng=None):
    return affine(2, 3, seed=seed, rng=rng).params[0].tolist()


def language(seed=None, rng=None):
    return BetterRnnlm(4, 2, 2, seed=seed, rng=rng).layers[4].params[0].tolist()


def answers(seed=None, rng=None):
    return AttentionSeq2seq(4, 3, 2, seed=seed, rng=rng).decoder.affine.params[0].tolist()


def decoder(seed=None, rng=None):
    return PeekyDecoder(4, 3, 2, seed=seed, rng=rng).params[0].tolist()


def mask_of_steps(seed=None, rng=None):
    return TimeDropout(0.5, seed=seed, rng=rng).forward(np.ones(100)).tolist()


def words(seed=None, rng=None):
    return Rnnlm(30, 2, 2, seed=0).generate(1, seed=seed, rng=rng)


OF_THE_BOOK = [language, answers, decoder, mask_of_steps, words]  # its draws, in its order
DRAWN = [order, weights, mask, part, layer, *OF_THE_BOOK]
GENERATORS = [np.random.default_rng, np.random.RandomState]


@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize("generator", GENERATORS)
def test_a_generator_is_drawn_from_and_goes_on(draw, generator):
    rng = generator(3)
    first, second = draw(rng=rng), draw(rng=rng)
    assert draw(rng=generator(3)) == first != second


@pytest.mark.parametrize("draw", [order, weights, part, layer, *OF_THE_BOOK])
def test_a_random_state_of_a_seed_is_that_seed(draw):
    assert draw(rng=np.random.RandomState(5)) == draw(seed=5)


@pytest.mark.parametrize("draw", OF_THE_BOOK)
def test_numpys_own_seed_is_that_seed(draw):
    np.random.seed(5)
    drawn, after = draw(), draw()
    assert drawn == draw(seed=5)
    assert after != drawn


@pytest.mark.parametrize("draw", DRAWN)
def test_what_is_no_generator_is_refused(draw):
    with pytest.raises(ValueError, match=r"expected rng or seed, got both: rng=.*, seed=1"):
        draw(seed=1, rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match=r"rng: expected a numpy.random.RandomState .* seed=3"):
        draw(rng=3)
    with pytest.raises(TypeError, match=r"rng: expected a numpy.random.RandomState or .* got 'a'"):
        draw(rng="a")


@pytest.mark.parametrize("draw", DRAWN)
def test_numpys_own_stream_is_one_too(draw):
    np.random.seed(4)
    first = draw(rng=np.random)
    np.random.seed(4)
    assert draw(rng=np.random) == first


def test_numpys_own_stream_still_draws_a_layer():
    np.random.seed(1)
    first = layer(rng=np.random)
    np.random.seed(1)
    assert layer() == first
    with pytest.raises(ValueError, match="expected rng or seed, got both"):
        layer(seed=1, rng=np.random)
