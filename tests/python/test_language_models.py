"""The book's language models: its weights, its losses, what they learn and write."""

import copy
import pickle

import numpy as np
import pytest

import nnext
import sequence_reference as book
from nnext import SGD, Step
from nnext.models import BetterRnnlm, Rnnlm, SimpleRnnlm
from nnext.trainer import RnnlmTrainer
from reference import HALVES

V, D, H = 7, 5, 5
KINDS = {
    SimpleRnnlm: (book.simple_rnnlm, (V, D, H)),
    Rnnlm: (book.rnnlm, (V, D, H)),
    BetterRnnlm: (book.better_rnnlm, (V, D, H, 0.3)),
}
ids = np.random.default_rng(0).integers(0, V, (3, 5))
SENTENCE = np.tile([0, 1, 2, 3, 2], 60)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "close"), [("f4", 1e-5), ("f8", 1e-11)])
def test_a_seed_gives_the_books_weights_and_losses(kind, dtype, close):
    make, sizes = KINDS[kind]
    np.random.seed(3)
    model = kind(*sizes, dtype=dtype)
    np.random.seed(3)
    want = make(*sizes)
    assert all(p.dtype == dtype for p in model.params)
    for p, q in zip(model.params, want.params, strict=True):
        np.testing.assert_array_equal(p, q.astype(dtype))
    step = Step(model, SGD(lr=0.5))
    tied = (0, 7) if kind is BetterRnnlm else None
    texts = np.random.default_rng(1).integers(0, V, (10, 2, 3, 5))

    np.random.seed(4)  # of the masks
    losses = [step(xs, ts) for xs, ts in texts]
    np.random.seed(4)
    for loss, (xs, ts) in zip(losses, texts, strict=True):
        assert loss == pytest.approx(want.forward(xs, ts), rel=close)
        want.backward()
        book.sgd(want, 0.5, tied)
    for p, q in zip(model.params, want.params, strict=True):
        np.testing.assert_allclose(p, q, atol=100 * close)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_agree_with_central_differences(kind):
    sizes = (*KINDS[kind][1][:3], *([0.0] if kind is BetterRnnlm else []))
    model = kind(*sizes, rng=np.random.default_rng(0), dtype="f8")
    for p in model.params:
        p += np.random.default_rng(1).standard_normal(p.shape) / 5

    class FromZero:
        """Begins each loss with the same states."""

        params, grads, backward = model.params, model.grads, model.backward

        def forward(self, xs, ts):
            model.reset_state()
            return model.forward(xs, ts)

    check = nnext.check_gradients(FromZero(), ids, ids[:, ::-1])
    assert check.ok, check


@pytest.mark.parametrize("kind", KINDS)
def test_a_repeating_text_is_learned_and_written(kind):
    np.random.seed(0)
    model = kind(4, 16, 16)
    trainer = RnnlmTrainer(model, nnext.Adam(lr=0.02))
    ppl = trainer.fit(
        SENTENCE[:-1], SENTENCE[1:], 20, batch_size=4, time_size=5, max_grad=1.0, progress="none"
    )
    assert ppl[0] == pytest.approx(4, rel=0.01)
    assert ppl[-1] < 1.05
    model.reset_state()
    assert model.generate(0, sample_size=11) == [0, 1, 2, 3, 2] * 2 + [0]
    model.reset_state()
    probabilities = model.predict_proba([[0, 1, 2, 3]])
    assert (probabilities.argmax(axis=2) == [[1, 2, 3, 2]]).all()
    model.reset_state()
    assert model.accuracy(SENTENCE[None, :-1], SENTENCE[None, 1:]) == 1
    model.reset_state()
    assert np.exp(model.loss(SENTENCE[None, :-1], SENTENCE[None, 1:])) < 1.05


def test_sizes_left_out_are_the_books():
    assert [p.shape for p in Rnnlm(20).params][:2] == [(20, 100), (100, 400)]
    assert Rnnlm.__init__.__defaults__ == (10000, 100, 100)
    assert BetterRnnlm.__init__.__defaults__ == (10000, 650, 650, 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_draws_the_weights_and_leaves_numpys_state_alone(kind):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    sizes = KINDS[kind][1]
    first, second = (kind(*sizes, rng=np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    for p, q in zip(first.params, second.params, strict=True):
        np.testing.assert_array_equal(p, q)
    np.random.seed(5)
    third = kind(*sizes)
    fourth = kind(*sizes, rng=np.random.RandomState(5))
    for p, q in zip(third.params, fourth.params, strict=True):
        np.testing.assert_array_equal(p, q)


# States


@pytest.mark.parametrize("kind", KINDS)
def test_reading_goes_on_where_it_was(kind):
    model = kind(*KINDS[kind][1], rng=np.random.default_rng(0), dtype="f8")
    whole = model.predict(ids)
    model.reset_state()
    first = model.predict(ids[:, :2])
    state = model.get_state()
    np.testing.assert_allclose(np.concatenate([first, model.predict(ids[:, 2:])], 1), whole)
    model.set_state(state)
    np.testing.assert_allclose(model.predict(ids[:, 2:]), whole[:, 2:])
    # What is measured leaves the states alone.
    model.set_state(state)
    model.loss(ids, ids)
    np.testing.assert_allclose(model.predict(ids[:, 2:]), whole[:, 2:])


def test_states_are_those_of_the_book():
    simple, one, two = (kind(*sizes) for kind, (_, sizes) in KINDS.items())
    assert simple.get_state() is None
    assert one.get_state() == (None, None)
    assert two.get_state() == [(None, None)] * 2
    simple.predict(ids)
    one.predict(ids)
    assert simple.get_state() is simple.rnn_layer.h
    assert one.get_state()[1] is one.lstm_layer.c
    assert one.get_state()[0].shape == (3, H)
    with pytest.raises(ValueError, match="states: expected 2"):
        two.set_state([(None, None)])


def test_dropout_is_that_of_training_alone():
    model = BetterRnnlm(V, D, H, 0.9, dtype="f8")

    def losses(**options):
        found = []
        for _ in range(2):
            model.reset_state()
            found.append(model.forward(ids, ids, **options))
        return found

    first, second = losses()
    assert first != second
    first, second = losses(train_flg=False)
    assert first == second
    model.reset_state()
    assert model.loss(ids, ids) == pytest.approx(first)
    model.reset_state()
    scores = model.predict(ids)
    for score in (model.scores, model):
        model.reset_state()
        np.testing.assert_array_equal(score(ids), scores)
    model.reset_state()
    assert not np.array_equal(model.predict(ids, train_flg=True), scores)


# Writing


def test_words_are_drawn_as_the_book_draws_them():
    np.random.seed(1)
    model = Rnnlm(V, D, H)
    np.random.seed(2)
    written = model.generate(3, [0, 5], 30)
    np.random.seed(2)
    model.reset_state()
    x, expected = 3, [3]
    while len(expected) < 30:
        p = nnext.softmax(model.predict(np.array([[x]])).ravel())
        drawn = np.random.choice(len(p), size=1, p=p)[0]
        if drawn not in (0, 5):
            x = drawn
            expected.append(int(x))
    assert written == expected
    assert all(type(i) is int for i in written)
    assert not {0, 5} & {*written}


def test_a_generator_may_draw_the_words():
    model = Rnnlm(V, D, H)
    texts = []
    for _ in range(2):
        model.reset_state()
        texts.append(model.generate(1, np.array([2]), 20, rng=np.random.default_rng(3)))
    assert texts[0] == texts[1]
    assert model.generate(1, sample_size=1) == [1]


@pytest.mark.parametrize("dtype", HALVES)
def test_words_are_drawn_of_half_precision_too(dtype):
    model = Rnnlm(50, 4, 4, rng=np.random.default_rng(0), dtype=dtype)
    assert model.predict(ids).dtype == dtype
    model.reset_state()
    assert len(model.generate(1, rng=np.random.default_rng(0))) == 100


def test_what_cannot_be_written_is_refused():
    model = Rnnlm(V, D, H)
    with pytest.raises(IndexError, match=str(V)):
        model.generate(V)
    with pytest.raises(TypeError, match="start_id"):
        model.generate("the")
    with pytest.raises(TypeError, match="skip_ids"):
        model.generate(0, ["the"])
    with pytest.raises(ValueError, match="sample_size"):
        model.generate(0, sample_size=0)
    with pytest.raises(ValueError, match="skip_ids: expected a word that may follow 0"):
        model.generate(0, range(V))
    with pytest.raises(TypeError, match="rng"):
        model.generate(0, rng=3)


# Making, files, copies


def test_what_no_model_can_be_made_of_is_refused():
    for sizes in ((0, 5, 5), (7, 2.5, 5), (7, 5, -1)):
        with pytest.raises(ValueError, match="_size: expected a whole number of at least 1"):
            Rnnlm(*sizes)
    with pytest.raises(ValueError, match="hidden_size: expected 5, as wordvec_size"):
        BetterRnnlm(7, 5, 6)
    with pytest.raises(ValueError, match="dropout_ratio"):
        BetterRnnlm(7, 5, 5, 1.0)
    with pytest.raises(TypeError, match="dtype"):
        SimpleRnnlm(7, 5, 5, dtype=int)
    with pytest.raises(TypeError, match="rng"):
        SimpleRnnlm(7, 5, 5, rng=0)


@pytest.mark.parametrize("kind", KINDS)
def test_files_keep_parameters_and_models(kind, tmp_path):
    sizes = KINDS[kind][1]
    model, other = kind(*sizes), kind(*sizes)
    model.save_params(tmp_path / "params")
    other.load_params(tmp_path / "params")
    np.testing.assert_array_equal(other.predict(ids), model.predict(ids))
    other = kind(*sizes)
    other.load_state_dict(model.state_dict())
    model.reset_state()
    np.testing.assert_array_equal(other.predict(ids), model.predict(ids))
    pytest.importorskip("safetensors")
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    model.save(tmp_path / "model")
    again = nnext.load_model(tmp_path / "model")
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert type(again) is kind
    assert again.config() == model.config()
    model.reset_state()
    np.testing.assert_array_equal(again.predict(ids), model.predict(ids))


@pytest.mark.parametrize("way", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_a_copy_ties_its_weights_again(way):
    model = BetterRnnlm(V, D, H, 0.0)
    again = way(model)
    assert np.shares_memory(again.layers[0].W, again.layers[-1].params[0])
    assert not np.shares_memory(again.layers[0].W, model.layers[0].W)
    losses = [Step(m, SGD(lr=0.5))(ids, ids) for m in (model, again)]
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(again.predict(ids), model.predict(ids))


def test_tables_of_the_models_say_what_they_are():
    shown = BetterRnnlm(V, D, H).summary((4,))
    assert "TimeDropout" in shown
    assert "(N, 4, 7)" in shown
    assert f"{V * D + 2 * (8 * H * H + 4 * H) + V}" in shown  # tied weights once
