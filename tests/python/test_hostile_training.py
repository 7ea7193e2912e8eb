"""Callbacks, schedules, metrics and models that do what they should not, and what is left then."""

import math

import numpy as np
import pytest

from nnext import SGD, Sequential, Trainer, affine
from nnext.callbacks import Callback, EarlyStopping, LearningRateSchedule

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 2)).astype(np.float32)
T = rng.integers(0, 3, 40)


def trainer(optimizer=None):
    return Trainer(Sequential([affine(2, 3, seed=0)]), optimizer or SGD(0.1), seed=0)


def fit(over, **options):
    return over.fit(X, T, **{"max_epoch": 3, "batch_size": 15, "progress": "none", **options})


class Raises(Callback):
    """Raises something in one of its methods, at a number of batches."""

    def __init__(self, error, event, batches=0):
        self.error, self.event, self.batches = error, event, batches

    def _raise(self, event, trainer):
        if event == self.event and trainer.history.batches >= self.batches:
            raise self.error

    def on_batch_end(self, trainer):
        self._raise("on_batch_end", trainer)

    def on_epoch_end(self, trainer):
        self._raise("on_epoch_end", trainer)

    def on_train_end(self, trainer):
        self._raise("on_train_end", trainer)


class Fits(Callback):
    """Calls fit again."""

    def __init__(self, event):
        setattr(self, event, lambda trainer: fit(trainer, max_epoch=1))


# --- fit within fit -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event", ["on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end"]
)
def test_fit_is_not_called_within_fit(event):
    over = trainer()
    with pytest.raises(RuntimeError, match="fit: this trainer is in a call of fit"):
        fit(over, callbacks=[Fits(event)])
    assert over.step is None
    done = len(over.history.epoch_loss)
    assert len(fit(over, max_epoch=1).epoch_loss) == done + 1  # and goes on afterwards


def test_on_epoch_does_not_call_fit():
    with pytest.raises(RuntimeError, match="fit: this trainer is in a call of fit"):
        fit(trainer(), on_epoch=lambda over: fit(over) and None)


# --- callbacks ------------------------------------------------------------------------------------


def test_a_callback_stands_in_the_list_once():
    stopping = EarlyStopping()
    with pytest.raises(ValueError, match=r"callbacks\[2\] is callbacks\[0\] again, EarlyStopping"):
        fit(trainer(), validation=0.5, callbacks=[stopping, Callback(), stopping])
    for _ in range(2):  # in several calls it may
        fit(trainer(), validation=0.5, callbacks=[stopping])


def test_an_interrupt_stays_one_whatever_the_end_raises():
    over = trainer()
    error = ZeroDivisionError("end")
    callbacks = [Raises(KeyboardInterrupt(), "on_batch_end", 4), Raises(error, "on_train_end")]
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(over, callbacks=callbacks)
    assert caught.value.__cause__ is error
    assert len(over.history.epoch_loss) == 1


def test_what_the_end_raises_comes_out_and_loses_nothing():
    over = trainer()
    with pytest.raises(ZeroDivisionError, match="end"):
        fit(over, callbacks=[Raises(ZeroDivisionError("end"), "on_train_end")])
    assert len(over.history.epoch_loss) == 3


# --- schedules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_callback", [False, True])
@pytest.mark.parametrize(
    ("rate", "kind", "message"),
    [
        (math.nan, ValueError, "^lr: expected a finite number of at least 0 from .*, got nan"),
        pytest.param(
            10**400, ValueError, "^lr: expected a finite number of at least 0 from .*", id="huge"
        ),
        ("0.1", TypeError, "^lr: expected a number from .* at step 0, got '0.1'"),
        (None, TypeError, "^lr: expected a number from .* at step 0, got None"),
    ],
)
def test_what_is_no_rate_changes_nothing(rate, kind, message, by_callback):
    def schedule(step):
        return rate

    over = trainer(None if by_callback else SGD(schedule))
    before = over.model.params[0].copy()
    with pytest.raises(kind, match=message):
        fit(over, callbacks=[LearningRateSchedule(schedule)] if by_callback else [])
    np.testing.assert_array_equal(over.model.params[0], before)


@pytest.mark.parametrize("rate", [np.array(0.1), np.float32(0.1), np.float64(0.1)])
def test_numbers_of_numpy_are_rates(rate):
    assert fit(trainer(SGD(lambda step: rate))).epoch_loss == pytest.approx(
        fit(trainer()).epoch_loss
    )


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["loss", "seconds"])
def test_on_epoch_takes_no_name_that_every_history_has(name):
    with pytest.raises(ValueError, match=f"on_epoch: every history has a column '{name}'"):
        fit(trainer(), on_epoch=lambda over: {name: 1.0})


@pytest.mark.parametrize(
    "value", ["b", None, np.ones(1), np.ones(2), pytest.param(10**400, id="huge"), 1j]
)
def test_on_epoch_returns_one_number_for_a_name(value):
    with pytest.raises(TypeError, match="on_epoch: expected a number for 'a', got"):
        fit(trainer(), on_epoch=lambda over: {"a": value})


@pytest.mark.parametrize("loss", ["0.5", None, np.ones(3)])
def test_the_loss_of_a_validation_is_one_number(loss):
    class Own(Sequential):
        def loss(self, x, t):
            return loss

    over = Trainer(Own([affine(2, 3, seed=0)]), SGD(0.1), seed=0)
    with pytest.raises(TypeError, match="validation: expected a number from 'loss', got"):
        fit(over, validation=(X, T))


# --- what the history is afterwards ---------------------------------------------------------------


def assert_whole(history, epochs):
    assert len(history.epoch_loss) == len(history.epoch_seconds) == epochs
    assert len(history.epoch_iteration) == epochs
    assert len(history.iteration) == len(history.loss)
    assert {len(values) for values in history.metrics.values()} <= {epochs}
    assert history.epoch_iteration == sorted(history.epoch_iteration)
    assert history.epoch_iteration[-1:] <= [history.batches]
    assert history.iteration[-1:] <= [history.batches]


def always_1(t, y):
    return 1


class FailsLater:
    """A metric that raises when it is asked for the third time, one of them before training."""

    def __init__(self, error):
        self.error, self.calls = error, 0

    def __call__(self, t, y):
        self.calls += 1
        if self.calls == 3:
            raise self.error
        return 2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()])
@pytest.mark.parametrize("where", ["batch", "epoch", "metric", "on_epoch"])
def test_columns_are_whole_after_a_failure_and_other_metrics_go_on(error, where):
    over = trainer()
    seen = []

    def on_epoch(over):
        seen.append(over.history.epoch_loss[-1])
        if where == "on_epoch" and len(seen) == 2:
            raise error
        return {"own": len(seen)}

    options = {
        "batch": {"callbacks": [Raises(error, "on_batch_end", 5)]},
        "epoch": {"callbacks": [Raises(error, "on_epoch_end", 6)]},
        "metric": {"metrics": {"first": FailsLater(error)}},
        "on_epoch": {},
    }[where]
    options = {"metrics": {"first": always_1}, "eval_interval": 2, "on_epoch": on_epoch, **options}
    with pytest.raises(type(error)):
        fit(over, **options)
    history = over.history
    epochs = 1 if where == "batch" else 2
    assert_whole(history, epochs)
    assert [*history.metrics] == ["first", "own"]
    fit(over, max_epoch=2, validation=0.25, metrics={"second": always_1})
    assert_whole(history, epochs + 2)
    assert history.metrics["val_second"][-2:] == [1, 1]
    assert np.isnan(history.metrics["val_second"][:epochs]).all()
    assert np.isnan(history.metrics["first"][epochs:]).all()
    assert history.metrics["own"][0] == 1


class Stops(Callback):
    """Has enough after so many batches."""

    def on_batch_end(self, trainer):
        return trainer.history.batches == 4


def test_columns_are_whole_after_a_stop_in_an_epoch():
    over = trainer()
    fit(over, callbacks=[Stops()], metrics=["accuracy"], eval_interval=3)
    assert_whole(over.history, 2)
    assert over.history.iteration == [3, 4]
    fit(over, max_epoch=1)
    assert_whole(over.history, 3)
    assert math.isnan(over.history.metrics["accuracy"][-1])


def test_a_frame_has_a_row_for_each_epoch_whatever_ended_it():
    pytest.importorskip("pandas")
    over = trainer()
    with pytest.raises(ZeroDivisionError):
        fit(over, metrics=["accuracy"], callbacks=[Raises(ZeroDivisionError(), "on_epoch_end", 6)])
    fit(over, max_epoch=1, validation=0.25)
    frame = over.history.to_frame()
    assert [*frame.index] == [1, 2, 3]
    assert [*frame.columns] == ["loss", "seconds", "accuracy", "val_loss"]
    assert frame.isna().sum().tolist() == [0, 0, 1, 2]


# --- predictions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize(
    ("x", "kind", "message"),
    [
        ([[1, 2], [3, 4], [5]], ValueError, "^x: .* lengths .row 0 has 2, row 2 has 1.$"),
        (np.ma.masked_array(X, X > 0), TypeError, "^x: expected an array without masked elements"),
        (None, TypeError, "^x: cannot compute with type object"),
        ("abc", TypeError, "^x: cannot compute with type <U3"),
        (X[:, :1], ValueError, "^x: expected the last dimension to be 2"),
        (3.0, ValueError, "^x: expected an array of at least 1 dimension"),
    ],
)
def test_what_cannot_be_predicted_is_refused_the_same_in_batches(
    x, kind, message, method, batch_size
):
    with pytest.raises(kind, match=message):
        getattr(trainer().model, method)(x, batch_size)


def test_a_tensor_that_needs_a_gradient_is_named():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    model = trainer().model
    for call in (model.predict, model.scores, lambda x: model.loss(x, T)):
        with pytest.raises(TypeError, match=r"^x: .* got Tensor, of which none can be made: Can't"):
            call(Tensor())


def test_what_is_no_array_is_called_what_it_is():
    with pytest.raises(TypeError, match=r"^x: expected a NumPy array of numbers, got NoneType"):
        trainer().model.loss(None, T)
