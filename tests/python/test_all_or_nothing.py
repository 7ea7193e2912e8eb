"""What a call overwrites is overwritten whole or not at all: errors come before any write."""

import subprocess
import sys

import numpy as np
import pytest

import nnext
from nnext import _nnext
from nnext.functions import linear_cross_entropy_with_grad

resource = pytest.importorskip("resource", reason="limits the memory of a process")

# What runs in a process of its own, whose memory ends `room` MiB after the arrays have been made.
PROGRAM = """
import resource, pathlib, sys
import numpy as np
import nnext
from nnext.functions import linear_cross_entropy_with_grad

nnext.set_num_threads(1)
room = float(sys.argv[1]) * 2**20

def limited(call):
    nnext.empty_cache()
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(pages * resource.getpagesize() + room), hard))
    try:
        call()
    except MemoryError as error:
        assert str(error) not in ("", "std::bad_alloc"), repr(error)
        return True
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    return False

def same(arrays, value):
    for array in arrays:
        assert (array == value).all()
"""

CASES = {
    "two parameters, the second strided": """
p = [np.full(1000, 7, "f4"), np.full((2000, 6000), 7, "f4")[:, ::2]]
g = [np.ones(1000, "f4"), np.ones((2000, 3000), "f4")]
failed = limited(lambda: nnext.SGD(lr=1.0).update(p, g))
same(p, 7 if failed else 6)
""",
    "moments": """
p = [np.full(1000, 7, "f4"), np.full((2000, 6000), 7, "f4")[:, ::2]]
g = [np.ones(1000, "f4"), np.ones((2000, 3000), "f4")]
optimizer = nnext.Adam()
failed = limited(lambda: optimizer.update(p, g))
if failed:
    same(p, 7)
    assert optimizer.iter == 0
""",
    "clipping": """
g = [np.full(1000, 7, "f4"), np.full((2000, 6000), 7, "f4")[:, ::2]]
failed = limited(lambda: nnext._nnext.clip_grads(g, 1.0))
if failed:
    same(g, 7)
""",
    "a wide layer": """
layer = nnext.Affine(np.ones((4000, 3000), "f4"), np.zeros(3000, "f4"))
layer.forward(np.ones((500, 4000), "f4"))
dout = np.ones((500, 3000), "f4")
for grad in layer.grads:
    grad[...] = 7
failed = limited(lambda: layer.backward(dout))
same(layer.grads, 7 if failed else 500)
""",
    "running statistics": """
layer = nnext.batch_norm(3000)
x = np.ones((2000, 3000), "f4")
failed = limited(lambda: layer.forward(x))
same(layer.buffers[:1], 0 if failed else np.float32(0.1))
same(layer.buffers[1:], 1 if failed else np.float32(0.9))
""",
    "gradients of a normalization": """
layer = nnext.layer_norm(3000)
layer.forward(np.ones((2000, 3000), "f4"))
dout = np.ones((2000, 3000), "f4")
for grad in layer.grads:
    grad[...] = 7
failed = limited(lambda: layer.backward(dout))
same(layer.grads[1:], 7 if failed else 2000)
""",
    "the fused loss with an ignored row": """
x, W = np.ones((300, 64), "f4"), np.zeros((64, 9000), "f4")
t = np.arange(300)
t[3] = -1
out = np.full((300, 64), 7, "f4"), np.full((64, 9000), 7, "f4"), None
step = lambda: linear_cross_entropy_with_grad(x, W, t, out=out, ignore_label=-1)
failed = limited(step)
if failed:
    same(out[:2], 7)
""",
    "an embedding of a strided table": """
layer = nnext.Embedding(np.ones((3000, 1000), "f4"))
layer.grads[0] = np.full((3000, 2000), 7, "f4")[:, ::2]
layer.forward(np.arange(20000) % 3000)
dout = np.ones((20000, 1000), "f4")
failed = limited(lambda: layer.backward(dout))
if failed:
    same(layer.grads, 7)
""",
    "negative sampling of a strided table": """
W = np.ones((3000, 1000), "f4")
h, idx = np.ones((2000, 1000), "f4"), np.arange(12000).reshape(2000, 6) % 3000
_, y, index = nnext._nnext.negative_sampling_forward(h, W, idx[:, 0], idx[:, 1:])
dW = np.full((3000, 2000), 7, "f4")[:, ::2]
step = lambda: nnext._nnext.negative_sampling_backward(y, h, W, index, 1, dW, 1.0)
failed = limited(step)
if failed:
    same([dW], 7)
""",
}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.memory_limit
@pytest.mark.parametrize("case", CASES)
def test_where_memory_ends_nothing_is_written(case):
    endings = set()
    for room in (0.25, 1, 3, 6, 12, 25, 50, 400):
        program = PROGRAM + CASES[case] + "\nprint(failed)"
        command = [sys.executable, "-P", "-c", program, str(room)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{room} MiB: {done.stderr}"
        endings.add(done.stdout.strip())
    assert endings == {"True", "False"}  # the memory did end, and did suffice


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory")
@pytest.mark.memory_limit
def test_an_array_in_place_of_a_list_is_refused_at_its_first_item():
    program = """
import resource
import numpy as np
from nnext.optimizer import SGD

W = np.zeros(3_000_000, np.float32)
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
try:
    SGD(lr=0.1).update(W, W)
except TypeError as error:
    print(error)
"""
    command = [sys.executable, "-P", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("params[0]: expected an array to write into")


def halves(*values):
    return [np.full(5, value, np.float16) for value in values]


def test_an_optimizer_rounds_every_half_parameter_whatever_is_to_be_raised():
    p, g = halves(1, 60000), halves(1, -60000)
    with np.errstate(all="raise"):
        nnext.SGD(lr=1.0).update(p, g)
    np.testing.assert_array_equal(p[0], 0)
    np.testing.assert_array_equal(p[1], np.inf)


def test_a_rounding_that_raises_leaves_every_parameter():
    p, g = halves(1, 60000), halves(1, -60000)
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        _nnext.sgd_update(p, g, 1.0)
    for array, value in zip(p, (1, 60000), strict=True):
        np.testing.assert_array_equal(array, np.float16(value))


def test_a_rounding_that_raises_leaves_float32_parameters_beside_it():
    p, g = [np.ones(5, np.float32), *halves(60000)], [np.ones(5, np.float32), *halves(-60000)]
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        _nnext.sgd_update(p, g, 1.0)
    np.testing.assert_array_equal(p[0], 1)


def test_a_rounding_that_raises_leaves_the_gradients_of_a_layer():
    layer = nnext.Affine(np.full((2, 2), 300, np.float16), np.zeros(2, np.float16))
    layer.grads[0] = np.full((2, 2), 7, np.float32)  # could be written in place
    layer.grads[1][...] = 7
    layer.forward(np.ones((1, 2), np.float16))
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        layer.backward(np.full((1, 2), 300, np.float16))  # dx is 180,000
    for grad in layer.grads:
        np.testing.assert_array_equal(grad, 7)


def test_a_rounding_that_raises_leaves_the_targets_of_the_fused_loss():
    x, W = np.full((2, 2), 300, np.float16), np.full((2, 3), 300, np.float16)
    W[:, 0] = 0
    targets = np.full((2, 2), 7, np.float16), np.full((2, 3), 7, np.float32), None
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        linear_cross_entropy_with_grad(x, W, [0, 0], dout=1e4, out=targets)
    for target in targets[:2]:
        np.testing.assert_array_equal(target, 7)


def test_results_in_another_byte_order_layout_and_type_are_handed_over():
    x, W, t = np.eye(4), np.ones((4, 3)), np.array([0, 1, 2, 0])
    expected = linear_cross_entropy_with_grad(x, W, t)
    for dtype in (">f8", ">f4", "f4", "f2"):
        storage = np.zeros((8, 6), dtype)
        out = np.zeros((4, 4), dtype)[::-1], storage[::2, ::-2], None
        linear_cross_entropy_with_grad(x, W, t, out=out)
        for got, wanted in zip(out[:2], expected[1:3], strict=True):
            np.testing.assert_array_equal(got, wanted.astype(dtype))
        assert not storage[1::2].any()


def test_a_missing_piece_of_memory_is_named():
    with pytest.raises(MemoryError, match=r"cannot allocate an array of shape .* and type float64"):
        nnext.matmul(np.ones((2**22, 1)), np.ones((1, 2**22)))
