"""Runs of training in files: what goes on from one has the bits of a run that was never stopped."""

import numpy as np
import pytest
from ml_dtypes import bfloat16
from safetensors.numpy import load_file

import saved_files
from nnext import (
    SGD,
    Adam,
    AdamW,
    Momentum,
    ReLU,
    Sequential,
    Trainer,
    load_model,
)
from nnext.callbacks import Callback, EarlyStopping, LearningRateSchedule, ModelCheckpoint
from nnext.schedules import Cosine, ReduceOnPlateau, WarmUp
from runs import Kill, StopHere, T, X, check_same_run, fit, make_model, tied

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


def test_groups_that_name_arrays_go_on_with_those_of_the_model(tmp_path):
    def make(seed):
        model = make_model(seed=seed)
        biases = {"params": [model.params[1], model.params[3]], "lr": Cosine(0.3, 20)}
        return model, AdamW(0.05, groups=[biases])

    model, optimizer = make(0)
    trainer = Trainer(model, optimizer, seed=0)
    trainer.fit(X, T, 2, 5, progress="none")
    trainer.save_checkpoint(tmp_path / "run")
    other = Trainer.resume(tmp_path / "run", *make(3))
    for t in (trainer, other):
        t.fit(X, T, 2, 5, progress="none")
    check_same_run(trainer, other)


class Plain:
    """A model of the book: no layers to be seen."""

    def __init__(self, seed):
        self.chain = make_model(seed=seed)
        self.params, self.grads = self.chain.params, self.chain.grads

    def forward(self, x, t):
        return self.chain.forward(x, t)

    def backward(self):
        self.chain.backward()


def test_a_model_that_is_not_nnexts_goes_on_too(tmp_path):
    trainer = Trainer(Plain(0), Momentum(0.1), seed=0)
    trainer.fit(X, T, 2, 5, progress="none")
    trainer.save_checkpoint(tmp_path / "run")
    other = Trainer.resume(tmp_path / "run", Plain(3), Momentum())
    for t in (trainer, other):
        t.fit(X, T, 2, 5, progress="none")
    check_same_run(trainer, other)
    assert "model.params.0" in load_file(tmp_path / "run")


def test_the_best_checkpoint_is_gone_on_with(tmp_path):
    def run(path, resumed, kill=None):
        model, optimizer = make_model(), SGD(0.5)
        if resumed:
            trainer = Trainer.resume(path, model, optimizer)
        else:
            model.layers[2].seed = 7
            trainer = Trainer(model, optimizer, seed=1)
        best = ModelCheckpoint(path, "val_loss", save_best=True)
        callbacks = [Kill(epochs=kill), best]
        try:
            trainer.fit(X, T, 6, 5, progress="none", validation=0.3, callbacks=callbacks)
        except StopHere:
            return None, best
        return trainer, best

    whole, one = run(tmp_path / "a", False)
    assert run(tmp_path / "b", False, 4)[0] is None
    other, two = run(tmp_path / "b", True)
    check_same_run(whole, other)
    assert one.best == two.best


def test_a_bar_shows_where_the_run_goes_on(tmp_path, capsys):
    pytest.importorskip("tqdm")
    fit(tmp_path / "run", False, {}, Kill(batches=8))
    fit(tmp_path / "run", True, {"progress": "bar"})
    shown = capsys.readouterr().err
    assert "epoch 4/4 100%" in shown


@pytest.mark.parametrize("name", saved_files.NAMES)
def test_a_checkpoint_of_an_earlier_version_is_read(name):
    path = saved_files.checkpoint_file(name)
    whole, data, arguments = saved_files.run(name)
    whole.fit(*data, **arguments)
    other, data, arguments = saved_files.run(name)
    trainer = Trainer.resume(path, other.model, other.optimizer)
    history = trainer.history
    assert (history.batches, history.epoch_iteration, history.iteration) == (6, [4], [2, 4, 6])
    assert list(history.metrics) == ["val_loss"]
    assert trainer.optimizer.iter == 6
    assert trainer.model.layers[1].offset == 48
    assert trainer.optimizer.lr == 0.125  # behind the warm-up, before the first fall
    stored = load_file(path)
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, stored[f"model.{name}"])
    np.testing.assert_array_equal(trainer.optimizer.m[0], stored["optimizer.m.0"])
    trainer.fit(*data, **arguments)
    # Other bits may be meant one day, not another course.
    for p, q in zip(whole.model.params, trainer.model.params, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-4, atol=1e-5)
    assert trainer.history.iteration == whole.history.iteration
    assert trainer.optimizer.lr == whole.optimizer.lr
    load_model(path)


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


def test_what_cannot_be_written_is_told_before_anything_is_trained(tmp_path):
    class Bare:
        def update(self, params, grads):
            raise AssertionError

    class Own(ReLU):
        pass

    for model, optimizer, options, error in [
        (make_model(), SGD(), {"path": tmp_path / "no" / "run"}, FileNotFoundError),
        (make_model(), Bare(), {"path": tmp_path / "run"}, TypeError),
        (Sequential([*make_model(), Own()]), SGD(),
         {"path": tmp_path / "run", "content": "model"}, TypeError),
    ]:  # fmt: skip
        before = [p.copy() for p in model.params]
        trainer = Trainer(model, optimizer, seed=0)
        with pytest.raises(error):
            trainer.fit(X, T, 1, 5, progress="none", callbacks=[ModelCheckpoint(**options)])
        for p, old in zip(model.params, before, strict=True):
            np.testing.assert_array_equal(p, old)
    assert not list(tmp_path.iterdir())
