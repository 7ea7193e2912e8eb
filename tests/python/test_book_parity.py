"""Small nets trained a hundred steps by nnext and by the book's formulas come out the same."""

import copy

import numpy as np
import pytest

import book_reference as book
import nnext.layers
import nnext.optimizer
from nnext.book import functions as book_functions
from nnext.book import layers as book_layers
from nnext.book import optimizer as book_optimizer

TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
OPTIMIZERS = {
    "SGD": {"lr": 0.5},
    "Momentum": {"lr": 0.05, "momentum": 0.8},
    "Nesterov": {"lr": 0.05, "momentum": 0.7},
    "AdaGrad": {"lr": 0.1},
    "RMSprop": {"lr": 0.01, "decay_rate": 0.9},
    "Adam": {"lr": 0.01, "beta1": 0.8, "beta2": 0.99},
}


class Net:
    """A model as the book writes them: no base class, lists of its own."""

    def __init__(self, layers, loss_layer, flat=False):
        self.layers, self.loss_layer, self.flat = layers, loss_layer, flat
        self.params = [p for layer in layers for p in layer.params]
        self.grads = [g for layer in layers for g in layer.grads]

    def forward(self, x, t):
        for layer in self.layers:
            x = layer.forward(x)
        return self.loss_layer.forward(x[:, 0] if self.flat else x, t)

    def backward(self, dout=1):
        dout = self.loss_layer.backward(dout)
        dout = dout[:, np.newaxis] if self.flat else dout
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


def weights(dtype, *shapes):
    rng = np.random.RandomState(3)
    return [rng.normal(0, 0.5, shape).astype(dtype) for shape in shapes]


def dense(kinds, dtype, dropout):
    W1, b1, W2, b2 = weights(dtype, (4, 8), 8, (8, 3), 3)
    layers = [kinds.Affine(W1, b1), kinds.Sigmoid(), kinds.Affine(W2, b2)]
    if dropout:
        layers.insert(2, kinds.Dropout(0.3))
    return Net(layers, kinds.SoftmaxWithLoss())


def words(kinds, dtype, dropout):
    E, W = weights(dtype, (7, 5), (5, 3))
    return Net([kinds.Embedding(E), kinds.MatMul(W)], kinds.SoftmaxWithLoss())


def binary(kinds, dtype, dropout):
    W1, W2, b2 = weights(dtype, (4, 6), (6, 1), 1)
    layers = [kinds.MatMul(W1), kinds.Softmax(), kinds.Affine(W2, b2)]
    return Net(layers, kinds.SigmoidWithLoss(), flat=True)


NETS = {"dense": dense, "words": words, "binary": binary}


def batches(net, dtype, steps=100):
    rng = np.random.RandomState(5)
    for step in range(steps):
        n = 1 + step % 9
        x = rng.randint(0, 7, n) if net == "words" else rng.normal(size=(n, 4)).astype(dtype)
        t = rng.randint(0, 2 if net == "binary" else 3, n)
        if net == "dense" and step % 2:
            t = np.eye(3, dtype=np.int32)[t]
        yield x, t


def train(model, optimizer, net, dtype):
    np.random.seed(7)
    losses = []
    for x, t in batches(net, dtype):
        losses.append(model.forward(x, t))
        model.backward()
        optimizer.update(model.params, model.grads)
    return np.array(losses, np.float64)


def assert_close(found, expected, tolerance):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize(
    ("whose", "optimizer"),
    [("nnext.book", kind) for kind in OPTIMIZERS]
    + [("nnext", kind) for kind in OPTIMIZERS if kind != "Nesterov"],  # which is the paper's
)
def test_a_hundred_steps_come_out_as_in_the_book(whose, net, optimizer, dtype, monkeypatch):
    kinds, optimizers = book_layers, book_optimizer
    if whose == "nnext":
        kinds, optimizers = nnext.layers, nnext.optimizer
        monkeypatch.setattr(book, "EPS", 0)  # its losses are exact
    dropout = whose == "nnext.book"  # nnext's own draws other masks
    options = OPTIMIZERS[optimizer]
    found, expected = (NETS[net](k, dtype, dropout) for k in (kinds, book))
    losses = train(found, getattr(optimizers, optimizer)(**options), net, dtype)
    expected_losses = train(expected, getattr(book, optimizer)(**options), net, dtype)
    assert_close(losses, expected_losses, TOLERANCE[dtype])
    for p, q in zip(found.params, expected.params, strict=True):
        assert p.dtype == dtype
        assert_close(p, q, TOLERANCE[dtype])


def test_the_comparison_rejects_another_method():
    found, expected = (dense(kinds, "float64", False) for kinds in (book_layers, book))
    train(found, nnext.optimizer.Nesterov(lr=0.05, momentum=0.7), "dense", "float64")
    train(expected, book.Nesterov(lr=0.05, momentum=0.7), "dense", "float64")
    with pytest.raises(AssertionError):
        assert_close(found.params[0], expected.params[0], TOLERANCE["float32"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (5, 7)])
def test_dropout_draws_the_books_masks(dtype, shape):
    x = np.random.RandomState(0).normal(size=shape).astype(dtype)
    layer, expected = book_layers.Dropout(0.4), book.Dropout(0.4)
    for forward in range(2):
        np.random.seed(forward)
        y = layer.forward(x)
        np.random.seed(forward)
        np.testing.assert_array_equal(y, expected.forward(x))
        np.testing.assert_array_equal(layer.mask, expected.mask)
        np.testing.assert_array_equal(layer.backward(x), expected.backward(x))
        assert y.dtype == dtype
    used = layer.forward(x, train_flg=False)
    assert used.dtype == dtype
    np.testing.assert_allclose(used, 0.6 * x, rtol=1e-6)


def test_losses_have_the_books_attributes():
    x = np.array([[1.0, 2.0, 0.5], [40.0, 0.0, 0.0]])
    layer, expected = book_layers.SoftmaxWithLoss(), book.SoftmaxWithLoss()
    for t in (np.array([2, 1]), np.eye(3)[[2, 1]], np.eye(3, dtype=bool)[[2, 1]]):
        assert layer.forward(x, t) == pytest.approx(expected.forward(x, t), rel=1e-12)
        np.testing.assert_allclose(layer.y, expected.y, rtol=1e-12)
        np.testing.assert_array_equal(layer.t, [2, 1])
        np.testing.assert_allclose(layer.backward(3), expected.backward(3), rtol=1e-12)
        assert (layer.params, layer.grads) == ([], [])
    layer, expected = book_layers.SigmoidWithLoss(), book.SigmoidWithLoss()
    scores, t = np.array([-50.0, 0.3, 50.0]), np.array([1, 0, 0])
    assert layer.forward(scores, t) == pytest.approx(expected.forward(scores, t), rel=1e-9)
    assert layer.loss == pytest.approx(expected.loss, rel=1e-9)
    np.testing.assert_allclose(layer.backward(2), expected.backward(2), rtol=1e-12)


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "SigmoidWithLoss", "Dropout"])
def test_backward_before_forward_is_refused(kind):
    with pytest.raises(RuntimeError, match=f"{kind}.backward was called before"):
        getattr(book_layers, kind)().backward(np.ones(3))


def test_wrong_arguments_are_refused_and_not_remembered():
    softmax, sigmoid = book_layers.SoftmaxWithLoss(), book_layers.SigmoidWithLoss()
    x = np.zeros((2, 3))
    with pytest.raises(IndexError, match="3"):
        softmax.forward(x, [0, 3])
    with pytest.raises(ValueError, match="t"):
        softmax.forward(x, [0, 1, 2])
    with pytest.raises(ValueError, match="at least 1 sample"):
        softmax.forward(np.zeros((0, 3)), np.zeros(0, int))
    assert softmax.y is softmax.t is None
    with pytest.raises(ValueError, match=r"expected scores and labels of one shape"):
        sigmoid.forward(np.zeros(2), np.zeros((2, 1), int))
    with pytest.raises(IndexError, match="2"):
        sigmoid.forward(np.zeros(2), [0, 2])
    assert sigmoid.y is sigmoid.t is sigmoid.loss is None
    for ratio in (-0.1, 1, float("nan")):
        with pytest.raises(ValueError, match="dropout_ratio"):
            book_layers.Dropout(ratio)
    with pytest.raises(TypeError, match="dropout_ratio"):
        book_layers.Dropout("0.5")
    with pytest.raises(TypeError, match="x: cannot compute"):
        book_layers.Dropout().forward(np.ones(2, complex))


def test_star_imports_give_what_the_books_give():
    names = {"np", "GPU"}
    losses = {"softmax", "cross_entropy_error"}
    layers = {"MatMul", "Affine", "Softmax", "SoftmaxWithLoss", "Sigmoid", "SigmoidWithLoss"}
    expected = {
        book_functions: names | losses | {"sigmoid", "relu"},
        book_layers: names | losses | layers | {"Dropout", "Embedding"},
        book_optimizer: names | set(OPTIMIZERS),
    }
    for module, wanted in expected.items():
        found = {}
        exec(f"from {module.__name__} import *", found)
        assert set(found) - {"__builtins__"} == wanted
        assert found["np"] is np
        assert found["GPU"] is False


def tied(kinds, dtype):
    """Words in, words out, by one table: its gradients are those of two layers."""
    (E,) = weights(dtype, (7, 5))
    return Net([kinds.Embedding(E), kinds.MatMul(E.T)], kinds.SoftmaxWithLoss())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("eval_interval", [1, 3, None])
def test_the_trainer_goes_through_the_books_batches(dtype, eval_interval, capsys):
    from nnext.book.trainer import Trainer

    rng = np.random.RandomState(1)
    x, t = rng.randint(0, 7, 23), rng.randint(0, 7, 23)
    found = Trainer(tied(book_layers, dtype), book_optimizer.Adam(lr=0.01))
    expected = book.Trainer(tied(book, dtype), book.Adam(lr=0.01))
    for trainer in (found, expected):
        np.random.seed(11)
        for _ in range(2):
            trainer.fit(x, t, 3, 5, max_grad=0.4, eval_interval=eval_interval)
    assert found.current_epoch == expected.current_epoch == 6
    assert found.eval_interval == eval_interval
    assert len(found.loss_list) == len(expected.loss_list)
    np.testing.assert_allclose(found.loss_list, expected.loss_list, rtol=TOLERANCE[dtype])
    assert_close(found.model.params[0], expected.model.params[0], TOLERANCE[dtype])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(found.loss_list)
    if lines:
        assert lines[0].startswith("| epoch 1 |  iter 1 / 4 | time 0[s] | loss ")


def test_the_trainer_refuses_what_it_cannot_train():
    from nnext.book.trainer import Trainer

    model = dense(book_layers, "float64", False)
    before = copy.deepcopy(model.params)
    trainer = Trainer(model, book_optimizer.SGD())
    x, t = np.zeros((3, 4)), np.zeros(3, int)
    with pytest.raises(ValueError, match="expected labels for 3 samples, got 2"):
        trainer.fit(x, t[:2], batch_size=1)
    with pytest.raises(ValueError, match="eval_interval"):
        trainer.fit(x, t, batch_size=1, eval_interval=0)
    with pytest.raises(TypeError, match="model"):
        Trainer(object(), book_optimizer.SGD())
    assert trainer.current_epoch == 0
    for p, q in zip(model.params, before, strict=True):
        np.testing.assert_array_equal(p, q)


def test_losses_over_time_are_those_of_the_books_steps():
    from nnext.book import layers, time_layers

    x = np.array([[40.0, -3.0, 0.5], [-40.0, 2.0, 1.0]])
    t = np.array([[0, 1, 1], [1, 0, 1]])
    loss = time_layers.TimeSigmoidWithLoss()
    steps = [layers.SigmoidWithLoss() for _ in range(3)]
    expected = sum(layer.forward(x[:, i], t[:, i]) for i, layer in enumerate(steps)) / 3
    assert loss.forward(x, t) == expected
    np.testing.assert_allclose(
        loss.backward(), np.stack([s.backward(1 / 3) for s in steps], axis=1), rtol=1e-15
    )
    scores = np.array([[[40.0, 0.0], [1.0, 2.0]]])
    simple = time_layers.Simple_TimeSoftmaxWithLoss()
    steps = [layers.SoftmaxWithLoss() for _ in range(2)]
    labels = np.array([[1, 0]])
    expected = sum(layer.forward(scores[:, i], labels[:, i]) for i, layer in enumerate(steps)) / 2
    assert simple.forward(scores, labels) == expected
    assert simple.backward().shape == scores.shape
    with pytest.raises(RuntimeError):
        time_layers.TimeSigmoidWithLoss().backward()
