"""The training loop: batches, order, history, shared weights, progress, and what it refuses."""

import importlib
import math
import sys
from itertools import chain

import numpy as np
import pytest

from nnext import _progress
from nnext.datasets import spiral
from nnext.layers import SoftmaxWithLoss
from nnext.models import Sequential, TwoLayerNet, affine
from nnext.optimizer import SGD, Adam, Momentum
from nnext.trainer import Trainer


class Recorder:
    """A model that learns nothing and remembers the batches it was given."""

    def __init__(self, losses=None):
        self.params, self.grads = [np.zeros(1)], [np.zeros(1)]
        self.batches, self.losses = [], losses

    def forward(self, x, t):
        np.testing.assert_array_equal(x[:, 0], t)
        self.batches.append(t.tolist())
        return float(np.mean(t)) if self.losses is None else next(self.losses)

    def backward(self):
        pass


def pairs(n):
    return np.stack([np.arange(n), np.zeros(n)], axis=1), np.arange(n)


def fit(model, n=10, optimizer=None, seed=0, **options):
    options = {"max_epoch": 1, "batch_size": 4, "progress": "none", **options}
    trainer = Trainer(model, optimizer or SGD(), seed=seed)
    trainer.fit(*pairs(n), **options)
    return trainer


def test_every_sample_is_used_once_in_an_epoch_the_last_batch_may_be_partial():
    model = Recorder()
    fit(model, max_epoch=2)
    assert [len(batch) for batch in model.batches] == [4, 4, 2] * 2
    epochs = [[*chain(*model.batches[:3])], [*chain(*model.batches[3:])]]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10))
    assert epochs[0] != epochs[1] != list(range(10))


def test_drop_last_leaves_the_partial_batch_out():
    model = Recorder()
    history = fit(model, max_epoch=20, drop_last=True).history
    assert {len(batch) for batch in model.batches} == {4}
    assert len(model.batches) == 40
    assert set(chain(*model.batches)) == set(range(10))  # others are left out each time
    assert history.epoch_loss[0] == pytest.approx(np.mean([*chain(*model.batches[:2])]))


def test_a_seed_fixes_the_order_and_without_one_numpys_own_governs():
    def order(seed):
        model = Recorder()
        fit(model, seed=seed)
        return model.batches

    assert order(1) == order(1) != order(2)
    np.random.seed(5)
    first = order(None)
    np.random.seed(5)
    assert order(None) == first != order(None)


@pytest.mark.parametrize(("seed", "kind"), [("a", TypeError), (1.5, TypeError), (-1, ValueError)])
def test_a_seed_that_is_none_is_named(seed, kind):
    with pytest.raises(kind, match=f"seed: expected a whole number from 0 .* got {seed!r}"):
        Trainer(Recorder(), SGD(), seed=seed)


def test_history_holds_means_over_samples_per_interval_and_per_epoch():
    history = fit(
        Recorder(iter([1.0, 2.0, 6.0, 3.0, 4.0, 8.0])), max_epoch=2, eval_interval=2
    ).history
    assert history.iteration == [2, 4, 6]
    assert history.loss == pytest.approx([1.5, (2 * 6 + 4 * 3) / 6, (4 * 4 + 2 * 8) / 6])
    assert history.epoch_loss == pytest.approx([2.4, 4.4])
    assert len(history.epoch_seconds) == 2
    assert history.metrics == {}


def test_a_started_interval_is_recorded_at_the_end():
    history = fit(Recorder(iter([1.0, 2.0, 6.0])), eval_interval=2).history
    assert (history.iteration, history.loss) == ([2, 3], [1.5, 6.0])


def test_no_interval_no_points():
    history = fit(Recorder(), eval_interval=None).history
    assert (history.loss, len(history.epoch_loss)) == ([], 1)


def test_fitting_again_goes_on():
    def train(*epochs):
        x, t = spiral()
        trainer = Trainer(TwoLayerNet(2, 5, 3, seed=0), Momentum(lr=0.1), seed=0)
        for count in epochs:
            history = trainer.fit(x, t, count, 30, eval_interval=10, progress="none")
            assert history is trainer.history
        return trainer

    once, twice = train(3), train(1, 2)
    assert once.history.loss == twice.history.loss
    assert once.history.iteration == twice.history.iteration == [10, 20, 30]
    assert once.history.epoch_loss == twice.history.epoch_loss
    for p, q in zip(once.model.params, twice.model.params, strict=True):
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("max_grad", [None, 0.5])
def test_params_and_grads_keep_their_identity_and_memory(dtype, max_grad):
    x, t = spiral()
    model = TwoLayerNet(2, 5, 3, seed=0, dtype=dtype)
    arrays = [*model.params, *model.grads]
    memory = [a.ctypes.data for a in arrays]
    before = [p.copy() for p in model.params]
    Trainer(model, Adam()).fit(x.astype(dtype), t, 1, 30, max_grad=max_grad, progress="none")
    assert all(a is b for a, b in zip(arrays, [*model.params, *model.grads], strict=True))
    assert [a.ctypes.data for a in arrays] == memory
    assert {a.dtype for a in arrays} == {np.dtype(dtype)}
    for layer, k in ((model.layers[0], 0), (model.layers[2], 2)):
        assert all(a is b for a, b in zip(layer.params, model.params[k : k + 2], strict=True))
    assert all(np.any(p != q) for p, q in zip(model.params, before, strict=True))


def test_max_grad_bounds_the_norm_of_all_gradients_together():
    class Steep(Recorder):
        def backward(self):
            self.grads[0][...] = 3
            self.grads[1][...] = 4

    def steps(max_grad):
        model = Steep()
        model.params.append(np.zeros(1))
        model.grads.append(np.zeros(1))
        fit(model, n=4, optimizer=SGD(lr=1.0), max_grad=max_grad)
        return [-float(p[0]) for p in model.params]

    assert steps(None) == [3, 4]
    assert steps(100.0) == [3, 4]
    assert steps(1.0) == pytest.approx([0.6, 0.8], rel=1e-6)


# Other people's models and optimizers


def test_any_model_and_any_optimizer_with_the_methods_will_do():
    class Book:
        """The book's own two-layer network, in plain NumPy."""

        def __init__(self):
            rng = np.random.RandomState(0)
            self.params = [rng.randn(2, 10), rng.randn(10, 3)]
            self.grads = [np.zeros_like(p) for p in self.params]

        def forward(self, x, t):
            self.x, self.h = x, np.tanh(x @ self.params[0])
            y = np.exp(self.h @ self.params[1])
            y /= y.sum(axis=1, keepdims=True)
            self.dy = (y - t) / len(x)
            return -np.log((y * t).sum(axis=1)).mean()  # a NumPy number

        def backward(self):
            dh = self.dy @ self.params[1].T * (1 - self.h**2)
            self.grads[1][...] = self.h.T @ self.dy
            self.grads[0][...] = self.x.T @ dh

    class Plain:
        def update(self, params, grads):
            for p, g in zip(params, grads, strict=True):
                p -= g

    history = Trainer(Book(), Plain(), seed=0).fit(*spiral(), 20, 30, progress="none")
    assert history.epoch_loss[-1] < 0.8 * history.epoch_loss[0]
    assert {type(loss) for loss in history.loss} == {float}


def test_lists_will_do_for_data():
    trainer = Trainer(TwoLayerNet(2, 3, 2, seed=0), SGD())
    history = trainer.fit([[0.0, 1.0], [1.0, 0.0]], [0, 1], 2, 1, progress="none")
    assert len(history.epoch_loss) == 2


# on_epoch, interrupts


def test_on_epoch_metrics_are_kept_one_value_an_epoch():
    calls = []

    def on_epoch(trainer):
        calls.append(len(trainer.history.epoch_loss))
        return {"half": np.float32(0.5)} if len(calls) != 2 else None

    trainer = fit(Recorder(), max_epoch=3, on_epoch=on_epoch)
    assert calls == [1, 2, 3]
    np.testing.assert_array_equal(trainer.history.metrics["half"], [0.5, np.nan, 0.5])
    trainer.fit(*pairs(10), 1, on_epoch=lambda _: {"new": 2}, progress="none")
    np.testing.assert_array_equal(trainer.history.metrics["half"], [0.5, np.nan, 0.5, np.nan])
    np.testing.assert_array_equal(trainer.history.metrics["new"], [np.nan] * 3 + [2])


def test_an_interrupt_leaves_whole_epochs_and_the_trainer_goes_on():
    class Interrupted(Recorder):
        def forward(self, x, t):
            if len(self.batches) == 4:
                self.batches.append([])
                raise KeyboardInterrupt
            return super().forward(x, t)

    trainer = Trainer(Interrupted(), SGD(), seed=0)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*pairs(10), 5, 4, eval_interval=2, progress="none")
    history = trainer.history
    assert (len(history.epoch_loss), len(history.epoch_seconds)) == (1, 1)
    assert (history.iteration, len(history.loss)) == ([2, 4], 2)
    trainer.fit(*pairs(10), 1, 4, eval_interval=2, progress="none")
    assert len(history.epoch_loss) == 2
    assert history.iteration == [2, 4, 6, 7]


# Progress


def test_lines_are_the_books(capsys):
    losses = iter([1.0, 2.0, 6.0])
    fit(Recorder(losses), eval_interval=2, progress="lines", on_epoch=lambda _: {"accuracy": 0.25})
    assert capsys.readouterr().out.splitlines() == [
        "| epoch 1 |  iter 2 / 3 | time 0[s] | loss 1.50",
        "| epoch 1 |  accuracy 0.2500",
        "| epoch 1 |  iter 3 / 3 | time 0[s] | loss 6.00",
    ]


def test_none_prints_nothing(capfd):
    fit(Recorder(), max_epoch=3, eval_interval=1, on_epoch=lambda _: {"accuracy": 1})
    assert capfd.readouterr() == ("", "")


def test_the_bar_shows_epochs_loss_and_metrics(capsys):
    pytest.importorskip("tqdm")
    fit(Recorder(), max_epoch=2, progress="bar", on_epoch=lambda _: {"accuracy": 0.25})
    shown = capsys.readouterr().err
    assert "epoch 2/2 100% |" in shown
    assert "loss 4.500, accuracy 0.250" in shown


def test_auto_is_a_bar_on_a_terminal_with_tqdm_and_lines_elsewhere(monkeypatch, capsys):
    fit(Recorder(), eval_interval=3, progress="auto")
    assert "iter 3 / 3" in capsys.readouterr().out
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert _progress.has_bar()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not _progress.has_bar()
    monkeypatch.undo()
    monkeypatch.setattr(sys, "stderr", None)
    assert not _progress.has_bar()


def test_a_bar_without_tqdm_says_what_to_install_and_changes_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    model = Recorder()
    with pytest.raises(ImportError, match=r'needs tqdm.*pip install "\S+\[progress\]"'):
        fit(model, progress="bar")
    assert model.batches == []


# What it refuses


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.zeros((0, 2)), "t": np.zeros(0)}, r"x: expected at least one sample.*\(0, 2\)"),
        ({"x": 3.0}, r"x: expected at least one sample, got shape \(\)"),
        ({"t": np.zeros(9)}, r"t: expected 10 labels, .* \(10, 2\), got shape \(9,\)"),
        ({"t": 3}, r"t: expected 10 labels.*got shape \(\)"),
        ({"max_epoch": 0}, "max_epoch: expected a whole number of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1, got 0"),
        ({"batch_size": 2.5}, "batch_size: .* got 2.5"),
        ({"batch_size": True}, "batch_size: .* got True"),
        ({"eval_interval": 0}, "eval_interval: .* got 0"),
        ({"max_grad": 0}, "max_grad: expected a positive number or None, got 0"),
        ({"max_grad": math.nan}, "max_grad: .* got nan"),
        ({"max_grad": "a"}, "max_grad: expected a number, got str"),
        ({"max_grad": [1.0, 2.0]}, "max_grad: expected a number, got list"),
        ({"batch_size": 11, "drop_last": True}, "batch_size: 11 is more than the 10 samples"),
        ({"on_nonfinite": "stop"}, 'on_nonfinite: expected "warn", "raise" or "ignore", got'),
        ({"on_nonfinite": ["warn"]}, r"on_nonfinite: expected .*, got \['warn'\]"),
        ({"on_epoch": 3}, "on_epoch: expected a function or None, got 3"),
        ({"progress": "loud"}, 'progress: expected "auto", "bar", "lines" or "none", got \'loud\''),
        ({"progress": ["lines"]}, r"progress: expected .*, got \['lines'\]"),
    ],
)
def test_arguments_are_refused_by_name_before_anything_happens(changes, message):
    x, t = pairs(10)
    model = Recorder()
    trainer = Trainer(model, SGD(), seed=0)
    state = trainer._rng.get_state()[1].copy()
    wrong_type = "a number, got" in message or "on_epoch" in message
    with pytest.raises(TypeError if wrong_type else ValueError, match=message):
        trainer.fit(**{"x": x, "t": t, "progress": "none", **changes})
    assert model.batches == []
    assert trainer.history.epoch_loss == []
    np.testing.assert_array_equal(trainer._rng.get_state()[1], state)


# Pictures


def test_plot_writes_a_picture_and_needs_something_to_draw(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="no loss to draw yet"):
        Trainer(Recorder(), SGD()).plot(path=tmp_path / "empty.png")
    trainer = fit(Recorder(), max_epoch=3, eval_interval=1, on_epoch=lambda _: {"accuracy": 0.5})
    trainer.plot(ylim=(0, 9), path=tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_plot_without_a_path_opens_a_window(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(pyplot.gcf()))
    fit(Recorder(), eval_interval=1).plot(ylim=(0, 7))
    (figure,) = shown
    assert figure.axes[0].get_ylim() == (0, 7)
    assert figure.axes[0].get_xlabel() == "iterations (batches)"
    pyplot.close(figure)


def test_plot_without_matplotlib_says_what_to_install(monkeypatch):
    trainer = fit(Recorder(), eval_interval=1)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'needs matplotlib.*pip install "\S+\[plot\]"'):
        trainer.plot()


# Losses that are not finite


def test_the_first_loss_that_is_not_finite_is_named_by_epoch_and_step_once_a_call():
    losses = iter([1.0, 2.0, 3.0, 4.0, math.nan, math.inf, *[math.inf] * 3])
    trainer = Trainer(Recorder(losses), SGD(), seed=0)
    with pytest.warns(RuntimeWarning, match="the loss is nan in epoch 2, step 2") as told:
        trainer.fit(*pairs(10), 2, 4, eval_interval=1, progress="none")
    assert len(told) == 1
    assert told[0].filename == __file__
    np.testing.assert_array_equal(trainer.history.loss, [1, 2, 3, 4, np.nan, np.inf])
    with pytest.warns(RuntimeWarning, match="the loss is inf in epoch 3, step 1"):
        trainer.fit(*pairs(10), 1, 4, progress="none")


def scores_model(seed=0, dtype="float32", **options):
    rng = np.random.default_rng(seed)
    return Sequential([affine(2, 3, rng, dtype=dtype)], SoftmaxWithLoss(**options))


def points(n=50, ignored=0, dtype="float32"):
    rng = np.random.default_rng(1)
    t = rng.integers(0, 3, n)
    t[:ignored] = -1
    return rng.standard_normal((n, 2)).astype(dtype), t


def test_raise_stops_before_anything_of_the_batch_is_applied():
    model, optimizer = scores_model(), Adam(lr=0.1)
    x, t = points(12)
    x[5] = np.nan
    trainer = Trainer(model, optimizer, seed=0)
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 1, step"):
        trainer.fit(x, t, 1, 1, on_nonfinite="raise", progress="none")
    assert all(np.isfinite(p).all() for p in model.params)
    assert optimizer.iter == trainer.history.batches < 12
    assert trainer.history.epoch_loss == []


def test_ignore_says_nothing():
    history = fit(Recorder(iter([1.0, math.nan, 2.0])), eval_interval=1, on_nonfinite="ignore")
    np.testing.assert_array_equal(history.history.loss, [1.0, np.nan, 2.0])


# What it says of itself, and of what it was given


def test_epochs_are_counted_over_all_calls(capsys):
    pytest.importorskip("tqdm")
    trainer = fit(Recorder(), max_epoch=2)
    trainer.fit(*pairs(10), 2, 4, eval_interval=3, progress="lines")
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" |")[0] for line in lines] == ["| epoch 3", "| epoch 4"]
    trainer.fit(*pairs(10), 2, 4, progress="bar")
    assert "epoch 5/6" in (shown := capsys.readouterr().err)
    assert "epoch 6/6 100%" in shown


def test_it_says_what_it_trains():
    trainer = Trainer(Recorder(), (optimizer := SGD()))
    assert repr(trainer) == f"Trainer(Recorder, {optimizer!r}, 0 epochs so far)"
    trainer.fit(*pairs(4), 1, progress="none")
    assert repr(trainer).endswith("1 epoch so far)")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([0.5], r'expected a dict such as \{"accuracy": 0.9\} or None, got \[0.5\]'),
        (0.5, "expected a dict .* got 0.5"),
        ({"accuracy": "0.5"}, "expected a number for 'accuracy', got '0.5'"),
        ({"good": 1.0, "bad": None}, "expected a number for 'bad', got None"),
        ({3: 1.0}, "expected a name for each number, got 3"),
    ],
)
def test_what_on_epoch_may_not_return_is_named_and_not_recorded(returned, message):
    trainer = Trainer(Recorder(), SGD(), seed=0)
    with pytest.raises(TypeError, match=f"on_epoch: {message}"):
        trainer.fit(*pairs(4), 2, progress="none", on_epoch=lambda _: returned)
    assert trainer.history.metrics == {}
    assert len(trainer.history.epoch_loss) == 1


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.array])
def test_numpys_integers_are_integers(kind):
    model = Recorder()
    trainer = fit(model, n=140, batch_size=kind(1), eval_interval=kind(20), max_epoch=kind(2))
    assert trainer.history.iteration == list(range(20, 281, 20))
    fit(model, n=300, batch_size=kind(100))
    assert [len(batch) for batch in model.batches[-3:]] == [100, 100, 100]
