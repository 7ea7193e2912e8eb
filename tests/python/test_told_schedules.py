"""Schedules that fit tells how it goes, what it tries first, and what callbacks may replace."""

import math

import numpy as np
import pytest

from nnext.callbacks import Callback, EarlyStopping, LearningRateSchedule
from nnext.datasets import spiral
from nnext.models import TwoLayerNet
from nnext.optimizer import SGD
from nnext.schedules import ReduceOnPlateau, StepDecay, WarmUp
from nnext.trainer import Trainer

X, T = spiral()


def trainer(optimizer=None, **options):
    return Trainer(TwoLayerNet(2, 5, 3, seed=0, **options), optimizer or SGD(0.1), seed=0)


def fit(callbacks, max_epoch=3, batch_size=100, over=None, **options):
    over = over or trainer()
    over.fit(
        X,
        T,
        max_epoch,
        batch_size,
        callbacks=callbacks,
        progress="none",
        **{"eval_interval": 2, **options},
    )
    return over


def lowered(*values):
    """Give the rate of a plateau after such reports."""
    plateau = ReduceOnPlateau(0.1, patience=1)
    for value in values:
        plateau.report(value)
    return plateau.rate


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: WarmUp(2, s)])
@pytest.mark.parametrize("validation", [None, 0.3])
def test_fit_tells_the_plateau_of_an_optimizer(wrap, validation):
    plateau = ReduceOnPlateau(0.1, patience=1, min_delta=0.5)
    over = fit([], max_epoch=4, over=trainer(SGD(wrap(plateau))), validation=validation)
    column = over.history.epoch_loss if validation is None else over.history.metrics["val_loss"]
    expected = ReduceOnPlateau(0.1, patience=1, min_delta=0.5)
    for value in column:
        expected.report(value)
    assert plateau.state_dict() == expected.state_dict()
    assert plateau.rate < 0.1


def test_fit_tells_the_plateau_of_a_group_once():
    plateau = ReduceOnPlateau(0.1, patience=1, min_delta=5)
    groups = [{"params": lambda p: p.ndim < 2, "lr": plateau}]
    fit([], max_epoch=2, over=trainer(SGD(plateau, groups=groups)))
    assert plateau.rate == lowered(1, 1)


def test_the_state_of_a_plateau_behind_a_warm_up_is_stored():
    optimizer = SGD(WarmUp(2, ReduceOnPlateau(0.1, patience=1, min_delta=5)))
    over = fit([], max_epoch=3, over=trainer(optimizer))
    other = SGD(WarmUp(2, ReduceOnPlateau(0.1, patience=1, min_delta=5)))
    other.load_state_dict(optimizer.state_dict())
    assert other.lr == optimizer.lr < 0.1
    optimizer.reset()
    fresh = SGD(WarmUp(2, ReduceOnPlateau(0.1, patience=1, min_delta=5)))
    assert optimizer.state_dict().keys() == fresh.state_dict().keys()
    assert optimizer.lr == fresh.lr
    assert over.optimizer is optimizer


def test_a_schedule_that_ends_is_stored_and_loaded():
    rates = [0.5, 0.25]
    optimizer = SGD(rates.__getitem__)
    p, g = [np.ones(2)], [np.ones(2)]
    for _ in rates:
        optimizer.update(p, g)
    state = optimizer.state_dict()
    assert math.isnan(state["lr"])
    other = SGD([*rates, 0.125].__getitem__)
    other.load_state_dict(state)
    assert other.lr == 0.125


class Descent:
    """An optimizer of one's own, without a rate."""

    def update(self, params, grads):
        pass


@pytest.mark.parametrize(
    ("optimizer", "kind", "message"),
    [
        (SGD(StepDecay(0.1, 2)), ValueError, "the lr of the optimizer SGD is a schedule already"),
        (Descent(), TypeError, "the optimizer Descent has no lr"),
    ],
)
def test_a_schedule_has_one_place(optimizer, kind, message):
    over = trainer(optimizer)
    with pytest.raises(kind, match=message):
        fit([LearningRateSchedule(StepDecay(0.1, 2))], over=over)
    assert over.history.batches == 0


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (SGD(lambda step: math.nan), "lr: expected a finite number"),
        (SGD(groups=[{"params": [np.ones(3)]}]), "is not among the params"),
        (SGD(1e200, weight_decay=1e200), "a step would take away"),
    ],
)
def test_options_are_tried_before_an_order_is_drawn(optimizer, message):
    over, rng = trainer(optimizer), np.random.RandomState(3)
    over._rng = rng
    before = rng.get_state()[2]
    with pytest.raises(ValueError, match=message):
        fit([], over=over)
    assert rng.get_state()[2] == before


def test_no_step_takes_away_more_than_all_of_a_parameter():
    p = [np.ones(2)]
    with pytest.raises(ValueError, match=r"lr \* weight_decay = 2 \* 0.6"):
        SGD(2.0, weight_decay=0.6).update(p, [np.ones(2)])
    np.testing.assert_array_equal(p[0], 1)
    SGD(2.0, weight_decay=0.5).update(p, [np.zeros(2)])
    np.testing.assert_array_equal(p[0], 0)


# What a callback may replace, and what it raises


class Replacing(Callback):
    def __init__(self, name, value):
        self.name, self.value = name, value

    def on_epoch_begin(self, trainer):
        setattr(trainer, self.name, self.value)


def test_another_optimizer_is_taken_and_another_model_refused():
    over = fit([Replacing("optimizer", SGD(0.0))], over=trainer(SGD(0.1)))
    for p, q in zip(over.model.params, trainer().model.params, strict=True):
        np.testing.assert_array_equal(p, q)
    with pytest.raises(TypeError, match="optimizer: expected an object with update"):
        fit([Replacing("optimizer", 5)])
    with pytest.raises(ValueError, match=r"trainer\.model was replaced in training"):
        fit([Replacing("model", trainer().model)])


def test_all_are_called_at_the_end_though_one_raises():
    class Raising(Callback):
        def on_train_end(self, trainer):
            raise RuntimeError("first")

    stopping = EarlyStopping("loss", patience=1, min_delta=100)
    over = trainer()
    with pytest.raises(RuntimeError, match="first"):
        fit([Raising(), stopping], over=over, max_epoch=5)
    assert stopping.stopped_epoch == 2
    assert stopping._kept == []
    one = fit([], over=trainer(), max_epoch=1)
    for p, q in zip(over.model.params, one.model.params, strict=True):
        np.testing.assert_array_equal(p, q)


def test_each_call_tells_the_loss_that_it_has():
    plateau = ReduceOnPlateau(0.1, patience=1, min_delta=5)
    over = fit([], max_epoch=1, over=trainer(SGD(plateau)), validation=0.3)
    assert plateau.best == over.history.metrics["val_loss"][0]
    plateau.reset()
    fit([], max_epoch=1, over=over)
    assert plateau.best == over.history.epoch_loss[1]


def test_an_optimizer_that_takes_over_is_told_too():
    plateau = ReduceOnPlateau(0.1, patience=1, min_delta=5)
    fit([Replacing("optimizer", SGD(plateau))], max_epoch=2)
    assert plateau.rate == lowered(1, 1)
    fit([Replacing("optimizer", Descent())], max_epoch=2, over=trainer(SGD(ReduceOnPlateau(0.1))))
