"""What models of words refuse: by the name that the caller knows, before anything is written."""

import numpy as np
import pytest

import nnext
import reference as ref
from nnext import util
from nnext.models import CBOW, SimpleCBOW, SimpleSkipGram, SkipGram
from nnext.optimizer import Adam
from nnext.trainer import Trainer
from word_batches import CORPUS, SAMPLED, SIMPLE, V, small


@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_contexts_of_another_shape_are_refused(kind):
    model, contexts, target = small(kind, np.random.default_rng(0))
    for bad in (contexts[:, 0], contexts[:, :0], target):
        with pytest.raises(ValueError, match=r"contexts: expected shape \(N, "):
            model.forward(bad, target)
    for bad in (contexts.astype(complex), contexts.astype(str), contexts.astype(object)):
        with pytest.raises(TypeError, match="contexts: "):
            model.forward(bad, target)
    with pytest.raises(ValueError, match="target: expected"):
        model.forward(contexts, target[:4])
    with pytest.raises(TypeError, match="target: "):
        model.forward(contexts, target.astype(complex))
    with pytest.raises(TypeError, match="masked"):
        model.forward(np.ma.masked_equal(contexts, 0), target)
    fresh = small(kind)[0]
    with pytest.raises(RuntimeError, match="backward was called before"):
        fresh.backward()


@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_a_batch_of_nothing_is_called_what_the_caller_does(kind):
    model, contexts, target = small(kind, np.random.default_rng(0))
    empty = contexts[:0]
    with pytest.raises(nnext.EmptyBatchError) as error:
        model.forward(empty, target[:0])
    assert str(error.value) == (
        f"contexts: expected at least 1 sample for a mean loss, got shape {empty.shape}"
    )


@pytest.mark.parametrize("kind", SAMPLED)
def test_ids_out_of_range_are_refused(kind):
    model, contexts, target = small(kind, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"contexts: expected shape \(N, 2\), ids, got \(4, 4\)"):
        model.forward(*util.create_contexts_target(CORPUS, 2))
    for bad in (-1, V):
        with pytest.raises(IndexError, match=rf"contexts: .* 0 to 6, contexts\[1, 1\] is {bad}$"):
            model.forward(np.where(contexts == 3, bad, contexts), target)
        with pytest.raises(IndexError, match=rf"target: .* 0 to 6, target\[2\] is {bad}$"):
            model.forward(contexts, np.where(target == 3, bad, target))
    with pytest.raises(TypeError, match="contexts: expected ids, whole numbers"):
        model.forward(contexts.astype(float), target)
    with pytest.raises(TypeError, match="target: expected ids, whole numbers"):
        model.forward(contexts, target.astype(float))
    with pytest.raises(ValueError, match=r"target: expected ids of shape \(N,\)"):
        model.forward(contexts, contexts)


@pytest.mark.parametrize("kind", SIMPLE)
def test_rows_of_another_vocabulary_are_refused(kind):
    model, contexts, target = small(kind, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"contexts: expected shape \(N, C, 7\), .*\(6, 2, 6\)"):
        model.forward(contexts[:, :, :6], target)
    with pytest.raises(ValueError, match=r"target: expected .*7\).* got .*\(6, 6\)"):
        model.forward(contexts, target[:, :6])


WRONG_ROWS = {
    "a 2": (lambda rows: rows * 2, "row 0 is not one-hot: it holds 2"),
    "two ones": (lambda rows: rows | np.roll(rows, 1, axis=-1), "row 0 is not one-hot: it holds 1"),
    "no one": (lambda rows: rows * 0, "row 0 is not one-hot: it holds no 1"),
    "a fraction": (lambda rows: rows * 0.3, "row 0 adds up to 0.3"),
    "below 0": (lambda rows: -1.0 * rows, "row 0 holds -1"),
    "NaN": (lambda rows: np.where(rows == 1, np.nan, 0), "row 0 holds"),
}


@pytest.mark.parametrize("wrong", WRONG_ROWS)
@pytest.mark.parametrize("kind", SIMPLE)
def test_labels_that_are_none_are_refused_before_anything_is_written(kind, wrong):
    change, message = WRONG_ROWS[wrong]
    model, contexts, target = small(kind, np.random.default_rng(0))
    model.forward(contexts, target)
    before = model.in_layer.x
    for p, g in zip(model.params, model.grads, strict=True):
        g[...] = 7
        p.flags.writeable = False
    if kind is SimpleSkipGram:  # the other word's rows stay right, so that means may look right
        contexts = np.stack([contexts[:, 0], change(contexts[:, 1])], axis=1)
        with pytest.raises(ValueError, match=rf"contexts\[:, 1\]: {message}"):
            model.forward(contexts, target)
        assert model.in_layer.x is before
    else:
        with pytest.raises(ValueError, match=f"target: {message}"):
            model.forward(contexts, change(target))
    assert all((g == 7).all() for g in model.grads)


def test_wrong_rows_whose_mean_is_right_are_refused():
    model, contexts, target = small(SimpleSkipGram, np.random.default_rng(0))
    contexts[0] = [[2, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]]
    with pytest.raises(ValueError, match=r"contexts\[:, 0\]: row 0 is not one-hot"):
        model.forward(contexts, target)


@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_what_is_refused_leaves_the_last_forward_as_it_was(kind):
    model, contexts, target = small(kind, np.random.default_rng(0))
    model.forward(contexts, target)
    model.backward()
    grads = [g.copy() for g in model.grads]
    for bad in ((contexts[:, :0], target), (contexts.astype(complex), target)):
        with pytest.raises((ValueError, TypeError)):
            model.forward(*bad)
    model.backward()
    for g, before in zip(model.grads, grads, strict=True):
        ref.assert_same_bits(g, before)


@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_gradients_never_mix_two_batches(kind, monkeypatch):
    model, contexts, target = small(kind, np.random.default_rng(0))
    model.forward(contexts, target)
    for g in model.grads:
        g[...] = 7

    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as change:
        change.setattr(model.loss_layer, "forward", fail)
        with pytest.raises(MemoryError):
            model.forward(contexts[:2], target[:2])
    with pytest.raises(
        RuntimeError, match=rf"{kind.__name__}\.backward was called after a .* failed"
    ):
        model.backward()
    assert all((g == 7).all() for g in model.grads)
    model.forward(contexts, target)
    model.backward()
    assert not any((g == 7).all() for g in model.grads)


def test_scores_are_not_gone_back_through():
    model, contexts, target = small(SimpleCBOW, np.random.default_rng(0))
    model.forward(contexts, target)
    model.scores(contexts[:2])
    with pytest.raises(RuntimeError, match="or after scores"):
        model.backward()


def test_the_trainer_names_the_row_of_a_wrong_context():
    model, contexts, target = small(CBOW, np.random.default_rng(0))
    contexts[4, 1] = V
    with pytest.raises(IndexError, match=rf"x: row 4: expected ids from 0 to {V - 1}, got {V}$"):
        Trainer(model, Adam()).fit(contexts, target, progress="none")


def test_the_trainer_names_a_wrong_target_before_it_trains():
    model, contexts, target = small(CBOW, np.random.default_rng(0))
    before = model.word_vecs.copy()
    target[5] = V
    with pytest.raises(IndexError, match=rf"^t: expected ids from 0 to {V - 1}, t\[5\] is {V}$"):
        Trainer(model, Adam()).fit(contexts, target, batch_size=2, progress="none")
    ref.assert_same_bits(model.word_vecs, before)
    model.loss_layer.check_targets(target[:5], (5, 5))
    with pytest.raises(ValueError, match="t: expected 4 rows, one for each of h, got 5"):
        model.loss_layer.check_targets(target[:5], (4, 5))


LAST_ROWS = {
    (SkipGram, "x"): (IndexError, r"x: expected ids from 0 to 6, x\[4, 1\] is 12$"),
    (SkipGram, "t"): (IndexError, r"t: expected ids from 0 to 6, t\[4\] is 12$"),
    (SimpleSkipGram, "x"): (ValueError, r"x\[:, 1\]: row 4 is not one-hot: it holds 12, "),
    (SimpleCBOW, "t"): (ValueError, r"t: row 4 is not one-hot: it holds 12, "),
}


@pytest.mark.parametrize(("kind", "name"), LAST_ROWS)
def test_a_wrong_last_row_is_named_before_anything_is_trained(kind, name):
    error, message = LAST_ROWS[kind, name]
    model, *data = small(kind, np.random.default_rng(0))
    before = [p.copy() for p in model.params]
    trainer = Trainer(model, Adam(), seed=0)
    x, t = (part.copy() for part in data)
    (x[4, 1:] if name == "x" else t[4:5])[...] = 12
    with pytest.raises(error, match=f"^{message}"):
        trainer.fit(x, t, 1, 1, progress="none")
    with pytest.raises(error, match=f"^validation: {message}"):
        trainer.fit(*data, 1, 1, validation=(x, t), progress="none")
    with pytest.raises(error, match=f"^{message}"):
        model.loss(x, t, batch_size=2)
    for p, kept in zip(model.params, before, strict=True):
        ref.assert_same_bits(p, kept)
    assert trainer.loss_list == []


@pytest.mark.parametrize("kind", [SkipGram, SimpleSkipGram])
def test_what_are_no_contexts_is_told_by_the_trainers_names(kind):
    model, contexts, target = small(kind, np.random.default_rng(0))
    trainer = Trainer(model, Adam())
    with pytest.raises(ValueError, match=r"^x: expected shape \(N, "):
        trainer.fit(contexts[:, 0], target, progress="none")
    with pytest.raises(ValueError, match=r"^t: expected "):
        trainer.fit(contexts, contexts, progress="none")


@pytest.mark.parametrize("kind", [*SIMPLE, *SAMPLED])
def test_sizes_are_checked(kind):
    rest = () if kind in SIMPLE else (1, CORPUS)
    for bad in (0, -1, 2.5, "3"):
        with pytest.raises(ValueError, match="vocab_size: expected a whole number"):
            kind(bad, 5, *rest)
        with pytest.raises(ValueError, match="hidden_size: expected a whole number"):
            kind(V, bad, *rest)
    with pytest.raises(TypeError, match=r"rng: expected a numpy\.random"):
        kind(V, 5, *rest, rng=0)
    with pytest.raises(ValueError, match="expected rng or seed, got both"):
        kind(V, 5, *rest, seed=0, rng=np.random.default_rng(0))
    with pytest.raises(TypeError, match="dtype: expected float32"):
        kind(V, 5, *rest, dtype=np.int32)
    if kind in SAMPLED:
        with pytest.raises(ValueError, match="window_size: expected a whole number"):
            kind(V, 5, 0, CORPUS)
        with pytest.raises(IndexError, match="corpus: expected ids from 0 to 5"):
            kind(V - 1, 5, 1, CORPUS)
        with pytest.raises(ValueError, match="sample_size: expected fewer than the 3 words"):
            kind(V, 5, 1, [0, 1, 2])
