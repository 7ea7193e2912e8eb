"""A model's arrays are its layers' own: after copies and files, and told where they are not."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest

import nnext
from nnext import Affine, BaseModel, MatMul, Sequential, SoftmaxWithLoss, affine
from nnext.base_model import check_gathered


class Piecewise(pickle._Pickler):
    """A pickler that knows no array twice, as joblib's."""

    def memoize(self, obj):
        if not isinstance(obj, np.ndarray):
            super().memoize(obj)


def in_pieces(model):
    buffer = io.BytesIO()
    Piecewise(buffer, 5).dump(model)
    return pickle.loads(buffer.getvalue())


def through_joblib(model):
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "pieces": in_pieces,
    "joblib": through_joblib,
    "deepcopy": copy.deepcopy,
}


def tied():
    W = np.random.default_rng(0).standard_normal((4, 4))
    return Sequential([MatMul(W), Affine(W, np.zeros(4)), nnext.Tanh(), MatMul(W.T)])


def train(model):
    x = np.random.default_rng(1).standard_normal((6, 4))
    nnext.Trainer(model, nnext.SGD(0.1), seed=0).fit(
        x, [0, 1, 2, 3, 0, 1], max_epoch=2, batch_size=3, progress="none"
    )
    return model.scores(x)


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_trains_as_the_model_does_and_leaves_it_alone(way):
    model = tied()
    before = [p.copy() for p in model.params]
    other = COPIES[way](model)
    check_gathered(other)
    assert other.layers[0].params[0] is other.params[0]
    assert other.layers[1].params[0] is other.params[0]
    assert np.shares_memory(other.layers[3].params[0], other.params[0])
    scores = train(other)
    for p, old in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, old)
    np.testing.assert_array_equal(train(model), scores)


def test_a_shallow_copy_has_the_same_arrays():
    model = tied()
    other = copy.copy(model)
    assert all(p is q for p, q in zip(other.params, model.params, strict=True))
    assert other.layers is model.layers
    assert other.params is not model.params


@pytest.mark.parametrize("way", COPIES)
def test_a_models_own_parameters_and_attributes_come_along(way):
    class Net(BaseModel):
        def __init__(self):
            super().__init__([affine(2, 3, seed=0)], SoftmaxWithLoss())
            self.params.append(np.ones(1))
            self.grads.append(np.zeros(1))
            self.name = "own"

        def __reduce__(self):  # a local class, which pickle cannot find by name
            return (object.__new__, (BaseModel,), self.__getstate__())

    net = Net()
    check_gathered(net)
    other = COPIES[way](net)
    check_gathered(other)
    np.testing.assert_array_equal(other.params[2], [1])
    assert other.name == "own"


USES = {
    "save": lambda model, path: model.save_params(path),
    "load": lambda model, path: model.load_params(path),
    "check": lambda model, path: check_gathered(model),
}


@pytest.mark.parametrize("use", USES)
def test_arrays_that_came_apart_are_named(tmp_path, use):
    def refused(match):
        with pytest.raises(ValueError, match=match):
            USES[use](model, tmp_path / "weights")
        assert (tmp_path / "weights").read_bytes() == content

    def make():
        return Sequential([affine(2, 3, seed=0), nnext.ReLU(), affine(3, 2, seed=1)])

    model = make()
    model.save_params(tmp_path / "weights")
    content = (tmp_path / "weights").read_bytes()
    model.params[2] = model.params[2].copy()
    refused(r"^params\[2\] of the model is not the array params\[0\] of layers\[2\] \(Affine\)")
    model = make()
    model.layers[0].params[1] = np.zeros(3, np.float32)
    refused(r"params\[1\] of the model is not the array params\[1\] of layers\[0\] \(Affine\)")
    model = make()
    model.grads[0] = model.grads[0].copy()
    refused(r"grads\[0\] of the model is not the array grads\[0\] of layers\[0\] \(Affine\)")
    model = make()
    model.params.pop()
    refused(r"params\[3\] of the model is not .* layers\[2\]")
    model = make()
    model.layers.append(affine(2, 2, seed=0))
    refused(r"params\[4\] of the model is not .* layers\[3\]")
    model = make()
    model.loss_layer = nnext.AffineSoftmaxWithLoss(np.eye(2))
    refused(r"params\[4\] of the model is not .* loss_layer \(AffineSoftmaxWithLoss\)")


def test_wirings_that_work_are_not_refused():
    model = tied()
    check_gathered(model)
    # The book takes a shared weight out of the lists and gathers its gradient in one array.
    del model.params[1], model.grads[1]
    check_gathered(model)
    model.params[0] = model.params[0][:]  # another view of the very memory
    check_gathered(model)

    class Bare:
        params, grads = (), ()

    check_gathered(Bare())


def test_read_only_parameters_are_told_apart_from_those_that_came_apart(tmp_path):
    model = Sequential([affine(2, 3, seed=0)])
    model.save_params(tmp_path / "weights")
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    check_gathered(mapped)
    mapped.save_params(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() != b""
    np.testing.assert_array_equal(mapped.scores([[1.0, 2.0]]), model.scores([[1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"params\[0\] of the model is read-only.*mmap_mode=None"):
        mapped.load_params(tmp_path / "weights")
    joblib.load(tmp_path / "model.joblib", mmap_mode="c").load_params(tmp_path / "weights")


def test_layers_may_change_after_construction_as_long_as_the_parameters_do_not():
    x = np.ones((1, 2), np.float32)
    model = Sequential([affine(2, 3, seed=0), nnext.ReLU()])
    model.layers[1] = nnext.Dropout(0.5, seed=0)
    model.layers.append(nnext.Tanh())
    np.testing.assert_array_equal(model.scores(x), nnext.tanh(model.layers[0].forward(x)))
    model.layers.append(affine(3, 2, seed=0))
    with pytest.raises(ValueError, match=r"params\[2\] of the model is not .* layers\[3\]"):
        model.scores(x)
    model.layers[:] = [nnext.Tanh()]
    with pytest.raises(ValueError, match=r"Affine\(2, 3\) was taken out"):
        model.forward(x, [0])
    model.layers.append(3)
    with pytest.raises(TypeError, match=r"layers\[1\]: expected a layer, got 3"):
        model.scores(x)
