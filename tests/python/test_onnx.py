"""Models as ONNX files, computed by onnxruntime; skipped where that is not installed."""

import os

import numpy as np
import pytest

from nnext import (
    GELU,
    AbsoluteError,
    Affine,
    AffineSoftmaxWithLoss,
    BatchNorm,
    Dropout,
    Embedding,
    Flatten,
    HuberLoss,
    LayerNorm,
    LeakyReLU,
    MatMul,
    PoissonLoss,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidWithLoss,
    SiLU,
    Softmax,
    SoftmaxWithLoss,
    SquaredError,
    Tanh,
    affine,
)

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from nnext.onnx import _LAYERS, _LOSSES, export  # noqa: E402 after what it is skipped without


def computed(path, x):
    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"x": x})
    return output, session.get_outputs()[0].name


def numbers(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def check(model, path, x, shape=None, rtol=1e-5):
    for output, own in (("scores", model.scores), ("probabilities", model.predict_proba)):
        export(model, path, shape or (None, *x.shape[1:]), output)
        y, name = computed(path, x)
        assert name == output
        assert y.dtype == own(x).dtype
        np.testing.assert_allclose(y, own(x), rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 7])
def test_every_layer_computes_the_same(tmp_path, dtype, rows):
    for layer in (affine(5, 3, seed=0, dtype=dtype), MatMul(numbers(5, 3, dtype=dtype)), ReLU(),
                  Sigmoid(), Softmax(), Tanh(), Dropout(0.5)):  # fmt: skip
        check(Sequential([layer]), tmp_path / "m",
              numbers(rows, 5, dtype=dtype if layer.params else "float32"))  # fmt: skip


@pytest.mark.parametrize(
    "layer", [LeakyReLU(0.25), SiLU(), GELU(), GELU("tanh"), Flatten()], ids=repr
)
def test_the_later_activations_compute_the_same(tmp_path, layer):
    check(Sequential([layer]), tmp_path / "m", 3 * numbers(7, 5), rtol=1e-4)
    if isinstance(layer, Flatten):
        check(Sequential([layer, affine(6, 2, seed=0)]), tmp_path / "m", numbers(4, 2, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(7, 5), (3, 2, 5), (2, 3, 2, 5)])
def test_normalizations_compute_the_same(tmp_path, shape, dtype):
    arrays = [numbers(5, dtype=dtype, seed=i) for i in range(4)]
    for layer in (LayerNorm(*arrays[:2], eps=0.1),
                  BatchNorm(*arrays[:3], arrays[3] ** 2, eps=0.1)):  # fmt: skip
        check(Sequential([layer]), tmp_path / "m", numbers(*shape, dtype=dtype, seed=9),
              shape=[None] * (len(shape) - 1) + [5])  # fmt: skip
    W = numbers(9, 5, dtype=dtype)
    wide = BatchNorm(*(np.tile(a, 2) for a in arrays[:2]))
    model = Sequential([Embedding(W), layer, Flatten(), wide])
    check(model, tmp_path / "m", np.arange(6).reshape(3, 2))


@pytest.mark.parametrize("loss", [SquaredError(), AbsoluteError(), HuberLoss(), PoissonLoss()])
def test_of_a_regression_the_scores_are_written(tmp_path, loss):
    model = Sequential([affine(5, 2, seed=0)], loss)
    x = numbers(7, 5)
    export(model, tmp_path / "m", (None, 5))
    np.testing.assert_allclose(computed(tmp_path / "m", x)[0], model.scores(x), rtol=1e-5)
    with pytest.raises(ValueError, match="knows no probabilities"):
        export(model, tmp_path / "other", (None, 5), output="probabilities")
    assert not (tmp_path / "other").exists()


def test_every_layer_and_loss_is_here():
    assert {kind.__name__ for kind in _LAYERS} == {
        "Affine", "BatchNorm", "Dropout", "Embedding", "Flatten", "GELU", "LayerNorm", "LeakyReLU",
        "MatMul", "ReLU", "SiLU", "Sigmoid", "Softmax", "Tanh",
    }  # fmt: skip
    assert {kind.__name__ for kind in _LOSSES} == {
        "AbsoluteError", "AffineSoftmaxWithLoss", "HuberLoss", "PoissonLoss", "SigmoidWithLoss",
        "SoftmaxWithLoss", "SquaredError",
    }  # fmt: skip


def test_biases_and_a_fixed_number_of_rows(tmp_path):
    model = Sequential([Affine(numbers(4, 3), numbers(3, seed=1)), ReLU(), affine(3, 2, seed=2)])
    check(model, tmp_path / "m", numbers(6, 4), shape=(6, 4))
    with pytest.raises(Exception, match="Got invalid dimensions"):
        computed(tmp_path / "m", numbers(5, 4))


def test_more_axes(tmp_path):
    check(Sequential([affine(4, 3, seed=0), Tanh()]), tmp_path / "m", numbers(2, 5, 4),
          shape=(None, None, 4))  # fmt: skip


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("bias", [False, True])
def test_losses_that_make_or_change_the_scores(tmp_path, softcap, bias):
    loss = AffineSoftmaxWithLoss(3 * numbers(4, 6), numbers(6) if bias else None, softcap=softcap)
    check(Sequential([Tanh()], loss), tmp_path / "m", numbers(5, 4), rtol=1e-4)
    check(Sequential([Tanh()], SoftmaxWithLoss(softcap=softcap)), tmp_path / "m", numbers(5, 4))
    check(Sequential([Tanh()], SigmoidWithLoss()), tmp_path / "m", numbers(5, 4))


def test_words_and_a_shared_weight_which_is_stored_once(tmp_path):
    E = numbers(9, 4)
    model = Sequential([Embedding(E), Tanh()], AffineSoftmaxWithLoss(E.T))
    check(model, tmp_path / "m", np.arange(6).reshape(2, 3))
    stored = onnx.load(tmp_path / "m")
    assert [array.name for array in stored.graph.initializer] == ["layers.0.W"]
    assert stored.producer_name == "nnext"
    onnx.checker.check_model(stored, full_check=True)


def test_a_file_is_the_same_each_time(tmp_path):
    for name in "ab":
        export(Sequential([affine(4, 3, seed=0)]), tmp_path / name, (None, 4))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_cannot_be_written_is_refused_and_nothing_is_written(tmp_path):
    class Own(ReLU):
        pass

    class OwnLoss(SoftmaxWithLoss):
        pass

    model = Sequential([affine(4, 3)])
    for bad, shape, options, error, match in [
        (model.layers[0], (None, 4), {}, TypeError, "expected a Sequential, got Affine"),
        (Sequential([Own()]), (None, 4), {}, TypeError, r"layers\.0: Own is a layer that ONNX"),
        (Sequential([ReLU()], OwnLoss()), (None, 4), {}, TypeError, "loss_layer: OwnLoss"),
        (Sequential([affine(4, 3, dtype="float16")]), (None, 4), {}, TypeError, "got float16"),
        (Sequential([affine(4, 3), affine(3, 2, dtype="float64")]), (None, 4), {}, TypeError,
         "got float32, float64"),
        (model, (0, 4), {}, ValueError, r"input_shape\[0\]: expected a length of at least 1"),
        (model, (None, 4.0), {}, TypeError, r"input_shape\[1\]: expected a whole number or None"),
        (model, (None, 4), {"output": "loss"}, ValueError, 'output: expected "scores"'),
    ]:  # fmt: skip
        with pytest.raises(error, match=match):
            export(bad, tmp_path / "m", shape, **options)
    with pytest.raises(ValueError, match=r"x has shape|columns|\(1, 5\)"):
        export(model, tmp_path / "m", (None, 5))
    assert not list(tmp_path.iterdir())
