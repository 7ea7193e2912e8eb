"""`nnext.matmul` is `numpy.matmul`, with bits that depend on nothing but the operands."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import nnext
import reference as ref

# 0, 1, and both sides of the tiles' edges: 6, 8 and 14 rows; 8, 16, 32, 48 and 64 columns.
ROWS = [0, 1, 2, 5, 6, 7, 8, 12, 13, 14, 15]
COLUMNS = [0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 129]


def whole_numbers(rng, *shape):
    """Small enough that every sum is exact, in any order and in both types."""
    return rng.integers(-8, 9, shape).astype(float)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("k", [0, 1, 2, 7, 16, 67])
def test_whole_numbers_are_exact_at_every_tile_edge(k, dtype):
    rng = np.random.default_rng(0)
    for m, n in itertools.product(ROWS, COLUMNS):
        a, b = whole_numbers(rng, m, k).astype(dtype), whole_numbers(rng, k, n).astype(dtype)
        expected = np.einsum("mk,kn->mn", a, b)
        np.testing.assert_array_equal(nnext.matmul(a, b), expected, strict=True)
        at, bt = np.asfortranarray(a), np.asfortranarray(b)
        np.testing.assert_array_equal(nnext.matmul(at, b), expected, strict=True)
        np.testing.assert_array_equal(nnext.matmul(a, bt), expected, strict=True)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("k", [255, 256, 257, 511, 513, 1025, 2049])
def test_whole_numbers_are_exact_over_long_sums(k, dtype):
    rng = np.random.default_rng(1)
    a, b = whole_numbers(rng, 13, k).astype(dtype), whole_numbers(rng, k, 65).astype(dtype)
    np.testing.assert_array_equal(nnext.matmul(a, b), np.einsum("mk,kn->mn", a, b), strict=True)


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize(
    ("m", "k", "n"), [(1, 1, 1), (3, 17, 5), (7, 9, 17), (1, 40, 9), (9, 40, 1)]
)
def test_every_element_is_the_ordered_chain_to_the_bit(m, k, n, dtype):
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    expected = ref.chain_matmul(a, b)
    ref.assert_same_bits(nnext.matmul(a, b), expected)
    ref.assert_same_bits(nnext.matmul(np.asfortranarray(a), np.asfortranarray(b)), expected)


def test_every_element_is_the_ordered_chain_to_the_bit_across_blocks():
    rng = np.random.default_rng(3)
    a = rng.standard_normal((150, 700)).astype(np.float32)
    b = rng.standard_normal((700, 130)).astype(np.float32)
    ref.assert_same_bits(nnext.matmul(a, b), ref.chain_matmul(a, b))


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize(
    ("m", "k", "n"), [(64, 64, 64), (33, 300, 70), (257, 129, 65), (1, 999, 3)]
)
def test_the_error_is_within_the_bound(m, k, n, dtype):
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    ref.assert_product(nnext.matmul(a, b), a, b)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_rows_do_not_depend_on_their_batch(dtype):
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((301, 90)).astype(dtype), rng.standard_normal((90, 70)).astype(dtype)
    whole = nnext.matmul(a, b)
    for step in (1, 5, 64, 300):
        parts = [nnext.matmul(a[i : i + step], b) for i in range(0, len(a), step)]
        ref.assert_same_bits(np.concatenate(parts), whole)


@pytest.mark.parametrize("threads", [2, 3, 4, 7])
def test_the_bits_do_not_depend_on_the_number_of_threads(threads):
    rng = np.random.default_rng(6)
    a, b = (rng.standard_normal((200, 200)).astype(np.float32) for _ in range(2))
    before = nnext.get_num_threads()
    try:
        nnext.set_num_threads(1)
        expected = nnext.matmul(a, b)
        nnext.set_num_threads(threads)
        for _ in range(5):
            ref.assert_same_bits(nnext.matmul(a, b), expected)
    finally:
        nnext.set_num_threads(before)


VIEWS = {
    "as it is": lambda x: x,
    "fortran": np.asfortranarray,
    "transposed twice": lambda x: np.ascontiguousarray(x.T).T,
    "rows back": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "columns back": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "slice": lambda x: np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3],
    "inside a larger one": lambda x: np.pad(x, 3, constant_values=np.nan)[3:-3, 3:-3],
    "unaligned": lambda x: unaligned(x),
}


def unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    view = raw[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("view_b", VIEWS)
@pytest.mark.parametrize("view_a", VIEWS)
def test_the_bits_do_not_depend_on_strides(view_a, view_b, dtype):
    rng = np.random.default_rng(7)
    for m, k, n in [(13, 21, 35), (1, 21, 35), (13, 21, 1), (13, 1, 35)]:
        a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        actual = nnext.matmul(VIEWS[view_a](a), VIEWS[view_b](b))
        ref.assert_same_bits(actual, nnext.matmul(a, b))


def test_a_broadcast_operand_has_stride_zero():
    a = np.broadcast_to(np.arange(5, dtype=np.float32), (4, 5))
    b = np.broadcast_to(np.arange(5, dtype=np.float32)[:, None], (5, 3))
    np.testing.assert_array_equal(nnext.matmul(a, b), np.full((4, 3), 30, np.float32), strict=True)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_special_values_pass_through_as_ieee_says(dtype):
    inf, nan = np.inf, np.nan
    a = np.array([[1, inf], [0, inf], [nan, 0], [inf, -inf], [1e30, 1e30]], dtype)
    b = np.array([[1, 0], [1, 0]], dtype)
    expected = np.array([[inf, nan], [inf, nan], [nan, nan], [nan, nan], [2e30, 0]], dtype)
    np.testing.assert_array_equal(nnext.matmul(a, b), expected)


@pytest.mark.parametrize("dtype", ref.FLOATS)
def test_subnormal_numbers_are_kept(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    product = nnext.matmul(np.array([[tiny]], dtype), np.ones((1, 3), dtype))
    np.testing.assert_array_equal(product, np.full((1, 3), tiny, dtype), strict=True)


# As numpy.matmul


@settings(derandomize=True, deadline=None)
@given(data=st.data())
def test_any_shapes_that_numpy_takes(data):
    shapes = data.draw(
        mutually_broadcastable_shapes(
            signature=np.matmul.signature, max_dims=3, min_side=0, max_side=4
        )
    )
    rng = np.random.default_rng(8)
    dtypes = [
        data.draw(st.sampled_from([np.float32, np.float64, np.float16, np.int32, np.int8, bool]))
        for _ in "ab"
    ]
    a, b = (
        whole_numbers(rng, *s).astype(t) for s, t in zip(shapes.input_shapes, dtypes, strict=True)
    )
    expected = np.matmul(a, b)
    actual = nnext.matmul(a, b)
    assert type(actual) is type(expected)
    np.testing.assert_array_equal(actual, expected, strict=True)
    if isinstance(expected, np.ndarray):
        out = np.full_like(expected, 77)
        assert nnext.matmul(a, b, out) is out
        np.testing.assert_array_equal(out, expected, strict=True)


@pytest.mark.parametrize(
    "dtypes",
    list(
        itertools.product(
            [np.float32, np.float64, np.float16, np.int64, np.uint8, bool, complex], repeat=2
        )
    ),
    ids=lambda pair: "-".join(np.dtype(t).name for t in pair),
)
def test_types_are_promoted_as_numpy_does(dtypes):
    rng = np.random.default_rng(9)
    a, b = (abs(whole_numbers(rng, 3, 3)).astype(t) for t in dtypes)
    np.testing.assert_array_equal(nnext.matmul(a, b), np.matmul(a, b), strict=True)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.ones((2, 3)), np.ones((2, 3))),
        (np.ones(3), np.ones(4)),
        (np.ones(()), np.ones(3)),
        (np.ones(3), 2.0),
        (np.ones((2, 2, 3)), np.ones((3, 3, 4))),
        (np.ones((2, 2)), np.array([["a", "b"]] * 2)),
    ],
    ids=["2d", "1d", "scalar a", "scalar b", "batch", "str"],
)
def test_what_numpy_refuses_is_refused_with_the_same_kind_of_error(a, b):
    with pytest.raises((ValueError, TypeError)) as numpys:
        np.matmul(a, b)
    with pytest.raises((ValueError, TypeError)) as ours:
        nnext.matmul(a, b)
    assert issubclass(ours.type, ValueError) == issubclass(numpys.type, ValueError)


def test_lists_and_keyword_out_are_taken():
    out = np.zeros((1, 1))
    assert nnext.matmul([[1.0, 2.0]], [[3.0], [4.0]], out=out) is out
    assert out.item() == 11


def test_objects_go_to_numpy():
    a = np.array([[1, 2], [3, 4]], object)
    np.testing.assert_array_equal(nnext.matmul(a, a), np.matmul(a, a), strict=True)


OUTS = {
    "C": lambda shape, dtype: np.full(shape, np.nan, dtype),
    "fortran": lambda shape, dtype: np.full(shape, np.nan, dtype, order="F"),
    "columns back": lambda shape, dtype: np.full(shape, np.nan, dtype)[..., ::-1],
    "rows back": lambda shape, dtype: np.full(shape, np.nan, dtype)[::-1],
    "slice": lambda shape, dtype: np.full([2 * s for s in shape], np.nan, dtype)[::2, 1::2],
    "float64": lambda shape, dtype: np.full(shape, np.nan, np.float64),
}


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("kind", OUTS)
def test_out_of_any_strides_is_filled_and_nothing_around_it(kind, dtype):
    rng = np.random.default_rng(10)
    a, b = rng.standard_normal((7, 9)).astype(dtype), rng.standard_normal((9, 17)).astype(dtype)
    out = OUTS[kind]((7, 17), dtype)
    assert nnext.matmul(a, b, out) is out
    ref.assert_same_bits(out, nnext.matmul(a, b).astype(out.dtype))
    if kind == "slice":
        assert np.isnan(out.base).sum() == out.base.size - out.size


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("n", [5, 40])
def test_out_may_overlap_the_operands(n, dtype):
    rng = np.random.default_rng(11)
    start = rng.standard_normal((n + 1, n)).astype(dtype)
    expected = nnext.matmul(start[:n].copy(), start[1:].copy())
    for view in (lambda m: m[:n], lambda m: m[1:], lambda m: m[:n].T, lambda m: m[n - 1 :: -1]):
        memory = start.copy()
        nnext.matmul(memory[:n], memory[1:], view(memory))
        ref.assert_same_bits(view(memory), expected)
    square = start[:n].copy()
    expected = nnext.matmul(square, square)
    nnext.matmul(square, square, square)
    ref.assert_same_bits(square, expected)


def bad_outs():
    read_only = np.zeros((2, 4), np.float32)
    read_only.flags.writeable = False
    return {
        "read-only": (read_only, ValueError),
        "too small": (np.zeros((2, 3), np.float32), ValueError),
        "transposed": (np.zeros((4, 2), np.float32), ValueError),
        "one dimension": (np.zeros(8, np.float32), ValueError),
        "integers": (np.zeros((2, 4), np.int32), TypeError),
        "a list": ([[0.0] * 4] * 2, TypeError),
    }


@pytest.mark.parametrize("kind", bad_outs())
def test_a_wrong_out_is_refused_and_not_written(kind):
    out, error = bad_outs()[kind]
    with pytest.raises(error):
        nnext.matmul(np.ones((2, 3), np.float32), np.ones((3, 4), np.float32), out)
    assert not np.any(out)


def test_a_subclass_and_an_array_interface_are_taken_as_numpy_does():
    class Shown:
        def __init__(self, array):
            self.__array_interface__ = array.__array_interface__
            self.kept = array

    a = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(nnext.matmul(Shown(a), a.T), np.matmul(Shown(a), a.T))

    class Named(np.ndarray):
        pass

    named = a.view(Named)
    assert type(nnext.matmul(named, a.T)) is Named
    np.testing.assert_array_equal(nnext.matmul(named, a.T), np.matmul(named, a.T), strict=True)


def test_an_output_may_come_in_a_tuple_as_for_any_ufunc():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((5, 3)), rng.standard_normal((3, 4))
    out = np.full((5, 4), np.nan)
    assert nnext.matmul(a, b, out=(out,)) is out
    np.testing.assert_array_equal(out, nnext.matmul(a, b), strict=True)
    for outs in ((out, out), (), ((out,),)):
        with pytest.raises((TypeError, ValueError)) as expected:
            np.matmul(a, b, out=outs)
        with pytest.raises(expected.type):
            nnext.matmul(a, b, out=outs)


def test_two_kinds_of_half_precision_give_what_numpy_gives():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    rng = np.random.default_rng(0)
    a, b = (whole_numbers(rng, *shape) for shape in ((5, 3), (3, 4)))
    for one, other in ((np.float16, bfloat16), (bfloat16, np.float16), (bfloat16, np.int8)):
        expected = np.matmul(a.astype(one), b.astype(other))
        got = nnext.matmul(a.astype(one), b.astype(other))
        np.testing.assert_array_equal(got, expected, strict=True)
