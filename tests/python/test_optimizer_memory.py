"""The arrays of an optimizer's state: each has memory of its own, however it was set."""

import numpy as np
import pytest

import nnext
import reference as ref

OWN = "the state needs memory of its own"


def bound(dtype=np.float32):
    """Return an Adam after one update, the parameters and the gradients."""
    params = [np.ones((2, 3), dtype), np.ones(3, dtype)]
    grads = [np.full_like(p, 0.5) for p in params]
    optimizer = nnext.Adam()
    optimizer.update(params, grads)
    return optimizer, params, grads


def refused(optimizer, params, grads, error, match):
    before = [p.copy() for p in params]
    with pytest.raises(error, match=match):
        optimizer.update(params, grads)
    for p, old in zip(params, before, strict=True):
        ref.assert_same_bits(p, old)
    assert optimizer.iter == 1


def test_one_list_for_two_moments_is_refused():
    optimizer, params, grads = bound()
    optimizer.m = optimizer.v
    refused(optimizer, params, grads, ValueError, rf"m\[\d\] shares memory with v\[\d\]; {OWN}")


@pytest.mark.parametrize("alone", [True, False], ids=["set", "put into the list"])
def test_an_array_that_shares_memory_is_refused(alone):
    def put(optimizer, array):
        if alone:
            optimizer.m = [array, optimizer.m[1]]
        else:
            optimizer.m[0] = array

    for name, choose in {
        r"params\[0\]": lambda o, p, g: p[0],
        r"grads\[0\]": lambda o, p, g: g[0],
        r"v\[0\]": lambda o, p, g: o.v[0],
        "itself": lambda o, p, g: np.lib.stride_tricks.as_strided(np.ones(3, "f4"), (2, 3), (0, 4)),
    }.items():
        optimizer, params, grads = bound()
        put(optimizer, choose(optimizer, params, grads))
        refused(optimizer, params, grads, ValueError, rf"m\[0\] shares memory with {name}; {OWN}")


def test_masters_that_share_memory_are_refused():
    optimizer, params, grads = bound(np.float16)
    optimizer.master[0] = optimizer.v[0]
    refused(optimizer, params, grads, ValueError, r"v\[0\] shares memory with master\[0\]")
    optimizer = nnext.SGD()
    optimizer.update(params, grads)
    optimizer.master[0] = np.lib.stride_tricks.as_strided(np.ones(3, "f4"), (2, 3), (0, 4))
    with pytest.raises(ValueError, match=r"master\[0\] shares memory with itself"):
        optimizer.update(params, grads)


def test_columns_of_one_matrix_share_nothing():
    optimizer, params, grads = bound()
    other, others, _ = bound()
    table = np.zeros((3, 2), np.float32)
    table[:, 0], table[:, 1] = optimizer.m[1], optimizer.v[1]
    optimizer.m[1], optimizer.v[1] = table.T
    for _ in range(2):
        optimizer.update(params, grads)
        other.update(others, grads)
    for p, q in zip(params, others, strict=True):
        ref.assert_same_bits(p, q)
    ref.assert_same_bits(table[:, 0].copy(), other.m[1])


def test_parameters_without_elements_share_nothing():
    p = np.ones((0, 3), np.float32)
    optimizer = nnext.Adam()
    optimizer.update([p], [p.copy()])
    optimizer.m[0] = optimizer.v[0]
    optimizer.update([p], [p.copy()])
    assert optimizer.iter == 2


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        (np.ones((2, 3)), TypeError, r"m\[0\]: expected float32"),
        (np.ones(3, np.float32), ValueError, r"m\[0\]: expected shape \(2, 3\)"),
        (None, TypeError, r"m\[0\]: expected an array, got NoneType"),
    ],
    ids=["type", "shape", "none"],
)
def test_what_is_put_into_a_checked_list_is_checked_too(bad, error, match):
    optimizer, params, grads = bound()
    optimizer.m[0] = bad
    refused(optimizer, params, grads, error, match)


def test_a_list_set_by_hand_may_be_any_iterable_of_arrays():
    optimizer, params, grads = bound()
    other, others, _ = bound()
    optimizer.m, optimizer.v = tuple(optimizer.m), iter(optimizer.v)
    for _ in range(2):
        optimizer.update(params, grads)
        other.update(others, grads)
    assert type(optimizer.m) is type(optimizer.v) is list
    ref.assert_same_bits(params[0], others[0])
    optimizer.m = 5
    with pytest.raises(TypeError, match="m: expected a list of arrays, got int"):
        optimizer.update(params, grads)


def test_a_list_set_by_hand_stays_the_same_list():
    optimizer, params, grads = bound()
    optimizer.m = mine = list(optimizer.m)
    optimizer.update(params, grads)
    assert optimizer.m is mine
