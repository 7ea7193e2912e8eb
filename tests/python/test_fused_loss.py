"""linear_cross_entropy and AffineSoftmaxWithLoss: values, gradients, bits, memory."""

import json
import subprocess
import sys
from itertools import product

import numpy as np
import pytest

import loss_reference as spec
import nnext
import reference as ref
from nnext.functions import linear_cross_entropy, linear_cross_entropy_with_grad
from nnext.layers import Affine, AffineSoftmaxWithLoss, MatMul, SoftmaxWithLoss
from reference import normal

ROUNDINGS = 60  # of the largest number in a sum; a step makes a few for each term


@pytest.fixture(autouse=True)
def settings():
    """Put the budget and the threads back as they were."""
    budget, threads = nnext.get_score_budget(), nnext.get_num_threads()
    yield
    nnext.set_score_budget(budget)
    nnext.set_num_threads(threads)


def case(dtype, n=7, d=5, v=11, seed=0):
    x, W, b = normal(dtype, n, d, seed=seed), normal(dtype, d, v, seed=1), normal(dtype, v, seed=2)
    return x, W, b, np.random.default_rng(seed).integers(0, v, n)


def assert_agrees(result, x, W, b, t, dout=1.0, **options):
    """Assert that (loss, dx, dW, db) is what the specification says."""
    loss, dx, dW, db = result
    scores = x.astype(float) @ W.astype(float) + (0 if b is None else b.astype(float))
    weights = options.get("class_weight")
    if weights is not None:  # the core has them in the type it computes in
        options["class_weight"] = np.asarray(weights).astype(x.dtype)
    exact = spec.softmax_loss(scores, t, dout, **options)
    u = ref.unit_roundoff(x.dtype)
    largest = abs(exact.dscores).max(initial=1e-3)
    assert np.all(abs(loss - exact.value) <= ROUNDINGS * u * (1 + abs(exact.value)))
    for got, expected, size in [
        (dx, exact.dscores @ W.T.astype(float), abs(W).max() * W.shape[1]),
        (dW, x.T.astype(float) @ exact.dscores, abs(x).max(initial=0) * len(x)),
        (db, exact.dscores.sum(axis=0), len(x)),
    ]:
        if got is not None:
            assert got.dtype == x.dtype
            assert np.all(abs(got - expected) <= ROUNDINGS * u * largest * (1 + size))


def test_the_comparison_rejects_a_wrong_answer():
    x, W, b, t = case(np.float32)
    loss, dx, dW, db = linear_cross_entropy_with_grad(x, W, t, b)
    assert_agrees((loss, dx, dW, db), x, W, b, t)
    for wrong in [
        (loss * 1.0001, dx, dW, db),
        (loss, -dx, dW, db),
        (loss, dx, dW * np.float32(1.01), db),
        (loss, dx, dW, db + np.float32(1e-3)),
    ]:
        with pytest.raises(AssertionError):
            assert_agrees(wrong, x, W, b, t)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("hole", [False, True])
def test_every_option_with_every_other_and_every_reduction(dtype, hole):
    x, W, b, t = case(dtype)
    options_of_holes = {"ignore_label": None}
    if hole:
        t[[0, 3]] = -1
        options_of_holes = {"ignore_label": -1}
    for options in spec.every_option(*t.shape, W.shape[1]):
        options |= options_of_holes
        dout = normal(np.float64, len(x), seed=5) if options["reduction"] == "none" else -1.5
        result = linear_cross_entropy_with_grad(x, W, t, b, dout=dout, **options)
        assert_agrees(result, x, W, b, t, dout, **options)
        np.testing.assert_array_equal(linear_cross_entropy(x, W, t, b, **options), result[0])


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_bits_are_those_of_the_two_layers_with_every_option(dtype):
    x, W, b, t = case(dtype, n=37, d=9, v=133)
    t[::5] = -1
    for options, budget in product(spec.every_option(37, 133), (1, 30_000)):
        nnext.set_score_budget(budget)
        sample_weight = options.pop("sample_weight")
        affine, softmax = Affine(W, b), SoftmaxWithLoss(ignore_label=-1, **options)
        fused = AffineSoftmaxWithLoss(W, b, ignore_label=-1, **options)
        loss = softmax.forward(affine.forward(x), t, sample_weight)
        np.testing.assert_array_equal(fused.forward(x, t, sample_weight), loss)
        np.testing.assert_array_equal(fused.backward(0.7), affine.backward(softmax.backward(0.7)))
        for mine, theirs in zip(fused.grads, affine.grads, strict=True):
            np.testing.assert_array_equal(mine, theirs)
        options["sample_weight"] = sample_weight


@pytest.mark.parametrize(
    ("n", "d", "v"), [(1, 1, 2), (2, 1, 2), (3, 16, 15), (17, 3, 16), (33, 7, 17)]
)
@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_bits_are_the_same_for_any_chunk_threads_and_layout(n, d, v, dtype):
    x, W, b, t = case(dtype, n, d, v)
    affine, softmax = Affine(W, b), SoftmaxWithLoss()
    loss = softmax.forward(affine.forward(x), t)
    expected = loss, affine.backward(softmax.backward()), *affine.grads
    for threads, budget in product((1, 2, 3, 8), (1, 500, 1 << 24)):
        nnext.set_num_threads(threads)
        nnext.set_score_budget(budget)
        for weights in (W, np.asfortranarray(W), np.repeat(W, 2, axis=1)[:, ::2]):
            for inputs in (x, np.asfortranarray(x), x[::-1].copy()[::-1]):
                result = linear_cross_entropy_with_grad(inputs, weights, t, b)
                for got, wanted in zip(result, expected, strict=True):
                    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("label_type", ref.INTEGERS)
def test_labels_of_any_integer_type_and_inputs_of_any_number_of_axes(label_type):
    x, W, b, t = case(np.float32, n=12)
    loss, dx, dW, _db = linear_cross_entropy_with_grad(x, W, t, b)
    shaped = linear_cross_entropy_with_grad(
        x.reshape(3, 2, 2, 5), W, t.astype(label_type).reshape(3, 2, 2), b
    )
    assert shaped[0] == loss
    np.testing.assert_array_equal(shaped[1], dx.reshape(3, 2, 2, 5))
    np.testing.assert_array_equal(shaped[2], dW)
    none = linear_cross_entropy(x.reshape(3, 4, 5), W, t.reshape(3, 4), b, reduction="none")
    assert none.shape == (3, 4)
    assert none.dtype == np.float32
    one = linear_cross_entropy(x[0], W, int(t[0]), b)  # a sample without a batch
    assert one == pytest.approx(none[0, 0], rel=1e-6)


def test_half_precision_is_computed_in_float32_and_rounded_once():
    x, W, b, t = (a.astype(np.float16) if a.dtype.kind == "f" else a for a in case(np.float32))
    loss, dx, dW, db = linear_cross_entropy_with_grad(x, W, t, b)
    wide = linear_cross_entropy_with_grad(*(a.astype(np.float32) for a in (x, W)), t, b.astype("f"))
    assert loss == wide[0]
    for got, expected in zip((dx, dW, db), wide[1:], strict=True):
        np.testing.assert_array_equal(got, expected.astype(np.float16), strict=True)


def test_ignored_rows_are_not_looked_at():
    x, W, b, t = case(np.float64)
    clean = linear_cross_entropy_with_grad(x[[1, 2, 4, 5, 6]], W, t[[1, 2, 4, 5, 6]], b)
    x[0], x[3] = np.nan, np.inf
    t[[0, 3]] = -1
    loss, dx, dW, db = linear_cross_entropy_with_grad(x, W, t, b)
    assert loss == clean[0]  # and the mean is over the five rows
    np.testing.assert_array_equal(dx[[1, 2, 4, 5, 6]], clean[1])
    np.testing.assert_array_equal(dx[[0, 3]], 0)
    np.testing.assert_array_equal(dW, clean[2])
    np.testing.assert_array_equal(db, clean[3])
    # A class may be the ignored one, and none at all.
    zero = np.where(t < 0, 0, t)
    same = linear_cross_entropy(x, W, np.where(t < 0, 0, np.maximum(t, 1)), b, ignore_label=0)
    assert np.isfinite(same)
    assert np.isnan(linear_cross_entropy(x, W, zero, b, ignore_label=None))


@pytest.mark.parametrize(("reduction", "loss"), [("sum", 0.0), ("none", np.zeros(4))])
def test_nothing_to_sum_is_zero(reduction, loss):
    x, W, b, t = case(np.float32, n=4)
    dW, db = np.full_like(W, 7), np.full_like(b, 7)
    got, dx, *_ = linear_cross_entropy_with_grad(
        x, W, np.full(4, -1), b, reduction=reduction, out=(None, dW, db)
    )
    np.testing.assert_array_equal(got, loss)
    for gradient in (dx, dW, db):
        np.testing.assert_array_equal(gradient, 0)
    empty = linear_cross_entropy_with_grad(x[:0], W, t[:0], b, reduction=reduction)
    assert np.size(empty[0]) == (1 if reduction == "sum" else 0)
    assert empty[1].shape == (0, 5)
    np.testing.assert_array_equal(empty[2], 0)


def test_scores_that_are_not_finite_pass_through_as_in_softmax_with_loss():
    x, W = np.eye(4, dtype=np.float32), np.zeros((4, 6), np.float32)
    W[0, 2], W[1, 2], W[2, 2], W[3, 2] = np.nan, np.inf, -np.inf, -np.inf
    x[np.diag_indices(4)] = 1
    scores = np.zeros((4, 6), np.float32)
    scores[:, 2] = W[:, 2]
    # A product with identity adds 0 * inf, so each row goes alone, through its own weights.
    for r, label, expected in [(0, 1, np.nan), (1, 1, np.nan), (2, 2, np.inf), (3, 1, np.log(5))]:
        loss = linear_cross_entropy([[1.0]], W[r : r + 1], [label])
        np.testing.assert_allclose(loss, expected, rtol=1e-6)
        np.testing.assert_equal(loss, SoftmaxWithLoss().forward(scores[r : r + 1], [label]))


# Where the gradients go


def test_out_is_written_and_returned_also_through_a_transposed_view():
    x, W, b, t = case(np.float32)
    E, de = np.ascontiguousarray(W.T), np.full((11, 5), 9, np.float32)
    expected = linear_cross_entropy_with_grad(x, W, t, b)
    dx, db = np.empty_like(x), np.empty_like(b)
    got = linear_cross_entropy_with_grad(x, E.T, t, b, out=(dx, de.T, db))
    assert got[1] is dx
    assert got[3] is db
    assert np.shares_memory(got[2], de)
    np.testing.assert_array_equal(de, expected[2].T)
    np.testing.assert_array_equal(dx, expected[1])
    assert linear_cross_entropy_with_grad(x, E.T, t)[2].flags.f_contiguous
    strided = np.zeros((10, 22), np.float32)
    linear_cross_entropy_with_grad(x, W, t, out=(None, strided[::2, ::2], None))
    np.testing.assert_array_equal(strided[::2, ::2], expected_without_bias(x, W, t))
    assert not strided[1::2].any()
    same = x.copy()
    linear_cross_entropy_with_grad(same, W, t, b, out=(same, None, None))
    np.testing.assert_array_equal(same, expected[1])


def expected_without_bias(x, W, t):
    affine, softmax = MatMul(W), SoftmaxWithLoss()
    softmax.forward(affine.forward(x), t)
    affine.backward(softmax.backward())
    return affine.grads[0]


# The layer


def test_the_layer_keeps_the_contract():
    x, W, b, t = case(np.float64)
    layer = AffineSoftmaxWithLoss(W, b)
    assert layer.params[0] is W
    assert layer.params[1] is b
    assert AffineSoftmaxWithLoss(W).params == [W]
    with pytest.raises(RuntimeError, match=r"AffineSoftmaxWithLoss.backward was called before"):
        layer.backward()
    grads = list(layer.grads)
    loss = layer.forward(x, t)
    assert type(loss) is float
    assert not any(g.any() for g in layer.grads)  # a validation leaves them alone
    dx = layer.backward()
    first = [g.copy() for g in layer.grads]
    np.testing.assert_array_equal(layer.backward(), dx)  # and again
    assert all(a is b for a, b in zip(grads, layer.grads, strict=True))
    for again, g in zip(first, layer.grads, strict=True):
        np.testing.assert_array_equal(again, g)
    np.testing.assert_allclose(layer.backward(-3), -3 * dx, rtol=1e-12)
    np.testing.assert_allclose(layer.grads[0], -3 * first[0], rtol=1e-12)
    assert layer.backward(input_grad=False) is None
    np.testing.assert_array_equal(layer.grads[0], first[0])
    W[...] = 0  # whoever holds the array may update it
    assert layer.forward(x, t) != loss


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2, "z_loss": 0.05, "softcap": 2.0}])
def test_the_gradients_agree_with_central_differences(dtype, options):
    x, W, b, t = case(dtype, n=4, d=3, v=6)
    layer = AffineSoftmaxWithLoss(W, b, **options)
    layer.forward(x, t)
    dx = layer.backward()
    ref.assert_gradient(dx, nnext.numerical_gradient(lambda a: layer.forward(a, t), x), dtype)
    for p, g in zip(layer.params, layer.grads, strict=True):
        numerical = nnext.numerical_gradient(lambda _: layer.forward(x, t), p)
        ref.assert_gradient(g, numerical, dtype)


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("with_bias", [False, True])
def test_top_k_predict_log_prob_and_scores(softcap, with_bias):
    nnext.set_score_budget(1000)
    x, W, b, t = case(np.float64, n=20, v=90)
    W[:, 40:] = W[:, :50]  # many equal scores
    b[40:] = b[:50]
    layer = AffineSoftmaxWithLoss(W, b if with_bias else None, softcap=softcap)
    scores = layer.scores(x)
    raw = x @ W + (b if with_bias else 0)
    np.testing.assert_allclose(
        scores, raw if softcap is None else softcap * np.tanh(raw / softcap), rtol=1e-12, atol=1e-13
    )
    log_prob = np.log(ref.softmax(scores))
    order = np.argsort(-nnext.matmul(x, W) - (b if with_bias else 0), axis=1, kind="stable")
    for k in (1, 3, 90):
        classes, values = layer.top_k(x, k)
        assert classes.dtype == np.int64
        np.testing.assert_array_equal(classes, order[:, :k])
        np.testing.assert_allclose(values, np.take_along_axis(log_prob, classes, 1), rtol=1e-11)
    np.testing.assert_array_equal(layer.predict(x), order[:, 0])
    np.testing.assert_allclose(layer.log_prob(x, t), log_prob[np.arange(20), t], rtol=1e-11)
    shaped = layer.top_k(x.reshape(4, 5, 5), 2)
    assert [a.shape for a in shaped] == [(4, 5, 2)] * 2
    assert layer.predict(x.reshape(4, 5, 5)).shape == (4, 5)
    for k, error in [(0, ValueError), (91, ValueError), (1.0, TypeError), (True, TypeError)]:
        with pytest.raises(error, match=r"^k: "):
            layer.top_k(x, k)


def test_one_hot_labels_are_taken():
    x, W, b, t = case(np.float32)
    layer = AffineSoftmaxWithLoss(W, b)
    loss, dx = layer.forward(x, t), layer.backward()
    assert layer.forward(x, ref.one_hot(t, 11)) == loss
    np.testing.assert_array_equal(layer.backward(), dx)


def test_a_chain_trains_and_predicts_through_the_layer():
    rng = np.random.RandomState(0)
    x, t = nnext.datasets.spiral(seed=0)
    model = nnext.Sequential(
        [nnext.models.affine(2, 32, rng, weight_scale=1.0), nnext.Tanh()],
        loss=AffineSoftmaxWithLoss(
            0.1 * rng.standard_normal((32, 3)), np.zeros(3), ignore_label=-1
        ),
    )
    assert len(model.params) == 4
    nnext.Trainer(model, nnext.Adam(lr=0.02), seed=0).fit(x, t, 100, 30, progress="none")
    assert model.accuracy(x, t) > 0.9
    hidden = model.layers[1].forward(model.layers[0].forward(x))
    np.testing.assert_array_equal(model.scores(x), model.loss_layer.scores(hidden))
    np.testing.assert_array_equal(model.predict(x), model.scores(x).argmax(axis=1))
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1, rtol=1e-6)
    labels = model.predict(x)
    labels[::2] = -1
    assert model.accuracy(x, labels) == 1  # ignored ones do not count
    with pytest.raises(ValueError, match="every label is ignored"):
        model.accuracy(x, np.full(len(x), -1))


def test_memory_does_not_grow_with_the_scores():
    program = """
import json, pathlib, numpy as np, nnext
from nnext.functions import linear_cross_entropy_with_grad as step
nnext.set_num_threads(2)
def resident(what):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024
found = []
for n in (256, 1024):
    x, W, t = np.ones((n, 8), "f"), np.ones((8, 60_000), "f"), np.zeros(n, int)
    out = np.zeros_like(x), np.zeros_like(W), None
    step(x[:1, :1], W[:1, :5].copy(), t[:1])
    nnext.empty_cache()
    before = resident("VmRSS")
    step(x, W, t, out=out)
    found.append(resident("VmHWM") - before)
print(json.dumps(found))
"""
    if sys.platform != "linux":
        pytest.skip("reads /proc")
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for megabytes in json.loads(done.stdout):  # whole scores: 59 and 234 MB
        assert megabytes < 40
