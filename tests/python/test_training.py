"""Whole trainings: networks learn what they should, the same every time."""

import numpy as np
import pytest

from nnext.datasets import digits, spiral, train_test_split
from nnext.layers import Dropout, ReLU, Sigmoid, Tanh
from nnext.models import Sequential, TwoLayerNet, affine
from nnext.optimizer import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, RMSprop
from nnext.trainer import Trainer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_spiral_is_learned_to_95_percent(dtype):
    x, t = spiral()
    model = TwoLayerNet(2, 20, 3, seed=0, dtype=dtype)
    history = Trainer(model, SGD(lr=1.0), seed=0).fit(
        x.astype(dtype), t, max_epoch=300, batch_size=30, progress="none"
    )
    assert model.accuracy(x.astype(dtype), t) >= 0.95
    assert history.epoch_loss[-1] < 0.3 < 1 < history.epoch_loss[0]
    proba = model.predict_proba(x.astype(dtype))
    assert proba.dtype == dtype
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(lr=0.5),
        Momentum(lr=0.1),
        Nesterov(lr=0.1),
        AdaGrad(lr=0.1),
        RMSprop(lr=0.01),
        Adam(lr=0.01),
        AdamW(lr=0.01),
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_every_optimizer_learns_the_spiral(optimizer):
    x, t = spiral()
    rng = np.random.RandomState(0)
    model = Sequential([affine(2, 50, rng), ReLU(), affine(50, 3, rng)])
    Trainer(model, optimizer, seed=0).fit(x, t, 80, 30, max_grad=5.0, progress="none")
    assert model.accuracy(x, t) >= 0.9


def test_the_same_seeds_give_the_same_bits():
    def train():
        x, t = spiral()
        rng = np.random.RandomState(0)
        layers = [affine(2, 20, rng), Tanh(), Dropout(0.1, seed=0), affine(20, 3, rng)]
        model = Sequential(layers)
        history = Trainer(model, Adam(), seed=0).fit(x, t, 5, 32, progress="none")
        return [p.tobytes() for p in model.params], history.loss

    assert train() == train()


def test_digits_are_learned_to_97_percent_of_those_held_out():
    pytest.importorskip("sklearn")
    x_train, x_test, t_train, t_test = train_test_split(*digits(), test_size=0.25, seed=1)
    rng = np.random.RandomState(1)
    model = Sequential([affine(64, 100, rng), Sigmoid(), affine(100, 10, rng)])
    Trainer(model, Adam(lr=0.005), seed=1).fit(x_train, t_train, 30, 32, progress="none")
    assert model.accuracy(x_train, t_train) >= 0.99
    assert model.accuracy(x_test, t_test) >= 0.97
