"""Runs of training that tests interrupt: data, models, and a program that goes on where it was."""

import numpy as np

from nnext import (
    SGD,
    AffineSoftmaxWithLoss,
    Dropout,
    Embedding,
    ReLU,
    Sequential,
    Tanh,
    Trainer,
    affine,
)
from nnext._names import counters
from nnext._random_states import rng_state
from nnext.callbacks import Callback, ModelCheckpoint

rng = np.random.default_rng(0)
X = rng.standard_normal((23, 4)).astype(np.float32)
T = rng.integers(0, 3, 23)


class StopHere(Exception):  # noqa: N818
    """What a process that is killed would do: nothing more."""


class Kill(Callback):
    """Ends the process, as it were, after so many batches or epochs of all."""

    def __init__(self, batches=None, epochs=None):
        self.batches, self.epochs = batches, epochs

    def on_batch_begin(self, trainer):
        if trainer.history.batches == self.batches:
            raise StopHere

    def on_epoch_begin(self, trainer):
        if len(trainer.history.epoch_loss) == self.epochs:
            raise StopHere

    def on_train_end(self, trainer):
        if trainer.history.batches == self.batches:
            raise StopHere


def make_model(dtype="float32", ratio=0.5, seed=0):
    return Sequential([affine(4, 6, seed=seed, dtype=dtype), ReLU(), Dropout(ratio),
                       affine(6, 3, seed=seed + 1, dtype=dtype)])  # fmt: skip


def tied(seed=0):
    E = (0.1 * np.random.RandomState(seed).standard_normal((5, 3))).astype(np.float32)
    return Sequential([Embedding(E), Tanh(), Dropout(0.2)], AffineSoftmaxWithLoss(E.T))


def check_same_run(trainer, other):
    model, back = trainer.model, other.model
    for p, q in zip(model.params, back.params, strict=True):
        assert p.tobytes() == q.tobytes()
    mine, its = trainer.optimizer.state_dict(), other.optimizer.state_dict()
    assert mine.keys() == its.keys()
    for name, value in mine.items():
        np.testing.assert_equal(its[name], value)
    for name, value in vars(trainer.history).items():
        if name != "epoch_seconds":
            np.testing.assert_equal(getattr(other.history, name), value)
    assert len(other.history.epoch_seconds) == len(trainer.history.epoch_seconds)
    assert counters(model) == counters(back)
    np.testing.assert_equal(rng_state(other._rng), rng_state(trainer._rng))


def fit(path, resumed, case, kill=None, every=2):
    """Do what a program does that goes on where it was, if it was anywhere."""
    case = dict(case)
    model = make_model(case.pop("dtype", "float32"), seed=9 if resumed else 0)
    optimizer = case.pop("optimizer", lambda: SGD(lr=0.1))()
    source = case.pop("rng", None)
    if not resumed:
        model.layers[2].seed = 77
        options = {"seed": 1} if source is None else {"rng": source()}
        trainer = Trainer(model, optimizer, **options)
    else:
        trainer = Trainer.resume(path, model, optimizer)
    callbacks = case.pop("callbacks", list)()
    writer = ModelCheckpoint(path, every=case.pop("every", every))
    options = {"max_epoch": 4, "batch_size": 5, "eval_interval": 3, "progress": "none"}
    called = [*([kill] if kill else []), writer, *callbacks]
    try:
        trainer.fit(X, T, **{**options, **case}, callbacks=called)
    except StopHere:
        return None
    return trainer
