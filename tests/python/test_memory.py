"""Large results: memory that is kept for the next one, and arrays that stay the caller's own."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnext
from nnext._support import zeros_for

N = 1 << 17  # elements; 512 KiB in float32


def cached_bytes() -> int:
    config = nnext.show_config("dicts")
    assert config is not None
    return int(config["cached_bytes"])


def test_an_array_that_is_alive_is_never_written_again() -> None:
    x = np.arange(N, dtype=np.float32)
    results = [nnext.relu(x + i) for i in range(6)]
    nnext.empty_cache()
    del results[::2]
    gc.collect()
    nnext.relu(-x)  # takes a block that was given back
    for result, i in zip(results, (1, 3, 5), strict=True):
        np.testing.assert_array_equal(result, x + i)


def test_a_view_keeps_the_memory_of_its_array() -> None:
    x = np.arange(N, dtype=np.float32)
    view = nnext.relu(x)[10:20]
    for _ in range(3):
        nnext.relu(-x)
    np.testing.assert_array_equal(view, x[10:20])


def test_a_dead_array_leaves_its_memory_in_the_cache_until_it_is_emptied() -> None:
    nnext.empty_cache()
    assert cached_bytes() == 0
    nnext.relu(np.zeros(N, dtype=np.float32))
    assert cached_bytes() >= 4 * N
    nnext.empty_cache()
    assert cached_bytes() == 0


def test_small_results_do_not_pass_through_the_cache() -> None:
    nnext.empty_cache()
    nnext.relu(np.zeros(100, dtype=np.float32))
    assert cached_bytes() == 0


def test_large_results_are_ordinary_arrays() -> None:
    y = nnext.relu(np.ones(N, dtype=np.float64))
    assert y.flags.writeable
    assert y.flags.c_contiguous
    assert y.flags.aligned
    y += 1
    assert (y == 2).all()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="tells what memory is used")
@pytest.mark.parametrize("turned", [False, True])
def test_gradients_take_memory_when_they_are_first_written(turned: bool) -> None:
    def resident() -> int:  # pages
        return int(Path("/proc/self/statm").read_text().split()[1])

    # More than 32 MiB each, which glibc always takes from the system: memory that it hands out
    # again is written with zeros.
    W, b = np.ones((3072, 3072), np.float32), np.zeros(3072, np.float32)
    before, page = resident(), os.sysconf("SC_PAGE_SIZE")
    layers = [nnext.Affine(W.T if turned else W, b) for _ in range(4)]  # shared weights
    assert (resident() - before) * page < W.nbytes
    x = np.ones((1, 3072), np.float32)
    for layer in layers:
        layer.forward(x)
        layer.backward(x)
    assert (resident() - before) * page > 3 * W.nbytes


@pytest.mark.parametrize("kind", ["<f4", ">f8", "<f2"])
@pytest.mark.parametrize(
    "shaped",
    [
        lambda a: a,
        lambda a: a.T,
        lambda a: a[::2, 1:],
        lambda a: a[:0],
        lambda a: a[0, 0],
        lambda a: a.transpose(1, 0)[None].transpose(2, 0, 1),
        lambda a: a.view(np.matrix),
    ],
    ids=["rows", "columns", "gaps", "empty", "number", "turned", "subclass"],
)
def test_zeros_for_an_array_lie_as_it_does(shaped: Callable[[Any], Any], kind: str) -> None:
    like = np.asanyarray(shaped(np.ones((5, 6), kind)))
    zeros, expected = zeros_for(like), np.zeros_like(like, subok=False)
    assert type(zeros) is np.ndarray
    assert (zeros.shape, zeros.dtype) == (expected.shape, expected.dtype)
    assert zeros.strides == expected.strides
    assert not zeros.any()
    assert zeros_for(like, np.dtype(np.float32)).dtype == np.float32
