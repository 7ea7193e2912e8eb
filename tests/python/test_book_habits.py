"""What programs that went on from the book's rely on, and NumPy took there without a word."""

import copy
import pickle

import numpy as np
import pytest

from nnext.book import base_model, layers, optimizer, time_layers, trainer, util


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_ids_below_0_count_from_the_end(kind):
    W = np.arange(15, dtype=kind).reshape(5, 3)
    ids = np.array([[0, -1, 4], [-5, 2, -1]])
    dout = np.random.default_rng(0).standard_normal((2, 3, 3)).astype(kind)
    expected = np.zeros_like(W)
    np.add.at(expected, ids, dout)
    for layer in (layers.Embedding(W), time_layers.TimeEmbedding(W)):
        np.testing.assert_array_equal(layer.forward(ids), W[ids])
        layer.backward(dout)
        np.testing.assert_allclose(layer.grads[0], expected, rtol=1e-6)
        for bad in (5, -6):
            with pytest.raises(IndexError, match=f"index {bad if bad > 0 else -1} "):
                layer.forward([[0, bad]])


def test_padding_of_minus_1_is_read_and_does_not_count():
    W = np.random.default_rng(1).standard_normal((5, 3))
    xs = np.array([[1, 2, -1], [3, -1, -1]])
    scores = time_layers.TimeEmbedding(W).forward(xs) @ W.T
    loss = time_layers.TimeSoftmaxWithLoss()
    found = loss.forward(scores, xs)
    log_p = scores - np.log(np.exp(scores).sum(axis=2, keepdims=True))
    expected = -np.mean([log_p[n, t, xs[n, t]] for n, t in np.argwhere(xs >= 0)])
    assert found == pytest.approx(expected)
    labels, probabilities, counts, shape = loss.cache
    np.testing.assert_array_equal(counts, xs.ravel() >= 0)
    np.testing.assert_array_equal(labels[counts], xs[xs >= 0])
    np.testing.assert_allclose(probabilities, np.exp(log_p).reshape(6, 5))
    assert shape == (2, 3, 5)


def test_the_label_that_is_ignored_may_be_set():
    loss, scores = time_layers.TimeSoftmaxWithLoss(), np.log([[[1.0, 2, 1], [1, 2, 5]]])
    assert (loss.ignore_label, loss.cache) == (-1, None)
    loss.ignore_label = 2
    assert loss.forward(scores, [[1, 2]]) == pytest.approx(np.log(2))
    assert loss.ignore_label == 2
    np.testing.assert_array_equal(loss.backward()[0, 1], 0)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_column_of_scores_has_the_books_loss_and_gradient(kind):
    x = np.array([[0.3], [-1], [2], [0.1]], kind)
    t = np.array([[0], [1], [1], [0]])
    layer = layers.SigmoidWithLoss()
    y = 1 / (1 + np.exp(-x))
    pairs = np.c_[1 - y, y]
    expected = -np.sum(np.log(pairs[np.arange(4), t] + 1e-7)) / 4  # (4, 4), as in the book
    assert layer.forward(x, t) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(layer.backward(), (y - t) / 4, rtol=1e-6)
    for bad in (t.ravel(), t[:3], np.hstack([t, t])):
        with pytest.raises(ValueError, match="t: expected scores and labels of one shape"):
            layer.forward(x, bad)


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_a_bias_may_be_a_row(kind):
    rng = np.random.default_rng(2)
    W, b, x, dout = (rng.standard_normal(s).astype(kind) for s in [(4, 3), (1, 3), (5, 4), (5, 3)])
    row, plain = layers.Affine(W, b), layers.Affine(W, b[0].copy())
    assert row.params[1] is b
    np.testing.assert_array_equal(row.forward(x), plain.forward(x))
    grad = row.grads[1]
    np.testing.assert_array_equal(row.backward(dout), plain.backward(dout))
    assert row.grads[1] is grad
    assert grad.shape == (1, 3)
    np.testing.assert_array_equal(grad[0], plain.grads[1])
    assert row.backward(dout, False, accumulate=True) is None
    np.testing.assert_allclose(grad[0], 2 * plain.grads[1], rtol=1e-6)
    optimizer.SGD(lr=1.0).update(row.params, row.grads)
    np.testing.assert_allclose(b[0], plain.params[1] - grad[0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"b: expected shape \(3,\)"):
        layers.Affine(W, np.zeros((1, 4), kind))


def test_weights_may_be_whole_numbers():
    W = np.arange(21).reshape(7, 3)
    rows = np.eye(7, dtype=int)[[2, 5]]
    np.testing.assert_array_equal(layers.MatMul(W).forward(rows), W[[2, 5]])
    np.testing.assert_array_equal(layers.Affine(W, np.ones(3, int)).forward(rows), W[[2, 5]] + 1)


def test_losses_are_numbers_of_numpys():
    x, t = np.zeros((2, 3)), np.array([0, 1])
    for loss in (
        layers.SoftmaxWithLoss().forward(x, t),
        layers.SigmoidWithLoss().forward(x[:, 0], t),
        time_layers.TimeSoftmaxWithLoss().forward(x[:, None], t[:, None]),
        time_layers.TimeSigmoidWithLoss().forward(x[:, :1], t[:, None]),
    ):
        assert isinstance(loss, np.float64)
        assert loss.item() == loss.astype("f8") == loss
        assert isinstance(loss, float)


class Model:
    """A model of the book's kind."""

    def __init__(self):
        self.layer = layers.Affine(np.ones((2, 2)), np.zeros(2))
        self.loss = layers.SoftmaxWithLoss()
        self.params, self.grads = self.layer.params, self.layer.grads

    def forward(self, x, t):
        return self.loss.forward(self.layer.forward(x), t)

    def backward(self):
        self.layer.backward(self.loss.backward())


class Late(Model):
    """Makes its gradients anew in each backward, and on demand its parameters in forward."""

    def __init__(self, params=True, grads=None):
        super().__init__()
        self.made = self.params
        self.params, self.grads = (self.params if params else []), ([] if grads is None else grads)

    def forward(self, x, t):
        self.params = self.made
        return super().forward(x, t)

    def backward(self):
        super().backward()
        self.grads = [grad.copy() for grad in self.layer.grads]


@pytest.mark.parametrize(
    "make", [Late, lambda: Late(params=False), lambda: Late(grads=[None, None])]
)
@pytest.mark.parametrize("max_grad", [None, 0.01])
def test_gradients_may_be_made_in_backward(make, max_grad):
    rng = np.random.default_rng(4)
    x, t = rng.standard_normal((8, 2)), rng.integers(0, 2, 8)
    found, expected = make(), Model()
    for model in (found, expected):
        np.random.seed(0)
        trainer.Trainer(model, optimizer.Adam()).fit(x, t, 2, 4, max_grad=max_grad)
    for p, q in zip(found.params, expected.params, strict=True):
        np.testing.assert_array_equal(p, q)
    assert not np.array_equal(found.params[0], np.ones((2, 2)))


def test_samples_that_fill_no_batch_teach_nothing_and_that_is_said():
    model, x, t = Model(), np.ones((3, 2)), np.zeros(3, int)
    fitted = trainer.Trainer(model, optimizer.SGD(lr=1.0))
    with pytest.warns(RuntimeWarning, match="batch_size: 4 is more than the 3 samples: nothing"):
        fitted.fit(x, t, 2, 4)
    assert fitted.current_epoch == 2
    assert fitted.loss_list == []
    np.testing.assert_array_equal(model.params[0], 1)
    fitted.fit(x, t, 0, 3)
    np.testing.assert_array_equal(model.params[0], 1)


@pytest.mark.parametrize("name", ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"])
def test_what_an_optimizer_remembers_belongs_to_places(name):
    rng = np.random.default_rng(3)
    grads = [[rng.standard_normal(2), rng.standard_normal((2, 3))] for _ in range(3)]
    one, other = getattr(optimizer, name)(lr=0.1), getattr(optimizer, name)(lr=0.1)
    first = [np.zeros(2), np.zeros((2, 3))]
    kept = [p.copy() for p in first]
    one.update(first, grads[0])
    other.update(kept, grads[0])
    for g in grads[1:]:  # other arrays of the same shapes, as of a second model
        first = [p.copy() for p in first]
        one.update(first, g)
        other.update(kept, g)
    for p, q in zip(first, kept, strict=True):
        np.testing.assert_array_equal(p, q)
    if name != "SGD":
        with pytest.raises(ValueError, match="not the array of earlier updates"):
            one.update([np.zeros(2), np.zeros((3, 2))], [np.zeros(2), np.zeros((3, 2))])


def test_star_imports_bring_what_the_books_do():
    for module, names in [
        (util, "np os sys"),
        (base_model, "np os pickle sys"),
        (trainer, "np numpy sys time"),
        (optimizer, "np"),
    ]:
        assert {*names.split()} <= {*module.__all__}
        assert all(hasattr(module, name) for name in module.__all__)


class Bare:
    """Something in ``layers`` that has no parameters."""


class Odd(base_model.BaseModel):
    """A model that keeps what it likes in ``layers``."""

    def __init__(self):
        self.layers = [Bare(), layers.MatMul(np.ones((2, 2)))]
        self.params, self.grads = self.layers[1].params, self.layers[1].grads


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_model_with_anything_among_its_layers_is_copied(again):
    found = again(Odd())
    np.testing.assert_array_equal(found.params[0], 1)
    assert found.params[0] is found.layers[1].params[0]
