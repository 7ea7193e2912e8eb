"""The recurrent layers: the book's formulas, states, bits, numbers near zero."""

import numpy as np
import pytest

import nnext
import recurrent_reference as spec
import reference as ref
from nnext._recurrent import TimeGRU, TimeRNN
from nnext._recurrent_steps import LSTM
from recurrent_kinds import (
    KINDS,
    gradients_of_states,
    layer_of,
    n_states,
    options_of,
    over_kinds,
    over_types,
    states_of,
    weights_of,
)
from reference import normal

SIZES = [
    (1, 1, 1, 1),
    (2, 3, 4, 5),
    (3, 1, 2, 16),
    (5, 7, 3, 17),
    (9, 4, 20, 33),
    (1, 5, 1, 70),
    (8, 17, 3, 18),
    (0, 3, 2, 4),
    (3, 0, 2, 4),
    (2, 3, 0, 4),
    (2, 3, 4, 0),
]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}


def close(actual, expected, dtype):
    expected = np.asarray(expected, np.float64)
    scale = max(1.0, float(abs(expected).max(initial=0)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


# The formulas


@over_types
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@over_kinds
def test_states_and_gradients_are_the_formulas(kind, sizes, dtype):
    N, T, D, H = sizes
    layer = layer_of(kind, D, H, dtype, stateful=True)
    xs, dhs = normal(dtype, N, T, D, seed=4), normal(dtype, N, T, H, seed=5)
    start = [normal(dtype, N, H, seed=6 + i) for i in range(n_states(kind))]
    layer.set_state(*start)
    grads = list(layer.grads)
    for grad in grads:
        grad[...] = np.nan
    hs = layer.forward(xs)
    assert hs.shape == (N, T, H)
    assert hs.dtype == dtype
    last = states_of(layer)
    dxs = layer.backward(dhs)
    assert dxs.shape == xs.shape
    assert all(a is b for a, b in zip(grads, layer.grads, strict=True))
    expected = spec.run(KINDS[kind][2], layer.params, xs, dhs, start)
    close(hs, expected[0], dtype)
    close(dxs, expected[2], dtype)
    for actual, wanted in zip(last, expected[1], strict=True):
        close(actual, wanted, dtype)
    for actual, wanted in zip(gradients_of_states(layer), expected[3], strict=True):
        close(actual, wanted, dtype)
    for actual, wanted in zip(grads, expected[4], strict=True):
        close(actual, wanted, dtype)


@over_kinds
def test_the_specification_has_the_gradients_of_its_states(kind):
    """By differences: the formulas of `backward` are not those of `forward` written twice."""
    cell, weights = KINDS[kind][2], weights_of(kind, 3, 4)
    xs, dhs = normal(np.float64, 2, 3, 3, seed=4), normal(np.float64, 2, 3, 4, seed=5)
    start = [normal(np.float64, 2, 4, seed=6 + i) for i in range(n_states(kind))]
    _, _, dxs, back, grads = spec.run(cell, weights, xs, dhs, start)
    for array, gradient in zip([*weights, xs, *start], [*grads, dxs, *back], strict=True):
        at = tuple(n // 2 for n in array.shape)
        losses, kept = [], array[at]
        for step in (1e-6, -1e-6):
            array[at] = kept + step
            losses.append((spec.run(cell, weights, xs, dhs, start)[0] * dhs).sum())
        array[at] = kept
        assert gradient[at] == pytest.approx((losses[0] - losses[1]) / 2e-6, abs=1e-7)


@over_types
@over_kinds
def test_one_step_is_a_sequence_of_one(kind, dtype):
    sequences = layer_of(kind, 3, 20, dtype, stateful=True)
    step = KINDS[kind][1](*sequences.params, **options_of(kind))
    x, dh = normal(dtype, 5, 3, seed=4), normal(dtype, 5, 20, seed=5)
    start = [normal(dtype, 5, 20, seed=6 + i) for i in range(n_states(kind))]
    sequences.set_state(*start)
    hs = sequences.forward(x[:, np.newaxis])
    after = step.forward(x, *start)
    after = after if isinstance(after, tuple) else (after,)
    ref.assert_same_bits(after[0], hs[:, 0])
    for actual, wanted in zip(after, states_of(sequences), strict=True):
        ref.assert_same_bits(actual, wanted)
    dxs = sequences.backward(dh[:, np.newaxis])
    dx, *back = step.backward(dh, *([0] if kind == "lstm" else []))
    ref.assert_same_bits(dx, dxs[:, 0])
    for actual, wanted in zip(back, gradients_of_states(sequences), strict=True):
        ref.assert_same_bits(actual, wanted)
    for actual, wanted in zip(step.grads, sequences.grads, strict=True):
        ref.assert_same_bits(actual, wanted)


def test_the_gradient_by_the_cells_goes_back_through_a_step():
    layer, cell = LSTM(*weights_of("lstm", 3, 4)), spec.LSTM(*weights_of("lstm", 3, 4))
    x, h, c, dh, dc = (normal(np.float64, 2, n, seed=n + i) for i, n in enumerate((3, 4, 4, 4, 4)))
    layer.forward(x, h, c)
    cell.forward(x, h, c)
    for actual, wanted in zip(layer.backward(dh, dc), cell.backward(dh, dc), strict=True):
        close(actual, wanted, np.float64)


def test_any_zero_stands_for_no_gradient_of_the_cells():
    layer = LSTM(*weights_of("lstm", 3, 4))
    x, state = normal(np.float64, 2, 3, seed=4), normal(np.float64, 2, 4, seed=5)
    layer.forward(x, state, state)
    expected = layer.backward(state, np.zeros((2, 4)))
    for zero in (0, 0.0, np.float32(0), np.int64(0)):
        for actual, wanted in zip(layer.backward(state, zero), expected, strict=True):
            ref.assert_same_bits(actual, wanted)


def test_a_gru_without_bias_whose_reset_acts_after_the_product():
    weights = weights_of("gru", 3, 4)[:2]
    xs, dhs = normal(np.float64, 2, 3, 3, seed=4), normal(np.float64, 2, 3, 4, seed=5)
    without = TimeGRU(*weights, reset_after=True)
    zeros = TimeGRU(*weights, np.zeros(16), reset_after=True)
    ref.assert_same_bits(without.forward(xs), zeros.forward(xs))
    ref.assert_same_bits(without.backward(dhs), zeros.backward(dhs))
    for actual, wanted in zip(without.grads, zeros.grads, strict=False):
        ref.assert_same_bits(actual, wanted)


# States


@over_types
@over_kinds
def test_a_sequence_in_parts_has_the_bits_of_the_whole(kind, dtype):
    layer = layer_of(kind, 3, 18, dtype, stateful=True)
    xs = normal(dtype, 4, 7, 3, seed=4)
    whole = layer.forward(xs)
    last = states_of(layer)
    layer.reset_state()
    assert layer.h is None
    parts = [layer.forward(xs[:, part]) for part in (slice(2), slice(2, 2), slice(2, 7))]
    ref.assert_same_bits(np.concatenate(parts, axis=1), whole)
    for actual, wanted in zip(states_of(layer), last, strict=True):
        ref.assert_same_bits(actual, wanted)


@over_kinds
def test_a_layer_without_state_begins_with_zeros(kind):
    layer = layer_of(kind, 3, 4)
    xs = normal(np.float64, 2, 3, 3, seed=4)
    first = layer.forward(xs)
    layer.set_state(*[normal(np.float64, 2, 4, seed=5)] * n_states(kind))
    ref.assert_same_bits(layer.forward(xs), first)
    assert layer.forward(xs[:1]).shape == (1, 3, 4)  # of another batch: no matter


def test_cells_that_are_not_given_are_zeros():
    layer = layer_of("lstm", 3, 4, stateful=True)
    xs, h = normal(np.float64, 2, 3, 3, seed=4), normal(np.float64, 2, 4, seed=5)
    layer.forward(xs)
    layer.set_state(h)
    assert layer.c is None
    hs = layer.forward(xs)
    layer.set_state(h, np.zeros((2, 4)))
    ref.assert_same_bits(layer.forward(xs), hs)


@over_kinds
def test_the_state_is_not_the_output(kind):
    layer = layer_of(kind, 3, 4, stateful=True)
    hs = layer.forward(normal(np.float64, 2, 3, 3, seed=4))
    assert not any(np.shares_memory(hs, state) for state in states_of(layer))
    last = hs[:, -1].copy()
    hs[...] = 7
    np.testing.assert_array_equal(layer.h, last)


@over_kinds
def test_a_state_has_no_say_in_the_type(kind):
    layer = layer_of(kind, 3, 4, np.float32, stateful=True)
    layer.set_state(*[np.ones((2, 4))] * n_states(kind))
    assert layer.forward(np.ones((2, 3, 3), np.float32)).dtype == np.float32
    assert layer.h.dtype == np.float32


@pytest.mark.parametrize("half", ref.HALVES)
@over_kinds
def test_half_types_are_rounded_once_and_hand_on_float32(kind, half):
    weights = [w.astype(half) for w in weights_of(kind, 3, 18)]
    layer = KINDS[kind][0](*weights, stateful=True, **options_of(kind))
    wide = KINDS[kind][0](
        *[w.astype(np.float32) for w in weights], stateful=True, **options_of(kind)
    )
    xs, dhs = normal(half, 4, 5, 3, seed=4), normal(half, 4, 5, 18, seed=5)
    for _ in range(2):  # the second begins with the state of the first
        hs, expected = layer.forward(xs), wide.forward(xs.astype(np.float32))
        assert hs.dtype == half
        ref.assert_same_bits(hs, expected.astype(half))
        ref.assert_same_bits(layer.h, wide.h)
        dxs, expected = layer.backward(dhs), wide.backward(dhs.astype(np.float32))
        ref.assert_same_bits(dxs, expected.astype(half))
        for actual, wanted in zip(layer.grads, wide.grads, strict=True):
            ref.assert_same_bits(actual, wanted.astype(half))


def test_a_state_that_was_set_is_the_layers_own():
    layer = layer_of("lstm", 3, 4, stateful=True)
    h = np.ones((2, 4))
    layer.set_state(h, h)
    xs = normal(np.float64, 2, 3, 3, seed=4)
    expected = layer.forward(xs)
    layer.set_state(h, h)
    h[...] = 7
    ref.assert_same_bits(layer.forward(xs), expected)


# Options, and the bits


@over_kinds
def test_without_the_gradient_of_the_input(kind):
    layer = layer_of(kind, 3, 4)
    layer.forward(normal(np.float64, 2, 3, 3, seed=4))
    dhs = normal(np.float64, 2, 3, 4, seed=5)
    layer.backward(dhs)
    expected = [grad.copy() for grad in layer.grads]
    assert layer.backward(dhs, input_grad=False) is None
    for actual, wanted in zip(layer.grads, expected, strict=True):
        ref.assert_same_bits(actual, wanted)


@over_types
@over_kinds
def test_gradients_of_parts_of_a_batch_add_up_to_its_bits(kind, dtype):
    layer = layer_of(kind, 3, 18, dtype)
    xs, dhs = normal(dtype, 9, 4, 3, seed=4), normal(dtype, 9, 4, 18, seed=5)
    hs = layer.forward(xs)
    dxs = layer.backward(dhs)
    expected = [grad.copy() for grad in layer.grads]
    for i, part in enumerate((slice(0, 2), slice(2, 3), slice(3, 9))):
        ref.assert_same_bits(layer.forward(xs[part]), hs[part])
        dx = layer.backward(dhs[part], accumulate=i > 0)
        ref.assert_same_bits(dx, dxs[part])
    for actual, wanted in zip(layer.grads, expected, strict=True):
        ref.assert_same_bits(actual, wanted)


@pytest.fixture
def threads():
    before = nnext.get_num_threads()
    yield
    nnext.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("sizes", [(13, 6, 5, 40), (9, 3, 4, 1200)], ids=str)
@over_kinds
def test_threads_change_no_bit(kind, sizes):
    """The second size is one whose weights the threads share in every product."""
    N, T, D, H = sizes
    layer = layer_of(kind, D, H, np.float32)
    xs, dhs = normal(np.float32, N, T, D, seed=4), normal(np.float32, N, T, H, seed=5)
    results = []
    for n in (1, 2, 3, 8):
        nnext.set_num_threads(n)
        hs = layer.forward(xs)
        dxs = layer.backward(dhs)
        results.append([hs, dxs, layer.dh, *[grad.copy() for grad in layer.grads]])
    for other in results[1:]:
        for actual, wanted in zip(other, results[0], strict=True):
            ref.assert_same_bits(actual, wanted)


@pytest.mark.parametrize("view", ref.VIEWS)
@over_kinds
def test_any_layout_of_weights_and_gradients(kind, view):
    layer = layer_of(kind, 5, 18, np.float32)
    xs, dhs = normal(np.float32, 4, 3, 5, seed=4), normal(np.float32, 4, 3, 18, seed=5)
    hs = layer.forward(xs)
    dxs = layer.backward(dhs)
    weights = [ref.VIEWS[view](p) if p.ndim > 1 else p for p in layer.params]
    other = KINDS[kind][0](*weights, **options_of(kind))
    other.grads = [ref.VIEWS[view](g) if g.ndim > 1 else np.zeros_like(g) for g in layer.grads]
    for grad in other.grads:
        grad[...] = np.nan
    turned = np.asfortranarray(xs)
    ref.assert_same_bits(other.forward(turned), hs)
    ref.assert_same_bits(other.backward(np.asfortranarray(dhs)), dxs)
    for actual, wanted in zip(other.grads, layer.grads, strict=True):
        ref.assert_same_bits(np.ascontiguousarray(actual), wanted)


@over_kinds
def test_nothing_below_the_normal_numbers_is_handed_on(kind):
    """Shut gates, and a state and gradients that fade: zeros come of them, never such numbers."""
    layer = layer_of(kind, 3, 18, np.float32, stateful=True)
    least = np.finfo(np.float32).smallest_normal
    for p in layer.params:
        p *= 1e-3
    if len(layer.params) == 3:
        layer.params[2][...] = -87
    start = np.full((4, 18), least * 0.75, np.float32)
    layer.set_state(*[start] * n_states(kind))
    xs = np.full((4, 9, 3), 1e-30, np.float32)
    hs = layer.forward(xs)
    back = [layer.backward(np.full(hs.shape, 2e-38, np.float32)), *layer.grads]
    for array in (hs, *states_of(layer), *gradients_of_states(layer), *back):
        assert not ((array != 0) & (abs(array) < least)).any()


@over_kinds
def test_a_state_whose_square_is_not_normal_meets_no_weight(kind):
    """It would make the sums of the first step slow, and say nothing there."""
    layer = layer_of(kind, 3, 18, np.float32, stateful=True)
    xs = np.zeros((4, 1, 3), np.float32)
    layer.set_state(*[np.full((4, 18), 1e-19, np.float32)] * n_states(kind))
    hs = layer.forward(xs)
    layer.set_state(*[np.zeros((4, 18))] * n_states(kind))
    expected = layer.forward(xs)
    if kind != "lstm":  # whose cells are multiplied by no weight
        ref.assert_same_bits(hs, expected)
    layer.set_state(*[np.full((4, 18), 1e-15, np.float32)] * n_states(kind))
    layer.backward(np.ones_like(hs))
    layer.forward(xs)
    layer.backward(np.ones_like(hs))
    assert layer.grads[1].any()


@over_kinds
def test_nan_and_infinity_stay_in_their_row(kind):
    layer = layer_of(kind, 3, 18)
    xs = normal(np.float64, 3, 4, 3, seed=4)
    clean = layer.forward(xs)
    xs[1, 1, 0] = np.nan
    hs = layer.forward(xs)
    ref.assert_same_bits(hs[[0, 2]], clean[[0, 2]])
    ref.assert_same_bits(hs[1, :1], clean[1, :1])
    assert np.isnan(hs[1, 1:]).all()
    xs[1, 1, 0] = np.inf
    assert np.isfinite(layer.forward(xs)[[0, 2]]).all()


def test_whole_numbers_and_lists_are_inputs():
    layer = layer_of("rnn", 2, 4, np.float32)
    hs = layer.forward([[[1, 0], [0, 1]]])
    assert hs.dtype == np.float32
    ref.assert_same_bits(hs, layer.forward(np.float32([[[1, 0], [0, 1]]])))


# In a model


@over_kinds
def test_a_network_learns_to_remember(kind):
    """The first element of a sequence, asked for at its end."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, size=(64, 4, 1))
    t = x[:, 0, 0]
    layer = layer_of(kind, 1, 8, np.float32)

    class Last:
        params, grads = [], []

        def forward(self, hs):
            self.shape = hs.shape
            return hs[:, -1]

        def backward(self, dout):
            dhs = np.zeros(self.shape, dout.dtype)
            dhs[:, -1] = dout
            return dhs

    model = nnext.Sequential([layer, Last(), nnext.affine(8, 2, rng=rng)], nnext.SoftmaxWithLoss())
    trainer = nnext.Trainer(model, nnext.Adam(0.05), seed=0)
    trainer.fit(x.astype(np.float32), t, max_epoch=25, progress="none")
    assert model.accuracy(x.astype(np.float32), t) == 1


def test_the_books_way_to_make_a_gru():
    Wx, Wh = weights_of("gru without bias", 3, 4)
    assert not TimeGRU(Wx, Wh, False).stateful
    assert TimeGRU(Wx, Wh, np.True_).stateful
    with pytest.raises(TypeError, match="b: expected an array or None beside stateful=True"):
        TimeGRU(Wx, Wh, False, True)
    layer = TimeGRU(Wx, Wh, True)
    assert layer.stateful
    assert layer.Wx is Wx
    assert layer.Wh is Wh
    layer.forward(np.ones((2, 3, 3)))
    layer.backward(np.ones((2, 3, 4)))
    assert layer.dWx is layer.grads[0]
    assert layer.dWh is layer.grads[1]


def test_the_output_of_an_rnn_may_be_written_over_before_backward():
    rng = np.random.default_rng(8)
    arrays = [rng.standard_normal(shape) for shape in ((3, 4), (4, 4), (4,))]
    xs, dhs = rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 5, 4))
    layers = TimeRNN(*arrays), TimeRNN(*arrays)
    for layer, is_spoilt in zip(layers, (False, True), strict=True):
        hs = layer.forward(xs)
        if is_spoilt:
            hs[:] = 7
        layer.backward(dhs)
    for a, b in zip(layers[0].grads, layers[1].grads, strict=True):
        np.testing.assert_array_equal(a, b)
