"""`model.loss` and the losses of others: the same number in any batches, nothing changed by it."""

import numpy as np
import pytest

import nnext
from nnext import AffineSoftmaxWithLoss, BaseModel, Dropout, Sequential, SoftmaxWithLoss, affine
from nnext._nnext import EmptyBatchError


class SquaredLoss:
    """A loss from elsewhere that keeps the contract and nothing more."""

    def __init__(self, reduction=None):
        self.params, self.grads = [], []
        if reduction is not None:
            self.reduction = reduction

    def forward(self, x, t):
        self.d = x - t
        rows = 0.5 * (self.d**2).sum(axis=1)
        reduction = getattr(self, "reduction", "mean")
        return rows if reduction == "none" else getattr(rows, reduction)()

    def backward(self, dout=1):
        return self.d * (dout / len(self.d))


class Residual:
    """A layer with layers in it: x + f(x)."""

    def __init__(self, *layers):
        self.inner = layers
        self.params = [p for layer in layers for p in layer.params]
        self.grads = [g for layer in layers for g in layer.grads]

    def forward(self, x):
        h = x
        for layer in self.inner:
            h = layer.forward(h)
        return x + h

    def backward(self, dout):
        dx = dout
        for layer in reversed(self.inner):
            dx = layer.backward(dx)
        return dout + dx


def data(n=7, dtype="float64"):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 4)).astype(dtype), rng.integers(0, 3, n)


def chain(loss=None, dtype="float64"):
    return Sequential([affine(4, 5, seed=0, dtype=dtype), nnext.Tanh(),
                       affine(5, 3, seed=1, dtype=dtype)], loss=loss)  # fmt: skip


SIZES = [1, 2, 3, 7, 100]


@pytest.mark.parametrize("batch_size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [{}, {"ignore_label": 1}, {"class_weight": [1.0, 0.0, 3.0]}, {"reduction": "sum"},
     {"reduction": "none"}, {"label_smoothing": 0.1, "ignore_label": 0}],
)  # fmt: skip
def test_the_loss_is_that_of_one_batch_whatever_the_batches(options, dtype, batch_size):
    model, (x, t) = chain(SoftmaxWithLoss(**options), dtype), data(dtype=dtype)
    expected = model.forward(x, t)
    got = model.loss(x, t, batch_size=batch_size)
    np.testing.assert_allclose(got, expected, rtol=1e-6 if dtype == "float32" else 1e-14)
    assert np.shape(got) == ((7,) if options.get("reduction") == "none" else ())


@pytest.mark.parametrize("batch_size", SIZES)
@pytest.mark.parametrize("reduction", [None, "mean", "sum", "none"])
def test_a_loss_from_elsewhere_is_weighted_by_its_rows(reduction, batch_size):
    model, (x, _) = chain(SquaredLoss(reduction)), data()
    t = np.ones((7, 3))
    rows = 0.5 * ((model.scores(x) - t) ** 2).sum(axis=1)
    expected = rows if reduction == "none" else getattr(rows, reduction or "mean")()
    np.testing.assert_allclose(model.loss(x, t, batch_size=batch_size), expected, rtol=1e-14)


def test_batches_in_which_nothing_counts_weigh_nothing():
    model, (x, _) = chain(SoftmaxWithLoss(ignore_label=-1)), data()
    t = np.array([-1, -1, -1, 2, -1, -1, 0])
    assert model.loss(x, t, batch_size=2) == pytest.approx(model.forward(x, t), rel=1e-14)
    with pytest.raises(EmptyBatchError, match="none of the 3 samples counts"):
        model.loss(x[:3], t[:3], batch_size=1)
    model.loss_layer = SoftmaxWithLoss(ignore_label=-1, reduction="sum")
    assert model.loss(x[:3], t[:3], batch_size=1) == 0


def test_the_fused_loss_is_that_of_the_two_layers():
    two, (x, t) = chain(), data()
    fused = Sequential(two.layers[:2], loss=AffineSoftmaxWithLoss(*two.layers[2].params))
    assert fused.loss(x, t, batch_size=3) == pytest.approx(two.loss(x, t), rel=1e-14)
    np.testing.assert_array_equal(fused.predict(x), two.predict(x))
    np.testing.assert_allclose(fused.predict_proba(x), two.predict_proba(x), rtol=1e-13)
    np.testing.assert_array_equal(fused.scores(x), two.scores(x))
    assert fused.accuracy(x, t) == two.accuracy(x, t)
    assert fused.accuracy(x[0], t[0]) == two.accuracy(x[0], t[0])


@pytest.mark.parametrize("loss", [None, SquaredLoss(), AffineSoftmaxWithLoss(np.eye(3))])
def test_a_loss_between_forward_and_backward_changes_nothing(loss):
    dropout = Dropout(0.5, seed=0)
    inside = Dropout(0.0, seed=1)
    residual = Residual(affine(4, 4, seed=2, dtype="float64"), nnext.Tanh(), inside)
    model = Sequential([residual, dropout, affine(4, 3, seed=3, dtype="float64")], loss=loss)
    x, t = data()
    t = np.eye(3)[t]

    def gradients(between):
        dropout.offset = inside.offset = 0
        model.forward(x, t)
        seen = dropout.offset, inside.offset, dropout.mask
        if between:
            model.loss(x[:5] * 2, t[:5], batch_size=2)
        assert (dropout.offset, inside.offset) == seen[:2]
        assert dropout.mask is seen[2]
        model.backward()
        return [g.copy() for g in model.grads]

    for a, b in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loss_before_any_forward_or_one_that_fails_is_forgotten_too():
    model, (x, t) = chain(), data()
    model.loss(x, t)
    with pytest.raises(RuntimeError, match="before"):
        model.backward()
    with pytest.raises(IndexError):
        model.loss(x, t + 3)
    assert model.layers[0].x is None


def test_dropout_does_not_drop_in_the_loss():
    last = affine(4, 3, seed=0, dtype="float64")
    (x, t), model = data(), Sequential([Dropout(0.5, seed=0), last])
    assert model.loss(x, t) == Sequential([last]).forward(x, t)


def test_a_model_with_wiring_of_its_own_has_a_loss():
    class Net(BaseModel):
        def __init__(self):
            self.one = affine(4, 3, seed=0, dtype="float64")
            super().__init__([self.one], SoftmaxWithLoss())

        def scores(self, x):
            return self.one.forward(x)

    (x, t), net = data(), Net()
    assert net.loss(x, t, batch_size=2) == pytest.approx(Sequential([net.one]).forward(x, t))
    assert net.one.forward(x) is not None
    net.loss(x[:2], t[:2])
    assert net.one.x is x


def test_what_cannot_be_evaluated_is_refused():
    model, (x, t) = chain(), data()
    with pytest.raises(ValueError, match=r"x: expected at least one sample, got shape \(0, 4\)"):
        model.loss(x[:0], t[:0])
    with pytest.raises(ValueError, match=r"t: expected 7 labels.*got shape \(6,\)"):
        model.loss(x, t[:6])
    for size in (0, -1, 2.5, None, True):
        with pytest.raises(ValueError, match="batch_size: expected a whole number"):
            model.loss(x, t, batch_size=size)


@pytest.mark.parametrize(
    ("method", "lacks"),
    [("predict", "predictions"), ("predict_proba", "probabilities"), ("accuracy", "predictions")],
)
def test_a_loss_that_knows_no_classes_says_so_and_scores_work(method, lacks):
    model, (x, t) = chain(SquaredLoss()), data()
    arguments = (x, t) if method == "accuracy" else (x,)
    message = rf"{method}: the loss SquaredLoss has no method {lacks}; scores\(x\) works"
    with pytest.raises(TypeError, match=message):
        getattr(model, method)(*arguments)
    np.testing.assert_array_equal(model.scores(x), chain().scores(x))


def test_a_loss_of_ones_own_may_answer_itself():
    class Hinge(SquaredLoss):
        def predictions(self, x):
            return (x[:, 0] > 0).astype(np.int64)

        def labels(self, t, shape):
            assert shape == (7, 3)
            return np.asarray(t)

    model, (x, _) = chain(Hinge()), data()
    t = (model.scores(x)[:, 0] > 0).astype(int)
    t[0] = -1  # ignored
    t[1] = 1 - t[1]
    assert model.accuracy(x, t) == pytest.approx(5 / 6)


def test_a_numpy_integer_is_a_batch_size():
    model = Sequential([affine(2, 3, seed=0)])
    x, t = np.ones((300, 2), np.float32), np.arange(300) % 3
    assert model.loss(x, t, batch_size=np.int8(100)) == pytest.approx(model.loss(x, t))


def test_inference_takes_and_refuses_the_floats_that_training_does():
    model, x = chain(dtype="float32"), data()[0]
    expected = model.scores(x.astype("f4"))
    for kind in (np.longdouble, ">f8", ">f4", "f8"):
        got = model.scores(x.astype("f4").astype(kind))
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, expected)
    with np.errstate(all="raise"):
        assert np.isfinite(model.scores(np.full((1, 4), 1e-300))).all()
    for method in (model.scores, model.predict, model.predict_proba):
        with pytest.raises(ValueError, match=r"x: row 1 holds 1e\+300, which is infinite in float"):
            method(np.array([[0.0] * 4, [1e300] * 4]))
    assert np.isnan(model.scores(np.full((1, 4), np.nan))).all()


@pytest.mark.parametrize("kind", [">f4", "<f4"])
def test_parameters_that_differ_in_byte_order_alone_share_a_type(kind):
    model = Sequential([nnext.Affine(np.ones((2, 3), "f4"), np.ones(3, kind))])
    assert model.scores(np.ones((1, 2))).dtype == np.float32


def test_whole_numbers_that_half_precision_has_not_are_refused_and_indices_are_not():
    model = nnext.TwoLayerNet(2, 5, 3, seed=0, dtype=np.float16)
    for number in (100000, -100000):
        with pytest.raises(ValueError, match=f"x: row 0 holds {number}, which is infinite in flo"):
            model.scores(np.full((3, 2), number))
        with pytest.raises(ValueError, match="which is infinite in float16"):
            nnext.Trainer(model, nnext.SGD(), seed=0).fit(
                np.full((3, 2), number), np.zeros(3, int), progress="none"
            )
    assert np.isfinite(model.scores(np.full((3, 2), 60000))).all()
    words = Sequential([nnext.Embedding(np.ones((70000, 2), np.float16)),
                        affine(2, 3, seed=0, dtype=np.float16)])  # fmt: skip
    assert words.scores(np.array([69999])).shape == (1, 3)


@pytest.mark.parametrize("options", [{"label_smoothing": 0.3}, {"z_loss": 0.2}])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 1024])
def test_rows_of_weight_zero_lose_what_they_do_in_the_whole(options, fused, batch_size):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((41, 4)), rng.integers(0, 3, 41)
    t[-1] = 2
    options = {"class_weight": [1, 1, 0], **options}
    last = affine(4, 3, seed=0, dtype="float64")
    loss = AffineSoftmaxWithLoss(*last.params, **options) if fused else SoftmaxWithLoss(**options)
    model = Sequential([nnext.Tanh()] if fused else [last], loss)
    expected = model.forward(x, t)
    assert model.loss(x, t, batch_size=batch_size) == pytest.approx(expected, rel=1e-13)
    history = nnext.Trainer(model, nnext.SGD(0.0), seed=0).fit(
        x, t, max_epoch=2, batch_size=batch_size, eval_interval=1 << 20, progress="none"
    )
    assert history.epoch_loss == pytest.approx([expected] * 2, rel=1e-13)
    assert history.loss == pytest.approx([expected], rel=1e-13)
    rows = t == 2
    total, count = loss.evaluate(model.loss_input(x[rows]), t[rows])
    with pytest.raises(EmptyBatchError):
        model.forward(x[rows], t[rows])
    assert total == loss.total > 0 == count


@pytest.mark.parametrize("shape", [(6, 1), (6, 2)])
def test_accuracy_takes_a_soft_binary_label_as_the_more_probable_one(shape):
    model = Sequential([affine(4, shape[1], seed=0, dtype="float64")], nnext.SigmoidWithLoss())
    x = data(6)[0]
    t = np.where(model.scores(x) > 0, 0.7, 0.5)
    assert model.accuracy(x, t) == 1.0
    assert model.accuracy(x, 1 - np.where(model.scores(x) > 0, 0.7, 0.2)) == 0.0
    assert model.loss_layer.labels(t, shape).dtype == np.int64


@pytest.mark.parametrize("batch_size", [1, 10, 50])
def test_a_bad_row_is_named_as_in_the_data(batch_size):
    model, t = Sequential([affine(2, 3, seed=0)]), np.zeros(50, int)
    x = np.zeros((50, 2))
    t[49] = 9
    with pytest.raises(IndexError, match="label 9 in row 49 is out of range"):
        model.loss(x, t, batch_size=batch_size)
    x[41] = 1e300
    with pytest.raises(ValueError, match=r"row 41 holds 1e\+300"):
        model.loss(x, t, batch_size=batch_size)
    words = Sequential([nnext.Embedding(np.ones((5, 3), "f4")), affine(3, 3, seed=0)])
    index = np.zeros(50, int)
    index[40] = 7
    with pytest.raises(IndexError, match="x: row 40: index 7 is out of range"):
        words.loss(index, np.zeros(50, int), batch_size=batch_size)


def test_sparse_labels_are_named():
    class Sparse:
        def toarray(self):
            raise AssertionError

    with pytest.raises(TypeError, match=r"t: .* sparse matrix must be made dense"):
        chain().loss(data()[0], Sparse())


class Counting:
    """A part that counts its calls."""

    n = 0

    def forward(self, x):
        self.n += 1
        return x

    def backward(self, dout):
        return dout


def test_the_loss_leaves_no_trace_in_parts_of_equal_names():
    model = nnext.TwoLayerNet(2, 3, 2, seed=0)
    model.parts = {1: Counting(), "1": Counting()}
    setattr(model, "parts.1", Counting())
    parts = [*model.parts.values(), vars(model)["parts.1"]]
    run = model.loss_input
    model.loss_input = lambda x: [part.forward(x) for part in parts] and run(x)
    model.loss(np.ones((2, 2)), [0, 1])
    assert [part.n for part in parts] == [0, 0, 0]
