"""LayerNorm and BatchNorm: the formulas, their gradients, the running statistics, errors."""

import numpy as np
import pytest

import nnext
import reference as ref
from nnext import SGD, BatchNorm, LayerNorm, Sequential, SoftmaxWithLoss, affine, batch_norm
from nnext.callbacks import EarlyStopping
from nnext.gradient_check import check_gradients
from nnext.step import Step
from nnext.trainer import Trainer
from reference import normal

EPS = 1e-3
SHAPES = [(0, 4), (1, 1), (1, 5), (2, 3), (5, 1), (7, 16), (4, 17), (3, 2, 33), (40, 5), (2, 0)]
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-12}


def layer_of(kind, dtype, size, **options):
    gamma, beta = normal(dtype, size, seed=1), normal(dtype, size, seed=2)
    return kind(gamma, beta, **options)


def spec(x, gamma, beta, axis, eps=EPS, moments=None):
    """Give y and z of rows (axis 1) or columns (axis 0), by given moments if there are some."""
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    if moments is None:
        moments = rows.mean(axis, keepdims=True), rows.var(axis, keepdims=True)
    z = (rows - moments[0]) / np.sqrt(moments[1] + eps)
    return (z * gamma + beta).reshape(x.shape), z


def gradients(x, dout, gamma, axis, eps=EPS):
    """Give dx, dgamma, dbeta, from the definition: z as a function of x, mean and variance."""
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    d = dout.reshape(rows.shape).astype(np.float64)
    n = rows.shape[axis]
    mean, var = rows.mean(axis, keepdims=True), rows.var(axis, keepdims=True)
    dz, s = d * gamma, np.sqrt(var + eps)
    dvar = (dz * (rows - mean)).sum(axis, keepdims=True) * -0.5 / s**3
    dmean = -(dz / s).sum(axis, keepdims=True)
    dx = dz / s + dvar * 2 * (rows - mean) / n + dmean / n
    return dx.reshape(x.shape), (d * (rows - mean) / s).sum(0), d.sum(0)


def close(actual, expected, dtype):
    np.testing.assert_allclose(
        np.asarray(actual, np.float64), expected, rtol=TOLERANCE[dtype], atol=20 * TOLERANCE[dtype]
    )


# The formulas


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("kind", "axis"), [(LayerNorm, 1), (BatchNorm, 0)])
def test_outputs_and_gradients_are_the_formulas(kind, axis, shape, dtype):
    layer = layer_of(kind, dtype, shape[-1], eps=EPS)
    x, dout = 3 * normal(dtype, *shape, seed=3) + 1, normal(dtype, *shape, seed=4)
    y = layer.forward(x)
    assert y.shape == shape
    assert y.dtype == dtype
    grads = list(layer.grads)
    for g in grads:
        g[...] = np.nan
    dx = layer.backward(dout)
    assert dx.shape == shape
    assert all(a is b for a, b in zip(grads, layer.grads, strict=True))
    if x.size == 0:
        assert all((g == 0).all() for g in grads)
        return
    close(y, spec(x, *layer.params, axis)[0], dtype)
    for actual, expected in zip([dx, *grads], gradients(x, dout, layer.params[0], axis),
                                strict=True):  # fmt: skip
        close(actual, expected, dtype)


@pytest.mark.parametrize("kind", [LayerNorm, BatchNorm])
def test_gradients_are_the_slopes(kind):
    norm = layer_of(kind, np.float64, 6, eps=0.1)
    model = Sequential([affine(4, 6, seed=0, dtype="float64"), norm, nnext.Tanh(),
                        affine(6, 3, seed=1, dtype="float64")])  # fmt: skip
    x, t = normal(np.float64, 7, 4), np.arange(7) % 3
    before = [b.copy() for b in norm.buffers]
    check = check_gradients(model, x, t)
    assert check.ok, check
    for buffer, b in zip(norm.buffers, before, strict=True):
        np.testing.assert_array_equal(buffer, b)
    norm.params[0] += 1  # the check can fail
    grads = [g.copy() for g in model.grads]
    model.forward(x, t)
    model.backward()
    assert not np.allclose(grads[0], model.grads[0])


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_inference_goes_by_the_running_statistics_and_so_does_its_gradient(dtype):
    mean, var = normal(dtype, 5, seed=5), normal(dtype, 5, seed=6) ** 2
    layer = layer_of(BatchNorm, dtype, 5, running_mean=mean, running_var=var, eps=EPS)
    assert layer.buffers[0] is mean
    assert layer.buffers[1] is var
    kept = mean.copy(), var.copy()
    x, dout = normal(dtype, 4, 3, 5, seed=3), normal(dtype, 4, 3, 5, seed=4)
    y = layer.forward(x, train_flg=False)
    moments = mean.astype(np.float64), var.astype(np.float64)
    expected, z = spec(x, *layer.params, 0, moments=moments)
    close(y, expected, dtype)
    for buffer, before in zip(layer.buffers, kept, strict=True):
        np.testing.assert_array_equal(buffer, before)
    mean += 1  # what was computed with is remembered
    dx = layer.backward(dout)
    close(dx, dout * layer.params[0] / np.sqrt(moments[1] + EPS), dtype)
    rows = dout.reshape(-1, 5).astype(np.float64)
    close(layer.grads[0], (rows * z).sum(0), dtype)
    close(layer.grads[1], rows.sum(0), dtype)
    mean[...] = kept[0]
    ref.assert_same_bits(layer.forward(x[1:2, 2:], train_flg=False), y[1:2, 2:])


def test_a_row_of_layer_norm_is_the_same_alone():
    layer = layer_of(LayerNorm, np.float32, 37)
    x = normal(np.float32, 9, 37)
    y = layer.forward(x)
    for i in range(9):
        ref.assert_same_bits(layer.forward(x[i]), y[i])


@pytest.mark.parametrize("kind", [LayerNorm, BatchNorm])
def test_without_the_inputs_gradient(kind):
    layer = layer_of(kind, np.float32, 5)
    layer.forward(normal(np.float32, 8, 5))
    dout = normal(np.float32, 8, 5, seed=9)
    layer.backward(dout)
    whole = [g.copy() for g in layer.grads]
    assert layer.backward(dout, input_grad=False) is None
    for g, expected in zip(layer.grads, whole, strict=True):
        ref.assert_same_bits(g, expected)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e10 / 3, -7e20])
@pytest.mark.parametrize("kind", [LayerNorm, BatchNorm])
def test_without_variance_the_output_is_beta(kind, value, dtype):
    layer = layer_of(kind, dtype, 11)
    y = layer.forward(np.full((6, 11), value, dtype))
    np.testing.assert_array_equal(y, np.broadcast_to(layer.params[1], y.shape))
    dx = layer.backward(normal(dtype, 6, 11))
    assert np.isfinite(dx).all()
    assert not layer.grads[0].any()


def test_small_variances_beside_large_means_keep_their_digits():
    x = (1000 + 0.01 * normal(np.float64, 6, 50)).astype(np.float32)
    layer = LayerNorm(np.ones(50, np.float32), np.zeros(50, np.float32), eps=1e-12)
    close(layer.forward(x), spec(x, 1, 0, 1, eps=1e-12)[0], np.float32)


def test_what_is_no_number_stays_in_its_row_or_column():
    x = normal(np.float32, 6, 5)
    x[2, 3] = np.nan
    y = layer_of(LayerNorm, np.float32, 5).forward(x)
    assert np.isnan(y).all(axis=1).tolist() == [i == 2 for i in range(6)]
    assert np.isfinite(y[np.arange(6) != 2]).all()
    y = layer_of(BatchNorm, np.float32, 5).forward(x)
    assert np.isnan(y).all(axis=0).tolist() == [j == 3 for j in range(5)]


# The running statistics


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("momentum", [0.9, 0.25, 0.0, 1.0])
def test_running_statistics_are_pytorchs(dtype, momentum):
    layer = layer_of(BatchNorm, dtype, 4, momentum=momentum)
    mean, var = np.zeros(4), np.ones(4)
    memory = [b.__array_interface__["data"] for b in layer.buffers]
    for step in range(5):
        x = normal(dtype, 6, 2, 4, seed=step) + step
        layer.forward(x)
        rows = x.reshape(-1, 4).astype(np.float64)
        mean = momentum * mean + (1 - momentum) * rows.mean(0)
        var = momentum * var + (1 - momentum) * rows.var(0, ddof=1)
    close(layer.buffers[0], mean, dtype)
    close(layer.buffers[1], var, dtype)
    assert [b.__array_interface__["data"] for b in layer.buffers] == memory


def test_they_are_those_of_torch_itself():
    torch = pytest.importorskip("torch")
    net = torch.nn.BatchNorm1d(4, momentum=0.3, eps=0.01)
    layer = nnext.batch_norm(4, momentum=0.7, eps=0.01)
    for step in range(4):
        x = normal(np.float32, 9, 4, seed=step)
        y = net(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(layer.forward(x), y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.buffers[0], net.running_mean.numpy(), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(layer.buffers[1], net.running_var.numpy(), rtol=1e-5)


def test_one_row_moves_the_mean_alone_and_none_nothing():
    layer = layer_of(BatchNorm, np.float32, 3)
    x = normal(np.float32, 1, 3)
    y = layer.forward(x)
    np.testing.assert_array_equal(y[0], layer.params[1])
    close(layer.buffers[0], 0.1 * x[0].astype(np.float64), np.float32)
    np.testing.assert_array_equal(layer.buffers[1], np.ones(3))
    np.testing.assert_array_equal(layer.backward(np.ones((1, 3), np.float32)), np.zeros((1, 3)))
    before = [b.copy() for b in layer.buffers]
    assert layer.forward(x[:0]).shape == (0, 3)
    for buffer, b in zip(layer.buffers, before, strict=True):
        np.testing.assert_array_equal(buffer, b)


def test_a_constant_column_ends_at_zero_and_not_below_the_normal_numbers():
    layer = nnext.batch_norm(2, momentum=0.5)
    for _ in range(160):
        layer.forward(np.zeros((3, 2), np.float32))
    np.testing.assert_array_equal(layer.buffers[1], [0, 0])


def test_buffers_may_have_any_strides_and_types():
    wide = np.zeros((4, 2), ">f8")
    layer = BatchNorm(np.ones(4, np.float32), np.zeros(4, np.float32), wide[:, 0],
                      np.ones(4, np.float16))  # fmt: skip
    plain = nnext.batch_norm(4)
    x = normal(np.float32, 9, 4)
    ref.assert_same_bits(layer.forward(x), plain.forward(x))
    np.testing.assert_allclose(wide[:, 0], plain.buffers[0], rtol=1e-6)
    np.testing.assert_array_equal(layer.buffers[1], plain.buffers[1].astype(np.float16))
    assert not wide[:, 1].any()


@pytest.mark.parametrize("dtype", ref.HALVES)
def test_of_half_types_the_running_statistics_are_float32(dtype):
    layer = nnext.batch_norm(4, dtype=dtype)
    assert [b.dtype for b in layer.buffers] == [np.float32] * 2
    for train_flg in (True, False):
        assert layer.forward(normal(np.float32, 5, 4).astype(dtype), train_flg).dtype == dtype


# Errors


def test_arguments_that_cannot_be_used_are_named():
    gamma, beta = np.ones(3, np.float32), np.zeros(3, np.float32)
    for kind in (LayerNorm, BatchNorm):
        with pytest.raises(ValueError, match=r"gamma: expected one dimension, got shape \(3, 1\)"):
            kind(gamma[:, None], beta)
        with pytest.raises(ValueError, match=r"beta: expected shape \(3,\).* got \(2,\)"):
            kind(gamma, beta[:2])
        with pytest.raises(TypeError, match="gamma: expected a NumPy array of floats, got int"):
            kind(3, beta)
        for eps in (0, -1.0, np.inf, np.nan):
            with pytest.raises(ValueError, match="eps: expected a finite number above 0"):
                kind(gamma, beta, eps=eps)
        with pytest.raises(TypeError, match="eps: expected a number"):
            kind(gamma, beta, eps="x")
        layer = kind(gamma, beta)
        with pytest.raises(RuntimeError, match=f"{kind.__name__}.backward was called before"):
            layer.backward(np.ones((2, 3)))
        with pytest.raises(ValueError, match=r"x: expected the last dimension to be 3, got .*2\)"):
            layer.forward(np.ones((4, 2)))
        with pytest.raises(ValueError, match="x: expected an array of at least 1 dimension"):
            layer.forward(1.0)
        assert layer.x is None
        layer.forward(np.ones((4, 3), np.float32))
        with pytest.raises(ValueError, match=r"dout: expected shape \(4, 3\)"):
            layer.backward(np.ones((3, 3)))
    for name in ("running_mean", "running_var"):
        with pytest.raises(ValueError, match=rf"{name}: expected shape \(3,\)"):
            BatchNorm(gamma, beta, **{name: np.ones(2)})
        with pytest.raises(TypeError, match=rf"{name}: expected a NumPy array of floats"):
            BatchNorm(gamma, beta, **{name: np.ones(3, int)})
    for momentum in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"momentum: expected a number in \[0, 1\]"):
            BatchNorm(gamma, beta, momentum=momentum)
    for make in (nnext.layer_norm, nnext.batch_norm):
        with pytest.raises(ValueError, match="size"):
            make(0)
        with pytest.raises(TypeError, match="dtype: expected float32"):
            make(3, dtype=int)


def unchanged_by(layer, error, call):
    before = [a.copy() for a in [*layer.buffers, *layer.grads]]
    with pytest.raises(error):
        call()
    for array, b in zip([*layer.buffers, *layer.grads], before, strict=True):
        np.testing.assert_array_equal(array, b)


def test_nothing_is_written_where_something_raises():
    x = normal(np.float32, 6, 3)
    layer = layer_of(BatchNorm, np.float32, 3)
    layer.forward(x)
    layer.backward(x)
    unchanged_by(layer, TypeError, lambda: layer.forward(x.astype(complex)))
    unchanged_by(layer, ValueError, lambda: layer.forward(x[:, :2]))
    unchanged_by(layer, ValueError, lambda: layer.backward(x[:2]))
    layer.buffers[1].flags.writeable = False
    unchanged_by(layer, ValueError, lambda: layer.forward(x))
    layer.forward(x, train_flg=False)
    layer.buffers[1] = layer.buffers[0]
    unchanged_by(layer, ValueError, lambda: layer.forward(x))
    layer.grads[1].flags.writeable = False
    unchanged_by(layer, ValueError, lambda: layer.backward(x))


def test_a_result_that_cannot_be_rounded_changes_no_statistics():
    layer = nnext.batch_norm(2, dtype=np.float16)
    layer.params[0][...] = 6e4  # z times this is more than float16 has
    x = np.array([[0, 0], [0, 0], [9, 0]], np.float16)
    with np.errstate(over="raise"):
        unchanged_by(layer, FloatingPointError, lambda: layer.forward(x))
    layer = BatchNorm(np.ones(2), np.zeros(2), np.zeros(2), np.ones(2, np.float16))
    with np.errstate(over="raise"):
        unchanged_by(layer, FloatingPointError, lambda: layer.forward(np.diag([1e6, 1e6])))


def test_a_softmax_net_with_both_learns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 5)).astype(np.float32) * 10 + 30
    t = (x[:, 0] > x[:, 1]).astype(int)
    model = Sequential([nnext.batch_norm(5), affine(5, 16, seed=0), nnext.layer_norm(16),
                        nnext.ReLU(), affine(16, 2, seed=1)], SoftmaxWithLoss())  # fmt: skip
    nnext.Trainer(model, nnext.Adam(0.01), seed=0).fit(x, t, 30, 20, progress="none")
    assert model.accuracy(x, t) > 0.9


@pytest.mark.parametrize(("first", "second"), [(0, 3), (1, 2), (2, 3), (0, 1)])
def test_no_array_of_a_batch_norm_is_another(first, second):
    arrays = [np.zeros(4), np.zeros(4), np.zeros(4), np.zeros(4)]
    arrays[second] = arrays[first]
    with pytest.raises(ValueError, match="expected an array of its own, it shares memory with"):
        BatchNorm(*arrays)


class OfTheBook:
    """A model that derives from nothing, and has its layers' lists."""

    def __init__(self):
        self.layers = [affine(4, 8, seed=0), batch_norm(8), affine(8, 3, seed=1)]
        self.loss_layer = SoftmaxWithLoss()
        self.params = [p for layer in self.layers for p in layer.params]
        self.grads = [g for layer in self.layers for g in layer.grads]

    def predict(self, x, train_flg=False):
        for layer in self.layers:
            x = layer.forward(x, train_flg) if isinstance(layer, BatchNorm) else layer.forward(x)
        return x

    def forward(self, x, t):
        return self.loss_layer.forward(self.predict(x, train_flg=True), t)

    def loss(self, x, t, batch_size=None):
        return self.loss_layer.forward(self.predict(x), t)

    def backward(self, dout=1):
        dout = self.loss_layer.backward(dout)
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


def test_the_buffers_of_any_model_go_where_its_parameters_go():
    x, t = normal(np.float32, 30, 4), np.arange(30) % 3
    model = OfTheBook()
    running = model.layers[1].buffers

    def fails():
        raise RuntimeError("no")

    before = [b.copy() for b in running]
    with pytest.raises(RuntimeError, match="no"):
        Step(model, SGD(), on_gradients=fails)(x, t)
    for b, c in zip(running, before, strict=True):
        np.testing.assert_array_equal(b, c)
    stopping = EarlyStopping("val_loss", patience=2)
    Trainer(model, SGD(lr=3.0), seed=0).fit(
        *(x, t, 9, 10), validation=(x, (t + 1) % 3), callbacks=[stopping], progress="none"
    )
    assert stopping.best_epoch < 9
    assert model.loss(x, (t + 1) % 3) == pytest.approx(stopping.best, rel=1e-6)
