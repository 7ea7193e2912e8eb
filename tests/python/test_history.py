"""What is noted of a training."""

import math

import numpy as np
import pytest

from nnext.history import History
from nnext.layers import SoftmaxWithLoss
from nnext.models import Sequential, affine
from nnext.optimizer import SGD, Adam
from nnext.trainer import Trainer


def test_a_history_says_how_far_it_went():
    history = History()
    assert repr(history) == "History(0 epochs, 0 batches)"
    history.batches = 1
    history.add_epoch(0.123456, 2.0)
    history.set_metrics({"accuracy": 0.75})
    assert repr(history) == "History(1 epoch, 1 batch, last loss 0.1235, accuracy 0.75)"
    history.batches = 12_000
    history.add_epoch(math.nan, 2.0)
    assert repr(history) == "History(2 epochs, 12,000 batches, last loss nan, accuracy nan)"


def test_a_point_notes_the_number_of_batches():
    history = History(batches=7)
    history.add_point(0.5)
    assert (history.iteration, history.loss) == ([7], [0.5])


def test_metrics_have_a_value_for_every_epoch():
    history = History()
    history.add_epoch(1.0, 0.1)
    history.add_epoch(2.0, 0.1)
    history.set_metrics({"a": 1})
    history.add_epoch(3.0, 0.1)
    history.set_metrics({"b": 2})
    assert [len(values) for values in history.metrics.values()] == [3, 3]
    assert history.metrics["a"][1] == 1
    assert math.isnan(history.metrics["a"][2])
    assert history.metrics["b"][2] == 2


def test_histories_are_equal_when_all_that_happened_is():
    one, other = History([1], [0.5], [0.5], [0.1], {"a": [1.0]}, 1), History([1], [0.5])
    assert one == History([1], [0.5], [0.5], [0.1], {"a": [1.0]}, 1) != other


def test_what_an_interrupt_left_half_is_cut_off():
    history = History(
        iteration=[1, 2],
        loss=[0.5],
        epoch_loss=[0.5, 0.4],
        epoch_seconds=[0.1],
        epoch_iteration=[1, 2],
    )
    history.trim()
    assert (history.iteration, history.epoch_loss) == ([1], [0.5])
    assert history.epoch_iteration == [1]


def test_an_epoch_notes_the_number_of_batches():
    history = History(batches=7)
    history.add_epoch(0.5, 0.1)
    history.batches = 9
    history.add_epoch(0.5, 0.1)
    assert history.epoch_iteration == [7, 9]


# What an epoch's loss means


def scores_model(seed=0, dtype="float32", **options):
    rng = np.random.default_rng(seed)
    return Sequential([affine(2, 3, rng, dtype=dtype)], SoftmaxWithLoss(**options))


def points(n=50, ignored=0, dtype="float32"):
    rng = np.random.default_rng(1)
    t = rng.integers(0, 3, n)
    t[:ignored] = -1
    return rng.standard_normal((n, 2)).astype(dtype), t


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ignore_label": -1},
        {"class_weight": [0.1, 1.0, 5.0]},
        {"ignore_label": -1, "class_weight": [0.0, 1.0, 2.0]},
        {"label_smoothing": 0.1, "z_loss": 0.01, "softcap": 2.0},
        {"reduction": "sum"},
        {"reduction": "sum", "ignore_label": -1, "class_weight": [0.1, 1.0, 5.0]},
    ],
)
def test_without_learning_an_epochs_loss_is_that_of_the_whole_data(options, dtype):
    x, t = points(ignored=23 if "ignore_label" in options else 0, dtype=dtype)
    model = scores_model(dtype=dtype, **options)
    whole = model.forward(x, t)
    trainer = Trainer(model, SGD(lr=0.0), seed=0)
    history = trainer.fit(x, t, 2, 7, eval_interval=None, progress="none")
    rtol = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(history.epoch_loss, [whole, whole], rtol=rtol)


def test_a_point_of_a_summed_loss_is_the_mean_of_its_batches():
    model = scores_model(reduction="sum")
    x, t = points()
    whole = model.forward(x, t)
    history = Trainer(model, SGD(lr=0.0)).fit(x, t, 1, 10, eval_interval=5, progress="none")
    assert history.loss == pytest.approx([whole / 5], rel=1e-5)


def test_batches_of_ignored_labels_change_nothing_and_end_nothing():
    x, t = points(30, ignored=28)
    model = scores_model(ignore_label=-1)
    optimizer = Adam(lr=0.1)
    history = Trainer(model, optimizer, seed=0).fit(x, t, 2, 1, eval_interval=10, progress="none")
    assert optimizer.iter == 4  # two labels, two epochs
    assert history.batches == 60
    assert np.isfinite(history.epoch_loss).all()
    assert len(history.loss) <= 4  # no point where no row counts
    assert np.isfinite(history.loss).all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_an_epoch_of_which_no_row_counts_is_reported_once(reduction):
    x, t = points()
    options = {"reduction": reduction, "class_weight": [0.0, 0.0, 1.0]}
    model = scores_model(**options)
    model.loss_layer.labels = None  # a loss that cannot tell before training
    before = model.params[0].copy()
    trainer = Trainer(model, Adam(), seed=0)
    x, t = x[t < 2], t[t < 2]
    with pytest.warns(RuntimeWarning, match="the loss of epoch 1 is nan: no row") as told:
        history = trainer.fit(x, t, 2, 4, progress="none")
    assert len(told) == 1
    assert np.isnan(history.epoch_loss).all()
    assert history.loss == []
    np.testing.assert_array_equal(model.params[0], before)
    with pytest.raises(FloatingPointError, match="the loss of epoch 3 is nan"):
        trainer.fit(x, t, 2, 4, on_nonfinite="raise", progress="none")
    trainer.fit(x, t, 1, 4, on_nonfinite="ignore", progress="none")
    assert len(history.epoch_loss) == 4
