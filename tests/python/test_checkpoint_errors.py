"""Checkpoints that are damaged, of another run, or made where none can be; nothing is touched."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from nnext import SGD, Adam, Momentum, ReLU, Sequential, Tanh, Trainer, affine
from nnext._names import counters
from nnext.callbacks import Callback, EarlyStopping, ModelCheckpoint
from runs import Kill, T, X, fit, make_model, tied


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


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_changed_checkpoint_goes_on_or_is_refused(tmp_path, data):
    path = tmp_path / "run"
    if not path.exists():
        case = {"callbacks": lambda: [EarlyStopping("loss", patience=9)]}
        fit(path, False, case, Kill(batches=8))
        path.rename(tmp_path / "kept")
    path.write_bytes((tmp_path / "kept").read_bytes())

    def change(state, arrays):
        leaves = []

        def walk(value):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, inner in pairs:
                leaves.append((value, key))
                if isinstance(inner, dict | list):
                    walk(inner)

        walk(state)
        where, key = data.draw(st.sampled_from(leaves))
        names = st.sampled_from(["$array", "$float", "$tuple", "kind", "pos"])
        where[key] = data.draw(
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | names,
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2)
                ),
                max_leaves=4,
            )
        )

    changed(path, change)
    try:
        trainer = Trainer.resume(path, make_model(), SGD())
    except ValueError as error:
        found = str(error)
    else:
        found = ""
        try:
            callbacks = [EarlyStopping("loss", patience=9)]
            trainer.fit(
                X, T, 4, 5, progress="none", callbacks=callbacks, on_nonfinite="ignore"
            )  # a rate of 999 may have been drawn
        except (ValueError, TypeError):
            found = ""
    assert not found or found.startswith(f"{path}: ")
