"""Callbacks: when they are called, how they stop a training, and what is refused."""

import math

import numpy as np
import pytest

from nnext.callbacks import Callback, EarlyStopping, LearningRateSchedule, TerminateOnNaN
from nnext.datasets import spiral
from nnext.layers import SoftmaxWithLoss
from nnext.models import Sequential, TwoLayerNet, affine
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


class Recorder(Callback):
    """Writes down what is called, and what the trainer shows then."""

    def __init__(self, stop_batch=None, stop_epoch=None):
        self.calls, self.stop_batch, self.stop_epoch = [], stop_batch, stop_epoch
        self.losses, self.norms = [], []

    def on_train_begin(self, trainer):
        self.calls.append("train[")

    def on_epoch_begin(self, trainer):
        self.calls.append("epoch[")

    def on_batch_begin(self, trainer):
        self.calls.append("[")

    def on_gradients(self, trainer):
        self.calls.append("g")
        self.norms.append(math.hypot(*(np.linalg.norm(g) for g in trainer.model.grads)))

    def on_batch_end(self, trainer):
        self.calls.append("]")
        self.losses.append(trainer.step.loss)
        return trainer.history.batches == self.stop_batch

    def on_epoch_end(self, trainer):
        self.calls.append("]epoch")
        return len(trainer.history.epoch_loss) == self.stop_epoch

    def on_train_end(self, trainer):
        self.calls.append("]train")


EPOCH = ["epoch[", *["[", "g", "]"] * 3, "]epoch"]


def test_all_methods_are_called_in_their_order():
    recorder = Recorder()
    over = fit([recorder], max_epoch=2)
    assert recorder.calls == ["train[", *EPOCH * 2, "]train"]
    assert recorder.losses[:3] == pytest.approx([math.log(3)] * 3, rel=0.01)
    assert np.mean(recorder.losses[:3]) == pytest.approx(over.history.epoch_loss[0])
    assert over.step is None  # the training is over


def test_callbacks_change_nothing_that_they_do_not_do():
    plain, watched = trainer(), trainer()
    fit([], over=plain)
    fit([Recorder(), Callback(), EarlyStopping("loss", restore_best=False)], over=watched)
    for p, q in zip(plain.model.params, watched.model.params, strict=True):
        np.testing.assert_array_equal(p, q)
    assert plain.history.epoch_loss == watched.history.epoch_loss


def test_gradients_are_seen_before_they_are_clipped_and_may_be_changed():
    recorder = Recorder()
    fit([recorder], max_grad=1e-3)
    assert min(recorder.norms) > 1e-2

    class Freeze(Callback):
        def on_gradients(self, trainer):
            for grad in trainer.model.grads:
                grad[...] = 0

    over = trainer()
    before = [p.copy() for p in over.model.params]
    fit([Freeze()], over=over)
    for p, q in zip(over.model.params, before, strict=True):
        np.testing.assert_array_equal(p, q)


def test_true_after_an_epoch_stops_with_whole_columns():
    recorder = Recorder(stop_epoch=2)
    history = fit([recorder], validation=(X, T), metrics=["accuracy"], max_epoch=9).history
    assert recorder.calls == ["train[", *EPOCH * 2, "]train"]
    assert [len(c) for c in history.metrics.values()] == [len(history.epoch_loss)] * 2 == [2, 2]
    assert history.iteration == [2, 4, 6]


def test_true_after_a_batch_ends_the_epoch_there_with_whole_columns():
    recorder = Recorder(stop_batch=4)
    history = fit([recorder], validation=(X, T), max_epoch=9).history
    assert recorder.calls == ["train[", *EPOCH, "epoch[", "[", "g", "]", "]epoch", "]train"]
    assert history.epoch_iteration == [3, 4]
    assert history.epoch_loss[1] == recorder.losses[-1]
    assert len(history.metrics["val_loss"]) == len(history.epoch_seconds) == 2


@pytest.mark.parametrize("kind", ["bar", "lines"])
def test_who_stopped_it_is_shown(kind, capsys):
    if kind == "bar":
        pytest.importorskip("tqdm")
    early = EarlyStopping("loss", patience=1, min_delta=1e9)
    trainer().fit(X, T, 9, 100, callbacks=[Callback(), early], progress=kind)
    shown = "".join(capsys.readouterr())
    assert "epoch 2" in shown
    assert "stopped by EarlyStopping('loss', patience=1)" in shown


def test_callbacks_say_what_they_are():
    assert repr(Callback()) == "Callback()"
    schedule = LearningRateSchedule(StepDecay(1.0, 2), by="epoch")
    assert repr(schedule) == (
        "LearningRateSchedule(StepDecay(lr=1.0, every=2, factor=0.1), by='epoch')"
    )


def test_any_object_with_some_of_the_methods_is_a_callback():
    class Own:
        seen = 0

        def on_epoch_end(self, trainer):
            self.seen += 1

    own = Own()
    fit([own])
    assert own.seen == 3


class Typo(Callback):
    def on_epoch_ends(self, trainer):
        """Never called: no such event."""


class Answers(Callback):
    def on_batch_end(self, trainer):
        return 0.5


@pytest.mark.parametrize(
    ("callbacks", "kind", "message"),
    [
        ([Typo()], TypeError, r"callbacks\[0\]: got .* which has on_epoch_ends; a callback's"),
        ([Callback(), object()], TypeError, r"callbacks\[1\]: got .* none of these methods"),
        ([EarlyStopping], TypeError, r"callbacks\[0\]: expected an object, got the class Early"),
        (EarlyStopping("loss"), TypeError, "callbacks: expected a list of callbacks, got"),
        ([EarlyStopping()], ValueError, "EarlyStopping monitors 'val_loss', and there will be 'lo"),
        ([EarlyStopping("val_accuracy")], ValueError, "give fit a validation set"),
        ([Answers()], TypeError, "Answers.on_batch_end: expected True, to stop, .* got 0.5"),
    ],
)
def test_what_is_no_callback_is_refused(callbacks, kind, message):
    over = trainer()
    before = [p.copy() for p in over.model.params]
    with pytest.raises(kind, match=message):
        fit(callbacks, over=over)
    if "on_batch_end" not in message:
        for p, q in zip(over.model.params, before, strict=True):
            np.testing.assert_array_equal(p, q)
        assert over.history.batches == 0


# --- EarlyStopping --------------------------------------------------------------------------------


def stop_by(values, max_epoch=20, **options):
    """Train with a metric that takes the values; the bias is the number of epochs done."""
    early = EarlyStopping("error", **options)
    over = trainer()
    bias = over.model.params[-1]

    def on_epoch(inner):
        bias[...] = len(inner.history.epoch_loss)
        return {"error": next(source)}

    source = iter(values)
    fit([early], over=over, max_epoch=max_epoch, on_epoch=on_epoch)
    return early, over, bias[0]


def test_it_stops_after_patience_epochs_without_improvement_and_restores_the_best():
    early, over, bias = stop_by([5, 4, 3, 3, 3.5, 2], patience=2)
    assert over.history.metrics["error"] == [5, 4, 3, 3, 3.5]
    assert (early.best, early.best_epoch, early.stopped_epoch, bias) == (3, 3, 5, 3)


def test_without_restoring_the_last_parameters_stay():
    *_, bias = stop_by([5, 4, 3, 3, 3.5, 2], patience=2, restore_best=False)
    assert bias == 5


def test_the_best_is_restored_also_if_all_epochs_were_done():
    early, _, bias = stop_by([5, 3, 4], patience=5, max_epoch=3)
    assert (bias, early.stopped_epoch) == (2, None)


def test_what_is_not_better_by_min_delta_is_no_improvement():
    early, over, _ = stop_by([5, 4.5, 4.1, 4.0], patience=3, min_delta=1.0)
    assert (early.best_epoch, len(over.history.epoch_loss)) == (1, 4)


def test_higher_may_be_better():
    early, _, bias = stop_by([1, 3, 2, 2], patience=2, mode="max")
    assert (early.best, bias) == (3, 2)


def test_nan_is_no_improvement_and_anything_is_one_over_it():
    early, over, _ = stop_by([math.nan, 5, math.nan, math.nan, 4], patience=2)
    assert (early.best, early.best_epoch, len(over.history.epoch_loss)) == (5, 2, 4)


def test_a_further_call_begins_anew():
    early = EarlyStopping("loss", patience=1)
    over = fit([early], max_epoch=2)
    best = early.best
    fit([early], over=over, max_epoch=1)
    assert early.best_epoch == 3
    assert early.best != best


def test_an_interrupt_restores_the_best_too():
    early = EarlyStopping("loss")
    over = trainer()

    class Interrupts(Callback):
        def on_batch_end(self, inner):
            if inner.history.batches == 4:
                raise KeyboardInterrupt
            if inner.history.batches == 3:
                self.best = [p.copy() for p in inner.model.params]

    interrupts = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        fit([interrupts, early], over=over)
    for p, q in zip(over.model.params, interrupts.best, strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("val_loss", "min"), ("mean error", "min"), ("val_accuracy", "max"), ("f1_score", "max")],
)
def test_auto_goes_by_the_name(name, expected):
    assert EarlyStopping(name).mode == expected


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"monitor": 3}, TypeError, "monitor: expected the name of a metric, got 3"),
        ({"monitor": "speed"}, ValueError, "mode: say whether 'speed' is to be low"),
        ({"monitor": "val_neg_log_loss"}, ValueError, "mode: say whether 'val_neg_log_loss'"),
        ({"mode": "least"}, ValueError, "mode: expected .* got 'least'"),
        ({"patience": 0}, ValueError, "patience: expected a whole number of at least 1, got 0"),
        ({"min_delta": math.nan}, ValueError, "min_delta: expected a number of at least 0"),
        ({"min_delta": "a"}, TypeError, "min_delta: expected a number, got str"),
        ({"restore_best": 1}, TypeError, "restore_best: expected True or False, got 1"),
    ],
)
def test_options_are_checked(options, kind, message):
    with pytest.raises(kind, match=message):
        EarlyStopping(**options)


# --- LearningRateSchedule -------------------------------------------------------------------------


def rates(callback, max_epoch=3, **options):
    seen = []

    class Watch(Callback):
        def on_batch_end(self, inner):
            seen.append(inner.optimizer.lr)

    fit([callback, Watch()], max_epoch=max_epoch, **options)
    return seen


def test_the_rate_is_set_before_each_batch_or_epoch():
    assert rates(LearningRateSchedule(lambda step: 0.5 / (1 + step)), 1) == [0.5, 0.25, 0.5 / 3]
    by_epoch = rates(LearningRateSchedule(StepDecay(1.0, 2, 0.5), by="epoch"))
    assert by_epoch == [1.0] * 6 + [0.5] * 3


def test_a_plateau_is_told_the_validations_loss_or_another_number():
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=1, min_delta=1e9)
    assert rates(LearningRateSchedule(plateau), validation=(X, T)) == [1.0] * 6 + [0.5] * 3
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=1, min_delta=1e9)
    assert rates(LearningRateSchedule(plateau, monitor="loss"))[-1] == 0.5
    with pytest.raises(ValueError, match="monitors 'val_loss'"):
        rates(LearningRateSchedule(ReduceOnPlateau(1.0)))


def test_a_schedule_that_gives_no_rate_stops_before_the_step():
    over = trainer()
    before = [p.copy() for p in over.model.params]
    for wrong, kind in ((math.nan, ValueError), (-1, ValueError), ("a", TypeError)):
        with pytest.raises(kind, match=r"lr: expected a .*number .* at step 0, got"):
            fit([LearningRateSchedule(lambda step, rate=wrong: rate)], over=over)
    for p, q in zip(over.model.params, before, strict=True):
        np.testing.assert_array_equal(p, q)
    assert over.optimizer.lr == 0.1


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((0.1,), TypeError, "schedule: expected a function of the step, got 0.1"),
        ((abs, "step"), ValueError, "by: expected .* got 'step'"),
        ((abs, "batch", "loss"), ValueError, "monitor: this schedule is not told anything"),
        ((ReduceOnPlateau(1.0), "batch", 1), TypeError, "monitor: expected the name"),
    ],
)
def test_schedule_arguments_are_checked(arguments, kind, message):
    with pytest.raises(kind, match=message):
        LearningRateSchedule(*arguments)


# --- TerminateOnNaN -------------------------------------------------------------------------------


def test_it_ends_the_training_at_the_first_loss_that_is_not_finite():
    over = trainer()
    x = X.copy()
    x[7] = np.nan
    over.fit(x, T, 9, 10, callbacks=[TerminateOnNaN()], progress="none", on_nonfinite="ignore")
    assert 0 < over.history.batches <= 30
    assert math.isnan(over.history.epoch_loss[-1])
    assert over.history.epoch_iteration == [over.history.batches]


def test_a_batch_of_which_nothing_counts_does_not_end_it():
    model = Sequential([affine(2, 3, seed=0)], SoftmaxWithLoss(ignore_label=-1))
    over = Trainer(model, SGD(0.1), seed=0)
    t = np.where(np.arange(300) < 200, -1, T.argmax(axis=1))
    over.fit(X, t, 2, 1, callbacks=[TerminateOnNaN()], progress="none")
    assert over.history.batches == 600


# --- beside them ---------------------------------------------------------------------------------


def test_a_plateau_behind_a_warm_up_is_told_too():
    plateau = ReduceOnPlateau(1.0, factor=0.5, patience=1, min_delta=1e9)
    callback = LearningRateSchedule(WarmUp(1, plateau), monitor="loss")
    assert rates(callback)[-1] == 0.5


def test_an_attribute_monitor_of_ones_own_is_no_matter_of_the_history():
    class Own(Callback):
        monitor = "gpu"

    assert len(fit([Own()]).history.epoch_loss) == 3


def test_an_event_that_is_no_method_is_refused():
    class Own(Callback):
        on_train_end = True

    with pytest.raises(TypeError, match=r"callbacks\[0\]: got Own\(\), which has on_train_end"):
        fit([Own()])
