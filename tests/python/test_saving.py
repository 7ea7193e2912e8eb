"""Models in files: what comes back, and what is refused of a file that may come from anybody."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from ml_dtypes import bfloat16
from safetensors.numpy import load_file

import nnext
import saved_files
from nnext import (
    Affine,
    AffineSoftmaxWithLoss,
    BatchNorm,
    Dropout,
    Embedding,
    MatMul,
    ReLU,
    Sequential,
    Sigmoid,
    SigmoidWithLoss,
    Softmax,
    SoftmaxWithLoss,
    Tanh,
    TwoLayerNet,
    affine,
    load_model,
)
from nnext import _registry as registry
from nnext.layers import (
    GELU,
    AbsoluteError,
    Flatten,
    HuberLoss,
    LayerNorm,
    LeakyReLU,
    PoissonLoss,
    SiLU,
    SquaredError,
)
from nnext.negative_sampling import EmbeddingDot, NegativeSamplingLoss
from nnext.nodes import Add, Branch, Multiply, Repeat, Sum
from nnext.time_layers import (
    Simple_TimeAffine,
    TimeAffine,
    TimeBiLSTM,
    TimeDropout,
    TimeEmbedding,
    TimeGRU,
    TimeLSTM,
    TimeRNN,
    TimeSigmoidWithLoss,
    TimeSoftmaxWithLoss,
)

W = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
OPTIONS = {
    "reduction": "sum", "ignore_label": -1, "label_smoothing": 0.1, "class_weight": [0.1, 2, 1e-7],
    "z_loss": 1e-4, "softcap": 12.5,
}  # fmt: skip


def recurrent_weights(gates, biases) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    half = np.float32(0.5)
    return np.full((2, gates), half), np.full((1, gates), half), np.full(biases, half)


# Of every layer that files know, one with all options off their defaults.
LAYERS = {
    "AbsoluteError": lambda: AbsoluteError(reduction="sum"),
    "Add": lambda: Add(),
    "Affine": lambda: Affine(W.copy(), W[0].copy()),
    "AffineSoftmaxWithLoss": lambda: AffineSoftmaxWithLoss(W.copy(), W[0].copy(), **OPTIONS),
    "BatchNorm": lambda: BatchNorm(
        W[0].copy(), W[1].copy(), W[0] * 2, W[1] * 2, momentum=0.5, eps=0.125
    ),
    "Branch": lambda: Branch(3),
    "Dropout": lambda: Dropout(0.125, seed=2**63 - 2, offset=2**40),
    "Embedding": lambda: Embedding(W.copy(), padding_idx=1),
    "EmbeddingDot": lambda: EmbeddingDot(W.copy()),
    "Flatten": lambda: Flatten(),
    "GELU": lambda: GELU("tanh"),
    "HuberLoss": lambda: HuberLoss(0.3),
    "PoissonLoss": lambda: PoissonLoss(),
    "SquaredError": lambda: SquaredError(),
    "LayerNorm": lambda: LayerNorm(W[0].copy(), W[1].copy(), eps=0.125),
    "LeakyReLU": lambda: LeakyReLU(0.25),
    "SiLU": lambda: SiLU(),
    "MatMul": lambda: MatMul(W.copy()),
    "Multiply": lambda: Multiply(),
    "NegativeSamplingLoss": lambda: NegativeSamplingLoss(
        W.copy(), [0, 2, 2], 0.5, 1, seed=2**63 - 2, offset=2**40
    ),
    "ReLU": lambda: ReLU(),
    "Repeat": lambda: Repeat(2, axis=-1),
    "Sigmoid": lambda: Sigmoid(),
    "SigmoidWithLoss": lambda: SigmoidWithLoss(pos_weight=[1.5, 0.1]),
    "Simple_TimeAffine": lambda: Simple_TimeAffine(W.copy(), W[0].copy()),
    "Softmax": lambda: Softmax(),
    "SoftmaxWithLoss": lambda: SoftmaxWithLoss(**OPTIONS),
    "Sum": lambda: Sum(axis=-1, keepdims=False),
    "Tanh": lambda: Tanh(),
    "TimeAffine": lambda: TimeAffine(W.copy(), W[0].copy()),
    "TimeBiLSTM": lambda: TimeBiLSTM(
        *recurrent_weights(4, 4), *recurrent_weights(4, 4), stateful=True
    ),
    "TimeDropout": lambda: TimeDropout(0.125),
    "TimeEmbedding": lambda: TimeEmbedding(W.copy(), padding_idx=1),
    "TimeGRU": lambda: TimeGRU(*recurrent_weights(3, 4), stateful=True, reset_after=True),
    "TimeLSTM": lambda: TimeLSTM(*recurrent_weights(4, 4), stateful=True),
    "TimeRNN": lambda: TimeRNN(*recurrent_weights(1, 1), stateful=True),
    "TimeSigmoidWithLoss": lambda: TimeSigmoidWithLoss(pos_weight=[1.5, 0.1]),
    "TimeSoftmaxWithLoss": lambda: TimeSoftmaxWithLoss(**{**OPTIONS, "ignore_label": 2}),
}


def make_model(dtype="float32"):
    return Sequential([affine(4, 3, seed=0, dtype=dtype), ReLU(), Dropout(0.5, seed=1),
                       affine(3, 2, seed=2, dtype=dtype)])  # fmt: skip


# What comes back


def test_every_layer_that_files_know_is_here():
    assert LAYERS.keys() == registry._LAYERS.keys()


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_comes_back_with_its_options(tmp_path, name):
    layer = LAYERS[name]()
    model = Sequential([ReLU()])  # a chain checks how many inputs a layer takes: nodes have two
    is_loss = hasattr(layer, "evaluate")
    if is_loss:
        model = Sequential([ReLU()], layer)
    else:
        model.layers.append(layer)
        model.params += layer.params
        model.grads += layer.grads
    if name in ("Add", "EmbeddingDot", "Multiply"):
        with pytest.raises(TypeError, match="takes 2 inputs"):
            Sequential([layer])
        assert type(layer)(*layer.params, **layer.config()).config() == layer.config()
        return
    model.save(tmp_path / "m")
    back = load_model(tmp_path / "m")
    saved_files.check_equal(model, back)
    other = back.loss_layer if is_loss else back.layers[1]
    assert type(other) is type(layer)
    assert other.config() == layer.config()
    buffers = dict(zip(layer.buffer_names, layer.buffers, strict=True))
    assert type(layer)(*layer.params, **buffers, **layer.config()).config() == layer.config()
    if hasattr(layer, "options"):
        assert other.options == layer.options


def test_a_model_computes_and_trains_to_the_same_bits(tmp_path):
    model = make_model()
    x = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    t = np.arange(20) % 2
    model.forward(x, t)  # dropout moves on
    model.save(tmp_path / "m")
    back = load_model(tmp_path / "m")
    assert back.layers[2].offset == 60
    for _ in range(3):
        losses = {m.forward(x, t) for m in (model, back)}
        assert len(losses) == 1
        for m in (model, back):
            m.backward()
            nnext.SGD(lr=0.1).update(m.params, m.grads)
    saved_files.check_equal(model, back)


@pytest.mark.parametrize("dtype", ["float16", bfloat16, "float32", "float64", ">f4", ">f8"])
def test_types_come_back(tmp_path, dtype):
    if isinstance(dtype, str) and dtype.startswith(">"):
        model = Sequential([MatMul(W.astype(dtype))])
    else:
        model = make_model(dtype)
    model.save(tmp_path / "m")
    back = load_model(tmp_path / "m")
    for p, q in zip(model.params, back.params, strict=True):
        assert q.dtype == p.dtype.newbyteorder("=")
        assert q.dtype.isnative
        np.testing.assert_array_equal(p, q)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (4, 6)])
def test_shapes_and_strides_come_back(tmp_path, shape):
    rng = np.random.default_rng(0)
    for array in (rng.standard_normal(shape), rng.standard_normal(shape[::-1]).T,
                  rng.standard_normal((2 * shape[0], 2 * shape[1]))[::-2, ::2]):  # fmt: skip
        Sequential([MatMul(array)]).save(tmp_path / "m")
        np.testing.assert_array_equal(load_model(tmp_path / "m").params[0], array)


def test_special_numbers_come_back(tmp_path):
    array = np.array([[np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7e308]])
    Sequential([MatMul(array)]).save(tmp_path / "m")
    assert load_model(tmp_path / "m").params[0].tobytes() == array.tobytes()


@pytest.mark.parametrize("transposed", [False, True])
def test_shared_weights_are_stored_once_and_shared_again(tmp_path, transposed):
    E = W.copy()
    loss = AffineSoftmaxWithLoss(E.T if transposed else E)
    model = Sequential([Embedding(E), MatMul(W + 1)], loss)
    model.save(tmp_path / "m")
    assert sorted(load_file(tmp_path / "m")) == ["layers.0.W", "layers.1.W"]
    back = load_model(tmp_path / "m")
    saved_files.check_equal(model, back)
    back.params[0][0, 1] = 77
    assert back.loss_layer.params[0][(1, 0) if transposed else (0, 1)] == 77


def test_a_two_layer_net_is_one_again(tmp_path):
    model = TwoLayerNet(2, 3, 4, seed=0)
    state = np.random.get_state()[1].copy()
    model.save(tmp_path / "m")
    saved_files.check_equal(model, load_model(tmp_path / "m"))
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # nothing was drawn


def test_a_model_without_parameters_and_a_path_of_bytes(tmp_path):
    model = Sequential([ReLU()])
    model.save(os.fsencode(tmp_path / "m"))
    saved_files.check_equal(model, load_model(os.fsencode(tmp_path / "m")))


def test_a_file_is_the_same_each_time(tmp_path):
    for name in "ab":
        make_model().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_programs_read_the_arrays_by_readable_names(tmp_path):
    model = make_model()
    model.save(tmp_path / "m")
    arrays = load_file(tmp_path / "m")
    assert sorted(arrays) == ["layers.0.W", "layers.0.b", "layers.3.W", "layers.3.b"]
    other = make_model()
    other.params[0][...] = 0
    other.load_state_dict(arrays)
    saved_files.check_equal(model, other)


@pytest.mark.parametrize("name", saved_files.NAMES)
def test_a_file_of_an_earlier_version_is_read(name):
    model, back = saved_files.stored_model(name), load_model(saved_files.model_file(name))
    saved_files.check_equal(model, back)
    assert np.shares_memory(back.params[0], back.loss_layer.params[0])
    assert back.layers[3].config() == {"dropout_ratio": 0.25, "seed": 2**62 + 1, "offset": 1234}
    assert back.loss_layer.options == model.loss_layer.options
    of_norms = [] if name == "1" else ["float64", "float64", "float32", "float32"]
    assert [p.dtype.name for p in back.params] == [
        "float32", "bfloat16", *of_norms, "float16", "float16", "float32", "float64",
    ]  # fmt: skip
    assert back.layers[1].axis == -2
    assert [type(layer) for layer in back.layers] == [type(layer) for layer in model.layers]
    for layer, stored in zip(model.layers, back.layers, strict=True):
        assert getattr(layer, "config", dict)() == getattr(stored, "config", dict)()


# What is written


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m"
    make_model().save(path)
    before = path.read_bytes()

    def fail(*arguments, **options):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        make_model("float64").save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["m"]


def in_a_process(code, *arguments):
    return subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_without_the_packages_the_message_says_how_to_install_them(tmp_path):
    Sequential([MatMul(np.ones((2, 2), bfloat16))]).save(tmp_path / "m")
    code = """
        import sys
        absent = sys.argv[2].split(",")
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name in absent:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Absent())
        import nnext
        for use in (lambda: nnext.load_model(sys.argv[1]),
                    lambda: nnext.TwoLayerNet(2, 3, 4).save(sys.argv[1] + "2")):
            try:
                use()
            except ImportError as error:
                print(error)
    """
    done = in_a_process(code, tmp_path / "m", "safetensors")
    needs = 'needs safetensors, which is not installed: pip install "nnext-core[files]"'
    assert f"load_model {needs}" in done.stdout, done.stderr
    assert "model.save needs safetensors" in done.stdout
    done = in_a_process(code, tmp_path / "m", "ml_dtypes")
    assert "layers.0.W is of type bfloat16, which needs ml_dtypes: pip install" in done.stdout


def test_importing_nnext_brings_no_package_that_files_need():
    code = """
        import sys, nnext
        print(sorted({"safetensors", "zipfile", "ml_dtypes"} & sys.modules.keys()))
    """
    assert in_a_process(code).stdout.strip() == "[]"
