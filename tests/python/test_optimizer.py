"""The optimizers against the book's formulas, in place and in both types."""

import numpy as np
import pytest

import nnext
import reference as ref
from nnext import _nnext

# Each with its defaults and off them; the reference takes the same numbers by the same names.
CASES = {
    "SGD": ("SGD", ref.sgd, {"lr": 0.01}, {}),
    "SGD lr": ("SGD", ref.sgd, {"lr": 0.3}, {"lr": 0.3}),
    "Momentum": ("Momentum", ref.momentum, {"lr": 0.01, "momentum": 0.9}, {}),
    "Momentum 0.5": ("Momentum", ref.momentum, {"lr": 0.1, "momentum": 0.5}, ...),
    "Nesterov": ("Nesterov", ref.nesterov, {"lr": 0.01, "momentum": 0.9}, {}),
    "Nesterov 0.5": ("Nesterov", ref.nesterov, {"lr": 0.1, "momentum": 0.5}, ...),
    "AdaGrad": ("AdaGrad", ref.adagrad, {"lr": 0.01}, {}),
    "AdaGrad lr": ("AdaGrad", ref.adagrad, {"lr": 0.5}, ...),
    "RMSprop": ("RMSprop", ref.rmsprop, {"lr": 0.01, "decay_rate": 0.99}, {}),
    "RMSprop 0.5": ("RMSprop", ref.rmsprop, {"lr": 0.1, "decay_rate": 0.5}, ...),
    "Adam": ("Adam", ref.adam, {"lr": 0.001, "beta1": 0.9, "beta2": 0.999}, {}),
    "Adam betas": ("Adam", ref.adam, {"lr": 0.1, "beta1": 0.5, "beta2": 0.8}, ...),
    "Adam no beta1": ("Adam", ref.adam, {"lr": 0.1, "beta1": 0.0, "beta2": 0.9}, ...),
    "AdamW": (
        "AdamW",
        ref.adamw,
        {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
        {},
    ),
    "AdamW off": (
        "AdamW",
        ref.adamw,
        {"lr": 0.1, "beta1": 0.5, "beta2": 0.8, "eps": 1e-3, "weight_decay": 0.3},
        ...,
    ),
}
NAMES = ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam", "AdamW"]
SHAPES = [(3, 5), (7,), (), (1, 1), (0, 4), (2, 3, 67)]


def lists(dtype, shapes=SHAPES, seed=0):
    r = np.random.default_rng(seed)
    return [np.asarray(r.standard_normal(s)).astype(dtype) for s in shapes]


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("case", CASES)
def test_updates_follow_the_formula(case, dtype):
    name, reference, numbers, arguments = CASES[case]
    optimizer = getattr(nnext, name)(**(numbers if arguments is ... else arguments))
    params, steps = lists(dtype), 6
    start = [p.astype(np.float64) for p in params]
    grads = [lists(dtype, seed=1 + i) for i in range(steps)]
    for g in grads:
        optimizer.update(params, g)
    for i, p in enumerate(params):
        # Each step rounds a dozen times what is no larger than the parameter or its way so far.
        expected = reference(start[i], [g[i].astype(np.float64) for g in grads], **numbers)
        way = sum(abs(g[i].astype(np.float64)) for g in grads) + steps
        ref.assert_close(p, expected, 12 * steps, abs(start[i]) + numbers["lr"] * 10 * way)


def test_sgd_of_a_hand_computed_case():
    p = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    nnext.SGD(lr=0.5).update([p], [np.array([[2.0, 0.0, -2.0], [1.0, -1.0, 8.0]])])
    np.testing.assert_array_equal(p, [[0, 2, 4], [3.5, 5.5, 2]])


def test_momentum_of_a_hand_computed_case():
    p, optimizer = np.array([1.0, -1.0]), nnext.Momentum(lr=0.5, momentum=0.5)
    for expected in ([0, 0], [-1.5, 1.5], [-3.25, 3.25]):
        optimizer.update([p], [np.array([2.0, -2.0])])
        np.testing.assert_array_equal(p, expected)


@pytest.mark.parametrize("name", NAMES)
def test_arrays_and_lists_are_kept_and_gradients_not_written(name):
    optimizer = getattr(nnext, name)()
    params, grads = lists(np.float32), lists(np.float32, seed=1)
    kept, memory = list(params), [p.__array_interface__["data"] for p in params]
    before, grads_before = [p.copy() for p in params], [g.copy() for g in grads]
    for _ in range(3):
        assert optimizer.update(params, grads) is None
    assert all(a is b for a, b in zip(params, kept, strict=True))
    assert [p.__array_interface__["data"] for p in params] == memory
    for p, b in zip(params, before, strict=True):
        assert p.size == 0 or np.all(p != b)
    for g, b in zip(grads, grads_before, strict=True):
        ref.assert_same_bits(g, b)


VIEWS = {
    "fortran": np.asfortranarray,
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "back": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "slice": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
}


@pytest.mark.parametrize("dtype", ref.FLOATS)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", NAMES)
def test_the_bits_do_not_depend_on_strides(name, view, dtype):
    plain, strided = getattr(nnext, name)(), getattr(nnext, name)()
    [p], [q] = lists(dtype, [(9, 21)]), [VIEWS[view](a) for a in lists(dtype, [(9, 21)])]
    for i in range(3):
        [g] = lists(dtype, [(9, 21)], seed=i)
        plain.update([p], [g])
        strided.update([q], [VIEWS[view](g) if i else g])
    ref.assert_same_bits(q, p)


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_around_a_view_is_not_written(name):
    big = np.ones((8, 12), np.float32)
    view = big[1::2, 2::3]
    optimizer = getattr(nnext, name)()
    for _ in range(2):
        optimizer.update([view], [np.ones_like(view)])
    assert np.count_nonzero(big != 1) == view.size


@pytest.mark.parametrize("name", NAMES)
def test_types_may_be_mixed_within_a_list(name):
    mixed, single, double = (getattr(nnext, name)() for _ in range(3))
    params = [*lists(np.float32, [(4, 5)]), *lists(np.float64, [(6,)])]
    alone = [p.copy() for p in params]
    for i in range(3):
        grads = [*lists(np.float32, [(4, 5)], i), *lists(np.float64, [(6,)], i)]
        mixed.update(params, grads)
        single.update(alone[:1], grads[:1])
        double.update(alone[1:], grads[1:])
    for p, q in zip(params, alone, strict=True):
        ref.assert_same_bits(p, q)


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_of_another_type_is_cast_to_that_of_its_parameter(name):
    for dtype, other in [(np.float64, np.float32), (np.float32, np.int64)]:
        cast, same = getattr(nnext, name)(), getattr(nnext, name)()
        [p], [q] = lists(dtype, [(4, 5)]), lists(dtype, [(4, 5)])
        for i in range(3):
            g = (9 * lists(other, [(4, 5)], i)[0]).astype(other)
            cast.update([p], [g])
            same.update([q], [g.astype(dtype)])
        ref.assert_same_bits(p, q)


@pytest.mark.parametrize("name", NAMES)
def test_tuples_and_empty_lists_are_taken(name):
    optimizer = getattr(nnext, name)()
    optimizer.update([], [])
    optimizer = getattr(nnext, name)()
    p = np.ones(3)
    optimizer.update((p,), (np.ones(3),))
    assert np.all(p < 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_rate_may_be_changed_on_the_way(name):
    optimizer = getattr(nnext, name)(lr=0.0)
    p = np.ones(3)
    optimizer.update([p], [np.ones(3)])
    np.testing.assert_array_equal(p, np.ones(3))
    optimizer.lr = 0.1
    optimizer.update([p], [np.ones(3)])
    assert np.all(p < 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_nan_stays_where_it_is(name):
    optimizer, p = getattr(nnext, name)(), np.ones(20, np.float32)
    optimizer.update([p], [np.where(np.arange(20) == 7, np.nan, 1).astype(np.float32)])
    assert np.flatnonzero(np.isnan(p)).tolist() == [7]


def test_adam_counts_its_steps_and_state_belongs_to_the_optimizer():
    optimizer = nnext.Adam()
    assert optimizer.iter == 0
    assert optimizer.m is None
    p = np.ones(3)
    for _ in range(4):
        optimizer.update([p], [np.ones(3)])
    assert optimizer.iter == 4
    assert optimizer.m[0].shape == optimizer.v[0].shape == (3,)
    np.testing.assert_allclose(optimizer.m[0], 1 - 0.9**4, rtol=1e-14)


def refused(kind):
    """Lists that do not fit, with the error and words of its message."""
    p, g = [np.ones((2, 3)), np.ones(4)], [np.ones((2, 3)), np.ones(4)]
    if kind == "lengths":
        return p, g[:1], ValueError, "grads"
    if kind == "shapes":
        return p, [g[0], np.ones(5)], ValueError, r"\(5,\).*\(4,\)|\(4,\).*\(5,\)"
    if kind == "integers":
        return [p[0], np.ones(4, int)], [g[0], np.ones(4, int)], TypeError, "int64"
    if kind == "complex":
        return [p[0], np.ones(4, complex)], [g[0], np.ones(4, complex)], TypeError, "complex128"
    if kind == "a list for an array":
        return [p[0], [1.0, 2.0]], [g[0], np.ones(2)], TypeError, "list"
    p[1].flags.writeable = False
    return p, g, ValueError, "read-only"


KINDS = [
    "lengths",
    "shapes",
    "integers",
    "complex",
    "a list for an array",
    "read-only",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_lists_that_do_not_fit_are_refused_before_the_first_write(name, kind):
    params, grads, error, message = refused(kind)
    optimizer = getattr(nnext, name)()
    with pytest.raises(error, match=message):
        optimizer.update(params, grads)
    np.testing.assert_array_equal(params[0], np.ones((2, 3)))
    # Nor is the optimizer bound to those lists: it begins with the next.
    fresh, p, q = getattr(nnext, name)(), np.ones(5), np.ones(5)
    optimizer.update([p], [np.ones(5)])
    fresh.update([q], [np.ones(5)])
    ref.assert_same_bits(p, q)


@pytest.mark.parametrize("name", NAMES[1:])
def test_an_optimizer_refuses_other_parameters_than_its_own(name):
    optimizer = getattr(nnext, name)()
    p = np.ones(3)
    optimizer.update([p], [np.ones(3)])
    after = p.copy()
    with pytest.raises(ValueError, match=r"\(3,\)"):
        optimizer.update([np.ones(4)], [np.ones(4)])
    with pytest.raises(ValueError, match="2"):
        optimizer.update([p, np.ones(4)], [np.ones(3), np.ones(4)])
    np.testing.assert_array_equal(p, after)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [(name, numbers) for name, _, numbers, given in CASES.values() if not given],
)
@pytest.mark.parametrize("bad", ["x", None, 1j, [0.1]])
def test_what_is_no_number_is_refused_by_name_when_the_optimizer_is_made(name, numbers, bad):
    for which in numbers:
        with pytest.raises(TypeError, match=f"^{which}: expected a number, got "):
            getattr(nnext, name)(**{which: bad})


@pytest.mark.parametrize("name", NAMES)
def test_parameters_may_come_from_a_generator(name):
    one, other = getattr(nnext, name)(), getattr(nnext, name)()
    p, q = lists(np.float64), lists(np.float64)
    for step in range(1, 3):
        g = lists(np.float64, seed=step)
        one.update((array for array in p), (array for array in g))
        other.update(q, g)
    for a, b in zip(p, q, strict=True):
        ref.assert_same_bits(a, b)


RANGES = {
    "lr": ([0, 1, 1e300], [-1, -1e-9, np.nan, np.inf, 10**400]),
    "momentum": ([0, 0.999], [-0.1, 1, 2, np.nan, np.inf]),
    "decay_rate": ([0, 1], [-0.1, 1.1, np.nan, np.inf]),
    "beta1": ([0, 0.999], [-0.1, 1, np.nan]),
    "beta2": ([0, 0.999], [-0.1, 1, np.nan]),
    "eps": ([1e-30, 1], [0, -1, np.nan, np.inf]),
    "weight_decay": ([0, 2], [-1, np.nan, np.inf]),
}


@pytest.mark.parametrize(
    ("name", "which"),
    [(name, which) for name, _, numbers, given in CASES.values() if not given for which in numbers],
)
def test_options_outside_their_range_are_refused_whenever_they_are_set(name, which):
    good, bad = RANGES[which]
    optimizer = getattr(nnext, name)()
    for value in good:
        setattr(optimizer, which, value)
        assert (
            getattr(optimizer, which)
            == getattr(getattr(nnext, name)(**{which: value}), which)
            == value
        )
    for value in bad:
        with pytest.raises(ValueError, match=f"^{which}: expected a number in .*, got "):
            getattr(nnext, name)(**{which: value})
        with pytest.raises(ValueError, match=f"^{which}: expected a number in .*, got "):
            setattr(optimizer, which, value)
        assert getattr(optimizer, which) == good[-1]
    for value in ("0.1", None, 1j, [0.1], np.array([0.1])):
        with pytest.raises(TypeError, match=f"^{which}: expected a number, got "):
            setattr(optimizer, which, value)


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.array(0.5)])
def test_numpy_scalars_and_0d_arrays_are_numbers(number):
    p = np.ones(1)
    nnext.SGD(lr=number).update([p], [np.ones(1)])
    assert p == 0.5
    assert nnext.SGD(lr=np.int64(2)).lr == 2


def test_the_count_is_a_whole_number():
    optimizer = nnext.Adam()
    optimizer.iter = np.int32(5)
    assert optimizer.iter == 5
    for bad in (-1, 1.5, "1", None):
        with pytest.raises(ValueError, match=r"^iter: expected a whole number of at least 0, got "):
            optimizer.iter = bad
    assert optimizer.iter == 5


def test_repr_shows_the_rate_and_what_is_off_its_default():
    assert repr(nnext.Adam()) == "Adam(lr=0.001)"
    assert repr(nnext.Adam(beta2=0.99)) == "Adam(lr=0.001, beta2=0.99)"
    optimizer = nnext.AdamW(0.1, 0.5, 0.8, 1e-3, 0)
    assert repr(optimizer) == "AdamW(lr=0.1, beta1=0.5, beta2=0.8, eps=0.001, weight_decay=0.0)"
    assert repr(nnext.Nesterov(momentum=0.5)) == "Nesterov(lr=0.01, momentum=0.5)"
    optimizer = nnext.SGD()
    optimizer.lr = 2
    assert repr(optimizer) == "SGD(lr=2.0)"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_list_is_refused_by_name(name):
    with pytest.raises(TypeError, match=r"^params: expected a list of arrays, got int"):
        getattr(nnext, name)().update(3, [])
    with pytest.raises(TypeError, match=r"^grads: expected a list of arrays, got int"):
        getattr(nnext, name)().update([], 3)


LAYOUTS = {
    "twice": lambda w: [w, w],
    "transposed": lambda w: [w, w.T],
    "parts": lambda w: [w[:3], w[1:]],
    "strided": lambda w: [w[:, ::2], w[::2]],
}


@pytest.mark.parametrize("kind", [nnext.SGD, nnext.Momentum, nnext.Adam])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("beside", [None, np.float32, ">f8"])
def test_arrays_that_share_memory_are_updated_one_after_another(kind, layout, dtype, beside):
    """As a loop over the list does; whatever else is in it."""
    w = np.arange(16, dtype=np.float64).reshape(4, 4).astype(dtype)
    own = w.copy()
    params, expected = LAYOUTS[layout](w), LAYOUTS[layout](own)
    grads = [np.ones_like(params[0]), np.full_like(params[1], 2)]
    if beside is not None:
        params = [*params, np.ones(3, beside)]
        grads = [*grads, np.ones(3, beside)]
    optimizer, others = kind(lr=0.5), [kind(lr=0.5) for _ in expected]
    for _ in range(3):
        optimizer.update(params, grads)
        for other, p, g in zip(others, expected, grads, strict=False):
            other.update([p], [g])
    np.testing.assert_array_equal(w, own)


def test_arrays_that_share_memory_are_put_back_if_one_of_them_fails():
    """The last one's result is infinite in float16, an error under errstate."""
    w = np.zeros((2, 3), np.float32)
    half = np.ones(2, np.float16)
    lists = [w, w.T, half], [np.ones((2, 3)), np.ones((3, 2)), np.full(2, -1e6, np.float32)]
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        _nnext.sgd_update(*lists, 1.0)
    assert not w.any()
    np.testing.assert_array_equal(half, 1)
