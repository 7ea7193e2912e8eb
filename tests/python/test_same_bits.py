"""The same bits everywhere: threads, instruction sets, slices, micro-batches, memory layouts."""

import numpy as np
import pytest

import nnext
import same_bits
from nnext.layers import (
    GELU,
    Affine,
    LeakyReLU,
    MatMul,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    SoftmaxWithLoss,
    Tanh,
)
from same_bits import drawn

TYPES = [np.float32, np.float64]


@pytest.fixture(autouse=True)
def keep_threads():
    before = nnext.get_num_threads()
    yield
    nnext.set_num_threads(before)


@pytest.mark.parametrize("isa", nnext.show_config("dicts")["isa_available"])
def test_every_hash_is_the_recorded_one_on_any_number_of_threads(isa):
    pytest.importorskip("sklearn")
    recorded = same_bits.read()
    runs = same_bits.hashes_under(isa)
    assert set(runs) == set(same_bits.THREADS)
    for threads, found in runs.items():
        different = {name for name in recorded | found if recorded.get(name) != found.get(name)}
        assert not different, f"{isa}, {threads} threads"


def test_an_instruction_set_that_is_not_there_is_refused():
    with pytest.raises(AssertionError, match="NNEXT_ISA=mmx is not available here"):
        same_bits.hashes_under("mmx")


def test_the_hash_notices_a_changed_moved_or_missing_element():
    right = same_bits.hash_of(np.float32([1, 2, 0]))
    assert right == same_bits.read()["the hash of 1, 2, 0"]
    for other in ([1, 2, -0.0], [2, 1, 0], [1, 2]):
        assert same_bits.hash_of(np.float32(other)) != right


def layouts(array):
    """Give the same numbers in other memory."""
    rows, cols = array.shape
    strided = np.zeros((2 * rows, 3 * cols), array.dtype)[::2, ::3]
    strided[...] = array
    shifted = np.zeros(array.size + 1, array.dtype)[1:].reshape(rows, cols)  # off the cache line
    shifted[...] = array
    return [array, np.asfortranarray(array), strided, shifted, array[::-1, ::-1].copy()[::-1, ::-1]]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("m", "k", "n"), [(3, 7, 3), (63, 65, 67), (3, 700, 400), (300, 4, 200)])
def test_the_product_does_not_depend_on_the_layout_of_anything(m, k, n, dtype):
    recorded = same_bits.read()[f"matmul ({m}, {k}, {n}) {dtype.__name__}"]
    for a in layouts(drawn(dtype, 1, m, k)):
        for b in layouts(drawn(dtype, 2, k, n)):
            assert same_bits.hash_of(nnext.matmul(a, b)) == recorded
            for out in layouts(np.empty((m, n), dtype)):
                nnext.matmul(a, b, out=out)
                assert same_bits.hash_of(out) == recorded
            stacked = nnext.matmul(np.stack([a, a])[:, None], b)
            assert same_bits.hash_of(stacked[1, 0]) == recorded


def forward_and_backward(layer, x, dout):
    y = layer.forward(x)
    return y, layer.backward(dout), [grad.copy() for grad in layer.grads]


def make_layers(dtype):
    w, b = drawn(dtype, 5, 50, 50), drawn(dtype, 6, 50)
    activations = [Sigmoid(), Tanh(), ReLU(), LeakyReLU(), GELU(), GELU("tanh"), SiLU(), Softmax()]
    return [MatMul(w), Affine(w, b), *activations]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n", [64, 3000])
def test_a_row_does_not_depend_on_the_rows_beside_it(n, dtype):
    x, dout = drawn(dtype, 1, n, 50), drawn(dtype, 2, n, 50)
    for layer in make_layers(dtype):
        for threads in (1, 3):
            nnext.set_num_threads(threads)
            y, dx, _ = forward_and_backward(layer, x, dout)
            for rows in (slice(0, 1), slice(0, n // 3), slice(n // 3, n), slice(None, None, 7)):
                y_slice, dx_slice, _ = forward_and_backward(layer, x[rows], dout[rows])
                assert y_slice.tobytes() == y[rows].tobytes(), type(layer).__name__
                assert dx_slice.tobytes() == dx[rows].tobytes(), type(layer).__name__


@pytest.mark.parametrize("dtype", TYPES)
def test_softmax_with_loss_gives_each_row_its_own_probabilities_and_gradient(dtype):
    x, t = drawn(dtype, 1, 400, 37) * dtype(20), np.arange(400) % 37
    whole, part = SoftmaxWithLoss(), SoftmaxWithLoss()
    whole.forward(x, t)
    for rows in (slice(0, 1), slice(0, 130), slice(130, 400)):
        part.forward(x[rows], t[rows])
        assert part.y.tobytes() == whole.y[rows].tobytes()
        share = len(t[rows]) / len(t)  # of the mean that the whole loss is
        np.testing.assert_allclose(part.backward(share), whole.backward()[rows], rtol=1e-6)
    powers = SoftmaxWithLoss(), SoftmaxWithLoss()
    powers[0].forward(x[:256], t[:256])
    powers[1].forward(x[:64], t[:64])
    assert powers[1].backward(0.25).tobytes() == powers[0].backward()[:64].tobytes()


def test_a_thread_count_above_the_cpus_changes_nothing():
    a, b = drawn(np.float32, 1, 300, 200), drawn(np.float32, 2, 200, 300)
    hashes = set()
    for threads in (1, 2, 5, 64, 1024):
        nnext.set_num_threads(threads)
        hashes.add(same_bits.hash_of(nnext.matmul(a, b)))
    assert len(hashes) == 1
