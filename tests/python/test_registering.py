"""Layers and models of one's own in files: known by a name, refused without."""

import numpy as np
import pytest
from safetensors.numpy import load_file

import saved_files
from nnext import (
    Dropout,
    ReLU,
    Sequential,
    SoftmaxWithLoss,
    affine,
    load_model,
    register_layer,
    register_model,
)
from nnext import _registry as registry
from nnext.base_model import BaseModel


@pytest.fixture(autouse=True)
def _own_tables(monkeypatch):
    for name in ("_OWN_LAYERS", "_OWN_MODELS"):
        monkeypatch.setattr(registry, name, {})


class PReLU:
    param_names = ("slope",)

    def __init__(self, slope, limit=0.0):
        self.params, self.grads, self.limit = [slope], [np.zeros_like(slope)], limit

    def config(self):
        return {"limit": self.limit}

    def forward(self, x):
        return np.where(x > self.limit, x, self.params[0] * x)

    def backward(self, dout):
        return dout


class Normed:
    """A layer with buffers, which come after the parameters."""

    buffer_names = ("mean",)

    def __init__(self, scale, mean):
        self.params, self.grads, self.buffers = [scale], [np.zeros_like(scale)], [mean]

    def forward(self, x):
        return (x - self.buffers[0]) * self.params[0]

    def backward(self, dout):
        return dout


def test_an_own_layer_is_stored_once_it_is_known(tmp_path):
    model = Sequential([affine(4, 3, seed=0), PReLU(np.full(3, 0.25), limit=-np.inf)])
    with pytest.raises(TypeError, match=r"layers\.1: PReLU is a layer .*register_layer\("):
        model.save(tmp_path / "m")
    assert not (tmp_path / "m").exists()
    assert register_layer("PReLU", PReLU) is PReLU
    model.save(tmp_path / "m")
    assert "layers.1.slope" in load_file(tmp_path / "m")
    back = load_model(tmp_path / "m")
    saved_files.check_equal(model, back)
    assert back.layers[1].limit == -np.inf
    registry._OWN_LAYERS.clear()
    with pytest.raises(ValueError, match=r"m: layers\.1: an unknown layer 'PReLU'; if it is your"):
        load_model(tmp_path / "m")


def test_the_decorator_and_a_builder(tmp_path):
    @register_layer("Twice", build=lambda *arrays, **config: Twice())
    class Twice:
        def __init__(self):
            self.params, self.grads = [], []

        def forward(self, x):
            return 2 * x

        def backward(self, dout):
            return 2 * dout

    Sequential([Twice()]).save(tmp_path / "m")
    assert type(load_model(tmp_path / "m").layers[0]) is Twice


def test_buffers_are_stored_and_come_after_the_parameters(tmp_path):
    register_layer("Normed", Normed)
    model = Sequential([Normed(np.full(3, 2.0), np.arange(3.0))])
    model.save(tmp_path / "m")
    assert sorted(load_file(tmp_path / "m")) == ["layers.0.mean", "layers.0.params.0"]
    back = load_model(tmp_path / "m")
    saved_files.check_equal(model, back)
    np.testing.assert_array_equal(back.layers[0].buffers[0], np.arange(3.0))


def test_a_subclass_is_not_taken_for_its_parent(tmp_path):
    class Leaky(ReLU):
        pass

    with pytest.raises(TypeError, match="Leaky is a layer that files do not know"):
        Sequential([Leaky()]).save(tmp_path / "m")

    class Deep(Sequential):
        pass

    with pytest.raises(TypeError, match="Deep is a model that files do not know"):
        Deep([ReLU()]).save(tmp_path / "m")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"limit": {1, 2}}, r"layers\.0: PReLU.config\(\)\.limit: expected a number, text"),
        ({"limit": np.ones(2)}, "expected a number, text"),
        ({"$float": 1}, r"names without \$"),
        ({"wrong": 1}, "it could not be made again of 1 arrays and the options"),
        ([1], "expected a dict from config"),
    ],
)
def test_options_that_could_not_be_read_again_are_not_written(tmp_path, config, match):
    register_layer("PReLU", PReLU)
    layer = PReLU(np.ones(3))
    layer.config = lambda: config
    with pytest.raises(TypeError, match=match):
        Sequential([layer]).save(tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_names_that_cannot_be_registered():
    for register, taken, own in ((register_layer, "Affine", PReLU),
                                 (register_model, "Sequential", Sequential)):  # fmt: skip
        with pytest.raises(ValueError, match=f"'{taken}' is one of nnext's own"):
            register(taken, own)
        with pytest.raises(TypeError, match="expected the name"):
            register("", own)
        with pytest.raises(TypeError, match="expected the class"):
            register("x", 7)
        with pytest.raises(TypeError, match="build: expected a function"):
            register("x", own, build=7)


class Wired(BaseModel):
    """A model of one's own, with a layer that is in no list."""

    def __init__(self, width, ratio=0.5):
        self.width, self.ratio = width, ratio
        self.body, self.head = affine(2, width), affine(width, 3)
        self.dropout = Dropout(ratio)
        super().__init__([self.body, self.head], SoftmaxWithLoss())

    def config(self):
        return {"width": self.width, "ratio": self.ratio}

    def scores(self, x):
        return self.head.forward(self.body.forward(x))


def test_an_own_model_is_made_of_its_options(tmp_path):
    model = Wired(5, ratio=0.25)
    model.dropout.offset = 99
    with pytest.raises(TypeError, match=r"Wired is a model .*config\(\).*register_model\("):
        model.save(tmp_path / "m")
    register_model("Wired")(Wired)
    model.save(tmp_path / "m")
    assert sorted(load_file(tmp_path / "m")) == ["body.W", "body.b", "head.W", "head.b"]
    back = load_model(tmp_path / "m")
    saved_files.check_equal(model, back)
    assert (back.dropout.seed, back.dropout.offset) == (model.dropout.seed, 99)
    assert back.width == 5
    registry._OWN_MODELS.clear()
    with pytest.raises(ValueError, match="an unknown model 'Wired'"):
        load_model(tmp_path / "m")


def test_an_own_model_says_what_it_lacks(tmp_path):
    class Silent(Wired):
        config = BaseModel.config

    register_model("Silent", Silent)
    with pytest.raises(NotImplementedError, match=r"Silent does not define config\(\)"):
        Silent(3).save(tmp_path / "m")
    model = Sequential([ReLU()])
    model.params.append(np.ones(1, np.float32))
    model.grads.append(np.ones(1, np.float32))
    with pytest.raises(TypeError, match=r"params\.0 belongs to the model alone"):
        model.save(tmp_path / "m")


def test_arrays_of_other_types_are_refused(tmp_path):
    layer = Normed(np.ones(3), np.ones(3, complex))
    register_layer("Normed", Normed)
    with pytest.raises(TypeError, match=r"layers\.0\.mean: arrays of complex128 are not stored"):
        Sequential([layer]).save(tmp_path / "m")
