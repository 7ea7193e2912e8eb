"""Python code that runs in the middle of a call, and other threads, may do what they like."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import nnext
from nnext import _nnext
from nnext.functions import linear_cross_entropy, linear_cross_entropy_with_grad

# NumPy warns of it from 2.5 on, and lets it be done.
pytestmark = pytest.mark.filterwarnings("ignore:Setting the .* on a NumPy array:DeprecationWarning")

N, C = 6, 4


class Hostile:
    """Converts to an array or a number, and does something first."""

    def __init__(self, value, act):
        self.value, self.act = value, act

    def __array__(self, dtype=None, copy=None):
        self.act()
        return np.asarray(self.value, dtype=dtype)

    def __float__(self):
        self.act()
        return float(self.value)

    def __bool__(self):
        self.act()
        return bool(self.value)


def scores(seed=0):
    return np.random.default_rng(seed).standard_normal((N, C))


def labels():
    return np.arange(N) % C


def reshaped(array, *shape):
    """Give an action that changes the shape of an array where it is."""

    def act():
        array.shape = shape

    return act


def retyped(array, dtype):
    def act():
        array.dtype = dtype

    return act


def test_a_label_object_that_reshapes_the_input_changes_no_result():
    x, W = scores(), np.eye(C)
    expected = linear_cross_entropy(x, W, labels())
    victim = x.copy()
    hostile = Hostile(labels(), reshaped(victim, C, N))
    assert linear_cross_entropy(victim, W, hostile) == expected
    assert victim.shape == (C, N)
    victim = x.copy()
    layer = nnext.SoftmaxWithLoss()
    assert layer.forward(victim, Hostile(labels(), reshaped(victim, N * C))) == expected


def test_every_argument_may_be_changed_by_every_other():
    x, W, b = scores(), np.eye(C), np.zeros(C)
    expected = linear_cross_entropy_with_grad(x, W, labels(), b, class_weight=np.ones(C))
    arrays = {"x": x, "W": W, "b": b, "t": labels()}
    right = 0
    for victim in arrays:
        for hostile in arrays:
            if victim == hostile:
                continue
            given = {name: array.copy() for name, array in arrays.items()}
            # The hostile one is looked at after the victim only if it comes later; where it comes
            # first the call sees the new shape, and may refuse it.
            act = reshaped(given[victim], given[victim].size)
            given[hostile] = Hostile(given[hostile], act)
            try:
                result = linear_cross_entropy_with_grad(**given, class_weight=np.ones(C))
            except ValueError:
                continue
            for got, wanted in zip(result, expected, strict=True):
                np.testing.assert_array_equal(got, wanted)
            right += 1
    assert right >= 6  # whatever was looked at before the hostile one


def test_a_number_that_retypes_what_the_layer_remembers():
    for dout in (1.0, 2.0):
        layer = nnext.SoftmaxWithLoss()
        layer.forward(scores(), labels())
        expected = layer.backward(dout)
        layer.forward(scores(), labels())
        hostile = Hostile(dout, retyped(layer.y, np.float32))
        np.testing.assert_array_equal(layer.backward(hostile), expected)


def test_a_truth_value_that_reshapes_the_gradient():
    layer = nnext.Affine(np.ones((C, 3)), np.zeros(3))
    layer.forward(scores())
    dout = np.ones((N, 3))
    layer.backward(dout)
    expected = layer.grads[0].copy()
    layer.grads[0][...] = 0
    layer.backward(dout, Hostile(True, reshaped(layer.grads[0], 3, C)))
    np.testing.assert_array_equal(layer.grads[0].reshape(C, 3), expected)


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_optimizer_arguments_that_change_the_lists(name):
    p, g = np.ones((2, 3)), np.ones((2, 3))
    states = [[np.zeros((2, 3))] for _ in range({"sgd": 0, "momentum": 1, "adam": 2}[name])]
    numbers = {"sgd": 1, "momentum": 2, "adam": 6}[name]
    params = [p]

    def act():
        params.clear()
        p.shape = (3, 2)

    hostile = [Hostile(0.5, act)] * numbers
    # Numbers are read first here, so the lists are empty by then.
    update = getattr(_nnext, f"{name}_update")
    with pytest.raises(ValueError, match="expected 0 arrays"):
        update(params, [g], *states, *hostile)
    np.testing.assert_array_equal(p, np.ones((3, 2)))


def test_methods_of_a_subclass_are_not_asked():
    class Liar(np.ndarray):
        def argmax(self, *args, **kwargs):
            return np.full(N, 5)

        def reshape(self, *args, **kwargs):
            return np.zeros((1, 1))

        def astype(self, *args, **kwargs):
            return np.zeros(3)

    rows = np.eye(C, dtype=int)[labels()]
    layer = nnext.SoftmaxWithLoss()
    expected = layer.forward(scores(), labels())
    assert layer.forward(scores(), rows.view(Liar)) == expected
    assert layer.forward(scores().view(Liar), rows.astype(float).view(Liar)) == expected
    np.testing.assert_array_equal(layer.t, labels())
    half = scores().astype(np.float16)
    np.testing.assert_array_equal(nnext.softmax(half.view(Liar)), nnext.softmax(half))
    target = np.zeros((C, C)).view(Liar)
    linear_cross_entropy_with_grad(scores(), np.eye(C), labels(), out=(None, target, None))
    assert target.any()


@pytest.mark.parametrize("depth", [2, 3, 100_000])
def test_out_in_nested_tuples_is_a_type_error_as_in_numpy(depth):
    a = np.eye(3)
    out = np.zeros((3, 3))
    for _ in range(depth):
        out = (out,)
    with pytest.raises(TypeError):
        nnext.matmul(a, a, out=out)


def test_a_mask_of_other_bytes_than_0_and_1_is_read_as_booleans_are():
    mask = np.array([0, 1, 2, 255], np.uint8).view(bool)
    np.testing.assert_array_equal(_nnext.dropout_backward(np.ones(4), mask, 0.5), [0, 2, 2, 2])


PROGRAM = """
import sys, threading
import numpy as np
import nnext

sys.setswitchinterval(1e-6)
rng = np.random.default_rng(0)
x = rng.standard_normal((300, 200)).astype("f4")
W = rng.standard_normal((200, 200))
expected = nnext.MatMul(W.copy()).forward(x)
layer, stop, turned = nnext.MatMul(W), False, 0

def flip():
    global turned
    while not stop:
        W.shape = (100, 400)
        W.shape = (200, 200)
        turned += 1

thread = threading.Thread(target=flip)
thread.start()
wrong = right = 0
try:
    for _ in range(150):
        try:
            y = layer.forward(x)
        except ValueError:  # the shape was the other one when the call began
            continue
        right += np.array_equal(y, expected)
        wrong += not np.array_equal(y, expected)
finally:
    stop = True
    thread.join()
assert turned > 100 and right > 0, (turned, right)
assert wrong == 0, wrong
"""


def test_a_thread_that_flips_a_shape_gives_the_one_result_or_an_error():
    command = [sys.executable, "-P", "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_references_are_counted_with_the_lock_held():
    dtype = np.dtype("f4")
    layers = [nnext.Embedding(np.ones((500, 64), "f4")) for _ in range(4)]
    index = np.arange(3000) % 500
    dout = np.ones((3000, 64), "f4")

    def work(layer):
        for _ in range(60):
            layer.forward(index)
            layer.backward(dout)

    work(layers[0])
    before = sys.getrefcount(dtype)
    threads = [threading.Thread(target=work, args=(layer,)) for layer in layers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert abs(sys.getrefcount(dtype) - before) <= 8


def test_numpy_gets_arrays_that_nobody_else_can_retype(monkeypatch):
    product, seen = np.matmul, []

    def matmul(*arrays, out):
        seen.extend([*arrays, out])
        return product(*arrays, out=out)

    a, out = np.arange(6).reshape(2, 3), np.zeros((2, 2), np.int64)
    matmul.resolve_dtypes = product.resolve_dtypes
    monkeypatch.setattr(np, "matmul", matmul)
    assert nnext.matmul(a, a.T, out=out) is out
    np.testing.assert_array_equal(out, product(a, a.T))
    assert len(seen) == 3
    for array, given in zip(seen, [a, a.T, out], strict=True):
        assert array is not given
        assert np.shares_memory(array, given)
