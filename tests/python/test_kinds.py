"""What kinds of numbers are taken: half precision, other byte orders, NumPy's integers."""

import warnings

import ml_dtypes
import numpy as np
import pytest

import nnext
import reference as ref
from nnext.datasets import spiral, train_test_split

DATA = (np.ones((4, 2), np.float32), np.array([0, 1, 2, 0]))
KINDS = [*ref.HALVES, *ref.SWAPPED]


def net(**options):
    return nnext.TwoLayerNet(**{"input_size": 2, "hidden_size": 4, "output_size": 3, **options})


def fit(x=DATA[0], t=DATA[1], loss=None, **options):
    layers = [nnext.affine(2, 3, seed=0)]
    model = nnext.Sequential(layers, loss)
    trainer = nnext.Trainer(model, nnext.SGD(lr=0.1), seed=0)
    return trainer.fit(x, t, **{"max_epoch": 1, "batch_size": 2, "progress": "none", **options})


# Types of arrays


def native(array):
    """Return the array in the type that the core computes its kind in."""
    dtype = array.dtype.newbyteorder("=")
    return array.astype(np.float32 if array.itemsize == 2 else dtype)


def of_kind(dtype, *shape, seed=0):
    return ref.normal(np.float64, *shape, seed=seed).astype(dtype)


LAYERS = {
    "MatMul": lambda dtype: nnext.MatMul(of_kind(dtype, 4, 3, seed=1)),
    "Affine": lambda dtype: nnext.Affine(of_kind(dtype, 4, 3, seed=1), of_kind(dtype, 3, seed=2)),
    "Sigmoid": lambda dtype: nnext.Sigmoid(),
    "ReLU": lambda dtype: nnext.ReLU(),
    "Tanh": lambda dtype: nnext.Tanh(),
    "Softmax": lambda dtype: nnext.Softmax(),
    "Dropout": lambda dtype: nnext.Dropout(0.5, seed=1),
}


def layer_and_wide(name, dtype):
    """Make a layer, and one whose parameters are the same numbers, as the core computes them."""
    layer, wide = LAYERS[name](dtype), LAYERS[name](np.float64)
    for i, p in enumerate(layer.params):
        wide.params[i], wide.grads[i] = native(p), native(np.zeros_like(p))
    return layer, wide


def assert_rounded(actual, wide, dtype):
    ref.assert_same_bits(
        np.asarray(actual).astype(np.float64), wide.astype(dtype).astype(np.float64)
    )


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_every_kind_as_its_wide_native_numbers(name, dtype):
    layer, wide = layer_and_wide(name, dtype)
    x = of_kind(dtype, 5, 4)
    y, z = layer.forward(x), wide.forward(native(x))
    assert_rounded(y, z, dtype)
    wide.out = y.astype(z.dtype)  # what the layer remembers is rounded, and so its gradient's start
    dout = of_kind(dtype, *y.shape, seed=3)
    assert_rounded(layer.backward(dout), wide.backward(native(dout)), dtype)
    for g, h in zip(layer.grads, wide.grads, strict=True):
        assert_rounded(g, h, dtype)


@pytest.mark.parametrize("dtype", KINDS)
def test_embedding_reads_and_writes_every_kind(dtype):
    W, idx = of_kind(dtype, 6, 3), np.array([[0, 5], [1, 2]])
    layer = nnext.Embedding(W)
    assert_rounded(layer.forward(idx), W[idx].astype(np.float64), dtype)
    dout = of_kind(dtype, 2, 2, 3, seed=1)
    layer.backward(dout)
    assert_rounded(layer.grads[0], ref.embedding_backward(dout, idx, W.shape), dtype)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("name", ["SoftmaxWithLoss", "SigmoidWithLoss"])
def test_losses_compute_every_kind_as_its_wide_native_numbers(name, dtype):
    x, t = of_kind(dtype, 5, 3), ref.one_hot([0, 2, 1, 1, 0], 3)
    loss, wide = getattr(nnext, name)(), getattr(nnext, name)()
    assert loss.forward(x, t) == pytest.approx(wide.forward(native(x), t), rel=1e-6)
    got, expected = loss.backward(), wide.backward()
    assert got.dtype == np.dtype(dtype).newbyteorder("=")
    # Half precision is rounded twice: the probabilities that are remembered, and the result.
    u = ml_dtypes.finfo(np.dtype(dtype).newbyteorder("=")).eps / 2 if got.itemsize == 2 else 0
    assert np.all(abs(ref.f64(got) - expected) <= 2 * float(u) / len(x))


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("name", ["softmax", "sigmoid", "relu", "tanh", "exp", "log"])
def test_functions_compute_every_kind_as_its_wide_native_numbers(name, dtype):
    x = abs(of_kind(np.float64, 5, 3)).astype(dtype)
    assert_rounded(getattr(nnext, name)(x), getattr(nnext, name)(native(x)), dtype)


@pytest.mark.parametrize("dtype", KINDS)
def test_products_compute_every_kind_as_its_wide_native_numbers(dtype):
    a, b = of_kind(dtype, 5, 4), of_kind(dtype, 4, 3, seed=1)
    expected = np.matmul(a, b).dtype  # of bfloat16 it is NumPy's float32
    got = nnext.matmul(a, b)
    assert got.dtype == expected
    assert_rounded(got, nnext.matmul(native(a), native(b)), expected)


# Whole numbers

PLACES = {
    "Dropout": ("seed", lambda n: nnext.Dropout(0.5, seed=n)),
    "spiral": ("seed", lambda n: spiral(seed=n)),
    "train_test_split": ("seed", lambda n: train_test_split(*DATA, seed=n)),
    "Trainer": ("seed", lambda n: nnext.Trainer(net(), nnext.SGD(), seed=n)),
    "model": ("seed", lambda n: net(seed=n)),
    "input_size": ("input_size", lambda n: net(input_size=n)),
    "hidden_size": ("hidden_size", lambda n: net(hidden_size=n)),
    "output_size": ("output_size", lambda n: net(output_size=n)),
    "affine in": ("input_size", lambda n: nnext.affine(n, 3)),
    "affine out": ("output_size", lambda n: nnext.affine(3, n)),
    "affine seed": ("seed", lambda n: nnext.affine(3, 3, seed=n)),
    "max_epoch": ("max_epoch", lambda n: fit(max_epoch=n)),
    "batch_size": ("batch_size", lambda n: fit(batch_size=n)),
    "eval_interval": ("eval_interval", lambda n: fit(eval_interval=n)),
    "loss": ("batch_size", lambda n: net().loss(*DATA, batch_size=n)),
    "ignore_label": ("ignore_label", lambda n: nnext.SoftmaxWithLoss(ignore_label=n)),
    "threads": ("n:", lambda n: nnext.set_num_threads(n)),
    "budget": ("nbytes", lambda n: nnext.set_score_budget(n)),
}


@pytest.fixture
def settings():
    threads, budget = nnext.get_num_threads(), nnext.get_score_budget()
    yield
    nnext.set_num_threads(threads)
    nnext.set_score_budget(budget)


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("kind", [int, np.int8, np.uint8, np.int64, np.array])
@pytest.mark.parametrize("place", PLACES)
def test_numpy_integers_are_integers(place, kind):
    PLACES[place][1](kind(100))


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    "value", [1.5, "3", True, np.True_, np.float64(3.0), np.array(3.0), np.array([3])], ids=repr
)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_whole_number_is_refused(place, value):
    name, call = PLACES[place]
    with pytest.raises((TypeError, ValueError), match=name):
        call(value)


@pytest.mark.parametrize("size", ["0.5", None, [0.5]])
def test_a_share_that_is_no_number_is_named(size):
    with pytest.raises(TypeError, match="test_size: expected a number"):
        train_test_split(*DATA, test_size=size)


# Data in which nothing counts, or something is masked


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("n", [1, 65, 200])
def test_data_of_weight_0_is_refused_before_the_first_step(n, reduction):
    loss = nnext.SoftmaxWithLoss(class_weight=[0, 1, 1], reduction=reduction)
    x, t = np.ones((n, 2), np.float32), np.zeros(n, np.int64)
    with pytest.raises(nnext.EmptyBatchError, match="t: every label is ignored or of a class"):
        fit(x, t, loss)
    t[-1] = 1  # one row that counts is enough
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(fit(x, t, loss).epoch_loss) == 1


@pytest.mark.parametrize("name", ["x", "t"])
@pytest.mark.parametrize("call", [fit, net().forward, net().loss, train_test_split])
def test_masked_elements_are_refused(call, name):
    data = dict(zip("xt", DATA, strict=True))
    data[name] = np.ma.masked_equal(data[name], data[name].flat[0])
    with pytest.raises(TypeError, match=rf"{name}: .*{name}\.filled"):
        call(**data)
    data[name] = np.ma.masked_array(dict(zip("xt", DATA, strict=True))[name])
    call(**data)  # a mask of nothing loses nothing
