"""Batches that come in parts: a step and `fit` learn what the whole teaches."""

import math
from itertools import pairwise

import numpy as np
import pytest

import nnext
from nnext import Sequential, affine
from nnext.callbacks import Callback
from nnext.layers import (
    AffineSoftmaxWithLoss,
    Dropout,
    Embedding,
    Layer,
    MatMul,
    SoftmaxWithLoss,
    SquaredError,
    Tanh,
)
from nnext.loss_layers import EmptyBatchError
from nnext.optimizer import SGD, Adam
from nnext.step import Step
from nnext.trainer import Trainer
from parts import CLASSES, CUTS, TARGETS, C, D, N, loss_case, same
from reference import normal

# A step


def net(dtype=np.float32, loss=None, middle=()):
    first, second = affine(D, 6, seed=1, dtype=dtype), affine(6, C, seed=2, dtype=dtype)
    return Sequential([first, Tanh(), *middle, second], loss)


def parts_of(*arrays):
    return [tuple(a[first:end] for a in arrays) for first, end in CUTS]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("cls", "options"), CLASSES + TARGETS, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_in_parts_has_the_bits_of_the_whole(cls, options, dtype, weighted):
    one, two = (net(dtype, cls(**options), [Dropout(0.3, seed=3)]) for _ in range(2))
    t = loss_case(cls, dtype)[1]
    data = normal(dtype, N, D), t
    if weighted:
        data = *data, np.random.default_rng(0).uniform(0, 2, N)
    whole, parts = Step(one, Adam()), Step(two, Adam())
    for _ in range(3):
        expected = whole(*data)
        assert parts.accumulate(parts_of(*data)) == pytest.approx(expected, rel=1e-13)
        assert parts.count == whole.count
        assert parts.total == pytest.approx(whole.total, rel=1e-13)
        same(two.grads, one.grads)
        same(two.params, one.params)


def test_shared_weights_and_the_fused_loss():
    def make():
        W = normal(np.float32, 9, D)
        return Sequential([Embedding(W), Tanh()], AffineSoftmaxWithLoss(W.T))

    idx, t = np.arange(N) % 9, np.arange(N) * 4 % 9
    one, two = make(), make()
    Step(one, SGD(lr=1.0), max_grad=0.1)(idx, t)
    Step(two, SGD(lr=1.0), max_grad=0.1).accumulate(parts_of(idx, t))
    same(two.params, one.params)


class Scale(Layer):
    """A layer of one's own, on the book's contract alone."""

    def __init__(self):
        super().__init__(np.ones(1))

    def forward(self, x):
        self.x = x
        return self.params[0] * x

    def backward(self, dout):
        self.grads[0][...] = (dout * self.x).sum()
        return dout * self.params[0]


class Wired(nnext.BaseModel):
    """A model of one's own."""

    def __init__(self, loss):
        super().__init__([affine(D, C, seed=0, dtype=np.float64)], loss)

    def loss_input(self, x):
        return self.layers[0].forward(x)

    def forward(self, x, t, sample_weight=None):
        return self.loss_layer.forward(self.loss_input(x), t, sample_weight)

    def backward(self, dout=1):
        return self.layers[0].backward(self.loss_layer.backward(dout))


@pytest.mark.parametrize(
    "make",
    [
        lambda loss: net(np.float64, loss, [Scale()]),
        Wired,
    ],
)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_what_is_ones_own_adds_up_too(make, reduction):
    x, t, weight = normal(np.float64, N, D), np.arange(N) % C, np.linspace(0, 1, N)
    one, two = (make(SoftmaxWithLoss(ignore_label=0, reduction=reduction)) for _ in range(2))
    whole, parts = Step(one, SGD(lr=0.1)), Step(two, SGD(lr=0.1))
    expected = whole(x, t, weight)
    assert parts.accumulate(parts_of(x, t, weight)) == pytest.approx(expected, rel=1e-12)
    assert parts.count == pytest.approx(whole.count, rel=1e-12)
    for a, b in zip(two.params, one.params, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_gradients_of_half_precision_lose_nothing_in_small_parts():
    exact, whole, model = net(np.float64), net(np.float16), net(np.float16)
    for p, q in zip(exact.params, model.params, strict=True):
        p[...] = q
    n = 4096
    x, t = normal(np.float16, n, D) * np.float16(0.01), np.arange(n) * 7 % C
    Step(exact, SGD(lr=0.0))(x.astype(np.float64), t)
    Step(whole, SGD(lr=0.0))(x, t)
    Step(model, SGD(lr=0.0)).accumulate([(x[i : i + 4], t[i : i + 4]) for i in range(0, n, 4)])
    for a, b, c in zip(model.grads, whole.grads, exact.grads, strict=True):
        assert np.linalg.norm(a - c) <= 1.5 * np.linalg.norm(b - c)


def test_more_rows_than_one_chain_has_do_not_drift():
    n = 1 << 21
    x, t = np.full((n, 1), 0.1, np.float32), np.zeros((n, 1), np.float32)
    model = Sequential([MatMul(np.ones((1, 1), np.float32))], SquaredError(reduction="sum"))
    Step(model, SGD(lr=0.0)).accumulate([(x[i : i + 512], t[:512]) for i in range(0, n, 512)])
    assert model.grads[0][0, 0] == pytest.approx(
        n * 2 * float(np.float32(0.1)) ** 2, rel=2e-5
    )  # of one chain: 1 %


class Tied(Layer):
    """A layer that gathers the gradients of a weight it uses twice in one array."""

    def __init__(self):
        W = normal(np.float64, 6, 6, seed=4)
        super().__init__(W, W)
        self.grads[1] = self.grads[0]

    def forward(self, x):
        self.x, self.h = x, x @ self.params[0]
        return self.h @ self.params[0]

    def backward(self, dout):
        W = self.params[0]
        dh = dout @ W.T
        self.grads[0][...] = self.h.T @ dout + self.x.T @ dh
        return dh @ W.T


def test_gradients_that_a_layer_gathers_in_one_array_are_added_once():
    one, two = (net(np.float64, middle=[Tied()]) for _ in range(2))
    x, t = normal(np.float64, N, D), np.arange(N) % C
    Step(one, SGD(lr=0.1))(x, t)
    Step(two, SGD(lr=0.1)).accumulate(parts_of(x, t))
    for a, b in zip(two.params, one.params, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


class Counting:
    """A loss of one's own that counts rows, and is NaN where there are none."""

    def __init__(self):
        self.params, self.grads, self.inner = [], [], SoftmaxWithLoss(ignore_label=-1)

    def forward(self, x, t):
        self.count = int((t >= 0).sum())
        self.empty = np.zeros_like(x) * math.nan
        return self.inner.forward(x, t) if self.count else math.nan

    def backward(self, dout=1):
        return self.inner.backward(dout) if self.count else self.empty


class NarrowFused(AffineSoftmaxWithLoss):
    """A loss that takes what losses took before there were parts."""

    def backward(self, dout=1, input_grad=True):
        return super().backward(dout, input_grad)


class NarrowOnePass(AffineSoftmaxWithLoss):
    def forward_backward(self, x, t, sample_weight=None):
        return super().forward_backward(x, t, sample_weight)


class OtherLabels(SoftmaxWithLoss):
    """A loss that reads labels its own way."""

    def forward(self, x, t, sample_weight=None, count=None):
        return super().forward(x, t % C, sample_weight, count)


class OwnPass(Sequential):
    """A model that adds a penalty to its gradients."""

    def forward_backward(self, x, t, sample_weight=None):
        loss = super().forward_backward(x, t, sample_weight)
        for p, g in zip(self.params, self.grads, strict=True):
            g += 0.5 * p
        return loss


def fused(cls=AffineSoftmaxWithLoss):
    return cls(normal(np.float64, C, C, seed=7), np.zeros(C))


@pytest.mark.parametrize(
    ("make", "first_label"),
    [
        (lambda: net(np.float64, Counting()), -1),
        (lambda: net(np.float64, fused(NarrowFused)), 0),
        (lambda: net(np.float64, fused(NarrowOnePass)), 0),
        (lambda: net(np.float64, OtherLabels()), C),
        (lambda: OwnPass([affine(D, C, seed=1, dtype=np.float64)], fused()), 0),
    ],
)
def test_contracts_of_ones_own_are_kept(make, first_label):
    x, t = normal(np.float64, N, D), np.arange(N) % C
    t[:7] = first_label
    one, two = make(), make()
    whole, parts = Step(one, SGD(lr=0.1)), Step(two, SGD(lr=0.1))
    expected = whole(x, t)
    assert parts.accumulate(parts_of(x, t)[:2] + parts_of(x, t)[3:]) == pytest.approx(expected)
    assert parts.count == whole.count
    for a, b in zip(two.params, one.params, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


class NarrowModel(Sequential):
    def backward(self, dout=1):
        return super().backward(dout)


@pytest.mark.parametrize("loss", [SoftmaxWithLoss, lambda: fused(NarrowFused)])
def test_a_model_whose_backward_only_writes_is_added_to_all_the_same(loss):
    model = NarrowModel([affine(D, C, seed=1, dtype=np.float64)], loss())
    x, t = normal(np.float64, N, D), np.arange(N) % C
    model.forward_backward(x, t)
    once = [g.copy() for g in model.grads]
    model.forward_backward(x, t, accumulate=True)
    for g, h in zip(model.grads, once, strict=True):
        np.testing.assert_allclose(g, 2 * h, rtol=1e-12)


def test_parts_may_have_rows_of_different_lengths():
    def make():
        return Sequential([Embedding(normal(np.float32, 9, D)), affine(D, C, seed=1)])

    parts = [
        (np.arange(2 * n).reshape(2, n) % 9, np.arange(2 * n).reshape(2, n) % C) for n in (5, 7)
    ]
    one, two = make(), make()
    Step(one, SGD(lr=0.1))(*(np.concatenate([p[i].ravel() for p in parts]) for i in (0, 1)))
    Trainer(two, SGD(lr=0.1)).fit(parts, max_epoch=1, accumulate=2, progress="none")
    same(two.params, one.params)


def test_parts_in_which_nothing_counts():
    x, t = normal(np.float32, N, D), np.arange(N) % C
    t[:8] = -1
    one, two = (net(loss=SoftmaxWithLoss(ignore_label=-1)) for _ in range(2))
    whole, parts = Step(one, SGD(lr=0.1)), Step(two, SGD(lr=0.1))
    whole(x, t)
    parts.accumulate(parts_of(x, t))
    assert parts.count == whole.count == N - 8
    same(two.params, one.params)
    before = [p.copy() for p in two.params]
    assert math.isnan(parts.accumulate(parts_of(x, np.full(N, -1))))
    assert (parts.count, parts.total) == (0, 0)
    same(two.params, before)


@pytest.mark.parametrize("make", [net, Wired])
def test_rows_that_weigh_nothing_may_have_a_loss(make):
    loss = SoftmaxWithLoss(label_smoothing=0.1, class_weight=[0, 1, 1])
    model = make(loss=loss)
    x = normal(np.float64, N, D)
    step = Step(model, SGD())
    assert math.isnan(step(x, np.zeros(N, int)))
    expected = step.total
    assert expected > 0
    assert math.isnan(step.accumulate(parts_of(x, np.zeros(N, int))))
    assert step.total == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_whole_numbers_as_features_are_no_more_rows_than_they_are(dtype):
    x = np.random.default_rng(0).integers(0, 255, (64, 784)).astype(dtype)  # 50176 numbers
    t, (one, two) = np.arange(64) % C, (Sequential([affine(784, C, seed=1)]) for _ in range(2))
    Step(one, SGD(lr=1e-3))(x, t)
    Step(two, SGD(lr=1e-3)).accumulate([(x[i : i + 9], t[i : i + 9]) for i in range(0, 64, 9)])
    same(two.params, one.params)


@pytest.mark.parametrize("x", [(np.ones((3, 2)), np.ones((3, 4))), {"a": np.ones((3, D))}])
def test_several_inputs_are_refused_as_in_one_piece(x):
    step, t = Step(net(), SGD()), np.zeros(3, int)
    with pytest.raises(TypeError, match="x: expected one array, got a") as whole:
        step(x, t)
    with pytest.raises(TypeError) as parts:
        step.accumulate([(x, t), (x, t)])
    assert str(parts.value) == str(whole.value)


def test_labels_of_all_parts_are_checked_before_a_gradient_is_written():
    model = net()
    step = Step(model, SGD())
    x, t = normal(np.float32, N, D), np.arange(N) % C
    t[-1] = C
    for grad in model.grads:
        grad[...] = 7
    before = [p.copy() for p in model.params]
    with pytest.raises(IndexError, match="part 4 of 4: t: "):
        step.accumulate(parts_of(x, t))
    with pytest.raises(ValueError, match=r"part 2 of 2: t: expected 7 labels.*got shape \(6,\)"):
        step.accumulate([(x[:7], t[:7]), (x[7:14], t[7:13])])
    assert all((grad == 7).all() for grad in model.grads)
    same(model.params, before)
    with pytest.raises(ValueError, match="at least one part"):
        step.accumulate([])


def test_a_loss_that_is_not_finite_is_told_as_of_a_whole_batch():
    model = net()
    x, t = normal(np.float32, N, D), np.arange(N) % C
    x[9] = math.inf
    before = [p.copy() for p in model.params]
    with pytest.raises(FloatingPointError, match="the loss is nan in step 1"):
        Step(model, SGD(), on_nonfinite="raise").accumulate(parts_of(x, t))
    same(model.params, before)


def test_joined_gradients_are_those_of_the_whole():
    seen = []

    def join(grads, count):
        seen.append(([g.copy() for g in grads], count))
        return count

    x, t = normal(np.float32, N, D), np.arange(N) % C
    Step(net(), SGD(), join=join)(x, t)
    Step(net(), SGD(), join=join).accumulate(parts_of(x, t))
    assert seen[0][1] == seen[1][1] == N
    same(seen[1][0], seen[0][0])


# Training


@pytest.mark.parametrize("drop_last", [False, True])
def test_fit_in_small_batches_learns_what_it_learns_in_large_ones(drop_last):
    x, t = normal(np.float32, 50, D), np.arange(50) % C
    weight = np.random.default_rng(1).uniform(0, 1, 50)
    models, histories = [], []
    for options in ({"batch_size": 12}, {"batch_size": 4, "accumulate": 3}):
        model = net(middle=[Dropout(0.2, seed=0)])
        trainer = Trainer(model, Adam(lr=0.01), seed=0)
        histories.append(
            trainer.fit(
                x, t, 3, sample_weight=weight, drop_last=drop_last, progress="none",
                eval_interval=2, max_grad=0.5, **options,
            )
        )  # fmt: skip
        models.append(model)
    same(models[1].params, models[0].params)
    assert histories[1].batches == histories[0].batches == (4 if drop_last else 5) * 3
    np.testing.assert_allclose(histories[1].loss, histories[0].loss, rtol=1e-12)
    np.testing.assert_allclose(histories[1].epoch_loss, histories[0].epoch_loss, rtol=1e-12)


def test_batches_of_an_iterable_are_gathered():
    x, t = normal(np.float32, 50, D), np.arange(50) % C
    cuts = [0, 7, 10, 22, 30, 50]
    batches = [(x[i:j], t[i:j]) for i, j in pairwise(cuts)]
    gathered = [(x[:10], t[:10]), (x[10:30], t[10:30]), (x[30:], t[30:])]
    one, two = net(), net()
    Trainer(one, SGD(lr=0.1)).fit(gathered, max_epoch=2, progress="none")
    history = Trainer(two, SGD(lr=0.1)).fit(batches, max_epoch=2, accumulate=2, progress="none")
    assert history.batches == 6
    same(two.params, one.params)


def test_an_iterable_may_use_its_arrays_again():
    x, t = normal(np.float32, 12, D), np.arange(12) % C

    def refilled():
        bx, bt = np.empty((4, D), np.float32), np.empty(4, np.int64)
        for first in range(0, 12, 4):
            bx[...], bt[...] = x[first : first + 4], t[first : first + 4]
            yield bx, bt

    one, two = net(), net()
    Trainer(one, SGD(lr=0.1)).fit([(x, t)], max_epoch=1, progress="none")
    Trainer(two, SGD(lr=0.1)).fit(refilled(), max_epoch=1, accumulate=3, progress="none")
    same(two.params, one.params)


def test_callbacks_see_steps():
    calls = []

    class Note(Callback):
        def on_batch_begin(self, trainer):
            calls.append("begin")

        def on_gradients(self, trainer):
            calls.append("gradients")

        def on_batch_end(self, trainer):
            calls.append("end")
            return len(calls) >= 9

    x, t = normal(np.float32, 50, D), np.arange(50) % C
    Trainer(net(), SGD()).fit(
        x, t, 3, batch_size=4, accumulate=3, callbacks=[Note()], progress="none"
    )
    assert calls == ["begin", "gradients", "end"] * 3


def test_a_run_goes_on_between_two_steps(tmp_path):
    pytest.importorskip("safetensors")

    class Save(Callback):
        def on_batch_end(self, trainer):
            if trainer.history.batches == 7:
                trainer.save_checkpoint(tmp_path / "run")
                return True
            return None

    x, t = normal(np.float32, 50, D), np.arange(50) % C
    options = {"batch_size": 4, "accumulate": 3, "progress": "none"}
    expected, other = net(), net()
    Trainer(expected, Adam(), seed=0).fit(x, t, 2, **options)
    Trainer(net(), Adam(), seed=0).fit(x, t, 2, callbacks=[Save()], **options)
    trainer = Trainer.resume(tmp_path / "run", other, Adam())
    with pytest.raises(ValueError, match="12 batch_size"):
        trainer.fit(x, t, 2, **{**options, "accumulate": 2})
    trainer.fit(x, t, 2, callbacks=[Callback()], **options)
    assert trainer.history.batches == 10
    same(other.params, expected.params)


def test_a_stream_goes_on_with_as_many_batches_a_step(tmp_path):
    pytest.importorskip("safetensors")

    class Save(Callback):
        def on_batch_end(self, trainer):
            if trainer.history.batches == 3:
                trainer.save_checkpoint(tmp_path / "run")

    x, t = normal(np.float32, 40, D), np.arange(40) % C
    batches = [(x[i : i + 4], t[i : i + 4]) for i in range(0, 40, 4)]
    expected, other = net(), net()
    options = {"max_epoch": 1, "progress": "none"}
    Trainer(expected, SGD()).fit(batches, accumulate=2, callbacks=[Save()], **options)
    trainer = Trainer.resume(tmp_path / "run", other, SGD())
    with pytest.raises(ValueError, match="expected 2 batches of a step, got 3 batches of a step"):
        trainer.fit(batches, accumulate=3, **options)
    trainer.fit(batches, accumulate=2, **options)
    same(other.params, expected.params)


@pytest.mark.parametrize("parts", [5, [5], [(np.ones(3),)], np.ones((3, 4)), [(1, 2, 3, 4)], "ab"])
def test_what_are_no_parts_is_refused(parts):
    with pytest.raises(TypeError, match=r"parts: expected \(x, t\) or .*part 1 is"):
        Step(net(), SGD()).accumulate(parts)


@pytest.mark.parametrize("accumulate", [0, -1, 1.5, "2", True, None])
def test_what_cannot_be_accumulated_is_refused(accumulate):
    with pytest.raises((TypeError, ValueError), match="accumulate"):
        Trainer(net(), SGD()).fit(np.ones((4, D)), [0, 1, 2, 0], accumulate=accumulate)


def test_dropping_every_step_is_refused():
    with pytest.raises(ValueError, match=r"2 times 3 to accumulate is more than the 4 samples"):
        Trainer(net(), SGD()).fit(
            np.ones((4, D)), [0, 1, 2, 0], batch_size=2, accumulate=3, drop_last=True
        )


def test_an_empty_batch_of_the_whole_is_still_an_error_of_the_loss():
    with pytest.raises(EmptyBatchError):
        SoftmaxWithLoss().forward(np.ones((0, C)), np.ones(0, int))
    layer = SoftmaxWithLoss()
    assert layer.forward(np.ones((0, C)), np.ones(0, int), count=3) == 0
    assert layer.backward().shape == (0, C)
