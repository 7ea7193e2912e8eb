"""Language models where something goes wrong or is only measured: names, states, streams."""

import numpy as np
import pytest

import nnext
from nnext import SGD
from nnext.models import BetterRnnlm, Rnnlm, SimpleRnnlm
from nnext.trainer import Trainer

MAKE = {
    "SimpleRnnlm": lambda: SimpleRnnlm(7, 4, 5, seed=0),
    "Rnnlm": lambda: Rnnlm(7, 4, 5, seed=0),
    "BetterRnnlm": lambda: BetterRnnlm(7, 4, 4, seed=0),
}


def numbers_of(state):
    if not isinstance(state, list | tuple):
        return [state]
    return [array for part in state for array in numbers_of(part)]


@pytest.mark.parametrize("name", MAKE)
def test_an_error_leaves_the_states_as_they_were(name):
    model = MAKE[name]()
    model.forward([[1, 2]], [[2, 3]])
    before = [a.copy() for a in numbers_of(model.get_state())]
    with pytest.raises(IndexError):
        model.forward([[3, 4]], [[4, 99]])
    for actual, wanted in zip(numbers_of(model.get_state()), before, strict=True):
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("name", MAKE)
def test_what_is_measured_begins_with_zeros_whatever_was_read(name):
    x = np.random.default_rng(0).integers(0, 7, size=(9, 3))
    t = np.roll(x, -1, axis=1)
    model = MAKE[name]()
    fresh = model.loss(x, t), model.loss(x, t, batch_size=4), model.accuracy(x, t, batch_size=4)
    assert fresh[0] == pytest.approx(fresh[1], rel=1e-6)
    model.forward(x[:2], t[:2])
    before = [a.copy() for a in numbers_of(model.get_state())]
    assert model.loss(x, t) == fresh[0]
    assert model.accuracy(x, t, batch_size=4) == fresh[2]
    for actual, wanted in zip(numbers_of(model.get_state()), before, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_functions_that_measure_get_words_not_scores():
    x = np.random.default_rng(0).integers(0, 7, size=(12, 3))
    seen = []

    def share(t, y):
        seen.append((t.shape, y.shape))
        return float((t == y).mean())

    trainer = Trainer(Rnnlm(7, 4, 5, seed=0), SGD(0.1), seed=0)
    trainer.fit(x, x, 1, 4, validation=(x[:5], x[:5]), metrics=[share], progress="none")
    assert all(t == y for t, y in seen)
    assert len(trainer.history.metrics["val_share"]) == 1


def test_words_that_are_next_to_always_skipped_end():
    model = Rnnlm(3, 2, 2, seed=0)
    model.params[-1][:] = [0, 0, -60]
    assert model.generate(0, [0, 1], sample_size=4, seed=0) == [0, 2, 2, 2]


def test_a_text_begins_with_a_word_of_the_model():
    for bad in (-1, 3):
        with pytest.raises(IndexError, match="start_id: expected a word from 0 to 2"):
            Rnnlm(3, 2, 2, seed=0).generate(bad, sample_size=1)
        with pytest.raises(IndexError, match="skip_ids: expected a word from 0 to 2"):
            Rnnlm(3, 2, 2, seed=0).generate(0, [1, bad], sample_size=1)


def test_states_are_set_all_or_none():
    model = BetterRnnlm(7, 4, 4, seed=0)
    model.forward([[1, 2]], [[2, 3]])
    before = [a.copy() for a in numbers_of(model.get_state())]
    with pytest.raises(ValueError, match="h: expected shape"):
        model.set_state([(np.ones((1, 4)), None), (np.ones((1, 5)), None)])
    with pytest.raises(ValueError, match=r"c: expected shape \(2, 4\), that of h"):
        model.lstm_layers[0].set_state(np.ones((2, 4)), np.ones((3, 4)))
    for actual, wanted in zip(numbers_of(model.get_state()), before, strict=True):
        np.testing.assert_array_equal(actual, wanted)


# What is refused

IDS = np.random.default_rng(0).integers(0, 7, (3, 4))
WRONG_IDS = [
    ([[1, 7]], IndexError, r"expected ids from 0 to 6, xs?\[0, 1\] is 7"),
    ([[1, 2], [-1, 0]], IndexError, r"expected ids from 0 to 6, xs?\[1, 0\] is -1"),
    ([[2**64 - 1]], IndexError, r"expected ids from 0 to 6, xs?\[0, 0\] is 18446744073709551615"),
    (IDS.astype("f4"), TypeError, "expected ids, whole numbers, got type float32"),
    (IDS > 3, TypeError, "expected ids, whole numbers, got type bool"),
    ("the", TypeError, "expected ids, whole numbers, got type <U3"),
    (None, TypeError, "expected ids, whole numbers, got type object"),
    (IDS[0], ValueError, r"expected ids of shape \(N, T\), got shape \(4,\)"),
    (IDS[None], ValueError, r"expected ids of shape \(N, T\), got shape \(1, 3, 4\)"),
    (3, ValueError, r"expected ids of shape \(N, T\), got shape \(\)"),
    ([], ValueError, r"expected ids of shape \(N, T\), got shape \(0,\)"),
    ([[1, 2], [3]], ValueError, "expected an array, got rows of different lengths"),
    (np.ma.masked_array(IDS, IDS > 3), TypeError, r"expected an array without masked"),
]
WRONG_LABELS = [
    (IDS + 7, IndexError, r"label \d+ in row 0 is out of range for 7 classes"),
    (IDS - 9, IndexError, r"label -\d in row 0 is out of range for 7 classes"),
    (IDS.astype("f4"), TypeError, "expected integers, got type float32"),
    (IDS > 3, TypeError, "expected integers, got type bool"),
    (IDS[:, :2], ValueError, r"expected labels of shape \(3, 4\)"),
    (IDS[:1], ValueError, r"expected labels of shape \(3, 4\)"),
    (None, TypeError, "expected an array, got None"),
    (np.full((3, 4), -1), nnext.EmptyBatchError, "expected at least 1 label"),
]


def kept(model):
    """What an error must leave: states, and the stream that masks are drawn from."""
    streams = [layer.rng.get_state()[1:3] for layer in getattr(model, "drop_layers", [])]
    return numbers_of(model.get_state()), streams


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("read", [False, True])
def test_what_is_no_text_is_refused_by_the_callers_name(name, read):
    model = MAKE[name]()
    if read:
        model.predict(IDS)
    before = kept(model)
    for xs, error, message in WRONG_IDS:
        for call in (model.predict, lambda xs: model.forward(xs, xs)):
            with pytest.raises(error, match=f"^xs: {message}"):
                call(xs)
        for call in (model.scores, model, model.loss_input, model.predict_proba):
            with pytest.raises(error, match=f"^x: {message}"):
                call(xs)
        np.testing.assert_equal(kept(model), before)
    for ts, error, message in WRONG_LABELS[:-1]:
        with pytest.raises(error, match=f"^ts: {message}"):
            model.forward(IDS, ts)
        np.testing.assert_equal(kept(model), before)
    for ts, error, message in WRONG_LABELS[-1:]:
        with pytest.raises(error, match=f"^ts: {message}"):
            model.forward(IDS, ts)
        np.testing.assert_equal(kept(model)[0], before[0])
    if read:
        with pytest.raises(ValueError, match=r"^h: expected shape \(2, .*reset_state\(\)"):
            model.forward(IDS[:2], IDS[:2])
        np.testing.assert_equal(kept(model)[0], before[0])


def test_data_are_checked_before_training_and_rows_named():
    wrong = IDS.copy()
    wrong[2, 1] = 7
    model = MAKE["BetterRnnlm"]()
    for x, t, message in [
        (wrong, IDS, "^x: row 2: expected ids from 0 to 6, got 7"),
        (IDS, wrong, r"^t\[2\]: label 7 in row 1 is out of range"),
    ]:
        with pytest.raises(IndexError, match=message):
            model.loss(x, t, batch_size=1)
        trainer = Trainer(model, SGD(), seed=0)
        with pytest.raises(IndexError, match=message):
            trainer.fit(x, t, 1, 1, progress="none")
        assert trainer.history.batches == 0


@pytest.mark.parametrize("name", MAKE)
def test_nothing_is_nothing_and_has_no_mean(name):
    model = MAKE[name]()
    assert model.predict(IDS[:0]).shape == (0, 4, 7)
    model.reset_state()
    assert model.predict(IDS[:, :0]).shape == (3, 0, 7)
    for empty in (IDS[:0], IDS[:, :0]):
        model.reset_state()
        with pytest.raises(nnext.EmptyBatchError, match="scores: expected at least 1 sample"):
            model.forward(empty, empty)
        assert numbers_of(model.get_state()) == [None] * len(numbers_of(model.get_state()))


@pytest.mark.parametrize("name", MAKE)
def test_lists_are_texts_and_one_hot_rows_labels(name):
    first, second = MAKE[name](), MAKE[name]()
    assert first.forward(IDS.tolist(), IDS.tolist()) == second.forward(IDS, np.eye(7)[IDS])
    if name != "BetterRnnlm":
        np.testing.assert_array_equal(first.predict(IDS.tolist()), second.predict(IDS.astype("u1")))


def test_what_are_no_states_is_refused():
    simple, one, two = (make() for make in MAKE.values())
    for model in (simple, one, two):
        model.predict(IDS)
    before = [[a.copy() for a in numbers_of(m.get_state())] for m in (simple, one, two)]
    for model, state, error, message in [
        (simple, np.ones((2, 4)), ValueError, r"state: expected shape \(N, 5\), got \(2, 4\)"),
        (simple, "h", TypeError, "state: cannot compute"),
        (one, None, TypeError, r"state: expected \(h, c\) of an LSTM, .*, got NoneType"),
        (one, (None,), TypeError, r"state: expected \(h, c\) of an LSTM, .*, got tuple"),
        (one, 5, TypeError, r"state: expected \(h, c\) of an LSTM, .*, got int"),
        (one, (np.ones((2, 5)), np.ones((3, 5))), ValueError, r"c: expected shape \(2, 5\)"),
        (two, None, TypeError, "states: expected those of 2 LSTMs, got NoneType"),
        (two, [None, None], TypeError, r"states: expected \(h, c\) of an LSTM"),
        (two, [(None, None)], ValueError, "states: expected 2, one for each LSTM, got 1"),
    ]:
        with pytest.raises(error, match=f"^{message}"):
            model.set_state(state)
    for model, kept in zip((simple, one, two), before, strict=True):
        np.testing.assert_equal(numbers_of(model.get_state()), kept)
    with pytest.raises(TypeError, match=r"^skip_ids: expected whole numbers, got 3"):
        simple.generate(0, 3)


@pytest.mark.parametrize("name", MAKE)
def test_a_text_that_cannot_go_on_leaves_the_states(name):
    model = MAKE[name]()
    model.predict([[1, 2]])
    before = [a.copy() for a in numbers_of(model.get_state())]
    model.params[-1][:] = 0, 0, 0, 0, 0, 0, -200
    with pytest.raises(ValueError, match="skip_ids: expected a word that may follow"):
        model.generate(0, range(6), 4, seed=0)
    for start in (7, -1, True, 1.5, "the", None):
        with pytest.raises((IndexError, TypeError), match=r"^start_id: "):
            model.generate(start)
    for actual, wanted in zip(numbers_of(model.get_state()), before, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def test_the_attributes_are_those_of_the_books_classes():
    simple, one, two = (make() for make in MAKE.values())
    assert simple.rnn_layer is simple.layers[1]
    assert one.lstm_layer is one.layers[1]
    assert two.drop_layers == [two.layers[i] for i in (1, 3, 5)]
    assert two.lstm_layers == [two.layers[i] for i in (2, 4)]
    for model in (simple, one, two):
        assert [*map(id, model.params)] == [id(p) for layer in model.layers for p in layer.params]
        assert [*map(id, model.grads)] == [id(g) for layer in model.layers for g in layer.grads]
        assert model.loss_layer.ignore_label == -1
        assert model.layers[0].W is model.params[0]
        assert model.backward is not None
    assert np.shares_memory(two.layers[0].W, two.layers[-1].params[0])
