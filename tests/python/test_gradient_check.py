"""Central differences: right numbers, nothing left moved, wrong gradients found."""

import numpy as np
import pytest
from ml_dtypes import bfloat16

import nnext
import reference as ref
from nnext.models import Rnnlm
from nnext.time_layers import TimeAffine, TimeDropout, TimeSoftmaxWithLoss
from recurrent_kinds import KINDS, layer_of, states_of


def make(dtype, loss=None, seed=0):
    r = np.random.default_rng(seed)
    W1, b1, W2 = (r.standard_normal(s).astype(dtype) for s in [(3, 5), (5,), (5, 4)])
    model = nnext.Sequential([nnext.Affine(W1, b1), nnext.Tanh(), nnext.MatMul(W2)], loss=loss)
    return model, r.standard_normal((6, 3)).astype(dtype), np.array([0, 1, 2, 3, 1, 0])


class Wrong:
    """A model's own gradients, and then one number of one of them changed."""

    def __init__(self, model, index, change):
        self.params, self.grads, self.forward = model.params, model.grads, model.forward
        self.model, self.index, self.change = model, index, change

    def backward(self):
        self.model.backward()
        g = self.grads[self.index]
        g[np.unravel_index(abs(g).argmax(), g.shape)] *= self.change


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_right_gradients_pass_with_a_small_error(dtype):
    model, x, t = make(dtype)
    check = nnext.check_gradients(model, x, t)
    assert check.ok
    assert [entry.index for entry in check.entries] == [0, 1, 2]
    assert [entry.shape for entry in check.entries] == [(3, 5), (5,), (5, 4)]
    assert all(entry.dtype == dtype for entry in check.entries)
    assert check.error == max(entry.error for entry in check.entries) == check.worst.error
    assert check.error < 0.1 * check.worst.tolerance
    assert check.loss == model.forward(x, t)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("change", [0.9, -1, 0, np.nan, np.inf])
def test_one_wrong_number_is_found_and_named(change, index, dtype):
    model, x, t = make(dtype)
    check = nnext.check_gradients(Wrong(model, index, change), x, t)
    assert not check.ok
    assert check.worst.index == index
    assert [entry.ok for entry in check.entries] == [i != index for i in range(3)]
    at = check.worst.at
    np.testing.assert_array_equal(check.worst.analytic, model.grads[index][at])
    assert "GRADIENTS DISAGREE" in str(check)
    assert f"the worst is params[{index}]" in str(check)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_parameters_keep_their_bits_and_gradients_are_those_of_the_batch(dtype):
    model, x, t = make(dtype)
    model.forward(x, t)
    model.backward()
    params, grads = [p.copy() for p in model.params], [g.copy() for g in model.grads]
    for g in model.grads:
        g[...] = 7
    nnext.check_gradients(model, x, t)
    for a, b in zip(model.params + model.grads, params + grads, strict=True):
        ref.assert_same_bits(a, b)
    model.backward()  # the layers remember the batch at the parameters as they are
    for a, b in zip(model.grads, grads, strict=True):
        ref.assert_same_bits(a, b)


@pytest.mark.parametrize("calls", [1, 2, 3, 10, 60])
def test_parameters_are_put_back_when_the_model_raises(calls):
    model, x, t = make(np.float32)
    before = [p.copy() for p in model.params]
    forward, left = model.forward, calls

    def failing(x, t):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return forward(x, t)

    model.forward = failing
    with pytest.raises(KeyboardInterrupt):
        nnext.check_gradients(model, x, t)
    for p, b in zip(model.params, before, strict=True):
        ref.assert_same_bits(p, b)


def test_shared_weights_have_the_sum_of_their_gradients():
    r = np.random.default_rng(1)
    W, x = r.standard_normal((4, 4)), r.standard_normal((5, 4))
    layers = [nnext.MatMul(W), nnext.Tanh(), nnext.MatMul(W), nnext.Tanh(), nnext.MatMul(W.T)]
    check = nnext.check_gradients(nnext.Sequential(layers), x, [0, 1, 2, 3, 0])
    assert check.ok
    assert len(check.entries) == 1


def test_a_gradient_that_the_model_gathered_itself_is_counted_once():
    r = np.random.default_rng(1)
    W, x = r.standard_normal((4, 4)), r.standard_normal((5, 4))
    chain = nnext.Sequential([nnext.MatMul(W), nnext.Tanh(), nnext.MatMul(W.T)])

    class Gathered:
        params, forward = chain.params, staticmethod(chain.forward)
        total = np.zeros((4, 4))
        grads = (total, total.T)

        def backward(self):
            chain.backward()
            self.total[...] = chain.grads[0] + chain.grads[1].T

    check = nnext.check_gradients(Gathered(), x, [0, 1, 2, 3, 0])
    assert check.ok, str(check)
    assert len(check.entries) == 1


def test_a_gradient_of_zero_is_no_error():
    # Softmax does not see what is added to all scores alike, nor ReLU what stays below 0.
    r = np.random.default_rng(2)
    dead = nnext.Affine(r.standard_normal((3, 4)).astype(np.float32), np.full(4, -99, np.float32))
    model = nnext.Sequential([dead, nnext.ReLU()])
    check = nnext.check_gradients(model, r.standard_normal((5, 3)).astype(np.float32), [0] * 5)
    assert check.ok
    assert check.error == 0


def test_both_losses_and_one_hot_labels_are_taken():
    model, x, _ = make(np.float64, loss=nnext.SigmoidWithLoss())
    assert nnext.check_gradients(model, x, np.eye(4)[[0, 1, 2, 3, 0, 1]]).ok
    model, x, t = make(np.float64)
    assert nnext.check_gradients(model, x, np.eye(4)[t]).ok


def test_a_step_may_be_given():
    model, x, t = make(np.float64)
    rough = nnext.check_gradients(model, x, t, eps=0.1)
    assert not rough.ok  # the Taylor series is cut off too early
    assert nnext.check_gradients(model, x, t, eps=1e-5).ok


def test_a_model_that_is_not_deterministic_is_refused():
    class Noise:
        params, grads, drawn = (), (), np.random.default_rng(3)

        def forward(self, x):
            return x + self.drawn.standard_normal(x.shape)

        def backward(self, dout):
            return dout

    r = np.random.default_rng(3)
    model = nnext.Sequential([Noise(), nnext.MatMul(r.standard_normal((3, 4)))])
    with pytest.raises(ValueError, match=r"not deterministic.*draws random numbers"):
        nnext.check_gradients(model, r.standard_normal((8, 3)), [0] * 8)


# Where the model stands


@pytest.mark.parametrize("kind", KINDS)
def test_a_stateful_layer_begins_each_loss_with_its_states(kind):
    layer = layer_of(kind, 3, 4, stateful=True)
    r = np.random.default_rng(0)
    xs, ts = r.standard_normal((2, 3, 3)), r.integers(0, 5, (2, 3))
    model = nnext.Sequential(
        [layer, TimeAffine(r.standard_normal((4, 5)), np.zeros(5))], TimeSoftmaxWithLoss()
    )
    model.forward(xs[:, ::-1], ts)
    before, first = [a.copy() for a in states_of(layer)], model.forward(xs, ts)
    layer.set_state(*before)
    check = nnext.check_gradients(model, xs, ts)
    assert check.ok, check
    assert check.loss == first
    for actual, wanted in zip(states_of(layer), before, strict=True):
        ref.assert_same_bits(actual, wanted)


def test_a_stateful_layer_that_has_read_nothing_begins_with_zeros():
    model = Rnnlm(5, 3, 4, seed=0, dtype="f8")
    ids = np.random.default_rng(0).integers(0, 5, (2, 3))
    check = nnext.check_gradients(model, ids, ids)
    assert check.ok, check
    assert model.get_state() == (None, None)
    assert model.forward(ids, ids) == check.loss


@pytest.mark.parametrize("source", ["numpy.random", "a seed", "Dropout"])
def test_the_same_elements_are_dropped_each_time(source):
    r = np.random.default_rng(3)
    drop = nnext.Dropout(0.5, seed=1)
    if source != "Dropout":
        drop = TimeDropout(0.5, seed=1 if source == "a seed" else None)
    model = nnext.Sequential([nnext.MatMul(r.standard_normal((3, 4))), drop])
    x, t = r.standard_normal((8, 3)), r.integers(0, 4, 8)
    np.random.seed(5)
    check = nnext.check_gradients(model, x, t)
    assert check.ok, check
    assert model.forward(x, t) == check.loss  # it stands where it stood
    if source == "numpy.random":
        drawn = np.random.rand()
        np.random.seed(5)
        np.random.rand(8, 4)
        assert drawn == np.random.rand()


def test_states_are_put_back_when_the_model_raises():
    model = Rnnlm(5, 3, 4, seed=0, dtype="f8")
    ids = np.random.default_rng(0).integers(0, 5, (2, 3))
    model.forward(ids, ids)
    before = [a.copy() for a in model.get_state()]
    forward, left = model.forward, 9

    def failing(x, t):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return forward(x, t)

    model.forward = failing
    with pytest.raises(KeyboardInterrupt):
        nnext.check_gradients(model, ids, ids)
    for actual, wanted in zip(model.get_state(), before, strict=True):
        ref.assert_same_bits(actual, wanted)


def test_gradients_that_do_not_fit_the_parameters_are_refused():
    model, x, t = make(np.float64)
    model.grads = model.grads[:2]
    with pytest.raises(ValueError, match="params have shapes"):
        nnext.check_gradients(model, x, t)


def test_a_model_without_parameters_has_nothing_wrong():
    check = nnext.check_gradients(nnext.Sequential([nnext.Tanh()]), [[0.5, 1.0]], [0])
    assert check.ok
    assert check.worst is None
    assert check.error == 0
    assert str(check) == "no parameters"


def test_the_report_can_be_read():
    model, x, t = make(np.float64)
    lines = str(nnext.check_gradients(model, x, t)).splitlines()
    assert lines[0].startswith("params[0] float64 (3, 5): relative error ")
    assert lines[3].startswith("all gradients agree; the worst is params[")
    for change in (1, -1):  # also a terminal without other letters can show it
        assert str(nnext.check_gradients(Wrong(model, 0, change), x, t)).isascii()


# numerical_gradient


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3), (0,), (2, 0)])
def test_the_gradient_of_a_sum_of_squares_is_twice_its_argument(shape, dtype):
    x = np.asarray(np.random.default_rng(4).standard_normal(shape)).astype(dtype)
    before = x.copy()
    gradient = nnext.numerical_gradient(lambda a: np.sum(a.astype(np.float64) ** 2), x)
    assert gradient.dtype == np.float64
    # Exact in theory for a square; the sum is rounded in float64.
    np.testing.assert_allclose(gradient, 2.0 * before, rtol=1e-8, atol=1e-8)
    ref.assert_same_bits(x, before)


def test_the_function_sees_the_array_itself_and_any_strides():
    big = np.arange(24.0).reshape(4, 6)
    x = big[::-2, ::3]

    def f(a):
        assert a is x
        return np.sum(big**3)

    np.testing.assert_allclose(nnext.numerical_gradient(f, x), 3 * x**2, rtol=1e-8, atol=1e-8)


def test_what_cannot_be_moved_is_refused():
    with pytest.raises(TypeError, match="not int64"):
        nnext.numerical_gradient(np.sum, np.array([3, 4]))
    with pytest.raises(TypeError, match="list"):
        nnext.numerical_gradient(np.sum, [3.0, 4.0])
    x = np.ones(3)
    for eps in (0, -1e-3, float("nan")):
        with pytest.raises(ValueError, match="eps must be above 0"):
            nnext.numerical_gradient(np.sum, x, eps)
    with pytest.raises(ValueError, match=r"too small to move 1\.0 in float64"):
        nnext.numerical_gradient(np.sum, x, 1e-20)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        nnext.numerical_gradient(np.sum, x)


def test_what_cannot_be_checked_is_named():
    model = nnext.Sequential([nnext.affine(2, 3, seed=0)])
    x, t = np.ones((2, 2), np.float32), [0, 2]
    with pytest.raises(TypeError, match="eps: expected a number, got str"):
        nnext.check_gradients(model, x, t, eps="a")
    model.params[0] = model.layers[0].params[0] = model.params[0].astype(bfloat16)
    with pytest.raises(TypeError, match=r"params\[0\]: expected .* floats, got bfloat16"):
        nnext.check_gradients(model, x, t)


def test_a_read_only_parameter_is_named_before_anything_is_moved(tmp_path):
    np.save(tmp_path / "W.npy", np.ones((2, 3), np.float32))
    W = np.load(tmp_path / "W.npy", mmap_mode="r")  # as joblib maps it
    model = nnext.Sequential([nnext.affine(2, 2, seed=0), nnext.MatMul(W)])
    with pytest.raises(ValueError, match=r"params\[2\] is read-only.*A copy.*mmap_mode=None"):
        nnext.check_gradients(model, np.ones((1, 2), np.float32), [0])
    with pytest.raises(ValueError, match=r"x is read-only.*A copy.*mmap_mode=None"):
        nnext.numerical_gradient(lambda x: 0.0, W)


def test_the_tolerance_is_that_of_the_docstring():
    for dtype, tolerance in ((np.float16, 0.40), (np.float32, 2e-2), (np.float64, 2.4e-5)):
        model = nnext.Sequential([nnext.affine(2, 2, seed=0, dtype=dtype)])
        check = nnext.check_gradients(model, np.ones((1, 2), dtype), [0])
        assert check.ok
        assert all(entry.tolerance == pytest.approx(tolerance, rel=0.03) for entry in check.entries)


def test_a_loss_for_each_row_is_refused_by_name():
    model = nnext.Sequential([nnext.affine(2, 3, seed=0)], nnext.SoftmaxWithLoss(reduction="none"))
    with pytest.raises(ValueError, match=r'model\.loss_layer: reduction="none" gives a loss for'):
        nnext.gradient_check.check_gradients(model, np.ones((2, 2), "f4"), np.array([0, 1]))
