"""What kinds of numbers are taken: half precision, other byte orders, NumPy's integers."""

import warnings

import ml_dtypes
import numpy as np
import pytest

import nnext
import reference as ref
from nnext import nodes
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
    "LeakyReLU": lambda dtype: nnext.LeakyReLU(0.3),
    "GELU": lambda dtype: nnext.GELU(),
    "GELU by tanh": lambda dtype: nnext.GELU("tanh"),
    "SiLU": lambda dtype: nnext.SiLU(),
    "Flatten": lambda dtype: nnext.Flatten(),
    "Tanh": lambda dtype: nnext.Tanh(),
    "Softmax": lambda dtype: nnext.Softmax(),
    "Dropout": lambda dtype: nnext.Dropout(0.5, seed=1),
    "LayerNorm": lambda dtype: nnext.LayerNorm(of_kind(dtype, 4, seed=1), of_kind(dtype, 4)),
    "BatchNorm": lambda dtype: nnext.BatchNorm(of_kind(dtype, 4, seed=1), of_kind(dtype, 4)),
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
    got = loss.backward()
    assert got.dtype == np.dtype(dtype).newbyteorder("=")
    assert_rounded(got, wide.backward(), dtype)


@pytest.mark.parametrize("dtype", ref.HALVES)
@pytest.mark.parametrize("options", [{}, {"softcap": 30.0}, {"z_loss": 0.1}], ids=str)
def test_a_sure_probability_of_half_precision_still_has_a_gradient(dtype, options):
    x, t = np.array([[9, 0], [0, 9]], dtype), np.array([0, 1])
    loss, wide = nnext.SoftmaxWithLoss(**options), nnext.SoftmaxWithLoss(**options)
    assert loss.forward(x, t) == wide.forward(native(x), t)
    dx = loss.backward()
    assert_rounded(dx, wide.backward(), dtype)  # from rounded probabilities it would be 0
    assert np.all(dx != 0)
    binary = nnext.SigmoidWithLoss()
    binary.forward(x, [[1, 0], [0, 1]])
    assert np.all(binary.backward()[x != 0] != 0)


@pytest.mark.parametrize("kind", [np.int32, *KINDS])
@pytest.mark.parametrize("dtype", KINDS)
def test_the_fused_loss_computes_every_kind_as_its_wide_native_numbers(dtype, kind):
    x, W, b = of_kind(dtype, 5, 4), of_kind(dtype, 4, 3, seed=1), of_kind(dtype, 3, seed=2)
    t = ref.one_hot([0, 2, 1, 1, 0], 3).astype(kind)
    layer = nnext.AffineSoftmaxWithLoss(W, b)
    wide = nnext.AffineSoftmaxWithLoss(native(W), native(b))
    loss = layer.forward(x, t)
    assert loss == wide.forward(native(x), t)
    assert loss == nnext.functions.linear_cross_entropy(x, W, t, b)
    dx = layer.backward()
    assert_rounded(dx, wide.backward(), dtype)
    same, *grads = nnext.functions.linear_cross_entropy_with_grad(x, W, t, b)
    assert same == loss
    for got, g, h in zip(grads, [dx, *layer.grads], [dx, *wide.grads], strict=True):
        assert_rounded(got, ref.f64(g), dtype)
        assert_rounded(g, ref.f64(h), dtype)
    classes, log_prob = layer.top_k(x, 2)
    wide_classes, wide_log_prob = wide.top_k(native(x), 2)
    np.testing.assert_array_equal(classes, wide_classes)
    assert_rounded(log_prob, wide_log_prob, dtype)


@pytest.mark.parametrize("kind", [np.int32, *KINDS])
@pytest.mark.parametrize("dtype", KINDS)
def test_the_error_of_probabilities_takes_every_kind(dtype, kind):
    y = nnext.softmax(of_kind(np.float64, 5, 3)).astype(dtype)
    t = ref.one_hot([0, 2, 1, 1, 0], 3).astype(kind)
    assert nnext.cross_entropy_error(y, t) == nnext.cross_entropy_error(native(y), t)


@pytest.mark.parametrize("dtype", KINDS)
def test_models_train_on_and_predict_from_every_kind(dtype):
    x, t = of_kind(dtype, 6, 4), ref.one_hot([0, 1, 2, 2, 1, 0], 3).astype(dtype)
    results = []
    for data, labels in [(x, t), (native(x), native(t))]:
        model = nnext.TwoLayerNet(4, 5, 3, seed=0)
        trainer = nnext.Trainer(model, nnext.SGD(lr=0.1), seed=0)
        history = trainer.fit(data, labels, max_epoch=2, batch_size=4, progress="none")
        scores, loss = model.scores(data), model.loss(data, labels)
        results.append((history.epoch_loss, scores, loss, model.accuracy(data, labels)))
    for got, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize("dtype", KINDS)
def test_models_of_every_kind_train(dtype):
    layer = nnext.Affine(of_kind(dtype, 4, 3, seed=1), np.zeros(3, dtype))
    model = nnext.Sequential([layer])
    x, t = of_kind(np.float64, 6, 4), np.array([0, 1, 2, 2, 1, 0])
    history = nnext.Trainer(model, nnext.SGD(lr=0.5), seed=0).fit(x, t, 20, 6, progress="none")
    assert history.epoch_loss[-1] < 0.9 * history.epoch_loss[0]
    assert all(p.dtype == dtype for p in layer.params)
    if dtype is ml_dtypes.bfloat16:
        with pytest.raises(TypeError, match="expected an array of NumPy's floats, got bfloat16"):
            nnext.check_gradients(model, x.astype(dtype), t)
    else:
        assert nnext.check_gradients(model, x.astype(dtype), t).ok


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize(
    "name", ["softmax", "sigmoid", "relu", "leaky_relu", "gelu", "silu", "tanh", "exp", "log"]
)
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


MASKED = np.ma.masked_greater(ref.normal(np.float64, 4, 3), 0.5)
TAKERS = {
    **{
        name: LAYERS[name](np.float64).forward
        for name in ("Sigmoid", "ReLU", "LeakyReLU", "GELU", "SiLU", "Flatten", "Tanh", "Softmax")
    },
    "Dropout": nnext.Dropout(0.5, seed=1).forward,
    **{f.__name__: f for f in (nnext.softmax, nnext.sigmoid, nnext.relu, nnext.tanh, nnext.exp)},
    "Dropout in inference": lambda x: nnext.Dropout().forward(x, train_flg=False),
    "LayerNorm": lambda x: nnext.layer_norm(3).forward(x),
    "BatchNorm": lambda x: nnext.batch_norm(3).forward(x),
    "Branch": nodes.Branch().forward,
    "Repeat": nodes.Repeat(2).forward,
    "Sum": nodes.Sum().forward,
    "Add": lambda x: nodes.Add().forward(np.ones((4, 3)), x),
    "Multiply": lambda x: nodes.Multiply().forward(x, np.ones((4, 3))),
    "weights": lambda x: nnext.Affine(x, np.ones(3)),
    "loss weights": lambda x: nnext.AffineSoftmaxWithLoss(x),
    "loss scores": lambda x: nnext.SoftmaxWithLoss().scores(x),
    "binary scores": lambda x: nnext.SigmoidWithLoss().scores(x),
    "binary predictions": lambda x: nnext.SigmoidWithLoss().predictions(x),
    "grads": lambda x: nnext.SGD().update([np.ones((4, 3))], [x]),
    "params": lambda x: nnext.SGD().update([x], [np.ones((4, 3))]),
    "scores": lambda x: nnext.SoftmaxWithLoss().forward(x, [0, 1, 2, 0]),
    "weight": lambda x: nnext.SoftmaxWithLoss().forward(np.ones((4, 3)), [0, 1, 2, 0], x[:, 0]),
    "labels": lambda x: nnext.SigmoidWithLoss().forward(np.ones((4, 3)), abs(x) / 9),
    "idx": lambda x: nnext.Embedding(np.ones((9, 2))).forward(abs(x).astype(int)),
    "fused": lambda x: nnext.functions.linear_cross_entropy(x, np.ones((3, 2)), [0, 1, 0, 1]),
}


@pytest.mark.parametrize("name", TAKERS)
def test_masked_elements_are_refused_by_all_that_takes_an_array(name):
    assert MASKED.mask[:, 0].any()
    with pytest.raises(TypeError, match=r"expected an array without masked elements"):
        TAKERS[name](MASKED)
    TAKERS[name](np.ma.array(abs(ref.normal(np.float64, 4, 3)) / 9))


class Tensor:
    """What libraries have that answer float() where there is one element."""

    ndim = 1

    def __float__(self):
        return 0.5


@pytest.mark.parametrize("value", [Tensor(), np.array([0.5])], ids=["tensor", "array"])
def test_what_has_axes_is_no_number(value):
    for name, call in (
        ("lr", lambda: nnext.SGD(lr=value)),
        ("dropout_ratio", lambda: nnext.Dropout(value)),
        ("momentum", lambda: setattr(nnext.Momentum(), "momentum", value)),
    ):
        with pytest.raises(TypeError, match=f"^{name}: expected a number"):
            call()
