"""What recurrent layers refuse, by the name that the caller knows, and what is left as it was."""

from collections import UserList, deque

import numpy as np
import pytest

import nnext
import reference as ref
from nnext._recurrent import TimeGRU, TimeLSTM, TimeRNN
from nnext._recurrent_steps import GRU, LSTM
from recurrent_kinds import KINDS, layer_of, n_states, options_of, over_kinds, states_of, weights_of
from reference import normal


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (((2, 4), (3, 12), (12,)), r"Wx: expected shape \(D, 12\), got \(2, 4\)"),
        (((2, 12), (3, 11), (12,)), r"Wh: expected shape \(H, 4 H\), got \(3, 11\)"),
        (((2, 12), (12,), (12,)), r"Wh: expected shape \(H, 4 H\), got \(12,\)"),
        (((2, 12), (3, 12), (3,)), r"b: expected shape \(12,\), got \(3,\)"),
    ],
    ids=str,
)
def test_weights_have_to_fit(arrays, message):
    for cls in (TimeLSTM, LSTM):
        with pytest.raises(ValueError, match=message):
            cls(*map(np.zeros, arrays))


def test_weights_have_to_be_floats():
    Wx, Wh, b = weights_of("lstm", 2, 3)
    for bad in ((Wx.astype(int), Wh, b), (Wx, Wh.tolist(), b), (Wx, Wh, None)):
        with pytest.raises(TypeError, match="expected a NumPy array of floats"):
            TimeLSTM(*bad)


@over_kinds
def test_what_does_not_fit_changes_nothing(kind):
    layer = layer_of(kind, 3, 4, stateful=True)
    xs, dhs = normal(np.float64, 2, 3, 3, seed=4), normal(np.float64, 2, 3, 4, seed=5)
    layer.forward(xs)
    layer.backward(dhs)
    kept = [a.copy() for a in (*layer.grads, *states_of(layer))]
    for bad, error, message in [
        (xs[0], ValueError, r"xs: expected shape \(N, T, D\), got \(3, 3\)"),
        (xs[..., :2], ValueError, r"xs: expected the last dimension to be 3"),
        (xs[:1], ValueError, r"h: expected shape \(1, 4\).*reset_state\(\) begins anew.*\(2, 4\)"),
        (xs.astype(complex), TypeError, "xs: "),
        (np.ma.masked_array(xs, xs > 0), TypeError, "xs: "),
    ]:
        with pytest.raises(error, match=message):
            layer.forward(bad)
    for bad, error, message in [
        (dhs[:, :2], ValueError, r"dhs: expected shape \(2, 3, 4\).*\(2, 2, 4\)"),
        (dhs.astype(str), TypeError, "^dhs: "),
    ]:
        with pytest.raises(error, match=message):
            layer.backward(bad)
    for bad, error in [(xs, ValueError), (np.zeros(4), ValueError), ("h", TypeError)]:
        with pytest.raises(error, match=r"^h: "):
            layer.set_state(bad)
    for actual, wanted in zip((*layer.grads, *states_of(layer)), kept, strict=True):
        ref.assert_same_bits(actual, wanted)
    layer.grads[1].flags.writeable = False
    with pytest.raises(ValueError, match="dWh: the array is read-only"):
        layer.backward(dhs)
    ref.assert_same_bits(layer.grads[0], kept[0])


def test_both_states_are_set_or_none():
    layer = layer_of("lstm", 3, 4, stateful=True)
    with pytest.raises(ValueError, match="c: expected shape"):
        layer.set_state(np.zeros((2, 4)), np.zeros((2, 5)))
    assert layer.h is None


@over_kinds
def test_back_before_forth(kind):
    layer = layer_of(kind, 3, 4)
    with pytest.raises(RuntimeError, match="backward was called before"):
        layer.backward(np.zeros((2, 3, 4)))
    step = KINDS[kind][1](*layer.params, **options_of(kind))
    with pytest.raises(RuntimeError, match="backward was called before"):
        step.backward(np.zeros((2, 4)), *([0] if kind == "lstm" else []))


@over_kinds
def test_a_step_names_its_own_arguments(kind):
    step = KINDS[kind][1](*weights_of(kind, 3, 4), **options_of(kind))
    x, states = np.zeros((2, 3)), [np.zeros((2, 4))] * n_states(kind)
    with pytest.raises(ValueError, match=r"x: expected shape \(N, 3\), got \(2, 4\)"):
        step.forward(np.zeros((2, 4)), *states)
    with pytest.raises(ValueError, match=r"h_prev: expected shape \(2, 4\), got \(1, 4\)"):
        step.forward(x, np.zeros((1, 4)), *states[1:])
    step.forward(x, *states)
    with pytest.raises(ValueError, match=r"dh_next: expected shape \(2, 4\), got \(2, 3\)"):
        step.backward(x, *([0] if kind == "lstm" else []))


def test_a_batch_in_parts_has_no_state_to_hand_on():
    layer = layer_of("rnn", 3, 4, stateful=True)
    model = nnext.Sequential([layer], nnext.SquaredError())
    step = nnext.Step(model, nnext.SGD())
    part = normal(np.float64, 2, 3, 3, seed=4), normal(np.float64, 2, 3, 4, seed=5)
    with pytest.raises(ValueError, match=r"stateful layer, TimeRNN\(3, 4\)"):
        step.accumulate([part, part])
    step.accumulate([part])


@pytest.mark.parametrize("flag", ["no", 1, [0], np.ones(3)])
def test_flags_are_true_or_false(flag):
    W = np.zeros((2, 2))
    with pytest.raises(TypeError, match="stateful: expected True or False"):
        TimeRNN(W, W, np.zeros(2), flag)
    W = np.zeros((2, 6))
    for layer in (GRU, TimeGRU):
        with pytest.raises(TypeError, match="reset_after: expected True or False"):
            layer(W, W, reset_after=flag)


def test_without_a_step_types_may_differ():
    layer = TimeRNN(*(np.ones(shape, np.float32) for shape in ((2, 4), (4, 4), (4,))))
    with np.errstate(all="raise"):
        for _ in range(5):
            np.full((3, 4), 1e30).astype("f4")  # what memory may hold
            layer.forward(np.ones((3, 0, 2), np.float32))
            layer.backward(np.ones((3, 0, 4)))
    np.testing.assert_array_equal(layer._left[1], 0)


def test_rows_of_unlike_lengths_are_called_that():
    message = r"^{}: expected .*rows of (different|equal) lengths"
    step, over_time = LSTM(*weights_of("lstm", 2, 3)), TimeLSTM(*weights_of("lstm", 2, 3))
    state = np.zeros((2, 3))
    with pytest.raises(ValueError, match=message.format("x")):
        step.forward([[1, 2], [1]], state, state)
    with pytest.raises(ValueError, match=message.format("h_prev")):
        step.forward(np.ones((2, 2)), [[1, 2, 3], [1]], state)
    with pytest.raises(ValueError, match=message.format("xs")):
        over_time.forward([[[1, 2]], [[1]]])
    with pytest.raises(ValueError, match=message.format("h")):
        over_time.set_state([[1, 2, 3], [1]], state)


class Broken:
    def __array__(self, dtype=None, copy=None):
        raise ValueError("the file is gone")


@pytest.mark.parametrize("x", [Broken(), [Broken(), Broken()]], ids=["itself", "in a list"])
def test_an_error_of_what_makes_an_array_stays_what_it_is(x):
    with pytest.raises(ValueError, match=r"^the file is gone$"):
        LSTM(*weights_of("lstm", 2, 3)).forward(x, np.zeros((1, 3)), np.zeros((1, 3)))


@pytest.mark.parametrize(
    "x",
    [deque([[1, 2], [3]]), UserList([[1, 2], [3]]), [np.array(1.0), [1, 2]], [[1, 2], [3, [4]]]],
    ids=["deque", "UserList", "a number", "deeper"],
)
def test_uneven_rows_of_anything_are_named(x):
    with pytest.raises(ValueError, match=r"^x: expected an array, got rows of different lengths"):
        LSTM(*weights_of("lstm", 2, 3)).forward(x, np.zeros((2, 3)), np.zeros((2, 3)))
