"""Labels by their shape alone: class indices, one-hot rows, rows of probabilities."""

import copy
import pickle

import numpy as np
import pytest

import loss_reference as spec
import nnext
import reference as ref
from nnext import AffineSoftmaxWithLoss, EmptyBatchError, SigmoidWithLoss, SoftmaxWithLoss
from nnext._nnext import LossOptions
from nnext.functions import (
    cross_entropy_error,
    linear_cross_entropy,
    linear_cross_entropy_with_grad,
)
from reference import normal

N, V = 6, 9


def soft_rows(dtype=np.float64, n=N, v=V, seed=1, sharp=()):
    """Rows of probabilities, those named in `sharp` one-hot."""
    rows = np.random.default_rng(seed).uniform(0, 1, (n, v))
    rows[:, v // 2] = 0
    rows /= rows.sum(axis=1, keepdims=True)
    for i in sharp:
        rows[i] = np.arange(v) == i
    return rows.astype(dtype)


def ways(W, **options):
    """The loss and dx of scores ``x W`` by every entry point."""

    def layers(x, t, dout=1.0, weight=None):
        affine, loss = nnext.MatMul(W), SoftmaxWithLoss(**options)
        value = loss.forward(affine.forward(x), t, weight)
        return value, affine.backward(loss.backward(dout))

    def fused_layer(x, t, dout=1.0, weight=None):
        layer = AffineSoftmaxWithLoss(W, **options)
        value = layer.forward(x, t, weight)
        return value, layer.backward(dout)

    def function(x, t, dout=1.0, weight=None):
        given = {"ignore_label": None} | options
        result = linear_cross_entropy_with_grad(x, W, t, dout=dout, sample_weight=weight, **given)
        alone = linear_cross_entropy(x, W, t, sample_weight=weight, **given)
        np.testing.assert_array_equal(alone, result[0])
        return result[:2]

    return layers, fused_layer, function


def test_the_loss_of_soft_targets_of_a_hand_computed_case():
    # Equal scores: log 3 for each row, whatever the target.
    layer = SoftmaxWithLoss()
    assert layer.forward(np.zeros((2, 3)), [[0.5, 0.5, 0], [0, 0.25, 0.75]]) == pytest.approx(
        np.log(3), rel=1e-15
    )
    x = np.log([[1.0, 1.0, 2.0]])  # probabilities 1/4, 1/4, 1/2
    assert layer.forward(x, [[0.5, 0.5, 0.0]]) == pytest.approx(np.log(4), rel=1e-15)
    np.testing.assert_allclose(layer.backward(), [[-0.25, -0.25, 0.5]], rtol=1e-15)
    assert layer.count == 1


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("target_type", [np.float32, np.float64])
def test_every_option_with_every_other_and_every_reduction(dtype, target_type):
    x = normal(dtype, N, V)
    W = np.eye(V, dtype=dtype)
    t = soft_rows(target_type, sharp=(2,))
    u = max(ref.unit_roundoff(dtype), ref.unit_roundoff(target_type))
    for options in spec.every_option(N, V):
        sample_weight = options.pop("sample_weight")
        if options["class_weight"] is not None:
            options["class_weight"] = options["class_weight"].astype(dtype)
        dout = normal(float, N, seed=3) if options["reduction"] == "none" else 2.5
        exact = spec.softmax_loss(x, t, dout, sample_weight=sample_weight, **options)
        results = [way(x, t, dout, sample_weight) for way in ways(W, **options)]
        for loss, dx in results:
            assert np.all(abs(loss - exact.value) <= 60 * u * (1 + abs(exact.value)))
            assert np.all(abs(dx - exact.dscores) <= 60 * u * (1 + abs(exact.dscores).max()))
            np.testing.assert_array_equal(loss, results[0][0])
            np.testing.assert_array_equal(dx, results[0][1])
        options["sample_weight"] = sample_weight


def test_the_gradient_of_soft_targets_agrees_with_central_differences():
    x, t = normal(np.float64, N, V), soft_rows()
    for options in ({}, {"label_smoothing": 0.1, "z_loss": 0.02, "softcap": 2.0}):
        layer = SoftmaxWithLoss(class_weight=np.arange(1, V + 1), **options)
        numerical = nnext.numerical_gradient(lambda a, layer=layer: layer.forward(a, t), x)
        layer.forward(x, t)
        ref.assert_gradient(layer.backward(), numerical, np.float64)


@pytest.mark.parametrize("kind", [*ref.HALVES, *ref.FLOATS])
def test_a_row_depends_on_itself_alone_whether_the_others_are_soft_or_not(kind):
    x, t = normal(np.float32, N, V), soft_rows(kind, sharp=(1, 4))
    for options in ({}, {"label_smoothing": 0.1}):
        layer = SoftmaxWithLoss(reduction="none", **options)
        losses, dx = layer.forward(x, t), layer.backward()
        for i in range(N):
            one = SoftmaxWithLoss(reduction="none", **options)
            label = [i] if i in (1, 4) else t[i : i + 1]
            assert one.forward(x[i : i + 1], label) == losses[i]
            ref.assert_same_bits(one.backward(), dx[i : i + 1])


def test_the_layer_keeps_targets_of_its_own():
    x, t = normal(np.float64, N, V), soft_rows()
    layer = SoftmaxWithLoss()
    layer.forward(x, t)
    dx = layer.backward()
    np.testing.assert_array_equal(layer.t, t)
    t[...] = 1 / V
    np.testing.assert_array_equal(layer.backward(), dx)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("budget", [1, 20_000])
def test_fused_bits_are_those_of_the_layers_for_any_chunk_and_threads(threads, budget):
    before = nnext.get_num_threads(), nnext.get_score_budget()
    x, W = normal(np.float32, 37, 9), normal(np.float32, 9, 133)
    t = soft_rows(np.float32, 37, 133, sharp=range(0, 37, 5))
    weight = np.where(np.arange(37) % 7 == 3, 0.0, 1.5)
    try:
        nnext.set_num_threads(threads)
        nnext.set_score_budget(budget)
        first, *others = [way(x, t, 0.7, weight) for way in ways(W, ignore_label=5)]
        for other in others:
            np.testing.assert_array_equal(other[0], first[0])
            np.testing.assert_array_equal(other[1], first[1])
        assert not first[1][5].any()  # row 5 is class 5 for certain: ignored
    finally:
        nnext.set_num_threads(before[0])
        nnext.set_score_budget(before[1])


def test_cross_entropy_error_takes_soft_targets():
    y, t = nnext.softmax(normal(np.float64, N, V)), soft_rows(sharp=(0,))
    expected = -(t * np.log(y + 1e-7)).sum() / N
    assert cross_entropy_error(y, t) == pytest.approx(expected, rel=1e-14)


# What is refused

BAD_ROWS = [
    (np.full((N, V), 1 / 3), r"t: row 0 adds up to 3.0+, expected probabilities that add up to 1"),
    (np.eye(N, V) * 2 - np.eye(N, V, 1), r"t: row 0 holds -1.0+, expected probabilities"),
    (np.full((N, V), np.nan), r"t: row 0 holds -?nan"),
    (np.full((N, V), np.inf), r"t: row 0 adds up to inf"),
    (np.zeros((N, V)), r"t: row 0 adds up to 0"),
    (np.zeros((N, V), int), "t: row 0 is not one-hot: it holds no 1"),
    (np.ones((N, V), bool), "t: row 0 is not one-hot: it holds 1 more than once"),
    (2 * np.eye(N, V, dtype=int), "t: row 0 is not one-hot: it holds 2"),
    (-np.eye(N, V, dtype=np.int8), "t: row 0 is not one-hot: it holds -1"),
]


@pytest.mark.parametrize(("t", "match"), BAD_ROWS)
def test_rows_that_are_neither_one_hot_nor_probabilities_are_named(t, match):
    x = normal(np.float64, N, V)
    for way in ways(np.eye(V)):
        with pytest.raises(ValueError, match=match):
            way(x, t)
    with pytest.raises(ValueError, match=match):
        cross_entropy_error(nnext.softmax(x), t)
    later = soft_rows(sharp=range(N)).astype(t.dtype)
    later[4] = t[4]
    with pytest.raises(ValueError, match="t: row 4 "):
        SoftmaxWithLoss().forward(x, later)


@pytest.mark.parametrize("shape", [(N, 1), (1, N), (2, N // 2), (N * V,), (V, N), (N, V, 1), ()])
@pytest.mark.parametrize("dtype", [int, float])
def test_labels_are_never_matched_by_their_size(shape, dtype):
    x, t = normal(np.float64, N, V), np.zeros(shape, dtype)
    for way in ways(np.eye(V)):
        with pytest.raises(ValueError, match=rf"t: expected .*\({N},\).*\({N}, {V}\).*got shape"):
            way(x, t)


@pytest.mark.parametrize("kind", [*ref.HALVES, *ref.FLOATS])
def test_probabilities_may_be_off_by_what_their_type_rounds(kind):
    t = soft_rows(kind, v=1000)
    too_much = 1.05 if kind is ref.HALVES[1] else 1.02  # bfloat16 has 8 bits
    SoftmaxWithLoss().forward(np.zeros((N, 1000)), t)
    with pytest.raises(ValueError, match="adds up to"):
        SoftmaxWithLoss().forward(np.zeros((N, 1000)), (t * too_much).astype(kind))


def test_one_class_under_softmax_names_the_binary_loss():
    x, t = np.zeros((N, 1)), np.zeros(N, int)
    for way in ways(np.eye(1)):
        with pytest.raises(ValueError, match="SigmoidWithLoss"):
            way(x, t)
    with pytest.raises(ValueError, match="SigmoidWithLoss"):
        cross_entropy_error(np.ones((N, 1)), t)


@pytest.mark.parametrize("bad", [-1, 2, 255, np.nan, np.inf, 1.5, -1e-3])
@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_binary_labels_outside_0_and_1_are_named_by_their_row(bad, dtype):
    x, t = np.zeros((3, 4), dtype), np.zeros((3, 4))
    t[2, 1] = bad
    layer = SigmoidWithLoss()
    for check in (layer.forward, layer.evaluate):
        with pytest.raises(ValueError, match=r"t: row 2 holds .*expected binary labels in \[0, 1]"):
            check(x, t)
    with pytest.raises(ValueError, match="t: row 2"):
        layer.labels(t, x.shape)
    assert layer.y is None


def test_binary_labels_may_be_probabilities_and_booleans():
    x = np.zeros((2, 2))
    layer = SigmoidWithLoss()
    assert layer.forward(x, [[0.25, 1.0], [0.0, 0.5]]) == pytest.approx(2 * np.log(2))
    assert layer.forward(x, [[True, False], [False, True]]) == pytest.approx(2 * np.log(2))


# What a row counts


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("soft", [False, True])
def test_a_row_of_weight_0_counts_as_an_ignored_one_whatever_its_scores(bad, soft):
    x = normal(np.float64, N, V)
    t = soft_rows() if soft else np.arange(N)
    weight = np.array([1, 0, 2, 1, 0, 1.0])
    counts = weight > 0
    expected = [way(x[counts], t[counts], 1.0, weight[counts]) for way in ways(np.eye(V))]
    x[~counts] = bad
    for way, (loss, dx) in zip(ways(np.eye(V)), expected, strict=True):
        got = way(x, t, 1.0, weight)
        assert got[0] == loss
        np.testing.assert_array_equal(got[1][counts], dx)
        assert not got[1][~counts].any()


def test_a_class_of_weight_0_counts_nothing_either():
    x = normal(np.float64, 3, 4)
    layer = SoftmaxWithLoss(class_weight=[1, 0, 1, 1])
    x[1] = np.nan
    loss = layer.forward(x, [0, 1, 3])
    assert loss == SoftmaxWithLoss().forward(x[[0, 2]], [0, 3])
    assert layer.count == 2
    assert not layer.backward()[1].any()


def test_a_mean_over_nothing_is_an_error_of_its_own():
    x = normal(np.float64, N, V)
    for t, weight in [(np.full(N, 3), None), (np.zeros(N, int), np.zeros(N))]:
        for layer in (
            SoftmaxWithLoss(ignore_label=3),
            AffineSoftmaxWithLoss(np.eye(V), ignore_label=3),
        ):
            with pytest.raises(EmptyBatchError, match="at least 1 label"):
                layer.forward(x, t, weight)
            assert layer.evaluate(x, t, weight) == (0.0, 0.0)
    with pytest.raises(EmptyBatchError):
        SigmoidWithLoss().forward(np.zeros((0, 3)), np.zeros((0, 3)))
    assert issubclass(EmptyBatchError, ValueError)
    assert pickle.loads(pickle.dumps(EmptyBatchError("x"))).args == ("x",)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_evaluate_is_forward_without_remembering(reduction):
    x, t = normal(np.float64, N, V), np.arange(N)
    for layer in (
        SoftmaxWithLoss(reduction=reduction, class_weight=np.arange(1, V + 1)),
        AffineSoftmaxWithLoss(np.eye(V), reduction=reduction, class_weight=np.arange(1, V + 1)),
    ):
        loss, count = layer.evaluate(x, t)
        assert layer.t is None
        assert layer.count == 0
        np.testing.assert_array_equal(layer.forward(x, t), loss)
        expected = np.arange(1, N + 1).sum() if reduction == "mean" else N
        assert layer.count == count == expected


def test_labels_in_the_terms_of_predictions():
    layer = SoftmaxWithLoss(ignore_label=4)
    np.testing.assert_array_equal(layer.labels([0, 4, 2], (3, 5)), [0, -1, 2])
    rows = np.array([[0, 0.5, 0.5, 0, 0], [0, 0, 0, 0, 1], [0.1, 0.2, 0.7, 0, 0]])
    np.testing.assert_array_equal(layer.labels(rows, (3, 5)), [1, -1, 2])
    with pytest.raises(IndexError, match="label 5 in row 1"):
        layer.labels([0, 5, 2], (3, 5))


# The soft cap


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_top_k_predict_and_probabilities_agree_on_order_and_ties(dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 4)).astype(dtype)
    W = (30 * rng.standard_normal((4, 7))).astype(dtype)  # most scores are capped to the same
    layer = AffineSoftmaxWithLoss(W, softcap=1.0)
    classes, log_prob = layer.top_k(x, 7)
    best = layer.predictions(x)
    assert len(np.unique(log_prob[:, :2].astype(float).round(6), axis=0)) < 150  # ties there are
    np.testing.assert_array_equal(classes[:, 0], best)
    np.testing.assert_array_equal(layer.probabilities(x).argmax(axis=1), best)
    scores = nnext.matmul(x, W)
    np.testing.assert_array_equal(SoftmaxWithLoss(softcap=1.0).predictions(scores), best)


def test_a_cap_that_float16_cannot_hold_makes_no_nan():
    x = np.array([[1, 2, 3]], np.float16)
    for cap in (1e5, 1e30, 1e-30):
        layer = SoftmaxWithLoss(softcap=cap)
        assert np.isfinite(layer.probabilities(x)).all()
        assert layer.predictions(x) == (2 if cap > 1 else 0)


# The options as an object


def test_options_are_checked_immutable_and_travel():
    options = LossOptions(reduction="sum", ignore_label=np.int8(3), class_weight=[1, 2], softcap=2)
    assert repr(options) == (
        "LossOptions(reduction='sum', ignore_label=3, class_weight=array([1., 2.]), softcap=2.0)"
    )
    for again in (pickle.loads(pickle.dumps(options)), copy.copy(options), copy.deepcopy(options)):
        assert again == options
    assert options != LossOptions()
    with pytest.raises(AttributeError):
        options.softcap = 1.0
    options.class_weight[0] = 9  # a copy
    assert options.class_weight.tolist() == [1, 2]
    with pytest.raises(ValueError, match="ignore_label: expected a number of 64 bits"):
        LossOptions(ignore_label=2**64)
    with pytest.raises(ValueError, match="reduction"):
        LossOptions(reduction="median")


def test_class_weights_of_the_caller_may_change_after_the_layer_was_made():
    weights = np.ones(V)
    x, t = normal(np.float64, N, V), np.arange(N)
    layer = SoftmaxWithLoss(class_weight=weights)
    expected = layer.forward(x, t)
    weights[...] = np.nan
    assert layer.forward(x, t) == expected


def test_layers_with_options_are_pickled_with_them():
    x, t = normal(np.float64, N, V), np.arange(N)
    layer = SoftmaxWithLoss(label_smoothing=0.1, class_weight=np.arange(1, V + 1))
    loss = layer.forward(x, t)
    again = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(again.backward(), layer.backward())
    assert again.forward(x, t) == loss


def test_the_fused_layer_checks_its_weights_when_it_is_made():
    with pytest.raises(ValueError, match=r"b: expected shape \(9,\)"):
        AffineSoftmaxWithLoss(np.ones((4, V)), np.ones(V + 1))
    with pytest.raises(ValueError, match="W: expected a matrix"):
        AffineSoftmaxWithLoss(np.ones(4))
    for classes in (0, 1):
        with pytest.raises(ValueError, match="W: expected a column for each of at least 2 classes"):
            AffineSoftmaxWithLoss(np.ones((4, classes)))


def test_losses_show_their_sizes_and_the_options_off_their_defaults():
    assert repr(SoftmaxWithLoss()) == "SoftmaxWithLoss()"
    assert repr(SoftmaxWithLoss(softcap=3)) == "SoftmaxWithLoss(softcap=3.0)"
    fused = AffineSoftmaxWithLoss(np.ones((4, V)), ignore_label=0)
    assert repr(fused) == "AffineSoftmaxWithLoss(4, 9, ignore_label=0)"


@pytest.mark.parametrize("kind", [*ref.HALVES, *ref.FLOATS])
def test_rows_that_were_kept_are_held_to_the_tolerance_of_their_type(kind):
    """They are an attribute of the layer, which its user may have replaced."""
    layer, t = SoftmaxWithLoss(), soft_rows(kind)
    layer.forward(np.zeros((N, V)), t)
    layer.backward()
    kept, layer.t = layer.t, layer.t * (1.05 if kind is ref.HALVES[1] else 1.02)
    assert kept.shape == t.shape
    with pytest.raises(ValueError, match="adds up to"):
        layer.backward()
