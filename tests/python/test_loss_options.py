"""The options of SoftmaxWithLoss, and what bad options, labels and arrays are answered."""

import numpy as np
import pytest

import loss_reference as spec
import nnext
import reference as ref
from nnext.functions import linear_cross_entropy, linear_cross_entropy_with_grad
from nnext.layers import AffineSoftmaxWithLoss, SoftmaxWithLoss
from reference import normal

N, V = 6, 9


def scores_and_labels(dtype=np.float64, seed=0):
    return 3 * normal(dtype, N, V, seed=seed), np.random.default_rng(seed).integers(0, V, N)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_every_option_with_every_other_and_every_reduction(dtype):
    x, t = scores_and_labels(dtype)
    u = ref.unit_roundoff(dtype)
    for options in spec.every_option(N, V):
        for ignored in (None, int(t[2])):
            sample_weight = options["sample_weight"]
            others = {k: v for k, v in options.items() if k != "sample_weight"}
            layer = SoftmaxWithLoss(ignore_label=ignored, **others)
            dout = normal(float, N, seed=3) if options["reduction"] == "none" else 2.5
            loss = layer.forward(x, t, sample_weight)
            if options["class_weight"] is not None:
                others["class_weight"] = options["class_weight"].astype(dtype)
            exact = spec.softmax_loss(
                x, t, dout, ignore_label=ignored, sample_weight=sample_weight, **others
            )
            assert np.all(abs(loss - exact.value) <= 60 * u * (1 + abs(exact.value)))
            dx = layer.backward(dout)
            assert np.all(abs(dx - exact.dscores) <= 60 * u * (1 + abs(exact.dscores).max()))
            np.testing.assert_array_equal(layer.backward(dout), dx)
            cap = options["softcap"]
            z = x.astype(float) if cap is None else cap * np.tanh(x.astype(float) / cap)
            np.testing.assert_allclose(layer.y, ref.softmax(z), rtol=60 * u, atol=60 * u)
            np.testing.assert_array_equal(layer.t, np.where(t == ignored, -1, t))


def test_hand_computed_smoothing_weights_and_penalty():
    # Probabilities 1/4 and 3/4, so the logarithm of the sum is log(4) above the smaller score.
    x = np.log([[1.0, 3.0]])
    assert SoftmaxWithLoss(label_smoothing=0.5).forward(x, [1]) == pytest.approx(
        0.75 * np.log(4 / 3) + 0.25 * np.log(4)
    )
    assert SoftmaxWithLoss(class_weight=[5.0, 2.0], reduction="sum").forward(
        x, [1]
    ) == pytest.approx(2 * np.log(4 / 3))
    assert SoftmaxWithLoss(z_loss=0.1).forward(x, [1]) == pytest.approx(
        np.log(4 / 3) + 0.1 * np.log(4) ** 2
    )
    both = SoftmaxWithLoss(class_weight=[1.0, 3.0]).forward(np.repeat(x, 2, axis=0), [0, 1])
    assert both == pytest.approx((np.log(4) + 3 * np.log(4 / 3)) / 4)


def test_default_options_are_the_plain_loss_bit_by_bit():
    x, t = scores_and_labels(np.float32)
    plain = SoftmaxWithLoss()
    loss, dx = plain.forward(x, t), plain.backward(0.3)
    long_way = SoftmaxWithLoss(ignore_label=-7, class_weight=np.ones(V))
    assert long_way.forward(x, t) == loss
    np.testing.assert_array_equal(long_way.backward(0.3), dx)
    np.testing.assert_array_equal(long_way.y, plain.y)
    # A layer may change between the two ways from call to call.
    assert plain.forward(x, t, np.full(N, 2.0)) == pytest.approx(loss)
    assert plain.forward(x, t) == loss
    np.testing.assert_array_equal(plain.backward(0.3), dx)


def test_one_hot_labels_and_inputs_of_more_axes():
    x, t = scores_and_labels(np.float32)
    layer = SoftmaxWithLoss(label_smoothing=0.1)
    loss = layer.forward(x, t)
    assert layer.forward(x, ref.one_hot(t, V)) == loss
    assert layer.forward(x.reshape(2, 3, V), t.reshape(2, 3)) == loss
    assert layer.backward().shape == (2, 3, V)
    t[1] = -1
    words = SoftmaxWithLoss(ignore_label=-1)
    assert words.forward(x.reshape(2, 3, V), t.reshape(2, 3)) == pytest.approx(
        SoftmaxWithLoss().forward(x[t >= 0], t[t >= 0])
    )
    assert not words.backward()[0, 1].any()
    assert words.ignore_label == -1


# Errors: every entry point gives the same answer


def layers_and_functions(x, t, sample_weight=None, **options):
    W = np.eye(V, dtype=x.dtype)
    ignored = {"ignore_label": None} | options
    return {
        "function": lambda: linear_cross_entropy(x, W, t, sample_weight=sample_weight, **ignored),
        "with_grad": lambda: linear_cross_entropy_with_grad(
            x, W, t, sample_weight=sample_weight, **ignored
        ),
        "fused layer": lambda: AffineSoftmaxWithLoss(W, **ignored).forward(x, t, sample_weight),
        "layer": lambda: SoftmaxWithLoss(**options).forward(x, t, sample_weight),
    }


WAYS = ["function", "with_grad", "fused layer", "layer"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"reduction": "median"}, ValueError, "reduction: expected 'mean', 'sum' or 'none'"),
        ({"reduction": None}, ValueError, "reduction: "),
        ({"ignore_label": 1.5}, TypeError, "ignore_label: "),
        ({"ignore_label": True}, TypeError, "ignore_label: "),
        ({"label_smoothing": 1.0}, ValueError, r"label_smoothing: expected a number in \[0, 1\)"),
        ({"label_smoothing": -0.1}, ValueError, "label_smoothing: "),
        ({"label_smoothing": np.nan}, ValueError, "label_smoothing: "),
        ({"label_smoothing": "0.1"}, TypeError, "label_smoothing: "),
        ({"z_loss": -1.0}, ValueError, "z_loss: "),
        ({"z_loss": np.inf}, ValueError, "z_loss: "),
        ({"softcap": 0.0}, ValueError, "softcap: "),
        ({"softcap": -1.0}, ValueError, "softcap: "),
        ({"softcap": np.inf}, ValueError, "softcap: "),
        ({"class_weight": np.ones(V - 1)}, ValueError, rf"class_weight: expected shape \({V},\)"),
        ({"class_weight": np.ones((V, 1))}, ValueError, "class_weight: "),
        ({"class_weight": ["a"] * V}, TypeError, "class_weight: "),
        ({"class_weight": np.zeros(V)}, ValueError, "add up to 0"),
        ({"sample_weight": np.ones(N + 1)}, ValueError, "sample_weight: "),
        ({"sample_weight": np.zeros(N)}, ValueError, "add up to 0"),
        ({"sample_weight": np.ones(N) * 1j}, TypeError, "sample_weight: "),
    ],
)
def test_a_bad_option_is_named(way, options, error, match):
    x, t = scores_and_labels()
    with pytest.raises(error, match=match):
        layers_and_functions(x, t, **options)[way]()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("label", [-1, V, 2**40, -(2**40)])
def test_a_label_out_of_range_is_named_with_its_row_and_the_classes(way, label):
    x, t = scores_and_labels()
    t[4] = label
    with pytest.raises(IndexError, match=rf"t: label {label} in row 4 is out of range for {V} "):
        layers_and_functions(x, t, ignore_label=-5)[way]()


@pytest.mark.parametrize("way", WAYS)
def test_a_mean_over_nothing_is_an_error(way):
    x, t = scores_and_labels()
    with pytest.raises(ValueError, match="at least 1 sample"):
        layers_and_functions(x[:0], t[:0])[way]()
    with pytest.raises(ValueError, match="not ignored"):
        layers_and_functions(x, np.full(N, 3), ignore_label=3)[way]()


def test_the_largest_unsigned_label_is_not_minus_one():
    x, _ = scores_and_labels()
    t = np.full(N, 2**64 - 1, np.uint64)
    with pytest.raises(IndexError, match="label 18446744073709551615 in row 0"):
        linear_cross_entropy(x, np.eye(V), t)


@pytest.mark.parametrize("dout", [np.ones(N - 1), np.ones((N, 1)), "one", None])
def test_a_bad_dout_is_named(dout):
    x, t = scores_and_labels()
    layer = SoftmaxWithLoss(reduction="none")
    layer.forward(x, t)
    with pytest.raises((ValueError, TypeError), match="dout: "):
        layer.backward(dout)
    fused = AffineSoftmaxWithLoss(np.eye(V), reduction="none")
    fused.forward(x, t)
    with pytest.raises((ValueError, TypeError), match="dout: "):
        fused.backward(dout)
    assert not fused.grads[0].any()


def test_a_mean_takes_one_dout():
    x, t = scores_and_labels()
    layer = SoftmaxWithLoss(label_smoothing=0.1)
    layer.forward(x, t)
    with pytest.raises(TypeError, match="dout: "):
        layer.backward(np.ones(N))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"dW": np.zeros((V, V - 1))}, ValueError, "dW: expected shape"),
        ({"dW": np.zeros((V, V), int)}, TypeError, "dW: "),
        ({"dW": [[0.0] * V] * V}, TypeError, "dW: "),
        ({"dx": np.zeros((N, V + 1))}, ValueError, "dx: "),
        ({"db": np.zeros(V + 1)}, ValueError, "db: "),
        ({"W": np.zeros(V)}, ValueError, "W: "),
        ({"W": np.zeros((V + 1, V))}, ValueError, "x: expected the last dimension"),
        ({"b": np.zeros(V + 1)}, ValueError, "b: "),
        ({"t": np.zeros((N, V + 1), int)}, ValueError, "t: expected labels of shape"),
        ({"t": np.zeros(N)}, TypeError, "t: expected integers"),
        ({"x": np.zeros((N, V)) * 1j}, TypeError, "x: "),
    ],
)
def test_nothing_is_written_when_a_check_fails(change, error, match):
    x, t = scores_and_labels()
    given = {"x": x, "W": np.eye(V), "t": t, "b": np.zeros(V)}
    targets = {name: np.full(shape, 7.0) for name, shape in
               {"dx": (N, V), "dW": (V, V), "db": (V,)}.items()}  # fmt: skip
    untouched = dict(targets)
    for name, value in change.items():
        (targets if name in targets else given)[name] = value
    with pytest.raises(error, match=match):
        linear_cross_entropy_with_grad(**given, out=tuple(targets.values()))
    for array in untouched.values():
        np.testing.assert_array_equal(array, 7.0)


def test_targets_that_cannot_be_written():
    x, t = scores_and_labels()
    read_only = np.zeros((V, V))
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="dW: the array is read-only"):
        linear_cross_entropy_with_grad(x, np.eye(V), t, out=(None, read_only, None))
    with pytest.raises(ValueError, match="db: there is no b"):
        linear_cross_entropy_with_grad(x, np.eye(V), t, out=(None, None, np.zeros(V)))
    for out in (np.zeros((V, V)), (None, None)):
        with pytest.raises(TypeError, match="out: expected a tuple"):
            linear_cross_entropy_with_grad(x, np.eye(V), t, out=out)


def test_gradients_that_share_memory_with_each_other_are_refused():
    x, t = scores_and_labels()
    W, b = np.eye(V), np.zeros(V)
    both = np.full((V, V), 7.0)
    square = np.concatenate([x] * V)[:V]
    labels = np.arange(V)
    with pytest.raises(ValueError, match="dx and dW share memory"):
        linear_cross_entropy_with_grad(square, W, labels, out=(both, both, None))
    with pytest.raises(ValueError, match="db and dW share memory"):
        linear_cross_entropy_with_grad(x, W, t, b, out=(None, both, both[0]))
    assert (both == 7).all()
    apart = np.zeros((2 * V, V))  # interleaved, and nothing shared
    loss, dx, dW, _ = linear_cross_entropy_with_grad(
        square, W, labels, out=(apart[::2], apart[1::2], None)
    )
    expected = linear_cross_entropy_with_grad(square, W, labels)
    for got, wanted in zip((loss, dx, dW), expected[:3], strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("budget", [1, 24 * 2**20])
def test_a_gradient_may_be_written_over_the_class_weights(budget):
    rng = np.random.default_rng(5)
    x, W, b = rng.standard_normal((5, 6)), rng.standard_normal((6, 9)), rng.standard_normal(9)
    t, weights = rng.integers(0, 9, 5), rng.uniform(1, 2, 9)
    expected = linear_cross_entropy_with_grad(x, W, t, b, class_weight=weights)
    before = nnext.get_score_budget()
    try:
        nnext.set_score_budget(budget)
        target = weights.copy()
        got = linear_cross_entropy_with_grad(
            x, W, t, b, class_weight=target, out=(None, None, target)
        )
    finally:
        nnext.set_score_budget(before)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert got[3] is target


def test_a_failed_forward_is_not_remembered():
    x, t = scores_and_labels()
    layer = AffineSoftmaxWithLoss(np.eye(V))
    layer.forward(x, t)
    dx = layer.backward()
    with pytest.raises(IndexError):
        layer.forward(2 * x, t + 100)
    np.testing.assert_array_equal(layer.backward(), dx)


def test_the_score_budget_is_checked_and_kept():
    before = nnext.get_score_budget()
    assert before == 24 * 2**20
    try:
        nnext.set_score_budget(12345)
        assert nnext.get_score_budget() == 12345
        for wrong, error in [
            (0, ValueError),
            (-1, ValueError),
            (1.5, TypeError),
            (True, TypeError),
        ]:
            with pytest.raises(error, match="nbytes: "):
                nnext.set_score_budget(wrong)
        assert nnext.get_score_budget() == 12345
    finally:
        nnext.set_score_budget(before)


def test_softcap_shows_in_a_models_probabilities():
    x, t = scores_and_labels()
    model = nnext.Sequential([nnext.MatMul(np.eye(V))], loss=SoftmaxWithLoss(softcap=0.5))
    model.forward(x, t)
    np.testing.assert_allclose(model.predict_proba(x), model.loss_layer.y, rtol=1e-12)


@pytest.mark.parametrize("weight", [1e-310, 1e-50, 1e300])
def test_only_the_ratio_of_weights_counts_in_a_mean(weight):
    x, t = np.eye(3), [0, 1, 2]
    layer = SoftmaxWithLoss()
    layer.forward(x, t)
    expected = layer.backward()
    layer.forward(x, t, [weight] * 3)
    np.testing.assert_allclose(layer.backward(), expected, rtol=1e-9)


def test_a_number_too_large_for_a_float_is_named():
    layer = SoftmaxWithLoss()
    layer.forward(np.eye(3), [0, 1, 2])
    for name, call in (
        ("label_smoothing", lambda: SoftmaxWithLoss(label_smoothing=10**400)),
        ("dout", lambda: layer.backward(10**400)),
    ):
        with pytest.raises(ValueError, match=name):
            call()


@pytest.mark.parametrize("weight", [1e300, 1e-50, -1e39])
def test_class_weights_must_fit_both_types(weight):
    with np.errstate(all="raise"), pytest.raises(ValueError, match=r"class_weight.*float32"):
        SoftmaxWithLoss(class_weight=[weight, 1, 1])


@pytest.mark.parametrize("options", [{}, {"softcap": 2.0}, {"z_loss": 0.1}], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_backward_does_not_see_what_became_of_the_arguments(options, dtype):
    x, t, weight = normal(dtype, 5, 3), np.array([0, 2, 1, 1, 0]), np.arange(1.0, 6.0)
    layer = SoftmaxWithLoss(**options)
    layer.forward(x, t, weight)
    expected = layer.backward()
    x += 5
    t[:] = 0
    weight[:] = 0
    np.testing.assert_array_equal(layer.backward(), expected)
    assert layer.backward().dtype == dtype
