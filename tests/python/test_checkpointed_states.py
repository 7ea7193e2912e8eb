"""Runs of training over time: states and streams of masks go on from a checkpoint to the bit."""

import numpy as np
import pytest
from safetensors.numpy import load_file

import saved_files
from nnext import SGD, Adam, Sequential, Trainer, check_gradients
from nnext._layer import Layer
from nnext.callbacks import ModelCheckpoint
from nnext.models import BetterRnnlm, Rnnlm, Seq2seq, SimpleRnnlm
from nnext.step import Step
from nnext.time_layers import (
    TimeAffine,
    TimeBiLSTM,
    TimeDropout,
    TimeEmbedding,
    TimeGRU,
    TimeSoftmaxWithLoss,
)
from runs import Kill, StopHere, check_same_run
from test_checkpoint_errors import array, changed, put

V = 6
WORDS = np.random.default_rng(0).integers(0, V, 121)
# Four parts of a text, read on side by side, three words at a time: an epoch has ten batches.
BATCHES = [
    (np.stack([WORDS[n * 30 + i : n * 30 + i + 3] for n in range(4)]),
     np.stack([WORDS[n * 30 + i + 1 : n * 30 + i + 4] for n in range(4)]))
    for i in range(0, 30, 3)
]  # fmt: skip


def weights(rng, *shapes):
    return [rng.standard_normal(shape) / 2 for shape in shapes]


def chain(seed):
    """A model with all that has a state, deep within it too."""
    rng = np.random.default_rng(seed)
    lstm = [(4, 8), (2, 8), (8,)]
    return Sequential(
        [
            TimeEmbedding(*weights(rng, (V, 3))),
            TimeDropout(0.2, seed=seed),
            TimeGRU(*weights(rng, (3, 12), (4, 12), (12,)), stateful=True),
            TimeDropout(0.2),
            TimeBiLSTM(*weights(rng, *lstm, *lstm), stateful=True),
            TimeAffine(*weights(rng, (4, V), (V,))),
        ],
        TimeSoftmaxWithLoss(),
    )


class OfTheBook:
    """A model of the book's kind: its layers are attributes, or in lists there."""

    def __init__(self, seed):
        inner = BetterRnnlm(V, 4, 4, 0.5, seed=seed, dtype="f8")
        self.rows, self.loss = inner.layers, TimeSoftmaxWithLoss()
        self.params, self.grads = inner.params, inner.grads

    def forward(self, xs, ts):
        for layer in self.rows:
            xs = layer.forward(xs)
        return self.loss.forward(xs, ts)

    def backward(self):
        dout = self.loss.backward()
        for layer in reversed(self.rows):
            dout = layer.backward(dout)


MODELS = {
    "SimpleRnnlm": lambda seed: SimpleRnnlm(V, 3, 4, seed=seed),
    "Rnnlm": lambda seed: Rnnlm(V, 3, 4, seed=seed, dtype="float16"),
    "BetterRnnlm, masks of a seed": lambda seed: BetterRnnlm(V, 4, 4, 0.5, seed=seed),
    "BetterRnnlm, masks of a generator": lambda seed: BetterRnnlm(
        V, 4, 4, 0.5, rng=np.random.Generator(np.random.Philox(seed))
    ),
    "BetterRnnlm, masks of numpy.random": lambda seed: BetterRnnlm(V, 4, 4, 0.5),
    "a chain": chain,
    "a model of the book": OfTheBook,
}


def run(path, make, resumed, kill=None):
    """Do what a program does that goes on where it was, in a process with a stream of its own."""
    np.random.seed(9 if resumed else 1)
    model, optimizer = make(9 if resumed else 1), Adam(0.02)
    trainer = (Trainer.resume(path, model, optimizer) if resumed else
               Trainer(model, optimizer, seed=1))  # fmt: skip
    called = [*([kill] if kill else []), ModelCheckpoint(path, every=2)]
    try:
        trainer.fit(BATCHES, max_epoch=3, progress="none", callbacks=called, max_grad=1.0)
    except StopHere:
        return None
    return trainer, np.random.random(3)


@pytest.mark.parametrize("name", MODELS)
def test_a_text_is_read_on_to_the_bit(tmp_path, name):
    make, path = MODELS[name], tmp_path / "run"
    whole, drawn = run(tmp_path / "whole", make, False)
    for kill in (Kill(batches=3), Kill(batches=14), Kill(batches=20), Kill(epochs=1)):
        path.unlink(missing_ok=True)
        assert run(path, make, False, kill) is None
        other, also = run(path, make, True)
        check_same_run(whole, other)
        if name in ("BetterRnnlm, masks of numpy.random", "a chain"):
            np.testing.assert_array_equal(drawn, also)
    if hasattr(whole.model, "get_state"):
        np.testing.assert_equal(other.model.get_state(), whole.model.get_state())


def test_answers_go_on_to_the_bit_too(tmp_path):
    questions, answers = BATCHES[0][0], BATCHES[1][0]
    trainer = Trainer(Seq2seq(V, 3, 4, seed=0), SGD(0.5), seed=0)
    trainer.fit(questions, answers, 2, 2, progress="none")
    trainer.save_checkpoint(tmp_path / "run")
    other = Trainer.resume(tmp_path / "run", Seq2seq(V, 3, 4, seed=9), SGD())
    for t in (trainer, other):
        t.fit(questions, answers, 2, 2, progress="none")
    check_same_run(trainer, other)


def test_a_layer_of_ones_own_names_what_it_goes_on_from(tmp_path):
    class Noise(Layer):
        """Adds noise, and what it saw last."""

        state_names = ("source", "seen")

        def __init__(self, seed):
            super().__init__()
            self.source, self.seen = np.random.RandomState(seed), None

        def forward(self, x):
            last, self.seen = self.seen, x.copy()
            noise = self.source.standard_normal(x.shape)
            return x + 0.1 * noise + (0 if last is None else last)

        def backward(self, dout):
            return dout

    def make(seed):
        rng = np.random.default_rng(seed)
        return Sequential(
            [TimeEmbedding(*weights(rng, (V, 3))), Noise(seed),
             TimeAffine(*weights(rng, (3, V), (V,)))],
            TimeSoftmaxWithLoss(),
        )  # fmt: skip

    whole, _ = run(tmp_path / "whole", make, False)
    assert run(tmp_path / "run", make, False, Kill(batches=7)) is None
    other, _ = run(tmp_path / "run", make, True)
    check_same_run(whole, other)
    np.testing.assert_array_equal(whole.model[1].seen, other.model[1].seen)


def test_a_checkpoint_at_the_beginning_has_no_states_yet(tmp_path):
    trainer = Trainer(Rnnlm(V, 3, 4, seed=0), SGD(0.5), seed=0)
    trainer.save_checkpoint(tmp_path / "run")
    model = Rnnlm(V, 3, 4, seed=1)
    model.forward(*BATCHES[0])
    Trainer.resume(tmp_path / "run", model, SGD())
    assert model.get_state() == (None, None)


def test_files_of_models_hold_no_states(tmp_path):
    model = chain(0)
    model.forward(*BATCHES[0])
    model.save(tmp_path / "m")
    assert not [name for name in load_file(tmp_path / "m") if name.endswith((".h", ".c"))]
    assert not [name for name in model.state_dict() if name.endswith((".h", ".c"))]


@pytest.mark.parametrize("name", saved_files.NAMES)
def test_a_model_without_states_is_stored_as_before(tmp_path, name):
    trainer, *_ = saved_files.run(name)
    trainer.save_checkpoint(tmp_path / "run")
    assert b'\\"states\\"' not in (tmp_path / "run").read_bytes()


# What is refused


DAMAGES = {
    "no states": lambda state, arrays: [state.pop("states"), arrays.pop("states.rnn_layer.h")],
    "states of another layer": put("states", "rnn_layer", value={"c": None}),
    "a state of text": put("states", "rnn_layer", "h", value="x"),
    "a state of numbers": put("states", "rnn_layer", "h", value=[1.0]),
    "states of text": put("states", value="x"),
    "an array too many": array("states.rnn_layer.c", np.ones((4, 4), "f4")),
    "a state of other columns": array("states.rnn_layer.h", np.ones((4, 10), "f4")),
    "a state without rows": array("states.rnn_layer.h", np.ones(16, "f4")),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_states_touch_nothing(tmp_path, name):
    trainer = Trainer(SimpleRnnlm(V, 3, 4, seed=0), SGD(0.5), seed=0)
    trainer.fit(BATCHES, max_epoch=1, progress="none")
    trainer.save_checkpoint(tmp_path / "run")
    changed(tmp_path / "run", DAMAGES[name])
    model = SimpleRnnlm(V, 3, 4, seed=1)
    model.forward(*BATCHES[0])
    before = model.get_state(), [p.copy() for p in model.params]
    with pytest.raises(ValueError, match="run: "):
        Trainer.resume(tmp_path / "run", model, SGD())
    assert model.get_state() is before[0]
    for p, old in zip(model.params, before[1], strict=True):
        np.testing.assert_array_equal(p, old)


def test_states_that_do_not_belong_together_are_named(tmp_path):
    trainer = Trainer(Rnnlm(V, 3, 4, seed=0), SGD(0.5), seed=0)
    trainer.fit(BATCHES, max_epoch=1, progress="none")
    trainer.save_checkpoint(tmp_path / "run")
    changed(tmp_path / "run", array("states.lstm_layer.c", np.ones((3, 4), "f4")))
    with pytest.raises(ValueError, match=r"run: lstm_layer: c: expected shape \(4, 4\), that of h"):
        Trainer.resume(tmp_path / "run", trainer.model, SGD())


class Counted(Layer):
    """A layer of one's own that hands on anything."""

    state_names = ("s",)

    def __init__(self, s):
        super().__init__()
        self.s = s

    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


def model_with(layer):
    rng = np.random.default_rng(0)
    affine = TimeAffine(*weights(rng, (3, V), (V,)))
    return Sequential([TimeEmbedding(*weights(rng, (V, 3))), layer, affine], TimeSoftmaxWithLoss())


def test_a_layer_of_ones_own_is_asked_for_its_states(tmp_path):
    class Checked(Counted):
        def check_states(self, s):
            if s.ndim != 1:
                raise ValueError("a vector was expected")

    Trainer(model_with(Checked(np.ones(3))), SGD(), seed=0).save_checkpoint(tmp_path / "run")
    other = model_with(Checked(np.zeros(3)))
    assert Trainer.resume(tmp_path / "run", other, SGD()).model[1].s.sum() == 3
    changed(tmp_path / "run", array("states.layers.1.s", np.ones((1, 3))))
    with pytest.raises(ValueError, match=r"run: layers\.1: a vector was expected"):
        Trainer.resume(tmp_path / "run", other, SGD())


@pytest.mark.parametrize("state", [3.5, {"mean": 1.0}, {}, "x"])
def test_a_state_that_nobody_could_read_is_not_written(tmp_path, state):
    trainer = Trainer(model_with(Counted(state)), SGD(), seed=0)
    with pytest.raises(TypeError, match=r"layers\.1\.s: the state of .* cannot be stored"):
        trainer.save_checkpoint(tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Replaced(Counted):
    """One whose state becomes another object."""

    def forward(self, x):
        self.s = {"mean": 2.0}
        return x


@pytest.mark.parametrize("state", [3.5, {"mean": 1.0}])
def test_any_state_comes_back_as_the_same_object(state):
    model = model_with(Replaced(state))
    assert check_gradients(model, *BATCHES[0]).ok
    assert model[1].s is state
    with pytest.raises(IndexError):
        Step(model, SGD())(BATCHES[0][0], np.full((4, 3), V))
    assert model[1].s is state


def test_the_state_of_another_generator_touches_nothing(tmp_path):
    Trainer(BetterRnnlm(V, 4, 4, seed=0), SGD(), seed=0).save_checkpoint(tmp_path / "run")
    np.random.seed(3)
    path, expected = ("states", "layers.1", "rng"), r"bad: layers\.1\.rng: expected"
    for damage, message in (
        (put(*path, "state", "state", "pos", value=10_000), expected),
        (put(*path, "kind", value="os.system"), expected),
        (put(*path, "state", value={}), "bad: arrays that nothing has"),
        (put(*path, value=None), "bad: arrays that nothing has"),
    ):
        Trainer(BetterRnnlm(V, 4, 4, seed=0), SGD(), seed=0).save_checkpoint(tmp_path / "bad")
        changed(tmp_path / "bad", damage)
        with pytest.raises(ValueError, match=message):
            Trainer.resume(tmp_path / "bad", BetterRnnlm(V, 4, 4, seed=0), SGD())
    model = BetterRnnlm(V, 4, 4, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"run: layers\.1\.rng: expected the state of a random"):
        Trainer.resume(tmp_path / "run", model, SGD())
    drawn = np.random.random()
    np.random.seed(3)
    assert drawn == np.random.random()


def test_a_source_that_cannot_be_stored_is_told_before_anything_is_trained(tmp_path):
    class Source:
        standard_normal = permutation = None

        def random(self, shape):
            raise AssertionError

    model = chain(0)
    model.layers[1]._rng = Source()
    trainer = Trainer(model, SGD(), seed=0)
    writer = ModelCheckpoint(tmp_path / "run")
    with pytest.raises(
        TypeError, match=r"layers\.1\.rng: the state of .*Source.* cannot be stored"
    ):
        trainer.fit(BATCHES, max_epoch=1, progress="none", callbacks=[writer])
    assert trainer.history.batches == 0


@pytest.mark.parametrize(
    ("x", "t", "error"), [(np.nan, 0, FloatingPointError), (1.0, 9, IndexError)]
)
def test_a_step_that_is_not_done_leaves_the_states_of_layers(x, t, error):
    rng = np.random.default_rng(3)
    gru = TimeGRU(*weights(rng, (3, 12), (4, 12), (12,)), stateful=True)
    model = Sequential([gru, TimeAffine(*weights(rng, (4, V), (V,)))], TimeSoftmaxWithLoss())
    step = Step(model, SGD(), on_nonfinite="raise")
    step(rng.standard_normal((2, 5, 3)), rng.integers(0, V, (2, 5)))
    before = gru.h
    kept, params = before.copy(), [p.copy() for p in model.params]
    with pytest.raises(error):
        step(np.full((2, 5, 3), x), np.full((2, 5), t))
    assert gru.h is before
    np.testing.assert_array_equal(before, kept)
    for p, q in zip(model.params, params, strict=True):
        np.testing.assert_array_equal(p, q)
