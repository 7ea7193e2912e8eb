"""How often words occur, by which wrong ones are drawn: of a text, or counted before."""

import copy
import io
import pickle
import tracemalloc

import joblib
import numpy as np
import pytest

import nnext
import reference as ref
from nnext.models import CBOW
from nnext.negative_sampling import NegativeSamplingLoss, UnigramSampler
from word_batches import CORPUS, SAMPLED

COUNTS = [1, 2, 1, 1, 1, 1, 1]


def words(layer, rows=20):
    """Return the words that a layer draws next."""
    layer.forward(np.ones((rows, layer.params[0].shape[1])), np.arange(rows) % 7)
    return layer.idx


def joblib_copy(thing):
    buffer = io.BytesIO()
    joblib.dump(thing, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.uint64])
def test_counts_take_the_place_of_a_text(dtype):
    counts = np.array(COUNTS, dtype)
    sampler = UnigramSampler(counts=counts, rng=np.random.default_rng(0))
    same = UnigramSampler(CORPUS, rng=np.random.default_rng(0))
    ref.assert_same_bits(sampler.word_p, same.word_p)
    ref.assert_same_bits(sampler.counts, np.array(COUNTS))
    assert not np.shares_memory(sampler.counts, counts)
    drawn = [s.get_negative_sample(CORPUS) for s in (sampler, same)]
    np.testing.assert_array_equal(*drawn)
    losses = (
        NegativeSamplingLoss(np.ones((7, 2)), CORPUS, seed=0),
        NegativeSamplingLoss(np.ones((7, 2)), counts=counts, seed=0),
    )
    np.testing.assert_array_equal(*map(words, losses))
    ref.assert_same_bits(losses[0].buffers[0], np.array(COUNTS))


@pytest.mark.parametrize("kind", SAMPLED)
def test_a_model_is_made_of_either(kind):
    batch = np.array([[0, 2], [1, 3]]), np.array([1, 2])
    models = kind(7, 3, 1, CORPUS, seed=0), kind(7, 3, 1, counts=COUNTS, seed=0)
    assert models[0].forward(*batch) == models[1].forward(*batch)
    for given in ({}, {"corpus": CORPUS, "counts": COUNTS}):
        with pytest.raises(ValueError, match=r"expected corpus or counts, got (neither|both)"):
            kind(7, 3, 1, **given)
    with pytest.raises(ValueError, match=r"counts: expected shape \(8,\), a number for each word"):
        kind(8, 3, 1, counts=COUNTS)


WRONG_COUNTS = {
    "below 0": ([3, -1, 2], ValueError, rf"numbers from 0 to {2**63 - 1}, counts\[1\] is -1"),
    "beyond 64 bits": (np.array([1, 2**63], np.uint64), ValueError, rf"counts\[1\] is {2**63}"),
    "NaN": ([1.0, np.nan], TypeError, "expected whole numbers, got type float64"),
    "floats": ([1.0, 2.0], TypeError, "expected whole numbers, got type float64"),
    "booleans": ([True, True], TypeError, "expected whole numbers, got type bool"),
    "text": (["a"], TypeError, "expected whole numbers"),
    "a matrix": ([[1, 2]], ValueError, r"expected shape \(V,\), a number for each word, got"),
    "none at all": ([], ValueError, "expected at least one word that occurs"),
    "zeros": ([0, 0, 0], ValueError, "expected at least one word that occurs"),
    "rows of other lengths": ([[1], [1, 2]], ValueError, "rows of different lengths"),
    "a mask": (np.ma.masked_equal([1, 2], 1), TypeError, "masked"),
}


@pytest.mark.parametrize("wrong", WRONG_COUNTS)
def test_counts_that_are_none_are_refused(wrong):
    counts, error, message = WRONG_COUNTS[wrong]
    with pytest.raises(error, match=f"counts: .*{message}"):
        UnigramSampler(counts=counts, sample_size=1)


@pytest.mark.parametrize("corpus", [[0, 2**40], [0, 2**62, 1], np.array([1, 2**63], np.uint64)])
def test_an_id_that_asks_for_terabytes_is_refused_before_they_are_asked_for(corpus):
    tracemalloc.start()
    with pytest.raises(IndexError, match=r"corpus: expected ids from 0 to 16777215, corpus\[1\]"):
        UnigramSampler(corpus, sample_size=1)
    with pytest.raises(IndexError, match=r"corpus: expected ids from 0 to 4, corpus\[1\] is"):
        NegativeSamplingLoss(np.ones((5, 2)), corpus, sample_size=1)
    with pytest.raises(IndexError, match=r"corpus: expected ids from 0 to 4, corpus\[1\] is"):
        CBOW(5, 2, 1, corpus)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_gaps_between_ids_and_long_texts_are_taken(monkeypatch):
    assert UnigramSampler([0, 50_000, 3, 7], sample_size=2).vocab_size == 50_001
    monkeypatch.setattr("nnext._unigram_sampler._GAPS", 4)
    assert UnigramSampler(range(9), sample_size=2).vocab_size == 9  # no gap, whatever the length
    with pytest.raises(IndexError, match=r"corpus: expected ids from 0 to 3, corpus\[1\] is 4"):
        UnigramSampler([0, 4, 1], sample_size=1)


# A word of the table that the text has not


def test_a_word_that_does_not_occur_is_a_target_and_never_drawn():
    corpus = [0, 1, 2, 3, 2]
    W = ref.normal(np.float64, 9, 2)
    layer = NegativeSamplingLoss(W, corpus, sample_size=3, seed=0)
    assert layer.sampler.vocab_size == 9
    target, h = np.array([8, 5, 1] * 50), ref.normal(np.float64, 150, 2, seed=1)
    loss = layer.forward(h, target)
    assert set(layer.idx[:, 1:].ravel().tolist()) == {0, 1, 2, 3}
    label = np.arange(4) < 1
    scores = np.einsum("nj,ncj->nc", h, W[layer.idx])
    expected = np.logaddexp(0, np.where(label, -scores, scores)).sum() / len(h)
    assert loss == pytest.approx(expected, rel=1e-13)
    layer.backward()
    assert layer.grads[0][8].any()
    for bad in (9, -1):
        with pytest.raises(IndexError, match="target: expected ids from 0 to 8"):
            layer.forward(h[:1], [bad])


def test_spare_rows_of_the_table_change_no_draw():
    small, large = (NegativeSamplingLoss(np.ones((n, 2)), CORPUS, seed=0) for n in (7, 12))
    for _ in range(3):
        np.testing.assert_array_equal(words(small), words(large))


# The counts as a buffer


@pytest.mark.parametrize(
    "again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), joblib_copy],
    ids=["deepcopy", "pickle", "joblib"],
)  # fmt: skip
def test_a_copy_has_counts_of_its_own(again):
    layer = NegativeSamplingLoss(np.ones((7, 2)), CORPUS, seed=0, sample_size=2)
    other = again(layer)
    ref.assert_same_bits(other.buffers[0], layer.buffers[0])
    assert not np.shares_memory(other.buffers[0], layer.buffers[0])
    np.testing.assert_array_equal(words(other), words(layer))
    other.buffers[0][:] = [1, 1, 1, 1, 0, 0, 0]
    assert words(other, 200)[:, 1:].max() == 3
    assert words(layer, 200)[:, 1:].max() == 6


def test_loaded_counts_are_those_that_words_are_drawn_by():
    layer = NegativeSamplingLoss(np.ones((7, 2)), CORPUS, seed=0, sample_size=2)
    other = NegativeSamplingLoss(np.ones((7, 2)), counts=np.ones(7, int), seed=0, sample_size=2)
    assert list(layer.state_dict()) == ["W", "counts"]
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(words(other), words(layer))
    ref.assert_same_bits(other.sampler.word_p, layer.sampler.word_p)


def test_counts_that_became_wrong_are_told_and_nothing_is_remembered():
    layer = NegativeSamplingLoss(np.ones((7, 2)), CORPUS, seed=0, sample_size=2)
    kept = words(layer)
    for wrong, message in [
        (-1, "counts: expected numbers from 0"),
        (0, "counts: expected at least"),
    ]:
        layer.buffers[0][:] = wrong
        with pytest.raises(ValueError, match=message):
            words(layer)
        assert layer.idx is kept
    layer.buffers[0][:] = [5, 5, 0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="sample_size: expected fewer than the 2 words"):
        words(layer)
    with pytest.raises(ValueError, match=r"does not fit NegativeSamplingLoss(.|\n)*counts"):
        layer.load_state_dict({"W": layer.params[0], "counts": np.ones(7)})
    with pytest.raises(ValueError, match=r"does not fit NegativeSamplingLoss(.|\n)*counts"):
        layer.load_state_dict({"W": layer.params[0], "counts": np.ones(8, int)})


def test_training_leaves_them_what_they_are():
    model = CBOW(7, 3, 1, CORPUS, seed=0)
    step = nnext.Step(model, nnext.Adam())
    for _ in range(3):
        step(np.array([[0, 2], [1, 3]]), np.array([1, 2]))
    ref.assert_same_bits(model.buffers[0], np.array(COUNTS))
