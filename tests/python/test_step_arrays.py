"""The arrays that a step trains are those of the layers, before and while it does."""

import numpy as np
import pytest

from nnext.datasets import spiral
from nnext.models import TwoLayerNet
from nnext.optimizer import SGD
from nnext.step import Step
from nnext.trainer import Trainer


def test_arrays_that_have_come_apart_or_are_read_only_are_refused():
    x, t = spiral()
    model = TwoLayerNet(2, 5, 3, seed=0)
    trainer = Trainer(model, SGD())
    model.layers[2].params[0] = model.layers[2].params[0].copy()
    with pytest.raises(ValueError, match=r"params\[0\] of layers\[2\]"):
        trainer.fit(x, t, progress="none")
    model = TwoLayerNet(2, 5, 3, seed=0)
    model.params[1].flags.writeable = False
    with pytest.raises(ValueError, match=r"params\[1\] .* read-only.*mmap_mode"):
        Trainer(model, SGD()).fit(x, t, progress="none")


@pytest.mark.parametrize("name", ["params", "grads"])
@pytest.mark.parametrize("who", ["layer", "model"])
@pytest.mark.parametrize("at", [0, 1])
def test_an_array_that_comes_apart_during_training_is_noticed(name, who, at):
    model = TwoLayerNet(2, 5, 1 + 1, seed=0)
    step, (x, t) = Step(model, SGD(0.5)), (np.ones((3, 2), "f4"), np.array([0, 1, 1]))
    step(x, t)
    before = [p.copy() for p in model.params]
    arrays = getattr(model.layers[0] if who == "layer" else model, name)
    arrays[at] = arrays[at].copy()
    with pytest.raises(ValueError, match=rf"{name}\[{at}\] of the model is not the array"):
        step(x, t)
    for p, q in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, q)


def test_an_array_that_is_replaced_everywhere_is_trained():
    model = TwoLayerNet(2, 5, 3, seed=0)
    step, (x, t) = Step(model, SGD(0.5)), (np.ones((3, 2), "f4"), np.arange(3))
    step(x, t)
    old = model.params[0]
    model.params[0] = model.layers[0].params[0] = new = old.copy()
    step(x, t)
    assert np.any(new != old)


@pytest.mark.parametrize("whole", [False, True])
def test_arrays_that_on_epoch_replaces_are_noticed(whole):
    model = TwoLayerNet(2, 5, 3, seed=0)

    def replace(_):
        layer = model.layers[0]
        if whole:
            layer.params = [p.copy() for p in layer.params]
        else:
            layer.params[0] = layer.params[0].copy()

    with pytest.raises(ValueError, match=r"params\[0\] of the model is not the array"):
        Trainer(model, SGD(), seed=0).fit(
            np.ones((3, 2)), np.arange(3), max_epoch=1, on_epoch=replace, progress="none"
        )
