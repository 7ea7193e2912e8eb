"""Negative sampling: the law of the words drawn, and the loss against loops in float64."""

import itertools
import math
import pickle

import numpy as np
import pytest

import nnext
import reference as ref
from nnext import _nnext
from nnext.negative_sampling import EmbeddingDot, NegativeSamplingLoss, UnigramSampler

GENERATORS = [np.random.RandomState, np.random.default_rng]


def text(counts):
    """Make a text in which words occur so often."""
    return np.repeat(np.arange(len(counts)), counts)


# Which words are drawn


def probabilities(p, target, size):
    """Return what each ordered sample has by the law, from the definition."""
    p = np.array(p, np.float64)
    p[target] = 0
    p /= p.sum()
    found = {}
    for words in itertools.permutations(np.flatnonzero(p).tolist(), size):
        left, chance = 1.0, 1.0
        for word in words:
            chance *= p[word] / left
            left -= p[word]
        found[words] = chance
    return found


def chi_square_is_plausible(sample, expected):
    """Whether counts of ordered samples are as likely as 1 in 10,000, of all or together."""
    rows, counts = np.unique(sample, axis=0, return_counts=True)
    found = dict(zip(map(tuple, rows.tolist()), counts.tolist(), strict=True))
    assert found.keys() <= expected.keys()
    n = len(sample)
    score = sum((found.get(w, 0) - n * q) ** 2 / (n * q) for w, q in expected.items())
    freedom = len(expected) - 1
    # Wilson and Hilferty: the cube root of chi-square over its freedom is about normal.
    z = ((score / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    return z < 3.7


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize(
    ("counts", "power"), [([1, 1, 1, 1], 0.75), ([5, 1, 20, 3, 2], 0.75), ([9, 1, 4, 2], 1.0)]
)
def test_the_law_is_drawing_without_replacement(counts, power, size, make):
    sampler = UnigramSampler(text(counts), power, size, rng=make(0))
    p = np.array(counts) ** power
    np.testing.assert_allclose(sampler.word_p, p / p.sum(), rtol=1e-14)
    for target in range(len(counts)):
        sample = sampler.get_negative_sample(np.full(40000, target))
        assert chi_square_is_plausible(sample, probabilities(p, target, size))


def test_a_word_that_dominates_does_not_change_the_law():
    # All rows but few go the slow way: beside word 0 the others have 1e-6 of the probability.
    p = np.array([10**9, 1, 2, 3])
    sampler = UnigramSampler(power=1.0, sample_size=2, counts=p, rng=np.random.default_rng(0))
    sample = sampler.get_negative_sample(np.full(20000, 3))
    assert (sample[:, 0] == 0).all()
    assert chi_square_is_plausible(sample, probabilities(p, 3, 2))
    sample = sampler.get_negative_sample(np.full(20000, 0))
    assert chi_square_is_plausible(sample, probabilities(p, 0, 2))


def test_a_text_of_almost_one_word():
    corpus = np.concatenate([np.zeros(2_000_000, np.int64), np.arange(6)])
    sampler = UnigramSampler(corpus, 3.0, 5, rng=np.random.default_rng(0))
    sample = sampler.get_negative_sample([0, 1, 2] * 20)
    for row, target in zip(sample.tolist(), [0, 1, 2] * 20, strict=True):
        assert sorted([*row, target]) == [0, 1, 2, 3, 4, 5]


def test_the_test_of_the_law_finds_another_law():
    p = [5, 1, 20, 3, 2]
    r = np.random.default_rng(0)
    alike = np.array([r.permutation([0, 1, 3, 4])[:2] for _ in range(5000)])
    assert not chi_square_is_plausible(alike, probabilities(p, 2, 2))


@pytest.mark.parametrize("size", [1, 5, 17])
@pytest.mark.parametrize("n", [0, 1, 100])
def test_words_of_a_row_differ_from_each_other_and_the_target(n, size):
    r = np.random.default_rng(0)
    counts = np.maximum(1, 3000 // np.arange(1, 300))
    sampler = UnigramSampler(text(counts), 0.75, size, rng=r)
    target = r.integers(0, 299, n)
    sample = sampler.get_negative_sample(target)
    assert sample.shape == (n, size)
    assert sample.dtype == np.int32
    for row, t in zip(sample.tolist(), target.tolist(), strict=True):
        assert len({*row, t}) == size + 1
        assert all(0 <= word < 299 for word in row)


def test_every_word_but_the_target_where_no_more_are_left():
    sampler = UnigramSampler(text([50, 1, 1, 1, 7]), sample_size=4)
    np.random.seed(0)
    sample = sampler.get_negative_sample([0, 1, 2, 3, 4] * 30)
    for row, t in zip(sample.tolist(), [0, 1, 2, 3, 4] * 30, strict=True):
        assert sorted([*row, t]) == [0, 1, 2, 3, 4]


def test_a_number_that_is_no_word_of_the_text_is_never_drawn():
    sampler = UnigramSampler([0, 2, 5, 2, 6], power=0.0, sample_size=3)
    np.testing.assert_array_equal(sampler.word_p, [0.25, 0, 0.25, 0, 0, 0.25, 0.25])
    np.random.seed(0)
    sample = sampler.get_negative_sample([1, 5] * 500)
    assert set(np.unique(sample).tolist()) == {0, 2, 5, 6}


@pytest.mark.parametrize("make", GENERATORS)
def test_numbers_come_from_a_generator_or_numpys_own_state(make):
    corpus, target = text([3, 2, 4, 1, 6, 2, 2]), np.arange(7)
    own = [UnigramSampler(corpus, rng=make(5)).get_negative_sample(target) for _ in range(2)]
    np.testing.assert_array_equal(*own)
    shared = []
    for _ in range(2):
        np.random.seed(5)
        shared.append(UnigramSampler(corpus).get_negative_sample(target))
    np.testing.assert_array_equal(*shared)
    if make is np.random.RandomState:
        np.testing.assert_array_equal(own[0], shared[0])


def test_what_cannot_be_sampled_is_refused():
    with pytest.raises(ValueError, match="corpus: expected the ids of at least one word"):
        UnigramSampler([])
    with pytest.raises(ValueError, match=r"sample_size: expected fewer than the 5 words .*, got 5"):
        UnigramSampler([0, 1, 2, 3, 4])
    with pytest.raises(ValueError, match="fewer than the 3 words"):
        UnigramSampler([0, 2, 4, 4], sample_size=3)
    with pytest.raises(ValueError, match="power: no probabilities"):
        UnigramSampler([0, 0, 1], power=1e6, sample_size=1)
    with pytest.raises(TypeError, match="power: expected a number"):
        UnigramSampler([0, 1], power="1")
    with pytest.raises(TypeError, match=r"rng: expected a numpy\.random\.RandomState"):
        UnigramSampler([0, 1], sample_size=1, rng=3)
    with pytest.raises(IndexError, match=r"corpus: expected ids at least 0, corpus\[1\] is -1"):
        UnigramSampler([0, -1])
    for size in (0, -1, 1.5):
        with pytest.raises(ValueError, match="sample_size: expected a whole number"):
            UnigramSampler([0, 1, 2], sample_size=size)
    sampler = UnigramSampler([0, 1, 2, 3], sample_size=2)
    for bad, error in [([0, 4], IndexError), ([-1], IndexError), ([0.0], TypeError)]:
        with pytest.raises(error, match="target: expected ids"):
            sampler.get_negative_sample(bad)
    with pytest.raises(ValueError, match=r"target: expected ids of shape \(N,\)"):
        sampler.get_negative_sample([[0], [1]])


# Scores of some words


SHAPES = [((1,), 1), ((6,), 5), ((6, 1), 3), ((7, 4), 17), ((50, 6), 40), ((0,), 3), ((3, 2), 0)]


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize(("shape", "width"), SHAPES)
def test_scores_and_their_gradients(shape, width, dtype):
    W, h = ref.normal(dtype, 9, width), ref.normal(dtype, shape[0], width, seed=1)
    idx = np.random.default_rng(2).integers(0, 9, shape)
    layer = EmbeddingDot(W)
    scores = layer.forward(h, idx)
    assert scores.dtype == dtype
    rows = W.astype(np.float64)[idx]
    wide = h.astype(np.float64).reshape(shape[0], *(1,) * (len(shape) - 1), width)
    ref.assert_close(scores, (rows * wide).sum(-1), 2, abs(rows * wide).sum(-1))
    layer.grads[0][...] = np.nan
    dout = ref.normal(dtype, *shape, seed=3)
    dh = layer.backward(dout)
    parts = rows * dout.astype(np.float64)[..., None]
    axes = tuple(range(1, len(shape)))
    ref.assert_close(dh, parts.sum(axes), 9, abs(parts).sum(axes))
    multiples = wide * dout.astype(np.float64)[..., None]
    expected = ref.embedding_backward(multiples, idx, W.shape)
    size = ref.embedding_backward(abs(multiples), idx, W.shape)
    ref.assert_close(layer.grads[0], expected, 60, size)
    held = layer.grads[0].copy()
    layer.backward(dout, accumulate=True)
    ref.assert_close(layer.grads[0], held.astype(np.float64) + expected, 120, 2 * size)


@pytest.mark.parametrize("dtype", ref.HALVES)
def test_halves_are_rounded_once(dtype):
    W, h = ref.normal(dtype, 5, 8), ref.normal(dtype, 4, 8, seed=1)
    idx = np.array([0, 3, 3, 1])
    layer = EmbeddingDot(W)
    y = layer.forward(h, idx)
    wide = EmbeddingDot(W.astype(np.float32))
    expected = wide.forward(h.astype(np.float32), idx)
    assert y.dtype == dtype
    ref.assert_same_bits(y, expected.astype(dtype))
    dout = ref.normal(dtype, 4, seed=2)
    dh = layer.backward(dout)
    ref.assert_same_bits(dh, wide.backward(dout.astype(np.float32)).astype(dtype))
    ref.assert_same_bits(layer.grads[0], wide.grads[0].astype(dtype))
    loss = NegativeSamplingLoss(W, [0, 1, 2, 3, 4], sample_size=2, rng=np.random.default_rng(0))
    same = NegativeSamplingLoss(
        W.astype(np.float32), [0, 1, 2, 3, 4], sample_size=2, rng=np.random.default_rng(0)
    )
    assert loss.forward(h, idx) == same.forward(h.astype(np.float32), idx)
    ref.assert_same_bits(loss.backward(), same.backward().astype(dtype))
    ref.assert_same_bits(loss.grads[0], same.grads[0].astype(dtype))


@pytest.mark.parametrize("view", ref.VIEWS)
def test_places_in_memory_do_not_change_the_bits(view):
    W, h = ref.normal(np.float32, 7, 20), ref.normal(np.float32, 5, 20, seed=1)
    idx, dout = np.array([[0, 6], [6, 6], [2, 1], [0, 3], [4, 4]]), ref.normal(np.float32, 5, 2)
    plain, other = EmbeddingDot(W), EmbeddingDot(ref.VIEWS[view](W))
    other.grads[0] = ref.VIEWS[view](np.full_like(W, 7))
    ref.assert_same_bits(other.forward(ref.VIEWS[view](h), idx), plain.forward(h, idx))
    ref.assert_same_bits(other.backward(ref.VIEWS[view](dout)), plain.backward(dout))
    ref.assert_same_bits(other.grads[0], plain.grads[0])


def test_the_gradient_may_lie_over_an_operand():
    W = ref.normal(np.float32, 5, 4)
    h, idx, dout = ref.normal(np.float32, 3, 4, seed=1), [0, 4, 4], np.ones(3, np.float32)
    plain, over = EmbeddingDot(W.copy()), EmbeddingDot(W.copy())
    over.grads[0] = over.params[0]
    for layer in (plain, over):
        layer.forward(h, idx)
    ref.assert_same_bits(over.backward(dout), plain.backward(dout))
    ref.assert_same_bits(over.grads[0], plain.grads[0])


def test_scores_that_do_not_fit_are_refused():
    layer = EmbeddingDot(np.ones((4, 3)))
    with pytest.raises(RuntimeError, match=r"EmbeddingDot\.backward was called before"):
        layer.backward(np.ones(2))
    with pytest.raises(ValueError, match=r"h: expected shape \(N, 3\), .* got shape \(2, 4\)"):
        layer.forward(np.ones((2, 4)), [0, 1])
    with pytest.raises(ValueError, match=r"idx: expected shape \(2,\) or \(2, C\)"):
        layer.forward(np.ones((2, 3)), [0, 1, 2])
    with pytest.raises(IndexError, match=r"idx: index 4 .* out of range for 4 rows of W"):
        layer.forward(np.ones((2, 3)), [0, 4])
    with pytest.raises(IndexError, match="idx: index -1"):
        layer.forward(np.ones((2, 3)), [0, -1])
    with pytest.raises(TypeError, match="idx"):
        layer.forward(np.ones((2, 3)), [0.0, 1.0])
    layer.forward(np.ones((2, 3)), [0, 1])
    layer.grads[0][...] = 7
    with pytest.raises(ValueError, match=r"dout: expected shape \(2,\)"):
        layer.backward(np.ones((2, 1)))
    layer.grads[0].flags.writeable = False
    with pytest.raises(ValueError, match="dW"):
        layer.backward(np.ones(2))
    assert (layer.grads[0] == 7).all()
    for bad, error in [(np.ones(3), ValueError), (np.ones((2, 2), int), TypeError)]:
        with pytest.raises(error, match="W"):
            EmbeddingDot(bad)


# The loss


def loss_and_gradients(W, h, idx, targets):
    """Sum the binary cross entropies of each column, the mean over the rows, in float64."""
    W, h = W.astype(np.float64), h.astype(np.float64)
    label = np.arange(idx.shape[1]) < targets
    scores = np.einsum("nj,ncj->nc", h, W[idx])
    loss = np.logaddexp(0, np.where(label, -scores, scores)).sum() / len(h)
    slope = (1 / (1 + np.exp(-scores)) - label) / len(h)
    dh = np.einsum("nc,ncj->nj", slope, W[idx])
    dW = np.zeros_like(W)
    np.add.at(dW, idx, slope[..., None] * h[:, None])
    return loss, dh, dW


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("targets", [None, 1, 4])
@pytest.mark.parametrize(("n", "width"), [(1, 1), (7, 5), (100, 33)])
def test_the_loss_and_its_gradients(n, width, targets, size, dtype):
    r = np.random.default_rng(0)
    W, h = ref.normal(dtype, 20, width), ref.normal(dtype, n, width, seed=1)
    target = r.integers(0, 20, (n, targets) if targets else n)
    layer = NegativeSamplingLoss(W, np.arange(20), sample_size=size, rng=r)
    loss = layer.forward(h, target)
    assert isinstance(loss, float)
    assert layer.count == n
    columns = targets or 1
    assert layer.idx.shape == layer.y.shape == (n, columns * (1 + size))
    np.testing.assert_array_equal(layer.idx[:, :columns], target.reshape(n, columns))
    drawn = layer.idx[:, columns:].reshape(n * columns, size)
    assert (drawn != target.reshape(-1, 1)).all()
    expected, dh, dW = loss_and_gradients(W, h, layer.idx, columns)
    assert loss == pytest.approx(expected, rel=1e-5 if dtype == np.float32 else 1e-13)
    layer.grads[0][...] = np.nan
    tolerance = {"rtol": 1e-3, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10}
    np.testing.assert_allclose(layer.backward(), dh, **tolerance)
    np.testing.assert_allclose(layer.grads[0], dW, **tolerance, verbose=True)
    half = layer.backward(0.5, accumulate=True)
    np.testing.assert_allclose(half, 0.5 * dh, **tolerance)
    np.testing.assert_allclose(layer.grads[0], 1.5 * dW, **tolerance)


def test_it_is_the_sum_of_the_books_losses():
    W, h = ref.normal(np.float64, 9, 6), ref.normal(np.float64, 8, 6, seed=1)
    target = np.arange(8)
    layer = NegativeSamplingLoss(W, np.arange(9), rng=np.random.default_rng(0))
    loss, dh = layer.forward(h, target), layer.backward()
    total, d, dW = 0.0, 0, np.zeros_like(W)
    for column in range(6):
        dot, of_column = EmbeddingDot(W), nnext.SigmoidWithLoss()
        label = np.full(8, float(column == 0))
        total += of_column.forward(dot.forward(h, layer.idx[:, column]), label)
        d = d + dot.backward(of_column.backward())
        dW += dot.grads[0]
    assert loss == pytest.approx(total, rel=1e-14)
    np.testing.assert_allclose(dh, d, rtol=1e-12)
    np.testing.assert_allclose(layer.grads[0], dW, rtol=1e-12, atol=1e-17)


def test_scores_far_off_have_an_exact_loss():
    W = np.array([[1e3], [-1e3], [2e3]])
    layer = NegativeSamplingLoss(W, [0, 1, 2], sample_size=2)
    assert layer.forward([[1.0]], [1]) == 1e3 + 1e3 + 2e3  # the book's is 3 * 16.1
    np.testing.assert_array_equal(layer.y, [[0, 1, 1]])
    layer.backward()
    np.testing.assert_array_equal(layer.grads[0], [[1], [-1], [1]])


def test_a_call_that_fails_is_not_remembered():
    W = np.ones((6, 3), np.float32)
    layer = NegativeSamplingLoss(W, np.arange(6), sample_size=2)
    with pytest.raises(RuntimeError, match=r"NegativeSamplingLoss\.backward was called before"):
        layer.backward()
    layer.forward(np.ones((2, 3), np.float32), [0, 1])
    kept = layer.idx
    for h, t, error, message in [
        (np.ones((2, 3)), [0, 6], IndexError, "target: expected ids from 0 to 5"),
        (np.ones((2, 3)), [0, -1], IndexError, "target: expected ids from 0 to 5"),
        (np.ones((2, 3)), [0.5, 1], TypeError, "target: expected ids, whole numbers"),
        (np.ones((3, 3)), [0, 1], ValueError, "target: expected shape"),
        (np.ones((2, 4)), [0, 1], ValueError, "h: expected shape"),
        (np.ones(3), [0, 1], ValueError, "h: expected shape"),
        (np.ones((2, 3)), np.zeros((2, 0), int), ValueError, "target: expected at least 1"),
        (np.ones((0, 3)), [], nnext.EmptyBatchError, "h: expected at least 1 row"),
    ]:
        with pytest.raises(error, match=message):
            layer.forward(h, t)
        assert layer.idx is kept
    assert layer.backward().shape == (2, 3)


def test_nothing_is_written_where_backward_fails():
    layer = NegativeSamplingLoss(np.ones((6, 3), np.float32), np.arange(6), sample_size=2)
    layer.forward(np.ones((2, 3), np.float32), [0, 1])
    layer.grads[0][...] = 7
    for change, error in [
        ({"y": np.ones((2, 2))}, ValueError),
        ({"idx": np.full((2, 3), 6)}, IndexError),
        ({"h": np.ones((2, 2))}, ValueError),
        ({"_targets": 4}, ValueError),
    ]:
        kept = dict(vars(layer))
        vars(layer).update(change)
        with pytest.raises(error):
            layer.backward()
        vars(layer).update(kept)
    with pytest.raises(TypeError, match="dout: expected a number"):
        layer.backward("1")
    assert (layer.grads[0] == 7).all()


def test_the_text_has_to_fit_the_table():
    with pytest.raises(IndexError, match=r"corpus: expected ids from 0 to 2, corpus\[3\] is 3"):
        NegativeSamplingLoss(np.ones((3, 2)), [0, 1, 2, 3], sample_size=1)


def test_it_answers_without_remembering():
    layer = NegativeSamplingLoss(
        np.zeros((6, 3)), np.arange(6), sample_size=2, rng=np.random.default_rng(0)
    )
    loss, count = layer.evaluate(np.ones((4, 3)), [0, 1, 2, 3])
    assert loss == pytest.approx(3 * math.log(2))
    assert count == 4
    assert layer.y is None
    assert layer.evaluate(np.ones((0, 3)), []) == (0.0, 0.0)


def test_a_copy_draws_the_same_words():
    layer = NegativeSamplingLoss(
        np.ones((6, 3)), np.arange(6), 0.5, 2, rng=np.random.default_rng(1)
    )
    copy = pickle.loads(pickle.dumps(layer))
    h, t = np.ones((4, 3)), [0, 1, 2, 3]
    assert copy.forward(h, t) == layer.forward(h, t)
    np.testing.assert_array_equal(copy.idx, layer.idx)
    assert repr(layer) == "NegativeSamplingLoss(6, 3, sample_size=2)"
    config = {"power": 0.5, "sample_size": 2, "seed": layer.seed, "offset": 1}
    assert layer.config() == config


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_threads_do_not_change_the_bits(dtype):
    results = []
    W, h = ref.normal(dtype, 700, 90), ref.normal(dtype, 300, 90, seed=1)
    before = nnext.get_num_threads()
    try:
        for threads in (1, 2, 5):
            nnext.set_num_threads(threads)
            layer = NegativeSamplingLoss(W, np.arange(700), rng=np.random.default_rng(0))
            loss = layer.forward(h, np.arange(300))
            results.append([np.array([loss]), layer.y, layer.backward(), layer.grads[0]])
    finally:
        nnext.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            ref.assert_same_bits(a, b)


def test_words_depend_on_the_seed_and_on_how_often_was_drawn():
    h, t, corpus = np.ones((50, 3)), np.arange(50), np.arange(60)

    def layer(**options):
        return NegativeSamplingLoss(np.ones((60, 3)), corpus, **options)

    def words(of):
        of.forward(h, t)
        return of.idx.tolist()

    first = layer(seed=5)
    drawn = [words(first) for _ in range(3)]
    assert drawn[0] != drawn[1] != drawn[2]
    assert first.offset == 3
    assert [words(layer(seed=5, offset=i)) for i in range(3)] == drawn
    assert words(layer(seed=6)) != drawn[0]
    assert words(layer(seed=-1)) == words(layer(seed=2**64 - 1))
    for make in GENERATORS:
        assert words(layer(rng=make(1))) == words(layer(rng=make(1)))
    found = []
    for _ in range(2):
        np.random.seed(7)
        found.append(words(layer()))
    assert found[0] == found[1]
    before = first.evaluate(h, t)
    assert first.evaluate(h, t) == before
    assert first.offset == 3
    assert first.forward(h, t) == before[0]


def test_a_seed_is_a_whole_number():
    W, corpus = np.ones((6, 3)), np.arange(6)
    with pytest.raises(TypeError, match="seed: expected a whole number or None"):
        NegativeSamplingLoss(W, corpus, seed=1.5)
    with pytest.raises(TypeError, match="offset: expected a whole number"):
        NegativeSamplingLoss(W, corpus, offset=1.5)
    with pytest.raises(ValueError, match="offset: expected a whole number of at least 0"):
        NegativeSamplingLoss(W, corpus, offset=-1)
    with pytest.raises(ValueError, match="expected rng or seed, got both"):
        NegativeSamplingLoss(W, corpus, seed=1, rng=np.random.default_rng(0))


@pytest.mark.parametrize("power", [np.nan, np.inf, -np.inf])
def test_a_power_has_to_be_finite(power):
    with pytest.raises(ValueError, match="power: expected a finite number"):
        UnigramSampler([0, 1, 2], power=power, sample_size=1)


def test_probabilities_that_were_replaced_are_checked():
    W, h, dW = np.ones((5, 2)), np.ones((2, 2)), np.full((5, 2), 7.0)
    _, y, idx = _nnext.negative_sampling_forward(h, W, [0, 1], [[1], [2]])
    for bad in (y.astype(complex), y.astype(str), y.astype(object)):
        with pytest.raises(TypeError, match=r"^y: "):
            _nnext.negative_sampling_backward(bad, h, W, idx, 1, dW, 1.0)
    with pytest.raises(
        ValueError, match=r"^y: expected shape \(2, 2\), that of index, got \(1, 2\)"
    ):
        _nnext.negative_sampling_backward(y[:1], h, W, idx, 1, dW, 1.0)
    assert (dW == 7).all()


def test_options_that_are_set_count():
    given = {"counts": np.arange(1, 13), "seed": 5}
    h, target = np.ones((4, 3)), [0, 3, 5, 7]
    for power, sample_size in ((0.0, 2), (0.75, 4)):
        layer = NegativeSamplingLoss(np.ones((12, 3)), sample_size=2, **given)
        layer.power, layer.sample_size = power, sample_size
        other = NegativeSamplingLoss(np.ones((12, 3)), None, power, sample_size, **given)
        assert layer.forward(h, target) == other.forward(h, target)
        np.testing.assert_array_equal(layer.idx, other.idx)
