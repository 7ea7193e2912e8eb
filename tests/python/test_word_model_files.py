"""Models of words in files: what comes back goes on as the saved one would have."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save

import nnext
import reference as ref
from nnext import _registry as registry
from nnext.layers import Embedding
from nnext.models import Sequential
from nnext.negative_sampling import NegativeSamplingLoss
from nnext.optimizer import SGD, Adam
from nnext.trainer import Trainer
from word_batches import CORPUS, SAMPLED, SIMPLE, V, small


def text_of(path):
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["nnext"])


def write(path, arrays, text):
    path.write_bytes(save(arrays, metadata={"nnext": json.dumps(text)}))


def train(model, *batch):
    losses = []
    for _ in range(4):
        losses.append(model.forward(*batch))
        model.backward()
        SGD(lr=0.5).update(model.params, model.grads)
    return losses


@pytest.mark.parametrize("dtype", [*ref.FLOATS, *ref.HALVES])
@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_a_loaded_model_goes_on_as_the_saved_one(kind, dtype, tmp_path):
    model, *batch = small(kind, seed=0, dtype=dtype)
    train(model, *batch)
    model.save(tmp_path / "model")
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    loaded = nnext.load_model(tmp_path / "model")
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert type(loaded) is kind
    assert loaded.config() == model.config()
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert loaded.word_vecs is loaded.params[0]
    assert train(loaded, *batch) == train(model, *batch)
    for p, q in zip([*model.params, *model.buffers], [*loaded.params, *loaded.buffers],
                    strict=True):  # fmt: skip
        ref.assert_same_bits(q, p)


@pytest.mark.parametrize("kind", SAMPLED)
def test_its_options_come_back(kind, tmp_path):
    model, *batch = small(kind, window=2, seed=0, sample_size=3)
    model.forward(*batch)
    model.save(tmp_path / "model")
    assert sorted(load_file(tmp_path / "model")) == [
        "in_layer.W", "loss_layer.W", "loss_layer.counts",
    ]  # fmt: skip
    loaded = nnext.load_model(tmp_path / "model")
    assert loaded.window_size == 2
    assert loaded.loss_layer.config() == model.loss_layer.config()
    assert loaded.loss_layer.offset == 1
    ref.assert_same_bits(loaded.loss_layer.sampler.word_p, model.loss_layer.sampler.word_p)
    assert registry.describe(loaded) == registry.describe(model)


@pytest.mark.parametrize("kind", SAMPLED)
def test_a_checkpoint_has_the_model(kind, tmp_path):
    model, *batch = small(kind, seed=0)
    trainer = Trainer(model, Adam(), seed=0)
    trainer.fit(*batch, 2, 3, progress="none")
    trainer.save_checkpoint(tmp_path / "run")
    loaded = nnext.load_model(tmp_path / "run")
    assert loaded.forward(*batch) == model.forward(*batch)


def test_a_chain_with_this_loss_is_stored(tmp_path):
    W = ref.normal(np.float32, 7, 5)
    loss = NegativeSamplingLoss(W.copy(), CORPUS, 0.5, 3, seed=2**62)
    model = Sequential([Embedding(W.copy())], loss)
    model.forward([0, 1, 2], [[1, 2], [0, 2], [1, 3]])
    model.save(tmp_path / "model")
    loaded = nnext.load_model(tmp_path / "model")
    assert loaded.loss_layer.config() == {
        "power": 0.5, "sample_size": 3, "seed": 2**62, "offset": 1,
    }  # fmt: skip
    batch = [4, 5, 6], [3, 1, 5]
    assert loaded.forward(*batch) == model.forward(*batch)
    np.testing.assert_array_equal(loaded.loss_layer.idx, model.loss_layer.idx)


HOSTILE = {
    "below 0": (np.array([1, 2, -1, 1, 1, 1, 1]), r"counts\[2\] is -1"),
    "NaN": (np.full(V, np.nan), "counts: expected whole numbers, got type float64"),
    "floats": (np.ones(V), "counts: expected whole numbers, got type float64"),
    "too few": (np.ones(V - 1, int), r"counts: expected shape \(7,\)"),
    "too many": (np.ones(V + 1, int), r"counts: expected shape \(7,\)"),
    "a matrix": (np.ones((V, 1), int), r"counts: expected shape \(7,\)"),
    "zeros": (np.zeros(V, int), "counts: expected at least one word that occurs"),
    "of few words": (np.array([9, 9, 0, 0, 0, 0, 0]), "sample_size: expected fewer than the 2"),
    "of another type": (np.ones(V, np.int32), "loss_layer.counts: expected int64"),
    "missing": (None, "there is no array loss_layer.counts"),
}


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("kind", SAMPLED)
def test_counts_that_are_none_are_refused(kind, hostile, tmp_path):
    counts, message = HOSTILE[hostile]
    small(kind)[0].save(tmp_path / "model")
    arrays, text = load_file(tmp_path / "model"), text_of(tmp_path / "model")
    del arrays["loss_layer.counts"]
    if counts is not None:
        arrays["loss_layer.counts"] = counts
    write(tmp_path / "wrong", arrays, text)
    with pytest.raises(ValueError, match=rf"wrong: (.|\n)*{message}"):
        nnext.load_model(tmp_path / "wrong")


@pytest.mark.parametrize("hostile", [name for name in HOSTILE if name != "of another type"])
def test_those_of_a_chain_are_too(hostile, tmp_path):
    counts, message = HOSTILE[hostile]
    W = np.ones((V, 2), np.float32)
    Sequential([Embedding(W)], NegativeSamplingLoss(W.copy(), CORPUS)).save(tmp_path / "model")
    arrays, text = load_file(tmp_path / "model"), text_of(tmp_path / "model")
    del arrays["loss_layer.counts"]
    if counts is not None:
        arrays["loss_layer.counts"] = counts
    write(tmp_path / "wrong", arrays, text)
    with pytest.raises(ValueError, match=rf"wrong: (.|\n)*{message}"):
        nnext.load_model(tmp_path / "wrong")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("window_size", 0),
        ("window_size", 2**70),
        ("window_size", "1"),
        ("sample_size", 0),
        ("sample_size", 2**62),
        ("vocab_size", 2**40),
        ("hidden_size", 2**40),
        ("counts", [1] * V),
        ("corpus", [1] * V),
        ("seed", 1),
        ("unknown", 1),
    ],
)
@pytest.mark.parametrize("kind", SAMPLED)
def test_options_that_are_none_are_refused(kind, option, value, tmp_path):
    small(kind)[0].save(tmp_path / "model")
    text = text_of(tmp_path / "model")
    text["model"]["config"][option] = value
    write(tmp_path / "wrong", load_file(tmp_path / "model"), text)
    with pytest.raises(ValueError, match=r"wrong: "):
        nnext.load_model(tmp_path / "wrong")
