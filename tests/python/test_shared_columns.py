"""Shared memory is recognised where an axis has length 1, whose stride means nothing."""

import copy

import numpy as np
import pytest

import nnext
import reference as ref
from nnext._support import find_shared


@pytest.mark.parametrize(
    ("view", "transposed"),
    [
        (lambda W: W.reshape(1, 5), True),
        (lambda W: W.T, True),
        (lambda W: W[:, :], False),
        (lambda W: W.reshape(1, 5).T, False),
        (lambda W: W.ravel()[:, None], False),
        (lambda W: np.lib.stride_tricks.as_strided(W, (5, 1), (4, 400)), False),
    ],
    ids=["reshape", "T", "slice", "reshape.T", "None", "any stride"],
)
@pytest.mark.parametrize("order", [0, 1])
def test_a_column_is_shared_however_its_view_was_made(view, transposed, order):
    W = np.zeros((5, 1), np.float32)
    pair = [W, view(W)][:: 1 - 2 * order]
    assert find_shared(pair) == [(0, False), (0, transposed)]


def test_one_number_is_shared_in_one_shape_alone():
    W = np.zeros((1, 1), np.float32)
    found = find_shared([W, W.T, W.reshape(1, 1), W.ravel(), W.reshape(1, 1, 1)])
    assert found == [(0, False)] * 3 + [(3, False), (4, False)]


def test_a_tied_column_learns_as_one_weight():
    W = np.linspace(-1, 1, 5, dtype=np.float32).reshape(5, 1)
    layers = [nnext.Embedding(W)]
    model = nnext.Sequential(layers, nnext.AffineSoftmaxWithLoss(W.reshape(1, 5)))
    idx, t = np.array([0, 3, 3]), np.array([1, 2, 4])
    assert nnext.check_gradients(model, idx, t).ok
    twin = copy.deepcopy(model)
    nnext.Step(model, nnext.SGD(0.5))(idx, t)
    nnext.Step(twin, nnext.SGD(0.5))(idx, t)
    assert np.shares_memory(twin.params[0], twin.params[1])
    ref.assert_same_bits(twin.params[0], W)
