"""Bad arguments: the right error, a message that helps, and nothing written before it.

One row of the table of errors after the other; what optimizers refuse is in test_optimizer.py,
what `matmul` refuses in test_matmul.py and what nodes refuse in test_nodes.py.
"""

import numpy as np
import pytest

import nnext

X = np.ones((4, 3), np.float32)
W = np.ones((3, 2), np.float32)
B = np.ones(2, np.float32)
FUNCTIONS = ["softmax", "sigmoid", "relu", "leaky_relu", "gelu", "silu", "tanh", "exp", "log"]
ACTIVATIONS = ["Sigmoid", "ReLU", "LeakyReLU", "GELU", "SiLU", "Tanh", "Softmax"]


def fresh(name):
    """A layer of each kind, with an input for it."""
    return {
        "MatMul": lambda: (nnext.MatMul(W.copy()), X),
        "Affine": lambda: (nnext.Affine(W.copy(), B.copy()), X),
        "Embedding": lambda: (nnext.Embedding(W.copy()), np.array([0, 2, 1, 1])),
    }[name]()


WITH_PARAMS = ["MatMul", "Affine", "Embedding"]


# Shapes that do not fit


@pytest.mark.parametrize("name", ["MatMul", "Affine"])
@pytest.mark.parametrize("shape", [(4, 2), (2,), (4, 3, 2), (0, 4), (3, 0)])
def test_an_input_that_does_not_fit_the_weights_names_both_shapes(name, shape):
    layer, _ = fresh(name)
    with pytest.raises(ValueError, match="x") as error:
        layer.forward(np.ones(shape, np.float32))
    assert str(shape) in str(error.value)
    assert "(3, 2)" in str(error.value)
    assert layer.x is None


@pytest.mark.parametrize("name", ["MatMul", "Affine"])
def test_a_number_is_no_input(name):
    layer, _ = fresh(name)
    with pytest.raises(ValueError, match=r"\(\)"):
        layer.forward(2.0)


def test_a_bias_that_does_not_fit_names_both_shapes():
    with pytest.raises(ValueError, match="b") as error:
        nnext.Affine(W, np.ones(3, np.float32)).forward(X)
    assert "(3,)" in str(error.value)
    assert "2" in str(error.value)


@pytest.mark.parametrize("shape", [(3,), (3, 2, 1), ()])
def test_weights_have_two_dimensions(shape):
    for layer in (nnext.MatMul, nnext.Embedding):
        with pytest.raises(ValueError, match="W"):
            layer(np.ones(shape, np.float32)).forward(np.zeros((1, 3), int))


@pytest.mark.parametrize("name", WITH_PARAMS)
@pytest.mark.parametrize("shape", [(4, 3), (3, 2), (4,), (8,), (1, 4, 2), (), (0, 2)])
def test_a_gradient_that_does_not_fit_is_refused_and_nothing_written(name, shape):
    layer, x = fresh(name)
    y = layer.forward(x)
    assert y.shape == (4, 2)
    with pytest.raises(ValueError, match="dout") as error:
        layer.backward(np.ones(shape, np.float32))
    assert str(shape) in str(error.value)
    assert "(4, 2)" in str(error.value)
    assert not any(g.any() for g in layer.grads)


@pytest.mark.parametrize("name", [*ACTIVATIONS, "Dropout"])
@pytest.mark.parametrize("shape", [(3, 4), (4,), (4, 1), (12,), ()])
def test_a_gradient_of_another_shape_than_the_output_is_refused(name, shape):
    layer = getattr(nnext, name)()
    layer.forward(X)
    with pytest.raises(ValueError, match="dout") as error:
        layer.backward(np.ones(shape, np.float32))
    assert str(shape) in str(error.value)
    assert "(4, 3)" in str(error.value)


@pytest.mark.parametrize("t", [[0, 1, 2], [0] * 5, np.zeros((4, 2), int), 1])
def test_labels_that_do_not_fit_name_both_shapes(t):
    layer = nnext.SoftmaxWithLoss()
    for function in (layer.forward, nnext.cross_entropy_error):
        with pytest.raises(ValueError, match=r"t: .*(4 x 3|\(4, 3\))") as error:
            function(X, t)
        assert str(np.shape(t)) in str(error.value)
    assert layer.y is None


def test_labels_of_a_sigmoid_have_the_shape_of_the_scores():
    layer = nnext.SigmoidWithLoss()
    for t in ([0, 1, 1, 0], np.zeros((3, 4)), np.zeros((4, 1))):
        with pytest.raises(ValueError, match="t") as error:
            layer.forward(X, t)
        assert str(np.shape(t)) in str(error.value)
        assert "(4, 3)" in str(error.value)
    assert layer.y is None


def test_softmax_of_a_number_is_refused():
    with pytest.raises(ValueError, match=r"\(\)|dimension"):
        nnext.softmax(1.0)
    with pytest.raises(ValueError, match=r"\(\)|dimension"):
        nnext.SoftmaxWithLoss().forward(1.0, 0)


# Types that cannot be used

BAD = {
    "complex128": np.ones((4, 3), complex),
    "object": np.full((4, 3), None),
    "<U1": np.full((4, 3), "a"),
    "datetime64": np.zeros((4, 3), "datetime64[s]"),
    "void|V4|\\[": np.zeros((4, 3), [("a", "f4")]),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_names_the_type_that_it_cannot_use(name, kind):
    with pytest.raises(TypeError, match=kind):
        getattr(nnext, name)(BAD[kind])


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", ["MatMul", "Affine", *ACTIVATIONS, "Dropout"])
def test_a_layer_names_the_type_that_it_cannot_use(name, kind):
    layer = fresh(name)[0] if name in WITH_PARAMS else getattr(nnext, name)()
    with pytest.raises(TypeError, match=kind):
        layer.forward(BAD[kind])
    with pytest.raises(RuntimeError, match="before"):  # the call left no trace
        layer.backward(X)


@pytest.mark.parametrize("kind", BAD)
def test_a_loss_names_the_type_that_it_cannot_use(kind):
    for layer in (nnext.SoftmaxWithLoss(), nnext.SigmoidWithLoss()):
        with pytest.raises(TypeError, match=kind):
            layer.forward(BAD[kind], X)
        with pytest.raises(TypeError, match=kind):
            layer.forward(X, BAD[kind])
        assert layer.y is layer.t is None
    with pytest.raises(TypeError, match=kind):
        nnext.cross_entropy_error(BAD[kind], X)


@pytest.mark.parametrize("x", [None, "text", object(), [[1.0, 2.0, "a"]], [1.0, None]])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_array_is_a_type_error(name, x):
    with pytest.raises(TypeError) as error:
        getattr(nnext, name)(x)
    assert "incompatible function arguments" not in str(error.value)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_of_different_lengths_are_refused(name):
    with pytest.raises((TypeError, ValueError)) as error:
        getattr(nnext, name)([[1.0, 2.0], [3.0]])
    assert "incompatible function arguments" not in str(error.value)


@pytest.mark.parametrize("name", WITH_PARAMS)
def test_a_gradient_of_a_bad_type_is_refused_and_nothing_written(name):
    layer, x = fresh(name)
    layer.forward(x)
    with pytest.raises(TypeError, match="complex128"):
        layer.backward(np.ones((4, 2), complex))
    assert not any(g.any() for g in layer.grads)


@pytest.mark.parametrize(
    "dtype", [np.int64, np.uint8, bool, complex, np.complex64, object, "V2", "U3", "M8[s]"]
)
def test_parameters_that_are_not_floats_cannot_be_trained(dtype):
    for make in (nnext.MatMul, nnext.Embedding):
        with pytest.raises(TypeError, match="floats, got one of") as error:
            make(np.zeros((3, 2), dtype))
        assert str(np.dtype(dtype)) in str(error.value)
    with pytest.raises(TypeError, match="b: expected a NumPy array of floats, got list"):
        nnext.Affine(W, [0.0, 0.0])


@pytest.mark.parametrize("t", [np.zeros(4, np.float32), np.zeros(4), [0.0, 1.0, 1.0, 0.0]])
def test_class_indices_are_integers(t):
    for function in (nnext.SoftmaxWithLoss().forward, nnext.cross_entropy_error):
        with pytest.raises(TypeError, match="float"):
            function(X, t)


def test_indices_of_an_embedding_are_integers():
    layer = nnext.Embedding(W)
    for idx in (np.zeros(3), [0.5], np.ones(3, complex), ["a"]):
        with pytest.raises(TypeError):
            layer.forward(idx)
    assert layer.idx is None


@pytest.mark.parametrize("dout", ["1", None, 1j, [1.0, 2.0]])
def test_the_gradient_of_a_loss_is_a_number(dout):
    for layer in (nnext.SoftmaxWithLoss(), nnext.SigmoidWithLoss()):
        layer.forward(X, np.eye(3)[[0, 1, 2, 0]])
        with pytest.raises(TypeError) as error:
            layer.backward(dout)
        assert "incompatible function arguments" not in str(error.value)


# Labels and indices out of range


@pytest.mark.parametrize(
    ("t", "row", "label"),
    [
        ([0, 1, 3, 0], 2, 3),
        ([0, -1, 0, 0], 1, -1),
        ([9, 1, 3, 0], 0, 9),
        ([0, 0, 0, -(2**62)], 3, -(2**62)),
    ],
)
@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint64])
def test_a_label_out_of_range_names_label_row_and_classes(t, row, label, kind):
    if not np.iinfo(kind).min <= label <= np.iinfo(kind).max:
        kind = np.int64
    layer = nnext.SoftmaxWithLoss()
    for function in (layer.forward, nnext.cross_entropy_error):
        with pytest.raises(IndexError) as error:
            function(X, np.array(t, kind))
        for part in (label, row, 3):
            assert str(part) in str(error.value)
    assert layer.y is layer.t is None


def test_an_unsigned_label_too_large_for_int64_is_not_wrapped():
    t = np.array([0, 2**64 - 1, 0, 0], np.uint64)
    with pytest.raises(IndexError, match=str(2**64 - 1)):
        nnext.SoftmaxWithLoss().forward(X, t)


@pytest.mark.parametrize("bad", [3, -1, 100, -(2**62)])
def test_an_index_out_of_range_names_it_and_the_rows(bad):
    layer = nnext.Embedding(W)
    with pytest.raises(IndexError) as error:
        layer.forward([[0, 1], [bad, 2]])
    assert str(bad) in str(error.value)
    assert "3" in str(error.value)
    assert layer.idx is None


# Empty batches


@pytest.mark.parametrize("name", [*WITH_PARAMS, *ACTIVATIONS, "Dropout"])
def test_an_empty_batch_gives_empty_arrays_and_zero_gradients(name):
    if name in WITH_PARAMS:
        layer, x = fresh(name)
    else:
        layer, x = getattr(nnext, name)(), X
    y = layer.forward(x[:0])
    assert y.shape[0] == 0
    for g in layer.grads:
        g[...] = 7
    dx = layer.backward(np.ones_like(y))
    assert dx is None or dx.shape == x[:0].shape
    assert not any(g.any() for g in layer.grads)


@pytest.mark.parametrize("t", [[], np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 3), int)])
def test_a_mean_loss_over_nothing_is_refused(t):
    for function in (nnext.SoftmaxWithLoss().forward, nnext.cross_entropy_error):
        with pytest.raises(ValueError, match=r"\(0, 3\)"):
            function(X[:0], t)
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        nnext.SigmoidWithLoss().forward(X[:0], np.zeros((0, 3)))


def test_no_classes_are_refused_where_a_label_is_needed():
    for t in ([0, 0, 0, 0], np.zeros((4, 0))):
        with pytest.raises((ValueError, IndexError)):
            nnext.SoftmaxWithLoss().forward(X[:, :0], t)


# Gradients that cannot be written


@pytest.mark.parametrize("name", WITH_PARAMS)
@pytest.mark.parametrize("which", [0, -1])
def test_a_read_only_gradient_is_refused_and_nothing_written(name, which):
    layer, x = fresh(name)
    y = layer.forward(x)
    layer.grads[which].flags.writeable = False
    with pytest.raises(ValueError, match=r"read-only|writ"):
        layer.backward(np.ones_like(y))
    assert not any(g.any() for g in layer.grads)


@pytest.mark.parametrize("name", ["MatMul", "Affine"])
@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (np.zeros((2, 3), np.float32), ValueError),
        (np.zeros(6, np.float32), ValueError),
        (np.zeros((3, 2), np.complex64), TypeError),
        (np.zeros((3, 2), np.int32), TypeError),
        ([[0.0, 0.0]] * 3, TypeError),
    ],
    ids=["transposed", "flat", "complex", "int32", "list"],
)
def test_a_gradient_array_that_does_not_fit_is_refused_and_nothing_written(name, bad, error):
    layer, x = fresh(name)
    y = layer.forward(x)
    layer.grads[0] = bad
    with pytest.raises(error, match="dW"):
        layer.backward(np.ones_like(y))
    assert not any(np.any(g) for g in layer.grads)


def test_a_gradient_table_that_does_not_fit_is_refused_and_nothing_written():
    layer, idx = fresh("Embedding")
    y = layer.forward(idx)
    for bad, error in [
        (np.zeros((3, 3), np.float32), ValueError),
        (np.zeros(6, np.float32), ValueError),
        (np.zeros((2, 2), np.float32), IndexError),  # the table has lost a row that is asked for
        (np.zeros((3, 2), np.int32), TypeError),
    ]:
        layer.grads[0] = bad
        with pytest.raises(error):
            layer.backward(np.ones_like(y))
        assert not bad.any()


# backward before forward


@pytest.mark.parametrize("name", [*WITH_PARAMS, *ACTIVATIONS, "Dropout"])
def test_backward_before_forward_says_so(name):
    layer = fresh(name)[0] if name in WITH_PARAMS else getattr(nnext, name)()
    message = rf"{name}\.backward was called before {name}\.forward"
    with pytest.raises(RuntimeError, match=message):
        layer.backward(np.ones((4, 2), np.float32))


@pytest.mark.parametrize("name", ["SoftmaxWithLoss", "SigmoidWithLoss"])
def test_backward_before_forward_of_a_loss_says_so(name):
    with pytest.raises(RuntimeError, match=rf"{name}\.backward was called before {name}\.forward"):
        getattr(nnext, name)().backward()


# A failed call leaves the last good one


def test_a_layer_remembers_the_last_call_that_succeeded():
    layer, x = fresh("Affine")
    y = layer.forward(x)
    with pytest.raises(ValueError, match="x"):
        layer.forward(np.ones((4, 9)))
    assert layer.x is x
    layer.backward(np.ones_like(y))

    loss = nnext.SoftmaxWithLoss()
    loss.forward(X, [0, 1, 2, 0])
    y, t = loss.y, loss.t
    with pytest.raises(IndexError):
        loss.forward(2 * X, [0, 1, 3, 0])
    assert loss.y is y
    assert loss.t is t


# Numbers of the constructors


@pytest.mark.parametrize("ratio", [1.0, -0.1, 2, float("nan"), float("inf")])
def test_a_dropout_ratio_outside_of_its_range_is_refused(ratio):
    with pytest.raises(ValueError, match=rf"dropout_ratio must be in \[0, 1\), not {ratio}"):
        nnext.Dropout(ratio)


@pytest.mark.parametrize("ratio", ["a", None, 1j, [0.5]])
def test_a_dropout_ratio_is_a_number(ratio):
    with pytest.raises(TypeError, match="dropout_ratio: expected a number, got "):
        nnext.Dropout(ratio)


# NaN and inf


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_special_values_never_stop_a_training_step(value, dtype):
    r = np.random.default_rng(0)
    model = nnext.Sequential(
        [
            nnext.Affine(r.standard_normal((3, 5)).astype(dtype), np.zeros(5, dtype)),
            nnext.ReLU(),
            nnext.MatMul(r.standard_normal((5, 4)).astype(dtype)),
        ]
    )
    x = r.standard_normal((6, 3)).astype(dtype)
    x[2, 1] = value
    model.forward(x, [0, 1, 2, 3, 0, 1])
    model.backward()
    nnext.Adam().update(model.params, model.grads)
    if np.isnan(value):
        assert all(np.isnan(p).any() for p in model.params)


def test_gradients_of_a_layer_that_share_memory_are_refused():
    layer = nnext.Affine(np.ones((3, 4)), np.zeros(4))
    memory = np.full((3, 4), 7.0)
    layer.grads = [memory, memory[0]]
    layer.forward(np.ones((2, 3)))
    with pytest.raises(ValueError, match="db and dW share memory"):
        layer.backward(np.ones((2, 4)))
    assert (memory == 7).all()
