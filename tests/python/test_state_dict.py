"""Names of arrays, and their numbers by these names: taken out, put in whole or not at all."""

import numpy as np
import pytest
from ml_dtypes import bfloat16

from nnext import (
    Affine,
    AffineSoftmaxWithLoss,
    Dropout,
    Embedding,
    MatMul,
    ReLU,
    Sequential,
    SoftmaxWithLoss,
    TwoLayerNet,
    affine,
)
from nnext._names import counters, model_arrays
from nnext.base_model import BaseModel
from nnext.layers import Layer


class Scaled(Layer):
    """A layer with a parameter and two buffers, all of them named."""

    param_names = ("gamma",)
    buffer_names = ("mean", "var")

    def __init__(self, gamma, mean, var):
        super().__init__(gamma)
        self.buffers = [mean, var]

    def forward(self, x):
        return x * self.params[0]

    def backward(self, dout):
        return dout * self.params[0]


class Nameless:
    """A layer that knows nothing of names."""

    def __init__(self, *params, buffers=()):
        self.params = list(params)
        self.grads = [np.zeros_like(p) for p in params]
        self.buffers = list(buffers)

    def forward(self, x):
        return x

    def backward(self, dout):
        return dout


class Translator(BaseModel):
    """A model that names its layers, and has a parameter of its own."""

    def __init__(self):
        self.encoder, self.decoder = affine(3, 4, seed=0), affine(4, 2, seed=1)
        self.dropout = Dropout(0.5, seed=5)  # without parameters, so it need not be in the list
        super().__init__([self.encoder, self.decoder, ReLU()], SoftmaxWithLoss())
        self.temperature = np.ones(1, np.float32)
        self.params.append(self.temperature)
        self.grads.append(np.zeros(1, np.float32))


def make_model(dtype="float32"):
    return Sequential(
        [affine(4, 5, seed=0, dtype=dtype), ReLU(), affine(5, 3, seed=1, dtype=dtype)],
        AffineSoftmaxWithLoss(np.ones((3, 2), dtype), np.zeros(2, dtype)),
    )


# Names


def test_a_layers_arrays_have_its_names():
    assert list(affine(2, 3, seed=0).state_dict()) == ["W", "b"]
    assert list(MatMul(np.ones((2, 3))).state_dict()) == ["W"]
    assert list(Embedding(np.ones((2, 3))).state_dict()) == ["W"]
    assert list(AffineSoftmaxWithLoss(np.ones((2, 3))).state_dict()) == ["W"]
    assert ReLU().state_dict() == {}
    layer = Scaled(np.ones(2), np.zeros(2), np.full(2, 3.0))
    assert list(layer.state_dict()) == ["gamma", "mean", "var"]


def test_a_models_arrays_have_places_and_the_layers_names():
    names = ["layers.0.W", "layers.0.b", "layers.2.W", "layers.2.b", "loss_layer.W", "loss_layer.b"]
    assert list(make_model().state_dict()) == names
    assert list(TwoLayerNet(2, 3, 4, seed=0).state_dict()) == names[:4]
    model = Sequential([Nameless(np.ones(2), np.ones(3), buffers=[np.zeros(1)])])
    assert list(model.state_dict()) == ["layers.0.params.0", "layers.0.params.1",
                                        "layers.0.buffers.0"]  # fmt: skip


def test_in_a_model_of_ones_own_layers_are_called_by_their_attributes():
    model = Translator()
    names = ["encoder.W", "encoder.b", "decoder.W", "decoder.b", "temperature"]
    assert list(model.state_dict()) == names
    model.params[-1] = np.ones(2, np.float32)  # no attribute any more
    model.grads[-1] = np.ones(2, np.float32)
    assert list(model.state_dict()) == [*names[:4], "params.4"]


def test_a_chain_has_numbers_whatever_else_holds_its_layers():
    model = make_model()
    model.first = model.layers[0]
    assert next(iter(model.state_dict())) == "layers.0.W"


@pytest.mark.parametrize("transposed", [False, True])
def test_a_shared_weight_is_there_once_by_its_first_name(transposed):
    W = np.arange(6, dtype=np.float32).reshape(2, 3)
    second = AffineSoftmaxWithLoss(W.T) if transposed else MatMul(W)
    model = Sequential([Embedding(W), *([] if transposed else [second])],
                       second if transposed else None)  # fmt: skip
    assert list(model.state_dict()) == ["layers.0.W"]
    model.load_state_dict({"layers.0.W": 2 * W.copy()})
    np.testing.assert_array_equal(W, 2 * np.arange(6).reshape(2, 3))


def test_two_arrays_of_one_name_are_refused():
    class Twice(Nameless):
        param_names = ("W", "W")

    with pytest.raises(ValueError, match=r"two arrays have the name 'layers.0.W'|'W'"):
        Sequential([Twice(np.ones(2), np.ones(2))]).state_dict()


def test_counters_are_found_wherever_a_layer_stands():
    class Block(Nameless):
        def __init__(self):
            super().__init__()
            self.inner = [Dropout(0.5, seed=1), {"deep": Dropout(0.5, seed=2)}]
            self.named = {"x": Dropout(0.5, seed=3)}
            self.itself = self

    model = Sequential([Dropout(0.5, seed=4), Block()])
    found = counters(model)
    assert found["layers.0"] == {"seed": 4, "offset": 0}
    assert found["layers.1.inner.0"]["seed"] == 1
    assert found["layers.1.named.x"]["seed"] == 3
    assert counters(Translator()) == {"dropout": {"seed": 5, "offset": 0}}


def test_options_are_the_attributes_named_as_arguments():
    class Bounded(Layer):
        def __init__(self, W, mean, low, high=1.0, *, other=None):
            super().__init__(W)
            self.mean, self.low, self.high, self.more = mean, low, high, 3

    assert Bounded(np.ones(2), np.zeros(2), -1, high=7).config() == {"low": -1, "high": 7}
    assert affine(2, 3).config() == {}
    assert Dropout(0.25, seed=4).config() == {"dropout_ratio": 0.25, "seed": 4, "offset": 0}


# Taking out and putting in


@pytest.mark.parametrize("dtype", ["float16", bfloat16, "float32", "float64"])
def test_a_state_comes_back_to_the_bit_into_the_models_own_arrays(dtype):
    model, other = make_model(dtype), make_model(dtype)
    rng = np.random.default_rng(0)
    for p in model.params:
        p[...] = rng.standard_normal(p.shape).astype(dtype)
    arrays = list(other.params)
    assert other.load_state_dict(model.state_dict()) == ([], [])
    for p, q, array in zip(model.params, other.params, arrays, strict=True):
        assert q is array
        assert q.tobytes() == p.tobytes()


def test_a_state_is_a_copy():
    model = make_model()
    state = model.state_dict()
    state["layers.0.W"][...] = 7
    assert not (model.params[0] == 7).any()


def test_buffers_are_part_of_it():
    layer = Scaled(np.ones(2), np.zeros(2), np.full(2, 3.0))
    model = Sequential([layer])
    state = model.state_dict()
    assert list(state) == ["layers.0.gamma", "layers.0.mean", "layers.0.var"]
    state["layers.0.var"] += 1
    model.load_state_dict(state)
    np.testing.assert_array_equal(layer.buffers[1], [4, 4])


def test_all_that_does_not_fit_is_told_at_once_and_nothing_is_written():
    model = make_model()
    model.params[3].flags.writeable = False
    before = [p.copy() for p in model.params]
    state = {name: array + 1 for name, array in model.state_dict().items()}
    del state["layers.0.b"]
    state["layers.9.W"] = np.ones(3)
    state["layers.2.W"] = np.ones((5, 4), np.float32)
    state["loss_layer.W"] = np.ones((3, 2))
    state["loss_layer.b"] = "text"
    with pytest.raises(ValueError, match="does not fit Sequential, nothing was loaded") as error:
        model.load_state_dict(state)
    for line in ["missing layers.0.b", "unexpected layers.9.W",
                 "layers.2.W: expected float32 (5, 3), got float32 (5, 4)",
                 "layers.2.b: is read-only",
                 "loss_layer.W: expected float32 (3, 2), got float64 (3, 2)",
                 "loss_layer.b: expected float32 (2,), got <U4 ()"]:  # fmt: skip
        assert f"\n  {line}" in str(error.value)
    for p, old in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, old)
    with pytest.raises(TypeError, match="state: expected what state_dict"):
        model.load_state_dict([1, 2])


def test_without_strict_names_may_be_missing_and_unexpected_and_are_told():
    model = make_model()
    b = model.params[1].copy()
    found = model.load_state_dict(
        {"layers.0.W": np.full((4, 5), 2, np.float32), "extra": np.ones(3)}, strict=False
    )
    assert found.missing == ["layers.0.b", "layers.2.W", "layers.2.b", "loss_layer.W",
                             "loss_layer.b"]  # fmt: skip
    assert found.unexpected == ["extra"]
    assert (model.params[0] == 2).all()
    np.testing.assert_array_equal(model.params[1], b)
    with pytest.raises(ValueError, match=r"layers.0.W: expected float32 \(4, 5\)"):
        model.load_state_dict({"layers.0.W": np.ones(3)}, strict=False)


def test_a_layer_loads_by_itself():
    layer = Affine(np.zeros((2, 3)), np.zeros(3))
    W = layer.params[0]
    layer.load_state_dict({"W": np.ones((2, 3)), "b": np.ones(3)})
    assert W.sum() == 6
    with pytest.raises(ValueError, match=r"does not fit Affine.*\n  missing b"):
        layer.load_state_dict({"W": np.zeros((2, 3))})
    assert layer.load_state_dict({"W": np.zeros((2, 3))}, strict=False).missing == ["b"]


def test_values_may_be_views_of_the_arrays_they_are_written_into():
    W = np.arange(9, dtype=np.float32).reshape(3, 3)
    first, second = MatMul(W.copy()), MatMul(2 * W)
    model = Sequential([first, second])
    model.load_state_dict({"layers.0.W": second.params[0].T, "layers.1.W": first.params[0].T})
    np.testing.assert_array_equal(first.params[0], 2 * W.T)
    np.testing.assert_array_equal(second.params[0], W.T)


def test_any_strides_and_order_of_bytes_will_do():
    model = make_model("float64")
    W = np.random.default_rng(0).standard_normal((10, 8))
    state = model.state_dict() | {"layers.0.W": W.T[::2, ::2].astype(">f8")}
    model.load_state_dict(state)
    np.testing.assert_array_equal(model.params[0], W.T[::2, ::2])


def test_masked_arrays_are_refused():
    model = make_model()
    state = model.state_dict()
    state["layers.0.b"] = np.ma.array(state["layers.0.b"], mask=[1, 0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"layers\.0\.b: expected float32"):
        model.load_state_dict(state)


def test_arrays_that_have_come_apart_are_noticed():
    model = make_model()
    model.layers[0].params[0] = np.zeros((4, 5), np.float32)
    for use in (model.state_dict, lambda: model.load_state_dict({})):
        with pytest.raises(ValueError, match="is not the array"):
            use()


def test_empty_arrays_and_a_model_without_layers_list():
    class Bare:
        def __init__(self):
            self.w = np.ones(2)
            self.params, self.grads = [self.w, np.zeros(0)], [np.zeros(2), np.zeros(0)]

    assert list(model_arrays(Bare())) == ["w", "params.1"]
