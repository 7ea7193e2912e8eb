"""Input that tries to break the bindings: memory, reference counts, objects that run code."""

import sys
import threading
from typing import Any

import numpy as np
import pytest

import nnext
from nnext import nodes


def test_a_copy_that_does_not_fit_into_memory_is_a_memory_error() -> None:
    huge = np.broadcast_to(np.float32(1), (2**42,))
    with pytest.raises(MemoryError):
        nnext.exp(huge)
    with pytest.raises(MemoryError):
        nnext.softmax(huge)


def test_reference_counts_stay_right_with_many_threads() -> None:
    a = np.ones((8, 64, 64), dtype=np.float32)
    b = np.ones((64, 64), dtype=np.float32)
    before = sys.getrefcount(a), sys.getrefcount(b)

    def work() -> None:
        for _ in range(200):
            nnext.matmul(a, b)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sys.getrefcount(a), sys.getrefcount(b)) == before


def test_a_list_that_changes_while_it_is_read_is_harmless() -> None:
    grads: list[Any] = []

    class Clears:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            grads.clear()
            return np.ones(3)

    params = [np.zeros(3) for _ in range(50)]
    grads.extend([Clears()] + [np.ones(3) for _ in range(49)])
    nnext.SGD(lr=1.0).update(params, grads)
    for p in params:
        np.testing.assert_array_equal(p, -1.0)


@pytest.mark.parametrize("n", [7, 100, 1000])
def test_overlapping_params_and_grads_are_read_before_they_are_written(n: int) -> None:
    b = np.arange(float(n))
    nnext.SGD(lr=1.0).update([b[1:]], [b[:-1]])
    np.testing.assert_array_equal(b[1:], np.ones(n - 1))


def test_flags_may_be_any_object_with_a_truth_value() -> None:
    x = np.ones((2, 3))
    assert nodes.Sum(axis=0, keepdims=np.bool_(True)).forward(x).shape == (1, 3)
    layer = nnext.MatMul(np.ones((3, 2)))
    layer.forward(x)
    assert layer.backward(np.ones((2, 2)), input_grad=np.bool_(False)) is None
    with pytest.raises(ValueError, match="ambiguous"):
        layer.backward(np.ones((2, 2)), input_grad=np.ones(2))  # type: ignore[arg-type]


def test_errors_of_an_index_method_come_through() -> None:
    class Broken:
        def __index__(self) -> int:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        nnext.set_num_threads(Broken())  # type: ignore[arg-type]


def test_a_memmap_computes_the_bits_of_an_array(tmp_path: Any) -> None:
    rng = np.random.RandomState(0)
    a = rng.standard_normal((33, 70)).astype(np.float32)
    b = rng.standard_normal((70, 20)).astype(np.float32)
    mapped = np.memmap(tmp_path / "a.bin", dtype=np.float32, mode="w+", shape=a.shape)
    mapped[...] = a
    np.testing.assert_array_equal(nnext.matmul(mapped, b), nnext.matmul(a, b))
    del mapped


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((2, 4), dtype=np.complex64),
        np.zeros((2, 4), dtype=np.longdouble),
        np.zeros((2, 4), dtype=object),
        np.zeros((5, 2, 4), dtype=np.float32),
    ],
    ids=["complex64", "longdouble", "object", "repeated"],
)
def test_any_out_that_numpy_takes_is_taken(out: np.ndarray) -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    b = np.arange(12, dtype=np.float32).reshape(3, 4)
    expected = np.zeros_like(out)
    np.matmul(a, b, out=expected)
    assert nnext.matmul(a, b, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_a_half_product_is_rounded_to_half_before_it_is_stored() -> None:
    a = np.full((3, 3), 0.2, dtype=np.float16)
    out = np.zeros((3, 3), dtype=np.float32)
    nnext.matmul(a, a, out=out)
    np.testing.assert_array_equal(out, nnext.matmul(a, a).astype(np.float32))


def test_gradients_that_repeat_memory_are_still_right() -> None:
    layer = nnext.MatMul(np.ones((3, 2)))
    layer.forward(np.ones((4, 3)))
    wide = np.zeros((3, 3))
    layer.grads[0] = np.lib.stride_tricks.as_strided(wide, (3, 2), (8, 8))  # rows overlap
    layer.backward(np.ones((4, 2)))
    np.testing.assert_array_equal(layer.grads[0], 4.0)
