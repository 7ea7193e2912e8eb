"""Losses of single scores: regression and binary labels, against their formulas in float64."""

import copy
import pickle

import numpy as np
import pytest

import nnext
import reference as ref
from nnext import (
    AbsoluteError,
    EmptyBatchError,
    HuberLoss,
    PoissonLoss,
    Sequential,
    SigmoidWithLoss,
    SquaredError,
)
from reference import f64, normal

SHAPES = [(1,), (7,), (16,), (33,), (5, 1), (6, 3), (4, 16), (3, 17), (2, 3, 4)]


def rng(seed=0):
    return np.random.default_rng(seed)


def makers():
    """Give each loss by a name, with a function that makes it for scores of a shape."""
    return {
        "squared": lambda shape, **kw: SquaredError(**kw),
        "absolute": lambda shape, **kw: AbsoluteError(**kw),
        "huber": lambda shape, **kw: HuberLoss(0.75, **kw),
        "poisson": lambda shape, **kw: PoissonLoss(**kw),
        "binary": lambda shape, **kw: SigmoidWithLoss(**kw),
        "binary, one weight": lambda shape, **kw: SigmoidWithLoss(pos_weight=2.5, **kw),
        "binary, weights": lambda shape, **kw: SigmoidWithLoss(pos_weight=positive(shape), **kw),
    }


NAMES = [*makers()]


def positive(shape):
    return rng(9).random(shape[1:]) * 3


def make(name, shape, **options):
    return makers()[name](shape, **options)


def sample(name, shape, dtype, seed=0):
    x = normal(dtype, *shape, seed=seed)
    if name == "poisson":
        return x, rng(seed).poisson(2.0, shape).astype(dtype)
    if name.startswith("binary"):
        return x, rng(seed).random(shape).round(seed % 2).astype(dtype)
    return x, normal(dtype, *shape, seed=seed + 1)


def formula(name, x, t):
    """Give what each score loses, and the slope, in float64."""
    x, t = f64(x), f64(t)
    d = x - t
    if name == "squared":
        return d**2, 2 * d
    if name == "absolute":
        return abs(d), np.sign(d)
    if name == "huber":
        far = abs(d) > 0.75
        return np.where(far, 0.75 * (abs(d) - 0.375), d**2 / 2), np.clip(d, -0.75, 0.75)
    if name == "poisson":
        return np.exp(x) - t * x, np.exp(x) - t
    weight = {"binary": 1.0, "binary, one weight": 2.5}.get(name)
    weight = positive(x.shape) if weight is None else weight
    y = ref.sigmoid(x)
    loss = weight * t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)
    return loss, y * (1 - t) - weight * t * (1 - y)


def expected(name, x, t, weight=None, reduction="mean"):
    """Give the loss and the gradient by the scores, in float64."""
    loss, slope = formula(name, x, t)
    n = len(x)
    divisor = 1 if name.startswith("binary") else x.size // n
    rows = loss.reshape(n, -1).sum(axis=1) / divisor
    slopes = slope.reshape(n, -1) / divisor
    weight = np.ones(n) if weight is None else f64(weight)
    whole = {"mean": weight.sum(), "sum": 1.0, "none": 1.0}[reduction]
    dx = (slopes * weight[:, None] / whole).reshape(x.shape)
    return (rows * weight if reduction == "none" else (rows * weight).sum() / whole), dx


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses_and_gradients_agree_with_their_formulas(name, shape, dtype, reduction):
    x, t = sample(name, shape, dtype)
    for weight in (None, rng(3).random(len(x)) + 0.1):
        layer = make(name, shape, reduction=reduction)
        loss = layer.forward(x, t, weight)
        value, dx = expected(name, x, t, weight, reduction)
        assert type(loss) is float or (reduction == "none" and loss.dtype == dtype)
        ref.assert_close(np.asarray(loss, dtype), value, 16, float(np.max(value, initial=9.0)))
        ref.assert_close(layer.backward(), dx, 16, abs(dx).max() + 1)
        ref.assert_close(layer.backward(-0.5), -0.5 * dx, 16, abs(dx).max() + 1)
        assert layer.backward().dtype == layer.y.dtype == layer.t.dtype == dtype
        rows = len(x) if weight is None else weight.sum()
        assert layer.count == pytest.approx(rows if reduction == "mean" else len(x), rel=1e-15)
        assert layer.evaluate(x, t, weight)[1] == layer.count
        np.testing.assert_array_equal(layer.evaluate(x, t, weight)[0], loss)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_agrees_with_central_differences(name):
    x, t = sample(name, (4, 3), np.float64, seed=4)
    weight = rng(3).random(4)
    layer = make(name, (4, 3))
    numerical = nnext.numerical_gradient(lambda a: layer.forward(a, t, weight), x)
    layer.forward(x, t, weight)
    ref.assert_gradient(layer.backward(), numerical, np.float64)


@pytest.mark.parametrize("name", NAMES)
def test_with_none_dout_has_a_number_for_each_row(name):
    x, t = sample(name, (5, 3), np.float64)
    layer = make(name, (5, 3), reduction="none")
    layer.forward(x, t)
    dout = rng().random(5)
    _, dx = expected(name, x, t, dout, "none")
    ref.assert_close(layer.backward(dout), dx, 16, 9)
    with pytest.raises(ValueError, match=r"dout: expected a number or shape \(5,\)"):
        layer.backward(np.ones(4))


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_is_computed_in_float32_and_rounded_once(name):
    x, t = sample(name, (6, 5), np.float16)
    half, single = make(name, (6, 5)), make(name, (6, 5))
    assert half.forward(x, t) == single.forward(x.astype(np.float32), t.astype(np.float32))
    assert half.y.dtype == half.t.dtype == np.float32
    np.testing.assert_array_equal(
        half.backward(), single.backward().astype(np.float16), strict=True
    )


@pytest.mark.parametrize("name", NAMES)
def test_strides_types_and_threads_change_no_bit(name):
    x, t = sample(name, (301, 70), np.float32)
    weight = rng(3).random(301)
    layer = make(name, (301, 70))
    loss = layer.forward(x, t, weight)
    dx = layer.backward()
    wide = np.zeros((301, 140), np.float32)
    wide[:, ::2] = x
    for given in (wide[:, ::2], np.asfortranarray(x), x.astype(">f4")):
        other = make(name, (301, 70))
        assert other.forward(given, np.asfortranarray(t).astype(float), weight.tolist()) == loss
        ref.assert_same_bits(other.backward(), dx)
    before = nnext.get_num_threads()
    try:
        for threads in (1, 2, 3):
            nnext.set_num_threads(threads)
            assert layer.forward(x, t, weight) == loss
            ref.assert_same_bits(layer.backward(), dx)
    finally:
        nnext.set_num_threads(before)


@pytest.mark.parametrize("shape", [(50, 1), (50,), (50, 3), (50, 40)])
@pytest.mark.parametrize("name", NAMES)
def test_a_row_has_the_same_loss_and_gradient_alone_and_among_others(name, shape):
    x, t = sample(name, shape, np.float32)
    layer = make(name, shape, reduction="none")
    losses = layer.forward(x, t)
    dx = layer.backward()
    for i in (0, 17, 49):
        assert layer.forward(x[i : i + 1], t[i : i + 1])[0] == losses[i]
        ref.assert_same_bits(layer.backward(), dx[i : i + 1])


@pytest.mark.parametrize("shape", [(4,), (4, 3)])
@pytest.mark.parametrize("name", NAMES)
def test_a_row_of_weight_0_is_left_out_whatever_is_in_it(name, shape):
    x, t = sample(name, shape, np.float64)
    weight = np.array([1, 0, 2, 0.5])
    layer = make(name, shape)
    rest = [0, 2, 3]
    value = layer.forward(x[rest], t[rest], weight[rest])
    dx = layer.backward()
    x[1] = np.nan
    assert layer.forward(x, t, weight) == value
    ref.assert_same_bits(layer.backward()[rest], dx)
    np.testing.assert_array_equal(layer.backward()[1], 0)
    assert layer.count == 3.5


def test_what_is_kept_belongs_to_the_layer():
    x, t, weight = np.zeros((2, 1)), np.ones((2, 1)), np.ones(2)
    layer = SquaredError()
    layer.forward(x, t, weight)
    x[:], t[:], weight[:] = 5, 7, 9
    np.testing.assert_array_equal(layer.backward(), [[-1.0], [-1.0]])


def test_predictions_are_scores_rates_or_labels():
    x = np.array([[-1.0, 0.0, 2.0]])
    np.testing.assert_array_equal(SquaredError().predictions(x), x)
    np.testing.assert_array_equal(PoissonLoss().predictions(x), nnext.exp(x))
    np.testing.assert_array_equal(SigmoidWithLoss().predictions(x), [[0, 0, 1]])


# Bad input


@pytest.mark.parametrize("name", NAMES)
def test_targets_are_never_spread_over_scores(name):
    x, t = sample(name, (5, 1), np.float64)
    layer = make(name, (5, 1))
    with pytest.raises(ValueError, match=r"t: expected shape \(5, 1\).*\(5,\); t\[\.\.\., None\]"):
        layer.forward(x, t[:, 0])
    with pytest.raises(ValueError, match=r"t: expected shape \(5, 1\), that of x, got \(1, 1\)"):
        layer.forward(x, t[:1])
    with pytest.raises(ValueError, match="at least 1 dimension"):
        layer.forward(1.0, 1.0)
    assert layer.y is None


@pytest.mark.parametrize("name", NAMES)
def test_a_mean_over_nothing_is_an_error_and_a_sum_is_0(name):
    empty = np.zeros((0, 3))
    with pytest.raises(EmptyBatchError, match=r"at least 1 sample.*\(0, 3\)"):
        make(name, (5, 3)).forward(empty, empty)
    with pytest.raises(EmptyBatchError, match="every row has weight 0"):
        make(name, (5, 3)).forward(np.ones((5, 3)), np.ones((5, 3)), np.zeros(5))
    layer = make(name, (5, 3), reduction="sum")
    assert layer.forward(empty, empty) == 0
    assert layer.backward().shape == (0, 3)
    assert make(name, (5, 3)).evaluate(empty, empty) == (0, 0)
    with pytest.raises(ValueError, match=r"\(4, 0\)|shape \(0,\)"):
        layer.forward(np.zeros((4, 0)), np.zeros((4, 0)))


@pytest.mark.parametrize("weight", [np.ones(4), np.ones((5, 1)), 1.0])
def test_weights_of_another_shape_are_refused(weight):
    with pytest.raises(
        ValueError, match=r"sample_weight: expected shape \(5,\), a number for each"
    ):
        SquaredError().forward(np.ones((5, 2)), np.ones((5, 2)), weight)
    with pytest.raises(TypeError, match="sample_weight"):
        SquaredError().forward(np.ones((5, 2)), np.ones((5, 2)), np.full(5, "a"))


def test_targets_have_their_range():
    with pytest.raises(ValueError, match=r"row 1 holds -1.0, expected counts of at least 0"):
        PoissonLoss().forward(np.ones((3, 2)), [[0, 1], [2, -1], [0, 0]])
    with pytest.raises(ValueError, match="row 0 holds nan, expected counts"):
        PoissonLoss().forward(np.ones(1), [np.nan])
    with pytest.raises(ValueError, match=r"row 2 holds 2.0, expected binary labels in \[0, 1\]"):
        SigmoidWithLoss(pos_weight=3).forward(np.ones(3), [0, 1, 2])


@pytest.mark.parametrize("make_loss", [SquaredError, HuberLoss, SigmoidWithLoss])
def test_options_are_checked_when_the_layer_is_made(make_loss):
    for wrong in ("average", None, 1, ["mean"]):
        with pytest.raises(ValueError, match="reduction: expected 'mean', 'sum' or 'none'"):
            make_loss(reduction=wrong)


@pytest.mark.parametrize("delta", [0, -1.0, np.nan, np.inf, 1e-30])
def test_delta_is_a_positive_number(delta):
    with pytest.raises(ValueError, match="delta: expected a number"):
        HuberLoss(delta)
    layer = HuberLoss()
    layer.delta = delta
    with pytest.raises(ValueError, match="delta: expected a number"):
        layer.forward(np.ones(3), np.ones(3))
    with pytest.raises(TypeError, match="delta"):
        HuberLoss("1")


def test_pos_weight_is_a_number_or_one_for_each_score():
    for wrong in (-1.0, [1.0, np.nan], np.inf):
        with pytest.raises(ValueError, match="pos_weight: expected finite numbers of at least 0"):
            SigmoidWithLoss(pos_weight=wrong)
    with pytest.raises(TypeError, match="pos_weight"):
        SigmoidWithLoss(pos_weight="balanced")
    layer = SigmoidWithLoss(pos_weight=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"pos_weight: expected a number or shape \(3,\).*\(2,\)"):
        layer.forward(np.ones((5, 3)), np.ones((5, 3)))
    with pytest.raises(ValueError, match="read-only"):
        layer.pos_weight[0] = -1


def test_a_weight_of_0_ignores_the_positive_labels():
    x, t = normal(np.float64, 6), np.array([0, 1, 0, 1, 1, 0.0])
    layer = SigmoidWithLoss(pos_weight=0, reduction="none")
    losses = layer.forward(x, t)
    np.testing.assert_array_equal(losses[t == 1], 0)
    np.testing.assert_array_equal(layer.backward()[t == 1], 0)


@pytest.mark.parametrize("name", NAMES)
def test_layers_can_be_copied_and_read(name):
    layer = make(name, (4, 3), reduction="sum")
    layer.forward(*sample(name, (4, 3), np.float64))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        ref.assert_same_bits(other.backward(), layer.backward())
        assert repr(other) == repr(layer)
    assert "reduction='sum'" in repr(layer)


def test_the_repr_names_options_off_their_defaults():
    assert repr(SquaredError()) == "SquaredError()"
    assert repr(HuberLoss(0.5)) == "HuberLoss(0.5)"
    assert repr(SigmoidWithLoss(pos_weight=2)) == "SigmoidWithLoss(pos_weight=2.0)"


# In models


def linear_data(n=200):
    x = normal(np.float64, n, 3)
    return x, x @ np.array([[1.0], [-2.0], [0.5]]) + 0.25


@pytest.mark.parametrize("loss", [SquaredError(), AbsoluteError(), HuberLoss(0.1)])
def test_a_linear_model_finds_the_line(loss):
    x, t = linear_data()
    model = Sequential([nnext.affine(3, 1, seed=0, dtype="float64")], loss)
    trainer = nnext.Trainer(model, nnext.Adam(lr=0.05), seed=0)
    trainer.fit(x, t, max_epoch=150, batch_size=20, validation=0.2, progress="none")
    np.testing.assert_allclose(model.params[0], [[1.0], [-2.0], [0.5]], atol=0.05)
    assert trainer.history.metrics["val_loss"][-1] < 0.1 * trainer.history.metrics["val_loss"][0]
    ref.assert_same_bits(model.predict(x), model.scores(x))
    with pytest.raises(TypeError, match=r"SquaredError|AbsoluteError|HuberLoss"):
        model.accuracy(x, t)


def test_counts_are_fitted_by_the_poisson_loss():
    x = normal(np.float64, 500, 2)
    t = rng().poisson(np.exp(x @ [[0.5], [-0.3]] + 1)).astype(float)
    model = Sequential([nnext.affine(2, 1, seed=0, dtype="float64")], PoissonLoss())
    nnext.Trainer(model, nnext.Adam(lr=0.05), seed=0).fit(x, t, max_epoch=60, progress="none")
    np.testing.assert_allclose(model.params[0], [[0.5], [-0.3]], atol=0.1)
    assert (model.predict(x) > 0).all()


@pytest.mark.parametrize("loss", [SquaredError(), PoissonLoss(), SigmoidWithLoss(pos_weight=2)])
def test_targets_are_checked_before_training(loss):
    model = Sequential([nnext.affine(3, 1, seed=0, dtype="float64")], loss)
    before = [p.copy() for p in model.params]
    x = np.ones((300, 3))
    trainer = nnext.Trainer(model, nnext.SGD())
    with pytest.raises(ValueError, match=r"\(300, 1\)"):
        trainer.fit(x, np.ones(300), batch_size=32, progress="none")
    with pytest.raises(ValueError, match="weight"):
        trainer.fit(x, np.ones((300, 1)), sample_weight=np.zeros(300), progress="none")
    if not isinstance(loss, SquaredError):
        t = np.ones((300, 1))
        t[251] = -1
        with pytest.raises(ValueError, match=r"row 251 holds -1"):
            trainer.fit(x, t, batch_size=32, progress="none")
    for p, q in zip(model.params, before, strict=True):
        ref.assert_same_bits(p, q)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_of_many_batches_is_that_of_all_samples(reduction):
    x, t = linear_data(103)
    weight = rng(1).random(103)
    weight[:10] = 0
    model = Sequential(
        [nnext.affine(3, 1, seed=0, dtype="float64")], SquaredError(reduction=reduction)
    )
    whole = model.loss_layer.forward(model.scores(x), t, weight)
    for batch_size in (5, 10, 103):
        parts = model.loss(x, t, batch_size=batch_size, sample_weight=weight)
        assert parts == pytest.approx(whole, rel=1e-12)
