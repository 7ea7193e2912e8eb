"""Arrays that are saved and not trained: wherever parameters go, they go too."""

import copy
import io
import math
import pickle

import numpy as np
import pytest

import nnext
from nnext import BatchNorm, Sequential, Step, Trainer, affine, batch_norm
from nnext.base_model import BaseModel
from nnext.callbacks import EarlyStopping
from nnext.layers import Layer

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32) * 3 + 2
T = (X[:, 0] > 2).astype(int) + (X[:, 1] > 2)


def make_model(seed=0, **options):
    return Sequential([affine(4, 6, seed=seed), batch_norm(6, **options), nnext.ReLU(),
                       affine(6, 3, seed=seed + 1)])  # fmt: skip


def trained(epochs=2, **options):
    model = make_model(**options)
    Trainer(model, nnext.SGD(0.1), seed=1).fit(X, T, epochs, 10, progress="none")
    return model


def copies(arrays):
    return [array.copy() for array in arrays]


def check_same(arrays, others):
    for array, other in zip(arrays, others, strict=True):
        np.testing.assert_array_equal(array, other)


class OldLayer:
    """Keeps the contract as it was: no list of buffers."""

    params, grads = (), ()

    def buffers(self):
        """Mean something else by the name, as PyTorch's modules do."""

    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


# Lists


def test_every_layer_has_the_list_and_a_model_gathers_them():
    assert nnext.ReLU().buffers == affine(2, 3).buffers == nnext.SoftmaxWithLoss().buffers == []
    first, second = batch_norm(4), batch_norm(3)
    model = Sequential([first, OldLayer(), affine(4, 3), second])
    assert [id(b) for b in model.buffers] == [id(b) for b in first.buffers + second.buffers]
    assert Sequential([OldLayer()]).buffers == []
    with pytest.raises(AttributeError):
        model.buffers = []


def test_the_optimizer_does_not_see_them_and_the_summary_counts_parameters():
    model = make_model()
    assert len(model.params) == 6
    assert f"{4 * 6 + 6 + 12 + 6 * 3 + 3:,}" in model.summary((4,)).splitlines()[-1]
    assert "BatchNorm(6)" in repr(model)


# Copies


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
                         ids=["deepcopy", "pickle"])  # fmt: skip
def test_a_copy_has_its_own_and_shares_what_was_shared(again):
    model = trained()
    other = again(model)
    check_same(other.buffers, model.buffers)
    assert not any(np.shares_memory(a, b) for a in model.buffers for b in other.buffers)
    before = copies(model.buffers)
    Trainer(other, nnext.SGD(0.1), seed=1).fit(X, T, 1, 10, progress="none")
    check_same(model.buffers, before)
    assert not np.array_equal(other.buffers[0], before[0])

    norm = batch_norm(4)
    twin = BatchNorm(np.ones(4), np.zeros(4), norm.buffers[0][:], norm.buffers[1])
    copied = again(Sequential([norm, twin]))
    assert np.shares_memory(copied.buffers[0], copied.buffers[2])
    assert np.shares_memory(copied.buffers[1], copied.buffers[3])
    copied.buffers[0][...] = 5
    assert (copied[1].buffers[0] == 5).all()


def test_a_layer_or_model_pickled_without_the_list_comes_back():
    model = make_model()
    state = model.__getstate__()
    del state["_shared_buffers"]
    other = Sequential.__new__(Sequential)
    other.__setstate__(state)
    assert len(other.buffers) == 2
    del other.layers[0].buffers
    assert len(other.buffers) == 2
    assert "layers.0.W" in other.state_dict()


# Files


def test_state_dict_files_and_checkpoints_have_them(tmp_path):
    model = trained()
    names = ["layers.1.gamma", "layers.1.beta", "layers.1.running_mean", "layers.1.running_var"]
    assert [n for n in model.state_dict() if n.startswith("layers.1.")] == names
    other = make_model(seed=5)
    other.load_state_dict(model.state_dict())
    check_same(other.buffers, model.buffers)

    pytest.importorskip("safetensors")
    model.save(tmp_path / "m")
    back = nnext.load_model(tmp_path / "m")
    check_same(back.buffers, model.buffers)
    np.testing.assert_array_equal(back(X), model(X))


def test_a_resumed_run_has_the_bits_of_one_that_was_not_killed(tmp_path):
    pytest.importorskip("safetensors")
    whole = Trainer(make_model(momentum=0.8), nnext.Momentum(0.1), seed=3)
    whole.fit(X, T, 4, 7, progress="none")
    half = Trainer(make_model(momentum=0.8), nnext.Momentum(0.1), seed=3)
    half.fit(X, T, 2, 7, progress="none")
    half.save_checkpoint(tmp_path / "run")
    resumed = Trainer.resume(tmp_path / "run", make_model(9, momentum=0.8), nnext.Momentum())
    resumed.fit(X, T, 2, 7, progress="none")
    check_same(resumed.model.params, whole.model.params)
    check_same(resumed.model.buffers, whole.model.buffers)
    with pytest.raises(ValueError, match=r"momentum is 0\.8 in the file, 0\.9 here"):
        Trainer.resume(tmp_path / "run", make_model(), nnext.Momentum())


def test_save_params_has_them(tmp_path):
    model = trained()
    model.save_params(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as file:
        assert sorted(file.files) == ["buffer_0", "buffer_1", *(f"param_{i}" for i in range(6))]
    other = make_model(seed=5)
    other.load_params(tmp_path / "m.npz")
    check_same([*other.params, *other.buffers], [*model.params, *model.buffers])

    plain = Sequential([affine(4, 6), *model.layers[2:]])
    plain.save_params(tmp_path / "plain.npz")
    before = copies([*other.params, *other.buffers])
    with pytest.raises(ValueError, match="holds 4 parameters, the model has 6"):
        other.load_params(tmp_path / "plain.npz")
    arrays = {f"param_{i}": p for i, p in enumerate(model.params)}
    for kind, extra, message in [
        ("none", {}, "holds 0 buffers, the model has 2"),
        ("a gap", {"buffer_1": model.buffers[1]}, "no member buffer_0"),
        ("a shape", {"buffer_0": np.zeros(6, "f4"), "buffer_1": np.zeros(5, "f4")},
         r"buffer 1 is float32 \(5,\)"),
    ]:  # fmt: skip
        np.savez(tmp_path / f"{kind}.npz", **arrays, **extra)
        with pytest.raises(ValueError, match=message):
            other.load_params(tmp_path / f"{kind}.npz")
    other.buffers[1].flags.writeable = False
    with pytest.raises(ValueError, match=r"buffers\[1\] is read-only"):
        other.load_params(tmp_path / "m.npz")
    check_same([*other.params, *other.buffers], before)


def test_parameters_alone_are_the_file_that_they_were(tmp_path):
    model = Sequential([affine(4, 3, seed=0)])
    model.save_params(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as file:
        assert sorted(file.files) == ["param_0", "param_1"]


# Put back


def test_early_stopping_restores_those_of_the_best_epoch():
    model, states = make_model(), []

    def on_epoch(trainer):
        states.append(copies([*model.params, *model.buffers]))

    stop = EarlyStopping("loss", patience=1, min_delta=1e9)  # the first epoch is the best
    Trainer(model, nnext.SGD(0.5), seed=0).fit(
        X, T, 5, 10, callbacks=[stop], on_epoch=on_epoch, progress="none"
    )
    assert len(states) == 2
    check_same([*model.params, *model.buffers], states[0])
    assert not np.array_equal(states[0][-1], states[1][-1])


class Loss(nnext.SoftmaxWithLoss):
    """Fails where it is told to."""

    fails = ""

    def forward(self, *args):
        if self.fails == "forward":
            raise RuntimeError("a loss that fails")
        loss = super().forward(*args)
        return math.nan if self.fails == "nan" else loss

    def forward_backward(self, *args):
        loss = self.forward(*args)
        if self.fails == "backward":
            raise RuntimeError("a gradient that fails")
        grad = self.backward()
        return loss, (grad * np.inf if self.fails == "norm" else grad)


class Counts(Layer):
    """Counts its training batches in a buffer."""

    def __init__(self):
        super().__init__()
        self.buffers.append(np.zeros(1))

    def forward(self, x, train_flg=True):
        self.buffers[0] += 1  # in inference too: careless
        return x

    def backward(self, dout):
        return dout


def stepping(fails="", **options):
    model = Sequential([Counts(), *make_model().layers], Loss())
    model.loss_layer.fails = fails
    return model, Step(model, nnext.SGD(0.1), **options)


def test_a_step_that_raises_leaves_them_what_they_were():
    for fails, options, error in [
        ("forward", {}, RuntimeError),
        ("backward", {}, RuntimeError),
        ("nan", {"on_nonfinite": "raise"}, FloatingPointError),
        ("", {"on_gradients": lambda: 1 / 0}, ZeroDivisionError),
    ]:
        model, step = stepping(fails, **options)
        before = copies([*model.params, *model.buffers])
        with pytest.raises(error):
            step(X, T)
        check_same([*model.params, *model.buffers], before)


@pytest.mark.filterwarnings("ignore:the norm of the gradients")
def test_a_step_that_is_not_done_leaves_them_too():
    model, step = stepping("norm", max_grad=1.0)
    before = copies([*model.params, *model.buffers])
    step(X, T)
    check_same([*model.params, *model.buffers], before)
    model = Sequential(make_model().layers, nnext.SoftmaxWithLoss(ignore_label=-1))
    before = copies(model.buffers)
    step = Step(model, nnext.SGD(0.1))
    step(X, np.full(len(X), -1))
    assert step.count == 0
    check_same(model.buffers, before)
    step(X, T)
    assert not np.array_equal(model.buffers[0], before[0])


def test_what_leaves_no_trace_leaves_none_in_them():
    model, _ = stepping()
    model.loss(X, T)
    model.summary((4,))
    nnext.check_gradients(model, X[:5], T[:5])
    assert model.buffers[0] == 0
    Trainer(model, nnext.SGD(0.1), seed=0).fit(
        X, T, 1, 10, validation=(X, T), metrics=["accuracy"], progress="none"
    )
    assert model.buffers[0] == 4


def test_a_model_of_ones_own_may_have_some_that_no_layer_has():
    class Own(BaseModel):
        def __init__(self):
            self.norm, self.seen = batch_norm(3), np.zeros(2)
            super().__init__([self.norm], nnext.SoftmaxWithLoss())

        @property
        def buffers(self):
            return [*super().buffers, self.seen]

    model = Own()
    assert list(model.state_dict())[2:] == ["norm.running_mean", "norm.running_var", "seen"]
    stream = io.BytesIO()
    pickle.dump(Sequential(model.layers), stream)
    check_same(copy.deepcopy(model).buffers, model.buffers)
