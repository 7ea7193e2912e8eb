"""CBOW and skip-gram: the book's numbers, gradients, training, copies and files of parameters."""

import copy
import math

import numpy as np
import pytest

import nnext
import reference as ref
from nnext import util
from nnext._one_hot_models import OneHotMatMul
from nnext.models import CBOW, SimpleCBOW, SimpleSkipGram, SkipGram
from nnext.optimizer import Adam
from nnext.step import Step
from nnext.trainer import Trainer
from word_batches import CORPUS, SAMPLED, SIMPLE, V, small


def in_float64(model):
    """Return the weights as the formulas take them."""
    W_in, W_out = (p.astype(np.float64) for p in model.params)
    return W_in, W_out


def softmax_loss(scores, t):
    """Return the mean cross entropy with one-hot rows, and its gradient."""
    y = np.exp(scores - scores.max(axis=1, keepdims=True))
    y /= y.sum(axis=1, keepdims=True)
    return -np.log(y[t == 1]).mean(), (y - t) / len(t)


def sampled_loss(W, h, idx, targets):
    """Return the loss of negative sampling with given words, and its gradients."""
    label = np.arange(idx.shape[1]) < targets
    scores = np.einsum("nj,ncj->nc", h, W[idx])
    loss = np.logaddexp(0, np.where(label, -scores, scores)).sum() / len(h)
    slope = (1 / (1 + np.exp(-scores)) - label) / len(h)
    dW = np.zeros_like(W)
    np.add.at(dW, idx, slope[..., None] * h[:, None])
    return loss, np.einsum("nc,ncj->nj", slope, W[idx]), dW


@pytest.mark.parametrize("kind", SIMPLE)
def test_weights_of_the_simple_models_are_the_books(kind):
    np.random.seed(3)
    model = kind(7, 4)
    np.random.seed(3)
    for p, shape in zip(model.params, [(7, 4), (4, 7)], strict=True):
        ref.assert_same_bits(p, 0.01 * np.random.randn(*shape).astype("f"))
    assert model.word_vecs is model.params[0]
    ref.assert_same_bits(kind(7, 4, seed=3).params[1], model.params[1])


@pytest.mark.parametrize("dtype", [*ref.FLOATS, *ref.HALVES])
@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_parameters_have_the_type_that_is_asked_for(kind, dtype):
    rest = () if kind in SIMPLE else (1, CORPUS)
    model, wide = (kind(V, 5, *rest, seed=0, dtype=t) for t in (dtype, np.float64))
    assert [p.dtype for p in model.params] == [dtype, dtype]
    first = model.params[0].astype(np.float64)
    np.testing.assert_allclose(first, wide.params[0], rtol=1e-2, atol=1e-6)
    _, contexts, target = small(kind)
    assert model.forward(contexts, target) == pytest.approx(wide.forward(contexts, target), rel=0.1)
    model.backward()
    assert [g.dtype for g in model.grads] == [dtype, dtype]


@pytest.mark.parametrize("kind", SAMPLED)
def test_weights_of_the_sampling_models_are_the_books(kind):
    np.random.seed(3)
    model = kind(7, 4, 2, CORPUS)
    np.random.seed(3)
    for p in model.params:
        ref.assert_same_bits(p, 0.01 * np.random.randn(7, 4).astype("f"))
    assert model.word_vecs is model.params[0]
    given = kind(7, 4, 2, CORPUS, rng=np.random.RandomState(3))
    ref.assert_same_bits(given.params[1], model.params[1])
    ref.assert_same_bits(kind(7, 4, 2, CORPUS, seed=3).params[1], model.params[1])
    assert kind(7, 4, 2, CORPUS, seed=3).loss_layer.seed == given.loss_layer.seed
    assert kind(7, 4, 2, CORPUS, rng=np.random.default_rng(3)).params[1].dtype == np.float32


@pytest.mark.parametrize("words", [1, 2, 3])
def test_the_simple_cbow_is_its_formula(words):
    model = SimpleCBOW(V, 5, rng=np.random.default_rng(0))
    r = np.random.default_rng(1)
    contexts, target = (util.convert_one_hot(r.integers(0, V, s), V) for s in [(6, words), 6])
    for p in model.params:
        p *= 100
    W_in, W_out = in_float64(model)
    h = (contexts @ W_in).mean(axis=1)
    expected, ds = softmax_loss(h @ W_out, target)
    assert model.forward(contexts, target) == pytest.approx(expected, rel=1e-5)
    assert model.forward(contexts, target.argmax(1)) == pytest.approx(expected, rel=1e-5)
    assert model.backward(2) is None
    dW_in = sum(contexts[:, c].T @ (2 * ds @ W_out.T / words) for c in range(words))
    np.testing.assert_allclose(model.grads[0], dW_in, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(model.grads[1], 2 * h.T @ ds, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("words", [1, 2, 3])
def test_the_simple_skip_gram_is_its_formula(words):
    model = SimpleSkipGram(V, 5, rng=np.random.default_rng(0))
    r = np.random.default_rng(1)
    ids = r.integers(0, V, (6, words))
    ids[0] = 2  # one word several times
    contexts, target = util.convert_one_hot(ids, V), util.convert_one_hot(r.integers(0, V, 6), V)
    for p in model.params:
        p *= 100
    W_in, W_out = in_float64(model)
    h = target @ W_in
    losses = [softmax_loss(h @ W_out, contexts[:, c]) for c in range(words)]
    loss = model.forward(contexts, target)
    assert loss == pytest.approx(sum(one for one, _ in losses), rel=1e-5)
    model.backward(0.5)
    ds = 0.5 * sum(d for _, d in losses)
    np.testing.assert_allclose(model.grads[0], target.T @ (ds @ W_out.T), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(model.grads[1], h.T @ ds, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("window", [1, 2])
def test_cbow_is_its_formula(window):
    model, contexts, target = small(CBOW, np.random.default_rng(0), window)
    for p in model.params:
        p *= 100
    loss = model.forward(contexts, target)
    W_in, W_out = in_float64(model)
    h = W_in[contexts].mean(axis=1)
    expected, dh, dW_out = sampled_loss(W_out, h, model.loss_layer.idx, 1)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert model.backward(2) is None
    dW_in = np.zeros_like(W_in)
    np.add.at(dW_in, contexts, 2 * dh[:, None] / (2 * window))
    np.testing.assert_allclose(model.grads[0], dW_in, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(model.grads[1], 2 * dW_out, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("window", [1, 2])
def test_skip_gram_is_its_formula(window):
    model, contexts, target = small(SkipGram, np.random.default_rng(0), window)
    for p in model.params:
        p *= 100
    loss = model.forward(contexts, target)
    W_in, W_out = in_float64(model)
    idx = model.loss_layer.idx
    assert idx.shape == (len(target), 2 * window * 6)
    expected, dh, dW_out = sampled_loss(W_out, W_in[target], idx, 2 * window)
    assert loss == pytest.approx(expected, rel=1e-5)
    model.backward()
    dW_in = np.zeros_like(W_in)
    np.add.at(dW_in, target, dh)
    np.testing.assert_allclose(model.grads[0], dW_in, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(model.grads[1], dW_out, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_gradients_agree_with_central_differences(kind):
    model, contexts, target = small(kind, np.random.default_rng(0))
    for p in model.params:
        p *= 50
    if kind in SAMPLED:  # the same words at every call
        forward = model.forward

        def forward_again(*batch):
            model.loss_layer.offset = 0
            return forward(*batch)

        model.forward = forward_again
    check = nnext.check_gradients(model, contexts, target)
    assert check.ok, check


@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_they_learn_and_the_seed_decides_what(kind):
    ends = []
    for _ in range(2):
        model, contexts, target = small(kind, np.random.default_rng(0))
        trainer = Trainer(model, Adam(lr=0.05), seed=0)
        history = trainer.fit(contexts, target, max_epoch=200, batch_size=3, progress="none")
        losses = history.epoch_loss
        # Some of a word's contexts are no other's; with skip-gram two words are drawn from.
        assert np.mean(losses[-10:]) < (0.75 if kind is not SkipGram else 0.85) * losses[0]
        ends.append(model.word_vecs.copy())
    ref.assert_same_bits(*ends)


@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_numpys_seed_governs_what_has_no_generator(kind):
    ends = []
    for _ in range(2):
        np.random.seed(1)
        model, contexts, target = small(kind)
        step = Step(model, Adam(lr=0.05))
        ends.append([step(contexts, target) for _ in range(3)])
        assert step.count == len(target)
    assert ends[0] == ends[1]


@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_the_loss_can_be_asked_for_without_a_trace(kind):
    model, contexts, target = small(kind, np.random.default_rng(0))
    loss = model.forward(contexts, target)
    model.backward()
    grads = [g.copy() for g in model.grads]
    later = model.loss(contexts[:3], target[:3], batch_size=2)
    assert later == pytest.approx(loss, rel=0.05)
    model.backward()
    for g, before in zip(model.grads, grads, strict=True):
        ref.assert_same_bits(g, before)
    with pytest.raises(TypeError, match="takes no sample_weight"):
        model.loss(contexts, target, sample_weight=np.ones(len(target)))


def test_the_simple_cbow_predicts_the_word_between():
    model, contexts, target = small(SimpleCBOW, np.random.default_rng(0))
    Trainer(model, Adam(lr=0.05), seed=0).fit(contexts, target, 300, 3, progress="none")
    assert model.scores(contexts).shape == (6, V)
    # Between "say" and "and" there are two words, if their order does not count.
    assert model.accuracy(contexts, target) == 5 / 6


@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_parameters_are_copied_and_stored(kind, tmp_path):
    model, contexts, target = small(kind, np.random.default_rng(0))
    twin = copy.deepcopy(model)
    assert twin.word_vecs is twin.params[0] is not model.params[0]
    assert twin.forward(contexts, target) == model.forward(contexts, target)
    path = tmp_path / "vectors.npz"
    model.save_params(path)
    other = small(kind, np.random.default_rng(9))[0]
    other.load_params(path)
    ref.assert_same_bits(other.word_vecs, model.word_vecs)
    of_loss = ["loss_layer.W", "loss_layer.counts"]
    names = ["in_layer.W", *(["out_layer.W"] if kind in SIMPLE else of_loss)]
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("kind", SAMPLED)
def test_a_run_that_goes_on_from_a_checkpoint_draws_the_same_words(kind, tmp_path):
    pytest.importorskip("safetensors")
    model, contexts, target = small(kind, np.random.default_rng(0))
    trainer = Trainer(model, Adam(), seed=0)
    trainer.fit(contexts, target, 2, 3, progress="none")
    trainer.save_checkpoint(tmp_path / "run")
    trainer.fit(contexts, target, 2, 3, progress="none")
    other = small(kind, np.random.default_rng(9))[0]
    trainer = Trainer.resume(tmp_path / "run", other, Adam())
    trainer.fit(contexts, target, 2, 3, progress="none")
    ref.assert_same_bits(other.word_vecs, model.word_vecs)


def test_soft_contexts_are_what_the_softmax_loss_takes():
    model = SimpleSkipGram(V, 5, rng=np.random.default_rng(0))
    r = np.random.default_rng(1)
    contexts, target = r.random((6, 3, V)), util.convert_one_hot(r.integers(0, V, 6), V)
    contexts /= contexts.sum(axis=2, keepdims=True)
    loss, scores = nnext.SoftmaxWithLoss(), target @ model.params[0] @ model.params[1]
    expected = sum(loss.forward(scores, contexts[:, c]) for c in range(3))
    assert model.forward(contexts, target) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("of", [bool, np.uint8, np.int64, np.float64, *ref.HALVES])
@pytest.mark.parametrize("kind", SIMPLE)
def test_the_type_of_one_hot_rows_does_not_matter(kind, of):
    model = kind(V, 5, rng=np.random.default_rng(0))
    r = np.random.default_rng(1)
    contexts, target = (util.convert_one_hot(r.integers(0, V, s), V) for s in [(6, 3), 6])
    expected = model.forward(contexts, target)
    assert model.forward(contexts.astype(of), target.astype(of)) == pytest.approx(expected, 1e-6)


@pytest.mark.parametrize("kind", SIMPLE)
def test_the_first_layer_takes_any_numbers(kind):
    model, contexts, target = small(kind, np.random.default_rng(0))
    rows = np.random.default_rng(1).standard_normal(
        (contexts if kind is SimpleCBOW else target).shape
    )
    batch = (rows, target) if kind is SimpleCBOW else (contexts, rows)
    loss = model.forward(*batch)
    W_in, W_out = in_float64(model)
    if kind is SimpleCBOW:
        expected, _ = softmax_loss((rows @ W_in).mean(axis=1) @ W_out, target)
    else:
        expected = sum(softmax_loss(rows @ W_in @ W_out, contexts[:, c])[0] for c in range(2))
    assert loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ref.FLOATS)
@pytest.mark.parametrize("whole", [np.int32, np.int64, np.uint8])
def test_one_hot_rows_of_whole_numbers_are_looked_up_with_the_bits_of_the_product(whole, kind):
    r = np.random.default_rng(2)
    W = r.standard_normal((40, 6)).astype(kind)
    rows = util.convert_one_hot(r.integers(0, 5, 30), 40)  # words that repeat
    dout = r.standard_normal((30, 6)).astype(kind)
    found, product = OneHotMatMul(W), nnext.MatMul(W)
    for x in (rows.astype(whole), 2 * rows.astype(whole), rows[:0].astype(whole), rows[0]):
        given = x.astype(kind)
        np.testing.assert_array_equal(found.forward(x), product.forward(given))
        if x.ndim == 2:
            for options in ({}, {"accumulate": True}):
                assert found.backward(dout[: len(x)], input_grad=False, **options) is None
                product.backward(dout[: len(x)], input_grad=False, **options)
                np.testing.assert_array_equal(found.grads[0], product.grads[0])
            dx = product.backward(dout[: len(x)])
            np.testing.assert_array_equal(found.backward(dout[: len(x)]), dx)
            np.testing.assert_array_equal(found.grads[0], product.grads[0])
        assert found.x is x


@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_the_books_names_of_layers(kind):
    model = small(kind, np.random.default_rng(0))[0]
    assert model.in_layer is model.layers[0]
    assert model.in_layer.params[0] is model.word_vecs
    if kind in SIMPLE:
        assert model.layers == [model.in_layer, model.out_layer]
        assert type(model.loss_layer) is nnext.SoftmaxWithLoss
    else:
        assert model.layers == [model.in_layer]
        assert model.ns_loss is model.loss_layer


def test_word_vectors_tell_what_is_alike():
    # Two kinds of words, each of which stands among its own: their vectors turn out alike.
    r = np.random.default_rng(0)
    corpus = np.concatenate([r.integers(0, 10, 20) + 10 * (i % 2) for i in range(200)])
    contexts, target = util.create_contexts_target(corpus, 2)
    model = CBOW(20, 8, 2, corpus, rng=r)
    Trainer(model, Adam(lr=0.01), seed=0).fit(contexts, target, 6, 50, progress="none")
    vectors = util.normalize(model.word_vecs.copy())
    cosines = vectors @ vectors.T
    own = np.arange(20) // 10 == np.arange(20)[:, None] // 10
    assert cosines[own & ~np.eye(20, dtype=bool)].mean() > cosines[~own].mean() + 0.5
    assert math.isfinite(model.forward(contexts, target))
