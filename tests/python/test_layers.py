"""The contract of the layers, row by row."""

import numpy as np
import pytest

import nnext
import reference as ref
from nnext.layers import Layer
from reference import normal

N, D, H = 5, 4, 3


def rng(seed=0):
    return np.random.default_rng(seed)


def away_from_zero(x):
    """Keep ReLU's kink out of the reach of a central difference."""
    return x + np.sign(x) * x.dtype.type(0.1)


def layers(dtype):
    """Every layer with one input, ready to use, and an input for it."""
    x = normal(dtype, N, D, seed=1)
    return {
        "MatMul": (nnext.MatMul(normal(dtype, D, H)), x),
        "Affine": (nnext.Affine(normal(dtype, D, H), normal(dtype, H, seed=2)), x),
        "Sigmoid": (nnext.Sigmoid(), x),
        "ReLU": (nnext.ReLU(), away_from_zero(x)),
        "LeakyReLU": (nnext.LeakyReLU(0.2), away_from_zero(x)),
        "GELU": (nnext.GELU(), x),
        "GELU by tanh": (nnext.GELU("tanh"), x),
        "SiLU": (nnext.SiLU(), x),
        "Tanh": (nnext.Tanh(), x),
        "Softmax": (nnext.Softmax(), x),
        "Dropout": (nnext.Dropout(0.4, seed=3), x),
        "LayerNorm": (nnext.LayerNorm(normal(dtype, D), normal(dtype, D, seed=2)), x),
        "BatchNorm": (nnext.BatchNorm(normal(dtype, D), normal(dtype, D, seed=2)), x),
        "Embedding": (nnext.Embedding(normal(dtype, 7, D)), np.array([[1, 6, 1], [0, 1, 2]])),
    }


NAMES = list(layers(np.float32))
FLOAT_INPUT = [name for name in NAMES if name != "Embedding"]
WITH_PARAMS = ["MatMul", "Affine", "LayerNorm", "BatchNorm", "Embedding"]


# The two lists


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_params_are_the_callers_own_arrays_and_grads_start_as_zeros(dtype):
    W, b = normal(dtype, D, H), normal(dtype, H)
    for layer, given in [
        (nnext.MatMul(W), [W]),
        (nnext.Affine(W, b), [W, b]),
        (nnext.Embedding(W), [W]),
    ]:
        assert type(layer.params) is list
        assert type(layer.grads) is list
        assert all(p is g for p, g in zip(layer.params, given, strict=True))
        for g, p in zip(layer.grads, given, strict=True):
            np.testing.assert_array_equal(g, np.zeros_like(p), strict=True)


@pytest.mark.parametrize(
    "name",
    ["Sigmoid", "ReLU", "LeakyReLU", "GELU", "SiLU", "Tanh", "Softmax", "Dropout", "Flatten"],
)
def test_layers_without_parameters_have_empty_lists(name):
    layer = getattr(nnext, name)()
    assert layer.params == []
    assert layer.grads == []
    assert nnext.SoftmaxWithLoss().params == nnext.SigmoidWithLoss().grads == []


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("name", WITH_PARAMS)
def test_the_arrays_and_their_memory_stay_the_same_for_ever(name, dtype):
    layer, x = layers(dtype)[name]
    params, grads = list(layer.params), list(layer.grads)
    memory = [a.__array_interface__["data"] for a in params + grads]
    optimizer = nnext.Adam()
    for step in range(3):
        layer.backward(normal(dtype, *layer.forward(x).shape, seed=step))
        optimizer.update(layer.params, layer.grads)
    assert all(a is b for a, b in zip(layer.params + layer.grads, params + grads, strict=True))
    assert [a.__array_interface__["data"] for a in params + grads] == memory
    assert np.any(grads[0])


@pytest.mark.parametrize("name", WITH_PARAMS)
def test_backward_overwrites_the_gradients_it_finds(name):
    layer, x = layers(np.float64)[name]
    dout = normal(np.float64, *layer.forward(x).shape)
    layer.backward(dout)
    first = [g.copy() for g in layer.grads]
    for g in layer.grads:
        g[...] = np.nan
    layer.backward(dout)
    for g, expected in zip(layer.grads, first, strict=True):
        ref.assert_same_bits(g, expected)


@pytest.mark.parametrize("name", WITH_PARAMS)
def test_parameters_are_read_from_params_at_every_call(name):
    layer, x = layers(np.float64)[name]
    before = layer.forward(x)
    layer.params[0] *= 2  # in place, by whoever holds the array
    assert not np.array_equal(layer.forward(x), before)
    layer.params[0] = np.zeros_like(layer.params[0])  # even another array is the parameter now
    expected = layer.params[1] if len(layer.params) > 1 else 0.0
    np.testing.assert_array_equal(layer.forward(x), np.zeros_like(before) + expected)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_results_are_never_written_again_and_nothing_given_is_written(name, dtype):
    layer, x = layers(dtype)[name]
    x_before = x.copy()
    y = layer.forward(x)
    dout = normal(dtype, *y.shape, seed=5)
    y_before, dout_before = y.copy(), dout.copy()
    dx = layer.backward(dout)
    dx_before = None if dx is None else dx.copy()
    again = layer.forward(x)
    layer.backward(dout * 2)
    assert not np.shares_memory(again, y)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(dout, dout_before)
    np.testing.assert_array_equal(y, y_before)
    if dx is not None:
        assert dx.shape == x.shape
        assert dx.dtype == dtype
        np.testing.assert_array_equal(dx, dx_before)


# Gradients


def scalar_loss(layer, x, weights):
    """A smooth number of the layer's output, whose gradient by the output is `weights`."""
    return float(np.sum(layer.forward(x).astype(np.float64) * weights))


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("name", [n for n in NAMES if n != "Dropout"])
def test_every_gradient_agrees_with_central_differences(name, dtype):
    layer, x = layers(dtype)[name]
    weights = normal(dtype, *layer.forward(x).shape, seed=6).astype(np.float64)
    numerical = [
        nnext.numerical_gradient(lambda _: scalar_loss(layer, x, weights), p) for p in layer.params
    ]
    if name in FLOAT_INPUT:
        numerical.append(nnext.numerical_gradient(lambda a: scalar_loss(layer, a, weights), x))
    layer.forward(x)
    dx = layer.backward(weights.astype(dtype))
    analytic = [*layer.grads, dx] if name in FLOAT_INPUT else layer.grads
    for a, b in zip(analytic, numerical, strict=True):
        ref.assert_gradient(a, b, dtype)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("name", ["Sigmoid", "ReLU", "Tanh", "Softmax"])
def test_activations_agree_with_the_reference(name, dtype):
    layer = getattr(nnext, name)()
    x, dout = 3 * normal(dtype, 40, 17), normal(dtype, 40, 17, seed=1)
    y = layer.forward(x)
    assert layer.out is y
    expected = getattr(ref, f"{name.lower()}_backward")(x, dout)
    # Each of up to 17 terms and a few operations is a rounding; the forward's error comes on top.
    scale = abs(dout) + abs(dout).sum(axis=-1, keepdims=True) if name == "Softmax" else abs(dout)
    ref.assert_close(layer.backward(dout), expected, 64, scale)


# MatMul and Affine


def test_matmul_and_affine_of_a_hand_computed_case():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    W = np.array([[1.0, 0.0, -1.0], [2.0, 1.0, 0.5]])
    b = np.array([10.0, 20.0, 30.0])
    dout = np.array([[1.0, 0.0, 2.0], [0.0, -1.0, 1.0]])
    matmul, affine = nnext.MatMul(W), nnext.Affine(W, b)
    np.testing.assert_array_equal(matmul.forward(x), [[5, 2, 0], [11, 4, -1]])
    np.testing.assert_array_equal(affine.forward(x), [[15, 22, 30], [21, 24, 29]])
    for layer in (matmul, affine):
        np.testing.assert_array_equal(layer.backward(dout), [[-1, 3], [-1, -0.5]])
        np.testing.assert_array_equal(layer.grads[0], [[1, -3, 5], [2, -4, 8]])
    np.testing.assert_array_equal(affine.grads[1], [1, -1, 3])


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("n", [0, 1, 2, 5, 6, 7, 8, 13, 14, 15, 65])
@pytest.mark.parametrize(("d", "h"), [(1, 1), (3, 7), (8, 16), (9, 17), (33, 65), (0, 3), (3, 0)])
def test_affine_is_exact_on_whole_numbers_at_every_edge(n, d, h, dtype):
    r = rng(n)
    x, W, b, dout = (
        r.integers(-8, 9, shape).astype(dtype) for shape in [(n, d), (d, h), (h,), (n, h)]
    )
    for layer in (nnext.MatMul(W), nnext.Affine(W, b)):
        bias = b if len(layer.params) == 2 else dtype(0)
        np.testing.assert_array_equal(layer.forward(x), x @ W + bias, strict=True)
        np.testing.assert_array_equal(layer.backward(dout), dout @ W.T, strict=True)
        np.testing.assert_array_equal(layer.grads[0], x.T @ dout, strict=True)
    np.testing.assert_array_equal(layer.grads[1], dout.sum(axis=0), strict=True)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_forward_and_gradients_are_the_ordered_chain_to_the_bit(dtype):
    x, W, b = normal(dtype, 7, 9), normal(dtype, 9, 10, seed=1), normal(dtype, 10, seed=2)
    dout = normal(dtype, 7, 10, seed=3)
    affine = nnext.Affine(W, b)
    ref.assert_same_bits(affine.forward(x), ref.chain_matmul(x, W) + b)
    ref.assert_same_bits(affine.backward(dout), ref.chain_matmul(dout, W.T))
    ref.assert_same_bits(affine.grads[0], ref.chain_matmul(x.T, dout))


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("lead", [(), (1,), (2, 3), (0,), (2, 0), (2, 1, 3)])
def test_any_leading_axes_are_rows(lead, dtype):
    W, b = normal(dtype, D, H), normal(dtype, H)
    x, dout = normal(dtype, *lead, D, seed=1), normal(dtype, *lead, H, seed=2)
    layer, flat = nnext.Affine(W, b), nnext.Affine(W, b)
    y = layer.forward(x)
    ref.assert_same_bits(y, flat.forward(x.reshape(-1, D)).reshape(*lead, H))
    dx = layer.backward(dout)
    ref.assert_same_bits(dx, flat.backward(dout.reshape(-1, H)).reshape(*lead, D))
    for g, expected in zip(layer.grads, flat.grads, strict=True):
        ref.assert_same_bits(g, expected)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("view", ref.VIEWS)
def test_the_bits_of_affine_do_not_depend_on_strides(view, dtype):
    view = ref.VIEWS[view]
    for lead in [(9,), (3, 5)]:
        x, W, b = normal(dtype, *lead, D), normal(dtype, D, H, seed=1), normal(dtype, H, seed=2)
        dout = normal(dtype, *lead, H, seed=3)
        plain, strided = nnext.Affine(W, b), nnext.Affine(view(W), view(b[None])[0])
        strided.grads[:] = [view(strided.grads[0]), view(strided.grads[1][None])[0]]
        ref.assert_same_bits(strided.forward(view(x)), plain.forward(x))
        ref.assert_same_bits(strided.backward(view(dout)), plain.backward(dout))
        for g, expected in zip(strided.grads, plain.grads, strict=True):
            ref.assert_same_bits(g, expected)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_a_transposed_view_is_a_weight_like_any_other(dtype):
    E = normal(dtype, 8, D)
    tied, plain = nnext.MatMul(E.T), nnext.MatMul(np.ascontiguousarray(E.T))
    x, dout = normal(dtype, N, D), normal(dtype, N, 8)
    ref.assert_same_bits(tied.forward(x), plain.forward(x))
    ref.assert_same_bits(tied.backward(dout), plain.backward(dout))
    ref.assert_same_bits(tied.grads[0], plain.grads[0])


@pytest.mark.parametrize("name", ["MatMul", "Affine"])
def test_forward_keeps_the_very_input(name):
    layer, x = layers(np.float32)[name]
    layer.forward(x)
    assert layer.x is x


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("kind", [bool, np.int8, np.int32, np.uint8, np.int64])
def test_integers_are_cast_to_the_type_of_the_parameter(kind, dtype):
    x = ref.one_hot([2, 0, 3], D, kind)
    layer, same = nnext.MatMul(normal(dtype, D, H)), nnext.MatMul(normal(dtype, D, H))
    ref.assert_same_bits(layer.forward(x), same.forward(x.astype(dtype)))
    dout = normal(dtype, 3, H)
    ref.assert_same_bits(layer.backward(dout), same.backward(dout))
    ref.assert_same_bits(layer.grads[0], same.grads[0])
    assert layer.forward(x.tolist()).dtype == dtype


@pytest.mark.parametrize("name", ["MatMul", "Affine"])
def test_gradients_are_rounded_to_the_type_of_the_array_they_are_written_into(name):
    layer, x = layers(np.float32)[name]
    dout = normal(np.float32, *layer.forward(x).shape)
    layer.backward(dout)
    expected = layer.grads[0].copy()
    layer.grads[0] = np.zeros((D, H))
    layer.backward(dout)
    ref.assert_same_bits(layer.grads[0], expected.astype(np.float64))


@pytest.mark.parametrize("dtype", ref.HALVES)
@pytest.mark.parametrize("name", ["MatMul", "Affine"])
def test_half_precision_is_computed_in_float32_and_rounded_once(name, dtype):
    half, x = layers(dtype)[name]
    single = type(half)(*[p.astype(np.float32) for p in half.params])
    y = half.forward(x)
    ref.assert_same_bits(y, single.forward(x.astype(np.float32)).astype(dtype))
    dx, same = half.backward(y), single.backward(y.astype(np.float32))
    ref.assert_same_bits(dx, same.astype(dtype))
    for g, expected in zip(half.grads, single.grads, strict=True):
        ref.assert_same_bits(g, expected.astype(dtype))


@pytest.mark.parametrize("name", ["MatMul", "Affine"])
def test_the_gradient_of_the_input_may_be_left_out(name):
    layer, x = layers(np.float32)[name]
    assert layer.skips_input_grad
    dout = normal(np.float32, *layer.forward(x).shape)
    layer.backward(dout)
    expected = [g.copy() for g in layer.grads]
    for g in layer.grads:
        g[...] = 0
    assert layer.backward(dout, input_grad=False) is None
    for g, e in zip(layer.grads, expected, strict=True):
        ref.assert_same_bits(g, e)


# Dropout


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 0.9])
def test_dropout_drops_the_asked_share_and_scales_the_rest(ratio, dtype):
    n = 40000
    layer = nnext.Dropout(ratio, seed=1)
    y = layer.forward(np.ones(n, dtype))
    assert y.dtype == dtype
    assert layer.mask.dtype == bool
    np.testing.assert_array_equal(y != 0, layer.mask)
    ref.assert_close(y[layer.mask], np.full(layer.mask.sum(), 1 / (1 - ratio)), 3)
    # Five standard deviations of a binomial share.
    assert abs(np.mean(y == 0) - ratio) <= 5 * np.sqrt(ratio * (1 - ratio) / n)
    dout = normal(dtype, n)
    dx = layer.backward(dout)
    np.testing.assert_array_equal(dx == 0, ~layer.mask)
    ref.assert_close(dx[layer.mask], ref.f64(dout[layer.mask]) / (1 - ratio), 3)


def test_dropout_depends_on_its_seed_and_on_what_it_has_seen():
    x = np.ones((50, 8), np.float32)
    first, same, other = nnext.Dropout(0.5, 7), nnext.Dropout(0.5, 7), nnext.Dropout(0.5, 8)
    whole = first.forward(x)
    np.testing.assert_array_equal(same.forward(x[:20]), whole[:20])
    np.testing.assert_array_equal(same.forward(x[20:]), whole[20:])
    assert not np.array_equal(other.forward(x), whole)
    assert not np.array_equal(first.forward(x), whole)


def test_the_seed_of_numpy_governs_where_none_is_given():
    x = np.ones(100, np.float32)
    np.random.seed(3)
    first, second = nnext.Dropout(), nnext.Dropout()
    np.random.seed(3)
    again = nnext.Dropout()
    y = first.forward(x)
    np.testing.assert_array_equal(again.forward(x), y)
    assert not np.array_equal(second.forward(x), y)


def test_dropout_drops_a_nan_and_passes_all_without_training():
    layer, x = nnext.Dropout(0.5, seed=1), np.full(1000, np.nan, np.float32)
    y = layer.forward(x)
    assert np.isnan(y).sum() == layer.mask.sum()
    assert (y[~layer.mask] == 0).all()
    assert layer.forward(x, train_flg=False) is x
    dout = np.ones(1000, np.float32)
    assert layer.backward(dout) is dout


# Embedding


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("kind", ref.INTEGERS)
@pytest.mark.parametrize("shape", [(), (1,), (6,), (2, 3), (0,), (2, 0)])
def test_embedding_takes_rows_and_adds_up_repeated_gradients(shape, kind, dtype):
    W = normal(dtype, 4, 5)
    idx = rng().integers(0, 4, shape).astype(kind)
    layer = nnext.Embedding(W)
    y = layer.forward(idx)
    ref.assert_same_bits(y, W[idx])
    assert not np.shares_memory(y, W)
    layer.grads[0][...] = np.nan
    dout = normal(dtype, *shape, 5, seed=1)
    assert layer.backward(dout) is None
    expected = ref.embedding_backward(dout, idx, W.shape)
    ref.assert_close(layer.grads[0], expected, 8, ref.embedding_backward(abs(dout), idx, W.shape))


# Layers of others


def test_a_layer_needs_nothing_of_nnext():
    class Double:
        def __init__(self):
            self.params, self.grads = [], []

        def forward(self, x):
            return 2 * x

        def backward(self, dout):
            return 2 * dout

    r = rng()
    model = nnext.Sequential([nnext.MatMul(r.standard_normal((D, 6))), Double(), nnext.Tanh()])
    assert nnext.check_gradients(model, r.standard_normal((N, D)), [0, 1, 2, 3, 4]).ok


def test_a_layer_may_derive_from_layer():
    class Scale(Layer):
        def __init__(self, s):
            super().__init__(s)

        def forward(self, x):
            self.x = x
            return x * self.params[0]

        def backward(self, dout):
            self.grads[0][...] = nnext.matmul(self.x.ravel(), dout.ravel())
            return dout * self.params[0]

    r = rng()
    scale = Scale(np.array([1.5]))
    model = nnext.Sequential([nnext.MatMul(r.standard_normal((D, 6))), scale])
    assert nnext.check_gradients(model, r.standard_normal((N, D)), [0, 1, 2, 3, 4]).ok


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("padding_idx", [0, 3, 6, -1, -7])
def test_a_padding_row_gets_no_gradient_and_the_others_theirs(padding_idx, dtype):
    W = normal(dtype, 7, 5)
    idx = np.array([[0, 3, 6], [3, 3, 1]])
    dout = normal(dtype, 2, 3, 5, seed=1)
    dout[0, 1] = np.nan
    layer, plain = nnext.Embedding(W, padding_idx), nnext.Embedding(W)
    assert layer.padding_idx == padding_idx % 7
    ref.assert_same_bits(layer.forward(idx), plain.forward(idx))
    layer.backward(dout)
    plain.backward(dout)
    plain.grads[0][padding_idx] = 0
    ref.assert_same_bits(layer.grads[0], plain.grads[0])


def test_a_padding_row_stays_what_it_is_in_training():
    W = normal(np.float64, 7, 5)
    W[0] = 0
    layer = nnext.Embedding(W, padding_idx=0)
    for optimizer in (nnext.Adam(), nnext.Momentum()):
        for _ in range(3):
            layer.forward([0, 1, 0, 2])
            layer.backward(np.ones((4, 5)))
            optimizer.update(layer.params, layer.grads)
    np.testing.assert_array_equal(W[0], 0)


@pytest.mark.parametrize(
    ("padding_idx", "kind", "message"),
    [
        (7, ValueError, "padding_idx: expected a row of W, which has 7, got 7"),
        (-8, ValueError, "padding_idx: expected a row of W"),
        (1.0, TypeError, "padding_idx: expected a whole number or None"),
        ("0", TypeError, "padding_idx"),
    ],
)
def test_a_padding_row_is_one_of_the_table(padding_idx, kind, message):
    with pytest.raises(kind, match=message):
        nnext.Embedding(np.ones((7, 5)), padding_idx)
    assert repr(nnext.Embedding(np.ones((7, 5)), -1)) == "Embedding(7, 5, padding_idx=6)"
