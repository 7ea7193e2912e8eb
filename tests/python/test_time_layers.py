"""What stands around the recurrent layers: of all steps at once what the book does step by step."""

import copy
import pickle

import numpy as np
import pytest

import nnext
import nnext.time_layers as tl
import recurrent_reference as spec
import sequence_reference as book
from nnext import SGD, Sequential, Step
from reference import FLOATS, assert_close, normal

SIZES = [(1, 1, 1, 2), (3, 5, 4, 7), (2, 0, 3, 4)]  # N, T, D, M


class Summed:
    """A layer and a weighed sum of what it returns as its loss, for `check_gradients`."""

    def __init__(self, layer):
        self.layer, self.params, self.grads = layer, layer.params, layer.grads

    def forward(self, xs, weights):
        self.weights = weights
        return float((self.layer.forward(xs) * weights).sum())

    def backward(self):
        self.dxs = self.layer.backward(self.weights)


# Names


def test_a_star_import_gives_what_the_books_programs_use():
    names = {}
    exec("from nnext.time_layers import *", names)
    assert names["np"] is np
    expected = (
        "RNN LSTM GRU TimeRNN TimeLSTM TimeGRU TimeEmbedding TimeAffine TimeSoftmaxWithLoss "
        "TimeSigmoidWithLoss TimeDropout TimeBiLSTM Simple_TimeSoftmaxWithLoss Simple_TimeAffine "
        "MatMul Affine Softmax SoftmaxWithLoss Sigmoid SigmoidWithLoss Dropout Embedding "
        "softmax sigmoid cross_entropy_error np"
    )
    assert set(expected.split()) <= names.keys()


# Embedding and affine


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sizes", SIZES)
def test_embedding_and_affine_are_those_of_every_step(dtype, sizes):
    N, T, D, M = sizes
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 6, (N, T))
    W, E, b = normal(dtype, D, M), normal(dtype, 6, D, seed=1), normal(dtype, M, seed=2)
    table, affine = tl.TimeEmbedding(E), tl.TimeAffine(W, b)
    assert table.params[0] is table.W is E
    want_table, want = book.Table(E.astype("f8")), book.Linear(W.astype("f8"), b.astype("f8"))
    x = table.forward(ids)
    assert x.dtype == dtype
    np.testing.assert_array_equal(x, want_table.forward(ids).astype(dtype))
    assert_close(affine.forward(x), want.forward(x.astype("f8")), 20, 20)
    dout = normal(dtype, N, T, M, seed=3)
    dx = affine.backward(dout)
    want_dx = want.backward(dout.astype("f8"))
    assert_close(dx, want_dx, 20, 20)
    for grad, expected in zip(affine.grads, want.grads, strict=True):
        assert_close(grad, expected, 40, 40)
    assert table.backward(dx) is None
    want_table.backward(dx.astype("f8"))
    assert_close(table.grads[0], want_table.grads[0], 40, 40)
    table.backward(dx, accumulate=True)
    assert_close(table.grads[0], 2 * want_table.grads[0], 40, 40)


def test_ids_that_the_table_has_not_are_named():
    table = tl.TimeEmbedding(np.ones((5, 3)))
    for xs, error, message in [
        ([[0, 5]], IndexError, "xs: index 5 in row 1 is out of range for 5 rows of W"),
        ([[0.5]], TypeError, "xs: expected integers, got type float64"),
        ([[True]], TypeError, "xs: expected integers, got type bool"),
        ([[1], [1, 2]], ValueError, "xs: expected rows of equal lengths"),
        (np.ma.masked_array([1, 2], [True, False]), TypeError, r"xs: .*xs\.filled\(value\)"),
    ]:
        with pytest.raises(error, match=f"^{message}"):
            table.forward(xs)
    assert table.idx is None
    model = Sequential([table, tl.TimeAffine(np.ones((3, 5)), np.zeros(5))])
    ids = np.zeros((4, 2), int)
    ids[3, 1] = 5
    message = r"^x: row 3: index 5 in row 1 is out of range"
    with pytest.raises(IndexError, match=message):
        model.loss(ids, 0 * ids, batch_size=2)
    trainer = nnext.Trainer(model, SGD(), seed=0)
    with pytest.raises(IndexError, match=message):
        trainer.fit(ids, 0 * ids, 1, 2, progress="none")


def test_the_books_simple_affine_has_its_names():
    W, b = normal("f4", 3, 4), normal("f4", 4, seed=1)
    simple, fast = tl.Simple_TimeAffine(W, b), tl.TimeAffine(W, b)
    assert simple.W is W
    assert simple.b is b
    x, dout = normal("f4", 2, 5, 3), normal("f4", 2, 5, 4)
    np.testing.assert_array_equal(simple.forward(x), fast.forward(x))
    np.testing.assert_array_equal(simple.backward(dout), fast.backward(dout))
    np.testing.assert_array_equal(simple.dW, fast.grads[0])
    np.testing.assert_array_equal(simple.db, fast.grads[1])


# Softmax


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("one_hot", [False, True])
def test_the_softmax_loss_is_the_mean_of_the_labels_that_count(dtype, one_hot):
    xs = normal(dtype, 3, 5, 4)
    ts = np.random.default_rng(0).integers(0, 4, (3, 5))
    if not one_hot:
        ts[0, 3:] = ts[2, 0] = -1
    loss, dx = book.softmax_loss(xs.astype("f8"), ts)
    layer = tl.TimeSoftmaxWithLoss()
    assert layer.ignore_label == -1
    given = np.eye(4, dtype=np.int32)[ts] if one_hot else ts
    assert layer.forward(xs, given) == pytest.approx(loss, rel=1e-6)
    assert layer.count == (15 if one_hot else 12)
    assert_close(layer.backward(), dx, 20, 1)
    assert_close(layer.backward(0.5), dx / 2, 20, 1)


def test_a_batch_of_ignored_labels_has_no_mean():
    layer = tl.TimeSoftmaxWithLoss()
    with pytest.raises(nnext.EmptyBatchError):
        layer.forward(np.zeros((1, 2, 3)), np.full((1, 2), -1))


def test_another_label_or_none_may_be_ignored():
    xs, ts = normal("f8", 2, 3, 4), np.array([[0, 1, 2], [3, 0, 0]])
    layer = tl.TimeSoftmaxWithLoss(ignore_label=0)
    assert layer.forward(xs, ts) == pytest.approx(book.softmax_loss(xs, ts, ignore=0)[0])
    assert layer.count == 3
    with pytest.raises(IndexError, match="-1"):
        tl.TimeSoftmaxWithLoss(ignore_label=None).forward(xs, np.full((2, 3), -1))
    summed = tl.TimeSoftmaxWithLoss(reduction="sum").forward(xs, ts)
    assert summed == pytest.approx(6 * book.softmax_loss(xs, ts)[0])
    assert tl.TimeSoftmaxWithLoss(reduction="none").forward(xs, ts).shape == (2, 3)


def test_the_simple_softmax_loss_ignores_no_label():
    xs, ts = normal("f8", 2, 3, 4), np.array([[0, 1, 2], [3, 0, 0]])
    layer = tl.Simple_TimeSoftmaxWithLoss()
    loss, dx = book.softmax_loss(xs, ts)
    assert layer.forward(xs, ts) == pytest.approx(loss)
    np.testing.assert_allclose(layer.backward(), dx, rtol=1e-12)
    with pytest.raises(IndexError):
        layer.forward(xs, ts - 1)


# Sigmoid


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sizes", [(1, 1), (4, 3), (3, 7)])
def test_the_sigmoid_loss_is_the_mean_of_all_steps(dtype, sizes):
    xs = normal(dtype, *sizes)
    ts = np.random.default_rng(0).integers(0, 2, sizes)
    loss, dx = book.sigmoid_loss(xs.astype("f8"), ts)
    layer = tl.TimeSigmoidWithLoss()
    assert layer.forward(xs, ts) == pytest.approx(loss, rel=1e-6)
    assert layer.count == xs.size == layer.count_of(xs, ts)
    assert layer.y.shape == layer.t.shape == sizes
    assert_close(layer.backward(), dx, 20, 1)
    assert_close(layer.backward(3.0), 3 * dx, 20, 3)
    value, count = layer.evaluate(xs, ts)
    assert value == pytest.approx(loss, rel=1e-6)
    assert count == xs.size


def test_the_sigmoid_loss_weighs_sequences_and_adds_up_if_told():
    xs, ts = normal("f8", 3, 4), np.array([[0, 1, 1, 0]] * 3)
    layer, weight = tl.TimeSigmoidWithLoss(), np.array([2.0, 0.0, 1.0])
    each = np.array([book.sigmoid_loss(x[None], t[None])[0] for x, t in zip(xs, ts, strict=True)])
    assert layer.forward(xs, ts, weight) == pytest.approx((each * weight).sum() / 3)
    assert layer.count == 12 == layer.count_of(xs, ts, weight)
    assert layer.count_of(xs, ts, weight, before=5) == 17
    assert layer.evaluate(xs, ts, weight)[0] == pytest.approx((each * weight).sum() / 3)
    summed = tl.TimeSigmoidWithLoss(reduction="sum")
    assert summed.forward(xs, ts) == pytest.approx(4 * each.sum())
    assert summed.evaluate(xs, ts) == (summed.forward(xs, ts), summed.count)
    assert summed.count_of(xs, ts) == summed.count
    apart = tl.TimeSigmoidWithLoss(reduction="none")
    np.testing.assert_allclose(apart.forward(xs, ts), 4 * each)
    doubled = tl.TimeSigmoidWithLoss(pos_weight=2.0)
    more = np.log1p(np.exp(-xs))[ts == 1].sum() / 12
    assert doubled.forward(xs, ts) == pytest.approx(each.mean() + more)


def test_parts_of_a_batch_have_the_loss_and_the_gradient_of_the_whole():
    xs, ts = normal("f8", 5, 3), np.array([[0, 1, 1]] * 5)
    whole, part = tl.TimeSigmoidWithLoss(), tl.TimeSigmoidWithLoss()
    loss, dx, count = whole.forward(xs, ts), whole.backward(), whole.count
    losses, grads = [], []
    for rows in (slice(0, 2), slice(2, 5)):
        losses.append(part.forward(xs[rows], ts[rows], count=count))
        grads.append(part.backward())
    assert sum(losses) == pytest.approx(loss)
    np.testing.assert_array_equal(np.concatenate(grads), dx)


def test_a_chain_learns_of_parts_what_it_learns_of_the_whole():
    xs, ts = normal("f8", 6, 3), np.array([[0, 1, 1]] * 6)
    models = [
        Sequential([nnext.affine(3, 3, seed=0, dtype="f8")], tl.TimeSigmoidWithLoss())
        for _ in range(2)
    ]
    whole, parts = (Step(model, SGD(lr=1.0)) for model in models)
    loss = whole(xs, ts)
    assert parts.accumulate([(xs[:4], ts[:4]), (xs[4:], ts[4:])]) == pytest.approx(loss)
    assert parts.count == whole.count == 18
    for p, q in zip(models[0].params, models[1].params, strict=True):
        np.testing.assert_array_equal(p, q)


def test_what_is_no_sequence_of_scores_is_refused():
    layer = tl.TimeSigmoidWithLoss()
    for x in (np.zeros(3), np.zeros((1, 2, 3)), 0.5):
        with pytest.raises(ValueError, match=r"x: expected scores \(N, T\)"):
            layer.forward(x, x)
    with pytest.raises(ValueError, match="t"):
        layer.forward(np.zeros((2, 3)), np.zeros((3, 2)))
    for empty in ((0, 3), (3, 0)):
        with pytest.raises(nnext.EmptyBatchError):
            layer.forward(np.zeros(empty), np.zeros(empty))
        assert layer.evaluate(np.zeros(empty), np.zeros(empty)) == (0, 0)
    with pytest.raises(nnext.EmptyBatchError, match="weights that are all 0"):
        layer.forward(np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(RuntimeError, match="TimeSigmoidWithLoss"):
        layer.backward()


# Dropout


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5])
def test_dropout_draws_the_books_masks(dtype, ratio):
    xs, dout = normal(dtype, 2, 3, 5), normal(dtype, 2, 3, 5, seed=1)
    layer = tl.TimeDropout(ratio)
    np.random.seed(3)
    results = [(layer.forward(xs), layer.backward(dout), layer.mask) for _ in range(2)]
    np.random.seed(3)
    for y, dx, mask in results:
        factor = (np.random.rand(2, 3, 5) > ratio).astype("f8") / (1 - ratio)
        assert y.dtype == dx.dtype == dtype
        assert mask.dtype == np.float32
        np.testing.assert_allclose(mask, factor, rtol=1e-6)
        assert_close(y, xs * factor, 2)
        assert_close(dx, dout * factor, 2)


def test_dropout_takes_a_generator_and_leaves_numpys_state_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    xs = np.ones((2, 5), "f4")
    for make in (np.random.default_rng, np.random.RandomState):
        drawn = tl.TimeDropout(0.4, rng=make(5)).forward(xs)
        np.testing.assert_array_equal(drawn != 0, make(5).random((2, 5)) > 0.4)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_dropout_is_switched_off_by_its_attribute_or_for_a_call():
    layer, xs = tl.TimeDropout(), normal("f4", 50, 2)
    assert layer.train_flg is True
    assert (layer.forward(xs) == 0).any()
    assert layer.forward(xs, train_flg=False) is xs
    assert layer.mask is None
    assert layer.backward(xs) is xs
    layer.train_flg = False
    assert layer.forward(xs) is xs
    assert (layer.forward(xs, train_flg=True) == 0).any()
    assert layer.forward([1, 2], train_flg=False).dtype == np.float64
    model = Sequential(
        [tl.TimeDropout(0.9), nnext.Affine(np.ones((2, 2), "f4"), np.zeros(2, "f4"))]
    )
    np.testing.assert_allclose(model.scores(xs)[:, 0], xs.sum(axis=1), rtol=1e-5, atol=1e-6)


def test_what_dropout_cannot_use_is_refused():
    for ratio in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="dropout_ratio"):
            tl.TimeDropout(ratio)
    with pytest.raises(TypeError, match="dropout_ratio"):
        tl.TimeDropout("half")
    with pytest.raises(TypeError, match="rng"):
        tl.TimeDropout(rng=3)
    layer = tl.TimeDropout()
    with pytest.raises(RuntimeError, match="TimeDropout"):
        layer.backward(np.ones(3))
    layer.train_flg = "no"
    with pytest.raises(TypeError, match="train_flg"):
        layer.forward(np.ones(3))


# Both ways


def lstm_weights(dtype, D, H, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(D, 4 * H), (H, 4 * H), (4 * H,)]
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (3, 4, 2, 5)])
def test_two_lstms_read_both_ways(dtype, sizes):
    N, T, D, H = sizes
    weights = lstm_weights(dtype, D, H) + lstm_weights(dtype, D, H, seed=1)
    layer = tl.TimeBiLSTM(*weights)
    xs, dhs = normal(dtype, N, T, D), normal(dtype, N, T, 2 * H, seed=1)
    wide = [w.astype("f8") for w in weights]
    first, second = (book.Recurrent(spec.LSTM, *three) for three in (wide[:3], wide[3:]))
    x, d = xs.astype("f8"), dhs.astype("f8")
    want = np.concatenate([first.forward(x), second.forward(x[:, ::-1])[:, ::-1]], axis=2)
    got = layer.forward(xs)
    assert got.dtype == dtype
    assert_close(got, want, 100, 1)
    dxs = first.backward(d[:, :, :H]) + second.backward(d[:, ::-1, H:])[:, ::-1]
    assert_close(layer.backward(dhs), dxs, 2000, 1)
    for grad, expected in zip(layer.grads, first.grads + second.grads, strict=True):
        assert_close(grad, expected, 2000, 1)
    before = [grad.copy() for grad in layer.grads]
    layer.backward(dhs, accumulate=True)
    for grad, once in zip(layer.grads, before, strict=True):
        assert_close(grad, 2.0 * once, 2000, 1)


def test_two_lstms_have_the_gradients_of_central_differences():
    model = Summed(tl.TimeBiLSTM(*lstm_weights("f8", 2, 3), *lstm_weights("f8", 2, 3, 1)))
    xs, weights = normal("f8", 2, 3, 2), normal("f8", 2, 3, 6)
    check = nnext.check_gradients(model, xs, weights)
    assert check.ok, check
    numeric = nnext.numerical_gradient(lambda _: model.forward(xs, weights), xs)
    np.testing.assert_allclose(model.dxs, numeric, rtol=1e-6, atol=1e-8)


def test_two_lstms_go_on_where_they_were_if_told():
    layer = tl.TimeBiLSTM(*lstm_weights("f8", 2, 3), *lstm_weights("f8", 2, 3, 1), stateful=True)
    xs = normal("f8", 2, 3, 2)
    first = layer.forward(xs)
    assert not np.allclose(layer.forward(xs), first)
    layer.reset_state()
    np.testing.assert_array_equal(layer.forward(xs), first)


def test_two_lstms_go_on_both_or_none():
    layer = tl.TimeBiLSTM(*lstm_weights("f8", 2, 3), *lstm_weights("f8", 2, 3, 1), stateful=True)
    layer.forward(normal("f8", 2, 3, 2))
    layer.backward_lstm.set_state(np.ones((4, 3)))
    before = layer.forward_lstm.h, layer.forward_lstm.c
    with pytest.raises(ValueError, match=r"h: expected shape \(2, 3\)"):
        layer.forward(normal("f8", 2, 3, 2))
    assert layer.forward_lstm.h is before[0]
    assert layer.forward_lstm.c is before[1]


def test_what_two_lstms_cannot_use_is_refused():
    with pytest.raises(ValueError, match="Wx2: expected 2 rows"):
        tl.TimeBiLSTM(*lstm_weights("f8", 2, 3), *lstm_weights("f8", 4, 3))
    layer = tl.TimeBiLSTM(*lstm_weights("f8", 2, 3), *lstm_weights("f8", 2, 3))
    with pytest.raises(RuntimeError, match="TimeBiLSTM"):
        layer.backward(np.zeros((1, 1, 6)))
    for shape in ((2,), (1, 2), (1, 2, 3), (1, 1, 1, 2)):
        with pytest.raises(ValueError, match="xs"):
            layer.forward(np.zeros(shape))
    layer.forward(np.zeros((2, 3, 2)))
    layer.grads[0][...] = 7
    for shape in ((2, 3, 3), (2, 2, 6), (6,)):
        with pytest.raises(ValueError, match=r"dhs: expected shape \(2, 3, 6\)"):
            layer.backward(np.zeros(shape))
    with pytest.raises(TypeError, match="dhs"):
        layer.backward(np.zeros((2, 3, 6), complex))
    assert (layer.grads[0] == 7).all()


@pytest.mark.parametrize("way", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_a_copy_of_two_lstms_has_arrays_of_its_own_that_are_its_parts(way):
    layer = tl.TimeBiLSTM(*lstm_weights("f8", 2, 3), *lstm_weights("f8", 2, 3, 1))
    again = way(layer)
    parts = again.forward_lstm, again.backward_lstm
    for name in ("params", "grads"):
        inner = [a for part in parts for a in getattr(part, name)]
        assert all(a is b for a, b in zip(getattr(again, name), inner, strict=True))
    xs = normal("f8", 2, 3, 2)
    again.params[0][...] = 0
    assert not np.allclose(again.forward(xs), layer.forward(xs))


def test_both_of_a_bilstm_are_stateful_or_none():
    layer = tl.TimeBiLSTM(*lstm_weights("f8", 2, 3), *lstm_weights("f8", 2, 3))
    xs = normal("f8", 2, 4, 2)
    first = layer.forward(xs)
    layer.stateful = True
    assert layer.forward_lstm.stateful
    assert layer.backward_lstm.stateful
    assert not np.array_equal(layer.forward(xs), first)
    layer.stateful = False
    np.testing.assert_array_equal(layer.forward(xs), first)
    with pytest.raises(TypeError, match="stateful: expected True or False, got 'no'"):
        layer.stateful = "no"


# In models


def test_they_stand_in_a_chain_and_learn(tmp_path):
    pytest.importorskip("safetensors")
    rng = np.random.default_rng(0)
    model = Sequential(
        [
            tl.TimeEmbedding(rng.standard_normal((5, 3))),
            tl.TimeDropout(0.1, rng=rng),
            tl.TimeBiLSTM(*lstm_weights("f8", 3, 4), *lstm_weights("f8", 3, 4)),
            tl.TimeAffine(rng.standard_normal((8, 5)), np.zeros(5)),
        ],
        tl.TimeSoftmaxWithLoss(),
    )
    ids = rng.integers(0, 5, (8, 6))
    step = Step(model, SGD(lr=1.0))
    losses = [step(ids, ids) for _ in range(100)]
    assert losses[-1] < losses[0] / 4
    model.save(tmp_path / "model")
    again = nnext.load_model(tmp_path / "model")
    np.testing.assert_array_equal(again.scores(ids), model.scores(ids))
    assert again.layers[1].dropout_ratio == 0.1
    assert again.loss_layer.ignore_label == -1


def test_they_show_their_sizes():
    shown = repr(tl.TimeBiLSTM(*lstm_weights("f8", 2, 3), *lstm_weights("f8", 2, 3)))
    assert shown == "TimeBiLSTM(2, 12)"
    assert repr(tl.TimeDropout(0.25)) == "TimeDropout(0.25)"
    assert repr(tl.TimeEmbedding(np.zeros((5, 2)))) == "TimeEmbedding(5, 2)"
