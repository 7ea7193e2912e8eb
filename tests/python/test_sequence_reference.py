"""The specification of the layers over time is itself held against central differences."""

import numpy as np
import pytest

import nnext
import recurrent_reference as spec
import sequence_reference as book


def layer_of(cell, D, H, seed=7):
    rng = np.random.default_rng(seed)
    n = book.GATES[cell] * H
    shapes = (D, n), (H, n), (n,)
    return book.Recurrent(cell, *(rng.standard_normal(shape) for shape in shapes), stateful=True)


class Summed:
    """A layer whose loss is a weighed sum of what it returns, for `check_gradients`."""

    def __init__(self, layer, states):
        self.layer, self.states = layer, states
        self.params, self.grads = layer.params, layer.grads

    def forward(self, xs, weights):
        self.layer.set_state(*self.states)
        self.weights = weights
        return float((self.layer.forward(xs) * weights).sum())

    def backward(self):
        self.dxs = self.layer.backward(self.weights)


@pytest.mark.parametrize("cell", book.GATES)
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (3, 4, 2, 5)])
def test_gradients_of_recurrent_layers_agree_with_central_differences(cell, sizes):
    N, T, D, H = sizes
    rng = np.random.default_rng(7)
    layer = layer_of(cell, D, H)
    states = [rng.standard_normal((N, H)) for _ in layer.states]
    xs, weights = rng.standard_normal((N, T, D)), rng.standard_normal((N, T, H))
    model = Summed(layer, states)
    check = nnext.check_gradients(model, xs, weights)
    assert check.ok, check
    # Those by the input and by the states that it began with too.
    for array, grad in [(xs, model.dxs), *zip(states, layer.dstates, strict=True)]:
        numeric = nnext.numerical_gradient(lambda _: model.forward(xs, weights), array)
        np.testing.assert_allclose(grad, numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", ["plain", "peeky", "attention"])
def test_gradients_of_models_agree_with_central_differences(kind):
    np.random.seed(0)
    model = book.Seq2seq(5, 3, 4, kind)
    for p in model.params:
        p += np.random.standard_normal(p.shape) / 5
    rng = np.random.default_rng(0)
    check = nnext.check_gradients(model, rng.integers(0, 5, (2, 3)), rng.integers(0, 5, (2, 4)))
    assert check.ok, check


def test_an_lstm_of_known_gates_forgets_writes_and_shows_as_told():
    """One unit, no weights: the biases alone set the gates f, g, i, o."""
    big = 50.0  # a gate that is open
    weights = np.zeros((1, 4)), np.zeros((1, 4)), np.array([big, 0.5, big, big])
    layer = book.Recurrent(spec.LSTM, *weights, stateful=True)
    layer.set_state(np.zeros((1, 1)), np.full((1, 1), 2.0))
    hs = layer.forward(np.zeros((1, 2, 1)))
    c = [2 + np.tanh(0.5), 2 + 2 * np.tanh(0.5)]
    np.testing.assert_allclose(hs[0, :, 0], np.tanh(c))
    np.testing.assert_allclose(layer.states[1], [[c[1]]])


def test_a_gru_whose_gate_z_is_shut_keeps_its_state():
    weights = np.ones((2, 3)), np.ones((1, 3)), np.array([-50.0, 0, 0])
    layer = book.Recurrent(spec.GRU, *weights, stateful=True)
    layer.set_state(np.full((4, 1), 0.25))
    np.testing.assert_allclose(layer.forward(np.ones((4, 3, 2))), 0.25)
