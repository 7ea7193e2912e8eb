"""What users do wrong with models and layers, and what they are told."""

import numpy as np
import pytest

import nnext
import reference as ref
from nnext import Affine, Dropout, Embedding, MatMul, ReLU, Sequential, TwoLayerNet, affine


class Sparse:
    """What a sparse matrix of SciPy looks like."""

    shape = (2, 2)

    def toarray(self):
        return np.eye(2)


def test_layers_stand_in_a_list():
    with pytest.raises(TypeError, match=r"layers: expected a list .*Affine\(2, 3\): Sequential"):
        Sequential(affine(2, 3), ReLU())
    with pytest.raises(TypeError, match="layers: expected a list of layers, got the class ReLU"):
        Sequential(ReLU)


def test_losses_and_layers_have_their_places():
    for loss in (nnext.SoftmaxWithLoss(), nnext.SigmoidWithLoss()):
        name = type(loss).__name__
        with pytest.raises(TypeError, match=rf"layers\[1\]: the forward of {name}\(.* is a loss"):
            Sequential([affine(2, 3), loss])
    with pytest.raises(TypeError, match=r"loss: the forward of ReLU\(\) takes 1 inputs; a loss"):
        Sequential([affine(2, 3)], ReLU())
    with pytest.raises(TypeError, match=r"layers\[0\]: the forward of Add\(\) takes 2 inputs; in"):
        Sequential([nnext.nodes.Add()])


def test_one_array_goes_into_a_model():
    model = Sequential([affine(2, 3, seed=0)])
    uses = [model.scores, model.predict, lambda x: model.forward(x, [0]),
            lambda x: model.loss(x, [0, 1])]  # fmt: skip
    for use in uses:
        with pytest.raises(TypeError, match=r"x: .* sparse Sparse; x\.toarray\(\) is an array"):
            use(Sparse())
        with pytest.raises(TypeError, match="x: expected one array, got a tuple of 2"):
            use((np.ones((2, 2)), np.ones((2, 2))))
    np.testing.assert_array_equal(model.scores(([1.0, 2.0],)), model.scores([[1.0, 2.0]]))


@pytest.mark.parametrize("shape", [(), (3,), (3, 2, 1)])
def test_weights_are_a_matrix_from_the_start(shape):
    W = np.ones(shape)
    for make in (MatMul, Embedding, lambda W: Affine(W, np.ones(2))):
        with pytest.raises(ValueError, match=r"W: expected a matrix") as error:
            make(W)
        assert str(shape) in str(error.value)


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (1, 2), (0,)])
def test_a_bias_has_a_number_for_each_column_from_the_start(shape):
    with pytest.raises(ValueError, match=r"b: expected shape \(2,\), .* W \(3, 2\)") as error:
        Affine(np.ones((3, 2)), np.ones(shape))
    assert f"got shape {shape}" in str(error.value)


def test_where_the_weights_of_affine_come_from():
    np.random.seed(3)
    drawn = affine(2, 3, weight_scale=1, dtype="float64").params[0]
    np.random.seed(3)
    np.testing.assert_array_equal(drawn, np.random.randn(2, 3))  # as the book draws
    rng = np.random.RandomState(3)
    for layer in (affine(2, 3, rng), affine(2, 3, seed=3),
                  affine(2, 3, rng=np.random.RandomState(3))):  # fmt: skip
        np.testing.assert_array_equal(layer.params[0], drawn.astype(np.float32))
    assert nnext.affine is nnext.models.affine is nnext.init.affine
    with pytest.raises(TypeError, match=r"rng: expected .*Generator, got 0; .*: seed=0"):
        affine(2, 3, 0)
    with pytest.raises(TypeError, match=r"rng: expected .*Generator, got 'a'$"):
        affine(2, 3, "a")
    with pytest.raises(ValueError, match="expected rng or seed, got both"):
        affine(2, 3, rng, seed=0)


@pytest.mark.parametrize("scale", [-1, -0.1, float("nan"), float("inf")])
def test_a_scale_of_weights_is_finite_and_not_negative(scale):
    makers = (lambda: affine(2, 3, weight_scale=scale),
              lambda: TwoLayerNet(2, 3, 2, weight_scale=scale))  # fmt: skip
    for make in makers:
        with pytest.raises(ValueError, match=rf"weight_scale: expected .*, got {scale}"):
            make()
    with pytest.raises(TypeError, match="weight_scale: expected a number, got str"):
        affine(2, 3, weight_scale="a")
    assert not affine(2, 3, weight_scale=0).params[0].any()


@pytest.mark.parametrize("sizes", [(0, 3, 2), (2, 0, 2), (2, 3, 0)])
def test_the_sizes_of_a_net_are_named(sizes):
    name = ("input_size", "hidden_size", "output_size")[sizes.index(0)]
    with pytest.raises(ValueError, match=f"{name}: expected a whole number of at least 1, got 0"):
        TwoLayerNet(*sizes)


@pytest.mark.parametrize("seed", [1.5, np.float64(2), True, "a", [1]])
def test_the_seed_of_dropout_is_a_whole_number_from_the_start(seed):
    with pytest.raises(TypeError, match="seed: expected a whole number or None, got "):
        Dropout(0.5, seed=seed)


def test_numpys_integers_are_seeds():
    x = np.ones(64)
    layer = Dropout(0.5, seed=np.uint8(7))
    assert type(layer.seed) is int
    np.testing.assert_array_equal(layer.forward(x), Dropout(0.5, seed=7).forward(x))


@pytest.mark.parametrize("x", [None, "a", [None], [1j], [[1], [2j]]])
@pytest.mark.parametrize("train_flg", [True, False])
def test_dropout_takes_numbers_in_inference_too(x, train_flg):
    layer = Dropout(0.5, seed=0)
    with pytest.raises(TypeError, match=r"^x: "):
        layer.forward(x, train_flg=train_flg)
    with pytest.raises(RuntimeError, match="before"):
        layer.backward([1.0])


@pytest.mark.parametrize("kind", [bool, np.int32, np.uint8, *ref.HALVES, *ref.FLOATS])
def test_dropout_gives_the_same_type_in_both_modes(kind):
    layer, x = Dropout(0.5, seed=0), np.ones(3, kind)
    assert layer.forward(x, train_flg=False).dtype == layer.forward(x, train_flg=True).dtype


# What is shown


def test_layers_and_nodes_show_their_sizes_and_options():
    W = np.ones((64, 128))
    shown = {
        "Affine(64, 128)": Affine(W, np.ones(128)),
        "MatMul(64, 128)": MatMul(W),
        "Embedding(64, 128)": Embedding(W),
        "Dropout(0.2)": Dropout(0.2),
        "ReLU()": ReLU(),
        "LeakyReLU(0.01)": nnext.LeakyReLU(),
        "LeakyReLU(0.123456789)": nnext.LeakyReLU(negative_slope=np.float64(0.123456789)),
        "GELU()": nnext.GELU(),
        "GELU(approximate='tanh')": nnext.GELU(approximate="tanh"),
        "SiLU()": nnext.SiLU(),
        "Flatten()": nnext.Flatten(),
        "LayerNorm(64)": nnext.layer_norm(64),
        "BatchNorm(64)": nnext.batch_norm(64),
        "Branch(3)": nnext.nodes.Branch(3),
        "Repeat(3)": nnext.nodes.Repeat(3),
        "Repeat(3, axis=1)": nnext.nodes.Repeat(3, 1),
        "Sum()": nnext.nodes.Sum(),
        "Sum(axis=1)": nnext.nodes.Sum(1),
        "Sum(keepdims=False)": nnext.nodes.Sum(keepdims=False),
        "Sum(axis=-1, keepdims=False)": nnext.nodes.Sum(-1, False),
        "Add()": nnext.nodes.Add(),
    }
    assert {repr(layer): layer for layer in shown.values()} == shown


def test_a_model_shows_its_layers_and_how_many_parameters_it_has():
    class Own:
        params, grads = (), ()

        def forward(self, x):
            return x

        backward = forward

    W = np.ones((4, 4), np.float32)
    model = Sequential([affine(4, 4, seed=0), Own(), MatMul(W), Dropout(0.2), MatMul(W.T)])
    assert repr(model).splitlines() == [
        "Sequential(",
        "  0: Affine(4, 4)          20",
        "  1: Own",
        "  2: MatMul(4, 4)          16",
        "  3: Dropout(0.2)",
        "  4: MatMul(4, 4)          16",
        "  loss: SoftmaxWithLoss()",
        ")  36 parameters, type float32",
    ]
    assert repr(TwoLayerNet(2, 3, 2, seed=0)).startswith("TwoLayerNet(\n  0: Affine(2, 3)")


def test_a_chain_is_a_sequence_of_its_layers():
    layers = [affine(2, 3, seed=0), ReLU(), affine(3, 2, seed=1)]
    model = Sequential(layers)
    assert len(model) == 3
    assert list(model) == layers
    assert model[0] is layers[0]
    assert model[-1] is layers[2]
    assert model[:2] == layers[:2]
    with pytest.raises(IndexError):
        model[3]
    x = np.ones((1, 2), np.float32)
    np.testing.assert_array_equal(model(x), model.scores(x))


# The type that is computed in


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">f8", ">f4"])
def test_a_model_computes_in_the_type_of_its_parameters(dtype, kind):
    seen = []

    class Spy(ReLU):
        def forward(self, x):
            seen.append(x.dtype)
            return super().forward(x)

    model = Sequential([Spy(), affine(3, 2, seed=0, dtype=dtype)])
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(kind)
    t = [0, 1, 0, 1]
    assert model.scores(x).dtype == dtype
    assert model.predict_proba(x).dtype == dtype
    np.testing.assert_array_equal(model.scores(x), model.scores(x.astype(dtype)))
    assert model.forward(x, t) == model.forward(x.astype(dtype), t)
    assert model.loss(x, t) == pytest.approx(model.forward(x, t))
    assert set(seen) == {np.dtype(dtype)}
    assert model.summary().splitlines()[-1].split()[1] == dtype


def test_indices_stay_integers_and_mixed_parameters_follow_numpys_promotion():
    model = Sequential([Embedding(np.ones((5, 3), np.float32)), affine(3, 2, seed=0)])
    index = np.array([[0, 4]])
    model.scores(index)
    assert model.layers[0].idx is index
    first, last = affine(3, 2, seed=0), affine(2, 2, seed=0, dtype="float64")
    assert Sequential([first, last]).scores(np.ones((1, 3), np.float32)).dtype == np.float64
    x = np.ones((1, 3))
    mixed = Sequential([first, last])
    mixed.scores(x)
    assert mixed.layers[0].x is x  # not cast
    assert Sequential([ReLU()]).scores(np.float32([1.5])).dtype == np.float32
    assert affine(3, 2, seed=0).forward(x).dtype == np.float64  # a layer alone
