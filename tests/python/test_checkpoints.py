"""Runs of training in files: what goes on from one has the bits of a run that was never stopped."""

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ml_dtypes import bfloat16
from safetensors.numpy import load_file, save

import saved_files
from nnext import (
    SGD,
    Adam,
    AdamW,
    AffineSoftmaxWithLoss,
    Dropout,
    Embedding,
    Momentum,
    ReLU,
    Sequential,
    Tanh,
    Trainer,
    affine,
    load_model,
)
from nnext._names import counters
from nnext._random_states import rng_state
from nnext.callbacks import Callback, EarlyStopping, LearningRateSchedule, ModelCheckpoint
from nnext.schedules import Cosine, ReduceOnPlateau, WarmUp

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


CASES = {
    "plain": {},
    "an epoch at a time": {"every": "epoch"},
    "momentum and clipping": {"optimizer": lambda: Momentum(lr=0.1), "max_grad": 0.5},
    "float64": {"dtype": "float64"},
    "float16": {"dtype": "float16"},
    "bfloat16": {"dtype": bfloat16, "optimizer": lambda: AdamW(0.05)},
    "a schedule": {"optimizer": lambda: Adam(lr=WarmUp(3, Cosine(0.1, 12)), weight_decay=0.1)},
    "groups": {"optimizer": lambda: AdamW(0.05, groups=[{"params": lambda p: p.ndim < 2,
                                                         "weight_decay": 0, "lr": 0.2}])},
    "a generator": {"rng": lambda: np.random.default_rng(5)},
    "another": {"rng": lambda: np.random.Generator(np.random.Philox(5))},
    "an old one": {"rng": lambda: np.random.RandomState(5)},
    "validation": {"validation": 0.25, "metrics": ["accuracy"]},
    "weights": {"sample_weight": np.linspace(0, 2, 23)},
    "early stopping": {"validation": 0.25, "callbacks": lambda: [EarlyStopping(patience=1)]},
    "best at the end": {"callbacks": lambda: [EarlyStopping("loss", patience=9, mode="max")]},
    "a plateau": {
        "callbacks": lambda: [LearningRateSchedule(ReduceOnPlateau(0.5, patience=1, min_delta=9),
                                                   monitor="loss")],
    },
    "a rate by the epoch": {"callbacks": lambda: [LearningRateSchedule(Cosine(0.5, 4), "epoch")]},
    "the last batch left out": {"drop_last": True},
    "one batch an epoch": {"batch_size": 100, "every": 1},
    "no points": {"eval_interval": None},
}  # fmt: skip


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


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_was_killed_anywhere_ends_with_the_same_bits(tmp_path, name):
    case = CASES[name]
    whole = fit(tmp_path / "whole", False, case)
    for kill in (*(Kill(batches=n) for n in range(1, 20, 3)), *(Kill(epochs=n) for n in (1, 3)),
                 Kill(batches=whole.history.batches)):  # fmt: skip
        path = tmp_path / "run"
        path.unlink(missing_ok=True)
        if fit(path, False, case, kill) is None and path.exists():
            check_same_run(whole, fit(path, True, case))


def test_it_may_be_killed_again_and_again(tmp_path):
    case = {"validation": 0.2, "callbacks": lambda: [EarlyStopping(patience=9)], "every": 1}
    whole = fit(tmp_path / "whole", False, case)
    done = fit(tmp_path / "run", False, case, Kill(batches=1))
    for n in range(2, 30):
        if done is None:
            done = fit(tmp_path / "run", True, case, Kill(batches=n))
    check_same_run(whole, done)


@pytest.mark.parametrize("rank", ["first", "last"])
def test_the_place_of_the_writer_among_callbacks_is_no_matter(tmp_path, rank):
    def callbacks(path):
        stopping, writer = EarlyStopping("loss", patience=3), ModelCheckpoint(path)
        return [writer, stopping] if rank == "first" else [stopping, writer]

    path = tmp_path / "run"
    fitted = []
    for resumed in (False, True):
        trainer = (Trainer.resume(path, make_model(), SGD(0.5)) if resumed else
                   Trainer(make_model(), SGD(0.5), seed=1))  # fmt: skip
        stopping = callbacks(path)
        trainer.fit(X, T, 3, 5, progress="none", callbacks=stopping)
        fitted.append(next(c for c in stopping if isinstance(c, EarlyStopping)).best)
    assert fitted[0] == fitted[1]


def test_stopped_is_stopped_after_a_resume_too(tmp_path):
    class Enough(Callback):
        def on_batch_end(self, trainer):
            return trainer.history.batches == 7

    def run(path, resumed, *more):
        if resumed:
            trainer = Trainer.resume(path, make_model(), SGD(0.5))
        else:
            trainer = Trainer(make_model(), SGD(0.5), seed=1)
            trainer.model.layers[2].seed = 7
        trainer.fit(X, T, 5, 5, progress="none",
                    callbacks=[Enough(), ModelCheckpoint(path, every=7), *more])  # fmt: skip
        return trainer

    whole = run(tmp_path / "a", False)
    assert whole.history.batches == 7

    class KillAtEnd(Callback):
        def on_epoch_end(self, trainer):
            if trainer.history.batches == 7:
                raise StopHere

    with pytest.raises(StopHere):
        run(tmp_path / "b", False, KillAtEnd())
    check_same_run(whole, run(tmp_path / "b", True))


def test_a_run_that_is_over_is_over(tmp_path, capsys):
    whole = fit(tmp_path / "run", False, {"every": "epoch"})
    again = fit(tmp_path / "run", True, {"every": "epoch", "progress": "lines"})
    check_same_run(whole, again)
    shown = capsys.readouterr().out  # the point that stands at the end of a call
    assert shown.startswith("| epoch 4 |  iter 5 / 5 ")
    assert shown.count("\n") == 1


def test_shared_weights_and_words_go_on_to_the_bit(tmp_path):
    words = np.arange(40) % 5
    trainer = Trainer(tied(), Adam(0.01), seed=0)
    trainer.fit(words, (words + 1) % 5, 2, 8, progress="none")
    trainer.save_checkpoint(tmp_path / "run")
    assert "model.loss_layer.W" not in load_file(tmp_path / "run")
    other = Trainer.resume(tmp_path / "run", tied(seed=5), Adam())
    for t in (trainer, other):
        t.fit(words, (words + 1) % 5, 2, 8, progress="none")
    check_same_run(trainer, other)
    assert np.shares_memory(other.model.params[0], other.model.params[1])


def test_outside_of_fit_the_next_call_is_a_new_one(tmp_path):
    trainer = Trainer(make_model(), Adam(0.01), seed=0)
    trainer.fit(X, T, 2, 5, progress="none", validation=0.3)
    trainer.save_checkpoint(tmp_path / "run")
    other = Trainer.resume(tmp_path / "run", make_model(seed=4), Adam())
    other.save_checkpoint(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "run").read_bytes()
    for t in (trainer, other):
        t.fit(X, T, 2, 7, progress="none", validation=0.3)  # another size of batches
        assert len(t.history.epoch_loss) == 4
    check_same_run(trainer, other)


def test_a_checkpoint_that_was_not_used_yet_can_be_stored_again(tmp_path):
    fit(tmp_path / "run", False, {}, Kill(batches=8))
    trainer = Trainer.resume(tmp_path / "run", make_model(), SGD())
    trainer.save_checkpoint(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "run").read_bytes()


def test_batches_of_an_iterable_go_on_where_they_were(tmp_path):
    batches = [(X[i : i + 4], T[i : i + 4]) for i in range(0, 20, 4)]

    def run(path, resumed, kill=None):
        trainer = (Trainer.resume(path, make_model(), SGD(0.5)) if resumed else
                   Trainer(make_model(), SGD(0.5), seed=1))  # fmt: skip
        try:
            trainer.fit(batches, max_epoch=3, progress="none",
                        callbacks=[Kill(kill), ModelCheckpoint(path, every=1)])  # fmt: skip
        except StopHere:
            return None
        return trainer

    np.random.seed(0)
    whole = run(tmp_path / "a", False)
    np.random.seed(0)
    assert run(tmp_path / "b", False, 8) is None
    check_same_run(whole, run(tmp_path / "b", True))


def test_a_generator_with_other_uses_is_put_into_its_state(tmp_path):
    def run(source, resumed, kill=None):
        class Draws(Callback):
            def on_batch_begin(self, trainer):
                source.standard_normal(3)  # between the order and the next order

        trainer = (Trainer.resume(tmp_path / "run", make_model(), SGD(0.5), rng=source) if resumed
                   else Trainer(make_model(), SGD(0.5), rng=source))  # fmt: skip
        if not resumed:
            trainer.model.layers[2].seed = 7
        try:
            trainer.fit(X, T, 3, 5, progress="none",
                        callbacks=[Kill(kill), Draws(),
                                   ModelCheckpoint(tmp_path / "run", every=1)])  # fmt: skip
        except StopHere:
            return None
        return trainer

    whole = run(np.random.default_rng(3), False)
    assert run(np.random.default_rng(3), False, 7) is None
    check_same_run(whole, run(np.random.default_rng(8), True))
    with pytest.raises(ValueError, match="generator of the same kind"):
        Trainer.resume(tmp_path / "run", make_model(), SGD(), rng=np.random.RandomState(3))


def test_nothing_is_drawn_from_numpys_own_stream(tmp_path):
    fit(tmp_path / "run", False, {})
    model = make_model()
    np.random.seed(3)
    Trainer.resume(tmp_path / "run", model, SGD())
    drawn = np.random.standard_normal()
    np.random.seed(3)
    assert drawn == np.random.standard_normal()


def test_a_model_with_buffers_and_one_that_files_do_not_know(tmp_path):
    class Normed:
        """Keeps a mean of what it saw."""

        def __init__(self):
            self.params, self.grads, self.buffers = [], [], [np.zeros(4, np.float32)]

        def forward(self, x, train_flg=True):
            if train_flg:
                self.buffers[0] *= 0.5
                self.buffers[0] += x.mean(axis=0)
            return x - self.buffers[0]

        def backward(self, dout):
            return dout

    def make(seed=0):
        return Sequential([Normed(), *make_model(seed=seed).layers])

    trainer = Trainer(make(), SGD(0.1), seed=0)
    trainer.fit(X, T, 2, 5, progress="none")
    trainer.save_checkpoint(tmp_path / "run")
    with pytest.raises(ValueError, match="of a model that files do not know"):
        load_model(tmp_path / "run")
    other = Trainer.resume(tmp_path / "run", make(3), SGD())
    for t in (trainer, other):
        t.fit(X, T, 1, 5, progress="none")
    check_same_run(trainer, other)
    np.testing.assert_array_equal(trainer.model[0].buffers[0], other.model[0].buffers[0])


def test_a_checkpoint_of_this_format_is_read_by_every_later_version():
    whole, data, arguments = saved_files.run()
    whole.fit(*data, **arguments)
    other, data, arguments = saved_files.run()
    trainer = Trainer.resume(saved_files.CHECKPOINT, other.model, other.optimizer)
    history = trainer.history
    assert (history.batches, history.epoch_iteration, history.iteration) == (6, [4], [2, 4, 6])
    assert list(history.metrics) == ["val_loss"]
    assert trainer.optimizer.iter == 6
    assert trainer.model.layers[1].offset == 48
    stored = load_file(saved_files.CHECKPOINT)
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, stored[f"model.{name}"])
    np.testing.assert_array_equal(trainer.optimizer.m[0], stored["optimizer.m.0"])
    trainer.fit(*data, **arguments)
    # Other bits may be meant one day, not another course.
    for p, q in zip(whole.model.params, trainer.model.params, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-5)
    assert trainer.history.iteration == whole.history.iteration
    load_model(saved_files.CHECKPOINT)


# What a checkpoint is for beside that


def test_the_model_in_a_checkpoint_is_read(tmp_path):
    trainer = fit(tmp_path / "run", False, {"every": "epoch"})
    model = load_model(tmp_path / "run")
    for p, q in zip(model.params, trainer.model.params, strict=True):
        assert p.tobytes() == q.tobytes()


def test_the_best_model_is_kept(tmp_path):
    values = iter([0.5, 0.2, float("nan"), 0.3, 0.1, 0.4])
    kept = []

    class Watch(ModelCheckpoint):
        def _write(self, trainer):
            super()._write(trainer)
            kept.append(len(trainer.history.epoch_loss))

    best = Watch(tmp_path / "best", "error", save_best=True, content="model")
    trainer = Trainer(make_model(), SGD(0.1), seed=0)
    trainer.fit(X, T, 6, 5, progress="none", callbacks=[best],
                on_epoch=lambda t: {"error": next(values)})  # fmt: skip
    assert kept == [1, 2, 5]
    assert best.best == 0.1
    assert not any(name.startswith("model.") for name in load_file(tmp_path / "best"))
    assert type(load_model(tmp_path / "best")) is Sequential
    assert repr(best) == f"ModelCheckpoint({str(tmp_path / 'best')!r}, monitor='error')"
    assert best.state_dict() == {"best": 0.1}


def test_wrong_options_of_the_writer(tmp_path):
    for options, match in [
        ({"monitor": "loss"}, "only with save_best"),
        ({"every": 0}, "every: expected a whole number of at least 1"),
        ({"every": "batch"}, "every: expected"),
        ({"every": 3, "save_best": True}, "numbers come with epochs"),
        ({"content": "all"}, 'expected "checkpoint" or "model"'),
        ({"monitor": "r", "save_best": True}, "mode"),
    ]:
        with pytest.raises(ValueError, match=match):
            ModelCheckpoint(tmp_path / "run", **options)
    with pytest.raises(TypeError, match="save_best: expected True or False"):
        ModelCheckpoint(tmp_path / "run", save_best=1)
    trainer = Trainer(make_model(), SGD(), seed=0)
    with pytest.raises(ValueError, match="ModelCheckpoint monitors 'val_loss'"):
        trainer.fit(X, T, callbacks=[ModelCheckpoint(tmp_path / "run", save_best=True)])


def test_a_folder_that_is_not_there_is_an_error_of_the_first_write(tmp_path):
    trainer = Trainer(make_model(), SGD(), seed=0)
    with pytest.raises(FileNotFoundError):
        trainer.fit(X, T, 1, 5, progress="none",
                    callbacks=[ModelCheckpoint(tmp_path / "no" / "run", every=1)])  # fmt: skip


# What is refused


def others():
    yield Sequential([affine(4, 6), ReLU()]), SGD(), "missing|unexpected|another model"
    yield make_model("float64"), SGD(), "layers.0.W: expected float64"
    yield make_model(ratio=0.25), SGD(), r"layers.2.config.dropout_ratio is 0.5 in the file, 0.25"
    tanh = make_model()
    tanh.layers[1] = Tanh()
    yield tanh, SGD(), "layers.1.type is 'ReLU' in the file, 'Tanh' here"
    yield make_model(), Adam(), "expected that of nnext.optimizer.Adam, got that of .*SGD"
    yield make_model(), SGD(groups=[{"params": lambda p: True, "lr": 1}]), "groups.0.lr"
    frozen = make_model()
    frozen.params[1].flags.writeable = False
    yield frozen, SGD(), "read-only"


def test_a_checkpoint_of_another_run_touches_nothing(tmp_path):
    fit(tmp_path / "run", False, {})
    for model, optimizer, match in others():
        before = [p.copy() for p in model.params]
        state, counts = optimizer.state_dict(), counters(model)
        source = np.random.RandomState(3)
        stream = source.get_state()[1].copy()
        with pytest.raises(ValueError, match=rf"run: (.|\n)*{match}"):
            Trainer.resume(tmp_path / "run", model, optimizer, rng=source)
        for p, old in zip(model.params, before, strict=True):
            np.testing.assert_array_equal(p, old)
        assert optimizer.state_dict() == state
        assert counters(model) == counts
        np.testing.assert_array_equal(source.get_state()[1], stream)
    with pytest.raises(ValueError, match=r"run: (.|\n)*(another model|missing)"):
        Trainer.resume(tmp_path / "run", tied(), SGD())


def test_other_arguments_in_the_middle_of_an_epoch_are_refused(tmp_path):
    case = {"callbacks": lambda: [EarlyStopping("loss", patience=9)]}
    fit(tmp_path / "run", False, case, Kill(batches=8))
    trainer = Trainer.resume(tmp_path / "run", make_model(), SGD())
    stopping = EarlyStopping("loss", patience=9)
    before = [p.copy() for p in trainer.model.params]
    for x, t, options, match in [
        (X[:20], T[:20], {"batch_size": 5}, "expected 23 samples, 5 batch_size.* got 20 samples"),
        (X, T, {"batch_size": 6}, "got 23 samples, 6 batch_size"),
        (X, T, {"batch_size": 5, "drop_last": True}, "4 batches of an epoch"),
    ]:
        with pytest.raises(ValueError, match=match):
            trainer.fit(x, t, 4, callbacks=[stopping], progress="none", **options)
    with pytest.raises(ValueError, match=r"the checkpoint has the state of EarlyStopping"):
        trainer.fit(X, T, 4, 5, progress="none")
    for p, old in zip(trainer.model.params, before, strict=True):
        np.testing.assert_array_equal(p, old)
    trainer.fit(X, T, 4, 5, callbacks=[stopping], progress="none")  # and can still go on
    assert len(trainer.history.epoch_loss) == 4


def test_a_checkpoint_is_made_between_two_batches(tmp_path):
    class Now(Callback):
        def __init__(self, event):
            setattr(self, event, lambda trainer: trainer.save_checkpoint(tmp_path / "run"))

    for event in ("on_train_begin", "on_epoch_begin", "on_batch_begin", "on_gradients"):
        with pytest.raises(RuntimeError, match="between two batches"):
            Trainer(make_model(), SGD(), seed=0).fit(
                X, T, 1, progress="none", callbacks=[Now(event)]
            )
    with pytest.raises(RuntimeError, match="between two batches"):
        Trainer(make_model(), SGD(), seed=0).fit(
            X, T, 1, progress="none", on_epoch=lambda t: t.save_checkpoint(tmp_path / "run")
        )
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_stored_is_told_and_nothing_is_written(tmp_path):
    class Bare:
        def update(self, params, grads):
            pass

    class Own(np.random.RandomState):
        pass

    class Source:
        standard_normal = permutation = None

    class Remembers(Callback):
        def state_dict(self):
            return {"what": object()}

        def load_state_dict(self, state):
            pass

    with pytest.raises(TypeError, match="optimizer: Bare has no state_dict"):
        Trainer(make_model(), Bare(), seed=0).save_checkpoint(tmp_path / "run")
    with pytest.raises(TypeError, match=r"rng: the state of .*Source.* cannot be stored"):
        Trainer(make_model(), SGD(), rng=Source()).save_checkpoint(tmp_path / "run")
    with pytest.raises(TypeError, match=r"position\.callbacks\.0\.1\.what: expected a number"):
        Trainer(make_model(), SGD(), seed=0).fit(
            X, T, 1, progress="none", callbacks=[Remembers(), ModelCheckpoint(tmp_path / "run")]
        )
    assert not list(tmp_path.iterdir())


def changed(path, change):
    """Write the file anew with another text and other arrays."""
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    text, arrays = json.loads(header["__metadata__"]["nnext"]), load_file(path)
    change(text["state"], arrays)
    path.write_bytes(save(arrays, metadata={"nnext": json.dumps(text)}))


def put(*path, value):
    def change(state, arrays):
        *inner, last = path
        for key in inner:
            state = state[key]
        state[last] = value

    return change


def array(name, value):
    def change(state, arrays):
        arrays[name] = value

    return change


DAMAGES = {
    "no history": lambda state, arrays: state.pop("history"),
    "an array too many": array("more", np.ones(3)),
    "a history of text": put("history", value="x"),
    "a column of other length": array("history.loss", np.ones(99)),
    "a column of whole numbers": array("history.loss", np.ones(5, np.int64)),
    "batches of text": put("history", "batches", value="7"),
    "a place behind the generator": put("rng", "state", "state", "pos", value=10_000),
    "a place before it": put("rng", "state", "state", "pos", value=-1),
    "a key too short": array("rng.state.state.key", np.ones(3, np.uint32)),
    "another generator": put("rng", "state", "bit_generator", value="os.system"),
    "another kind": put("rng", "kind", value="os.system"),
    "no generator": put("rng", value=None),
    "orders of rubbish": put("position", "drawn_from", value={"kind": "RandomState", "state": {}}),
    "no position of dicts": put("position", value=[]),
    "epochs that are not done": put("position", "epochs", value=99),
    "negative batches": put("position", "batches", value=-1),
    "sums of text": put("position", "mean", value={"$tuple": ["a", "b"]}),
    "a seed of text": put("split_seed", value="x"),
    "counters of text": put("counters", "layers.2", "seed", value="x"),
    "an optimizer of lists": put("optimizer", value=[]),
    "a rate of text": put("optimizer", "lr", value="x"),
    "a negative rate": put("optimizer", "lr", value=-1.0),
    "the moments of other shape": array("optimizer.v.0", np.ones((2, 2), np.float32)),
    "the moments of other type": array("optimizer.v.0", np.ones((4, 6))),
    "callbacks of numbers": put("position", "callbacks", value=[1]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_checkpoint_touches_nothing(tmp_path, name):
    path = tmp_path / "run"
    fit(path, False, {"optimizer": lambda: Momentum(0.1)}, Kill(batches=8))
    changed(path, DAMAGES[name])
    model, optimizer = make_model(seed=3), Momentum(0.2)
    before = [p.copy() for p in model.params]
    with pytest.raises(ValueError, match="run: "):
        Trainer.resume(path, model, optimizer)
    for p, old in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, old)
    assert optimizer.state_dict() == Momentum(0.2).state_dict()


def test_a_model_is_no_checkpoint(tmp_path):
    make_model().save(tmp_path / "m")
    with pytest.raises(ValueError, match="m: expected a checkpoint of Trainer, got a model"):
        Trainer.resume(tmp_path / "m", make_model(), SGD())


# A real process, really killed

PROGRAM = """
import pathlib, sys, time
import numpy as np
from nnext import Adam, Dropout, ReLU, Sequential, Trainer, affine
from nnext.callbacks import EarlyStopping, ModelCheckpoint
from nnext.schedules import Cosine, WarmUp

run, end, pause = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), float(sys.argv[3])
rng = np.random.default_rng(0)
x, t = rng.standard_normal((47, 4)).astype(np.float32), rng.integers(0, 3, 47)
resumed = run.exists()
seed = 5 if resumed else 0
model = Sequential([affine(4, 8, seed=seed), ReLU(), Dropout(0.5, seed=seed),
                    affine(8, 3, seed=seed)])
optimizer = Adam(lr=WarmUp(10, Cosine(0.05, 200)), weight_decay=0.01)
trainer = Trainer.resume(run, model, optimizer) if resumed else Trainer(model, optimizer, seed=1)

class Pause:
    def on_batch_end(self, trainer):
        time.sleep(pause)

print("ready", flush=True)
trainer.fit(x, t, max_epoch=40, batch_size=8, eval_interval=7, validation=0.2, metrics=["accuracy"],
            callbacks=[Pause(), EarlyStopping(patience=99), ModelCheckpoint(run, every=3)],
            progress="none")
history = trainer.history
np.savez(end, *model.params, *trainer.optimizer.m, *trainer.optimizer.v, history.loss,
         history.epoch_loss, history.iteration, *history.metrics.values(), model[2].offset)
"""


def started(run, end, pause):
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, str(run), str(end), str(pause)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def run_to_its_end(run, end):
    with started(run, end, 0) as process:
        assert process.wait(60) == 0


def test_a_process_killed_fifty_times_ends_with_the_same_bits(tmp_path):
    run_to_its_end(tmp_path / "a", tmp_path / "a.npz")
    moments = random.Random(0)
    run, end = tmp_path / "b", tmp_path / "b.npz"
    kills = alive = 0
    while kills < 50:
        process = started(run, end, 0.002)
        with process:
            process.stdout.readline()  # it has read the checkpoint
            time.sleep(moments.uniform(0, 0.03))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        kills += 1
        alive += run.exists()
    assert alive > 40
    assert not end.exists()
    run_to_its_end(run, end)
    with np.load(tmp_path / "a.npz") as whole, np.load(end) as killed:
        assert killed.files == whole.files
        for name in whole.files:
            assert killed[name].tobytes() == whole[name].tobytes()
    # What a killed process left is removed by the next; without data it might be somebody's.
    assert not any(part.stat().st_size for part in tmp_path.glob(".nnext-*.part"))
