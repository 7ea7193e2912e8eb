"""What an optimizer remembers: whose it is, how it is stored and restored, half precision."""

import copy
import io
import pickle

import numpy as np
import pytest

import nnext
import reference as ref

NAMES = ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam", "AdamW"]
WITH_STATE = NAMES[1:]
STATE = {"Momentum": "v", "Nesterov": "v", "AdaGrad": "h", "RMSprop": "h", "Adam": "mv"}
STATE["AdamW"] = "mv"
# Every option, off its default.
OPTIONS = {
    "SGD": {"lr": 0.3, "weight_decay": 0.1},
    "Momentum": {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.1},
    "Nesterov": {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.1},
    "AdaGrad": {"lr": 0.3, "weight_decay": 0.1},
    "RMSprop": {"lr": 0.3, "decay_rate": 0.5, "weight_decay": 0.1},
    "Adam": {"lr": 0.3, "beta1": 0.5, "beta2": 0.75, "weight_decay": 0.1},
    "AdamW": {"lr": 0.3, "beta1": 0.5, "beta2": 0.75, "eps": 1e-3, "weight_decay": 0.1},
}
SHAPES = [(3, 5), (7,), (), (0, 4), (2, 3, 7)]


TYPES = [*ref.FLOATS, *ref.HALVES]


def make(name, **options):
    return getattr(nnext, name)(**options)


def drawn(dtype, seed, shapes=SHAPES):
    r = np.random.default_rng(seed)
    return [np.asarray(r.standard_normal(s)).astype(dtype) for s in shapes]


def steps(optimizer, params, first, last):
    for seed in range(first, last):
        optimizer.update(params, drawn(params[0].dtype, seed))


def assert_same(params, expected):
    for p, q in zip(params, expected, strict=True):
        assert p.dtype == q.dtype
        assert p.tobytes() == q.tobytes()


# ------------------------------------------------------------------ storing and restoring


def by_state_dict(name, optimizer, params):
    other = make(name)
    other.load_state_dict(optimizer.state_dict())
    return other, [p.copy() for p in params]


def by_savez(name, optimizer, params):
    flat = {}
    for key, value in optimizer.state_dict().items():
        if isinstance(value, list):
            flat |= {f"{key}/{i}": array for i, array in enumerate(value)}
        else:
            flat[key] = value
    file = io.BytesIO()
    np.savez(file, **flat)
    file.seek(0)
    with np.load(file) as stored:
        state = {key: stored[key] for key in stored.files if "/" not in key}
        for key, value in optimizer.state_dict().items():
            if isinstance(value, list):
                state[key] = [stored[f"{key}/{i}"] for i in range(len(value))]
    other = make(name)
    other.load_state_dict(state)
    return other, [p.copy() for p in params]


def by_pickle_of_the_dict(name, optimizer, params):
    other = make(name)
    other.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    return other, [p.copy() for p in params]


def by_pickle(name, optimizer, params):
    return pickle.loads(pickle.dumps((optimizer, params)))


def by_deepcopy(name, optimizer, params):
    return copy.deepcopy((optimizer, params))


def by_attributes(name, optimizer, params):
    other = make(name, **OPTIONS[name])
    for key in (*STATE.get(name, ""), "master"):
        setattr(other, key, [a.copy() for a in getattr(optimizer, key)])
    other.iter = optimizer.iter
    return other, [p.copy() for p in params]


WAYS = [by_state_dict, by_savez, by_pickle_of_the_dict, by_pickle, by_deepcopy, by_attributes]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_a_stored_run_goes_on_with_the_bits_of_one_that_was_not(name, dtype, way):
    if way is by_savez and np.dtype(dtype).kind == "V":
        dtype = np.float16  # a file of npz knows no bfloat16; the state is float32 in any case
    optimizer, params = make(name, **OPTIONS[name]), drawn(dtype, 0)
    steps(optimizer, params, 1, 5)
    other, others = way(name, optimizer, params)
    assert all(a is not b for a, b in zip(params, others, strict=True))
    steps(optimizer, params, 5, 8)
    steps(other, others, 5, 8)
    assert_same(others, params)


@pytest.mark.parametrize("name", NAMES)
def test_the_state_before_the_first_step_is_stored_as_well(name):
    optimizer, other = make(name, **OPTIONS[name]), make(name)
    other.load_state_dict(optimizer.state_dict())
    params, others = drawn(np.float32, 0), drawn(np.float32, 0)
    steps(optimizer, params, 1, 4)
    steps(other, others, 1, 4)
    assert_same(others, params)
    # It can be loaded into an optimizer that has a state: that begins anew.
    optimizer.load_state_dict(make(name, **OPTIONS[name]).state_dict())
    params = drawn(np.float32, 0)
    steps(optimizer, params, 1, 4)
    assert_same(others, params)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_holds_numbers_text_and_lists_of_new_arrays(name):
    optimizer, params = make(name, **OPTIONS[name]), drawn(np.float32, 0)
    steps(optimizer, params, 1, 3)
    state = optimizer.state_dict()
    assert state["type"] == f"nnext.optimizer.{name}"
    assert state["version"] == 1
    assert {key: state[key] for key in OPTIONS[name]} == OPTIONS[name]
    assert state["master"] == []
    for key in STATE.get(name, ""):
        assert [a.shape for a in state[key]] == SHAPES
    for value in state.values():
        assert type(value) in (str, int, float, list)
    # Copies both ways: neither the state nor the one loaded from it follows the optimizer.
    other, kept = make(name), copy.deepcopy(state)
    other.load_state_dict(state)
    steps(optimizer, params, 3, 5)
    for key in STATE.get(name, ""):
        for a, b, c in zip(state[key], kept[key], getattr(other, key), strict=True):
            ref.assert_same_bits(a, b)
            ref.assert_same_bits(c, b)
            assert not np.shares_memory(a, c)


def changed(state, **entries):
    return {**state, **entries}


def bad_states(state):
    """States that are refused: the error and words of its message."""
    m = state["m"]
    return {
        "other type": ({**nnext.SGD().state_dict()}, ValueError, "AdamW, got that of .*SGD"),
        "no type": ({}, ValueError, "AdamW, got that of None"),
        "version": (changed(state, version=2), ValueError, "version 1, got 2"),
        "missing": ({k: state[k] for k in state if k != "v"}, ValueError, r"\['v'\]"),
        "unknown": (changed(state, w=1), ValueError, r"\['w'\]"),
        "lr": (changed(state, lr=np.nan), ValueError, "^lr: .* got nan"),
        "beta1": (changed(state, beta1=1), ValueError, "^beta1: .* got 1"),
        "eps": (changed(state, eps="x"), TypeError, "^eps: expected a number, got str"),
        "iter": (changed(state, iter=-1), ValueError, "^iter: .* got -1"),
        "half a step": (changed(state, iter=1.5), ValueError, "^iter: .* got 1.5"),
        "length": (changed(state, v=state["v"][:1]), ValueError, "^v: expected 2 arrays.* got 1"),
        "one empty": (changed(state, m=[]), ValueError, "^(m|v): expected [02] arrays"),
        "shape": (changed(state, v=[m[0], m[0]]), ValueError, r"^v\[1\]: .*\(4,\).*\(2, 3\)"),
        "type of one": (changed(state, v=[m[0].astype("f4"), m[1]]), TypeError, r"^v\[0\]: "),
        "whole numbers": (changed(state, m=[m[0].astype(int), m[1]]), TypeError, r"^m\[0\].*int64"),
        "a list": (changed(state, m=[m[0], [1.0] * 4]), TypeError, r"^m\[1\]: .*list"),
        "no list": (changed(state, m=3), TypeError, "^m: expected a list of arrays, got int"),
        "master": (changed(state, master=[m[0]]), TypeError, r"^master\[0\]: .*float64"),
    }


BAD = list(bad_states({"m": [np.ones((2, 3)), np.ones(4)], "v": [0, 0]}))


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("kind", BAD)
def test_a_state_that_does_not_fit_is_refused_and_nothing_changes(kind, used):
    shapes = [(2, 3), (4,)]
    source, params = nnext.AdamW(lr=0.1), drawn(np.float64, 0, shapes)
    source.update(params, drawn(np.float64, 1, shapes))
    bad, error, message = bad_states(source.state_dict())[kind]
    optimizer, plain = nnext.AdamW(lr=0.2), nnext.AdamW(lr=0.2)
    p, q = drawn(np.float64, 0, shapes), drawn(np.float64, 0, shapes)
    if used:
        optimizer.update(p, drawn(np.float64, 2, shapes))
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(bad)
    optimizer.update(p, drawn(np.float64, 3, shapes))
    if used:
        plain.update(q, drawn(np.float64, 2, shapes))
    plain.update(q, drawn(np.float64, 3, shapes))
    assert_same(p, q)


def test_a_state_of_other_shapes_than_those_of_the_present_parameters_is_refused():
    optimizer, other = nnext.Adam(), nnext.Adam()
    optimizer.update([np.ones(3)], [np.ones(3)])
    other.update([np.ones(4)], [np.ones(4)])
    with pytest.raises(ValueError, match=r"m\[0\]: expected shape \(3,\).* got \(4,\)"):
        optimizer.load_state_dict(other.state_dict())


def test_a_loaded_state_fits_parameters_of_its_own_shapes_and_types_only():
    source = nnext.Adam()
    source.update([np.ones(3)], [np.ones(3)])
    for p, error, message in [
        (np.ones(4), ValueError, r"m\[0\]: expected shape \(4,\).* got \(3,\)"),
        (np.ones(3, np.float32), TypeError, r"m\[0\]: expected float32.* got float64"),
    ]:
        optimizer = nnext.Adam()
        optimizer.load_state_dict(source.state_dict())
        before = p.copy()
        with pytest.raises(error, match=message):
            optimizer.update([p], [np.ones_like(p)])
        np.testing.assert_array_equal(p, before)


def test_byte_swapped_arrays_of_a_state_are_as_good_as_native_ones():
    optimizer, params = nnext.Adam(), drawn(np.float32, 0)
    steps(optimizer, params, 1, 4)
    state = optimizer.state_dict()
    state["v"] = [v.astype(v.dtype.newbyteorder("S")) for v in state["v"]]
    other, others = nnext.Adam(), [p.copy() for p in params]
    other.load_state_dict(state)
    steps(optimizer, params, 4, 6)
    steps(other, others, 4, 6)
    assert_same(others, params)


def test_a_part_of_the_state_cannot_be_set_alone():
    optimizer = nnext.Adam()
    optimizer.m = [np.zeros(3)]
    with pytest.raises(ValueError, match="v is None: set all of m, v or none"):
        optimizer.update([np.ones(3)], [np.ones(3)])


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_the_bias_correction_is_a_function_of_iter(name):
    """A run whose count is set goes on as one that counted so far, in every bit."""
    [p], optimizer = drawn(np.float64, 0, [(3,)]), make(name)
    for seed in range(1, 200):
        optimizer.update([p], drawn(np.float64, seed, [(3,)]))
    other, q = make(name), p.copy()
    other.iter, other.m, other.v = optimizer.iter, optimizer.m, optimizer.v
    other.m, other.v = copy.deepcopy((optimizer.m, optimizer.v))
    g = drawn(np.float64, 200, [(3,)])
    optimizer.update([p], g)
    other.update([q], g)
    ref.assert_same_bits(q, p)
    assert other.iter == 200


def test_a_count_of_many_steps_takes_no_time():
    p, optimizer = np.ones(1), nnext.Adam(lr=0.5)
    optimizer.iter, optimizer.m, optimizer.v = 10**15, [np.ones(1)], [np.ones(1)]
    optimizer.update([p], [np.ones(1)])
    np.testing.assert_allclose(p, 0.5, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_reset_forgets_all_but_the_options(name):
    optimizer = make(name, **OPTIONS[name])
    steps(optimizer, drawn(np.float32, 9), 1, 4)
    optimizer.reset()
    assert all(getattr(optimizer, key) is None for key in STATE.get(name, ""))
    fresh, p, q = make(name, **OPTIONS[name]), drawn(np.float32, 0), drawn(np.float32, 0)
    steps(optimizer, p, 1, 4)
    steps(fresh, q, 1, 4)
    assert_same(p, q)


# ------------------------------------------------------------------ whose state it is


@pytest.mark.parametrize("name", WITH_STATE)
@pytest.mark.parametrize("dtype", TYPES)
def test_other_arrays_of_the_same_shapes_are_refused_until_reset(name, dtype):
    optimizer, params = make(name), drawn(dtype, 0)
    steps(optimizer, params, 1, 3)
    others = drawn(dtype, 5)
    others[0] = params[0]
    kept = [p.copy() for p in others]
    with pytest.raises(ValueError, match=r"params\[1\].*a new optimizer.*reset\(\)"):
        optimizer.update(others, drawn(dtype, 3))
    assert_same(others, kept)
    optimizer.reset()
    steps(optimizer, others, 1, 3)
    fresh = make(name)
    steps(fresh, kept, 1, 3)
    assert_same(others, kept)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_optimizer_without_a_state_takes_any_arrays(dtype):
    """Half-precision parameters have one: their masters, whose digits would be lost."""
    optimizer = nnext.SGD()
    for seed in range(3):
        p, q = drawn(dtype, seed), drawn(dtype, seed)
        steps(optimizer, p, 1, 3)
        steps(nnext.SGD(), q, 1, 3)
        assert_same(p, q)


def test_memory_that_was_given_back_is_not_taken_for_the_old_array():
    optimizer, shape = nnext.Momentum(), 1000
    optimizer.update([np.ones(shape)], [np.ones(shape)])
    for _ in range(5):
        with pytest.raises(ValueError, match="not the array"):
            optimizer.update([np.ones(shape)], [np.ones(shape)])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_new_lists_and_new_views_of_the_same_memory_go_on(name, dtype):
    optimizer, plain = make(name), make(name)
    W, w = drawn(dtype, 0, [(4, 6), (4, 6)])
    w[...] = W
    for seed in range(1, 4):
        [g] = drawn(dtype, seed, [(4, 6)])
        optimizer.update((row[1:] for row in W), [row[1:] for row in g])
        plain.update([w[:, 1:]], [g[:, 1:]])
    ref.assert_same_bits(W.astype(np.float64), w.astype(np.float64))


@pytest.mark.parametrize("name", WITH_STATE)
def test_another_view_of_the_same_memory_is_another_parameter(name):
    optimizer, W = make(name), np.ones((3, 3))
    optimizer.update([W], [np.ones((3, 3))])
    with pytest.raises(ValueError, match=r"params\[0\]"):
        optimizer.update([W.T], [np.ones((3, 3))])


def test_the_order_of_the_parameters_matters():
    optimizer, p, q = nnext.Momentum(), np.ones(3), np.ones(3)
    optimizer.update([p, q], [np.ones(3), np.ones(3)])
    with pytest.raises(ValueError, match=r"params\[0\]"):
        optimizer.update([q, p], [np.ones(3), np.ones(3)])


# ------------------------------------------------------------------ half precision


@pytest.mark.parametrize("dtype", ref.HALVES)
@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_small_steps_add_up_in_half_precision(name, start, dtype):
    """Rounded step by step, a bfloat16 weight of 0.5 would stand still at a rate of 1e-3."""
    optimizer, exact = make(name, lr=1e-3), make(name, lr=1e-3)
    p, q = np.full(3, start, dtype), np.full(3, start, np.float32)
    for _ in range(1000):
        optimizer.update([p], [np.ones(3, dtype)])
        exact.update([q], [np.ones(3, np.float32)])
    ref.assert_same_bits(p.astype(np.float32), q.astype(dtype).astype(np.float32))
    assert optimizer.master[0].dtype == np.float32


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_array_among_halves_is_named(name):
    p = np.ones(3, np.float16)
    with pytest.raises(TypeError, match=r"params\[1\]: expected an array, got NoneType"):
        make(name).update([p, None], [p, p])
    assert np.all(p == 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [None, np.ones(4, np.float32), np.ones(3)], ids=repr)
def test_a_master_put_into_the_list_is_checked(name, bad):
    optimizer, p = make(name), np.ones(3, np.float16)
    optimizer.update([p], [p])
    before, optimizer.master[0] = p.copy(), bad
    with pytest.raises((TypeError, ValueError), match=r"master\[0\]: expected"):
        optimizer.update([p], [np.ones(3, np.float16)])
    ref.assert_same_bits(p, before)


@pytest.mark.parametrize("dtype", ref.HALVES)
def test_half_parameters_among_others_keep_a_master_each(dtype):
    optimizer, alone = nnext.Adam(), nnext.Adam()
    [a, c], [b] = drawn(dtype, 0, [(3, 2), (5,)]), drawn(np.float64, 0, [(4,)])
    params, halves = [a, b, c], [a.copy(), c.copy()]
    for seed in range(1, 4):
        g = drawn(dtype, seed, [(3, 2), (5,)])
        optimizer.update(params, [g[0], *drawn(np.float64, seed, [(4,)]), g[1]])
        alone.update(halves, g)
    assert [m.shape for m in optimizer.master] == [(3, 2), (5,)]
    assert [m.dtype for m in optimizer.m] == [np.float32, np.float64, np.float32]
    assert_same([a, c], halves)


@pytest.mark.parametrize("dtype", ref.HALVES)
def test_a_half_parameter_that_was_written_between_two_steps_is_listened_to(dtype):
    optimizer, p = nnext.SGD(lr=1.0), np.ones(3, dtype)
    optimizer.update([p], [np.full(3, 2.0**-14, dtype)])  # less than the parameter can hold
    assert np.all(p == 1)
    p[1] = 4
    optimizer.update([p], [np.zeros(3, dtype)])
    np.testing.assert_array_equal(optimizer.master[0], [1 - 2.0**-14, 4, 1 - 2.0**-14])
    np.testing.assert_array_equal(p.astype(float), [1, 4, 1])
    p[:] = [np.nan, np.inf, -0.0]
    optimizer.update([p], [np.zeros(3, dtype)])
    np.testing.assert_array_equal(p.astype(float), [np.nan, np.inf, 0])


def test_a_half_parameter_that_is_listed_twice_has_one_master():
    W, w = np.ones((2, 2), np.float16), np.ones((2, 2), np.float32)
    half, single = nnext.SGD(lr=2.0**-12), nnext.SGD(lr=2.0**-12)
    for seed in range(1, 9):
        g = [np.asarray(a).astype(np.float16) for a in drawn(np.float32, seed, [(2, 2)] * 2)]
        half.update([W, W.T], g)
        single.update([w, w.T], g)
    assert len(half.master) == 1
    ref.assert_same_bits(half.master[0], w)


@pytest.mark.parametrize("name", NAMES)
def test_a_read_only_half_parameter_is_refused_before_the_first_write(name):
    p, q = np.ones(3, np.float16), np.ones(3, np.float16)
    q.flags.writeable = False
    with pytest.raises(ValueError, match=r"params\[1\]: the array is read-only"):
        make(name).update([p, q], [np.ones(3, np.float16)] * 2)
    np.testing.assert_array_equal(p, np.ones(3))


def test_a_weight_too_large_for_float16_is_infinite_whatever_numpy_raises():
    p, optimizer = np.full(3, 60000, np.float16), nnext.SGD(lr=1.0)
    with np.errstate(all="raise"):
        for _ in range(2):
            optimizer.update([p], [np.full(3, -60000, np.float16)])
    assert np.all(np.isinf(p))


@pytest.mark.parametrize("kind", [nnext.SGD, nnext.Adam])
def test_masters_are_not_given_up_for_other_arrays(kind):
    p, q = np.ones(3, np.float16), np.ones(3, np.float16)
    optimizer = kind()
    optimizer.update([p], [np.ones(3)])
    before = optimizer.master[0].copy()
    with pytest.raises(ValueError, match=r"params\[0\].*reset"):
        optimizer.update([q], [np.ones(3)])
    np.testing.assert_array_equal(optimizer.master[0], before)


def test_sgd_without_masters_has_no_state_and_takes_any_arrays():
    optimizer = nnext.SGD(lr=1)
    p, q = np.ones(3), np.ones((2, 2))
    for array in (p, q, p):
        optimizer.update([array], [np.ones_like(array)])
    assert (p[0], q[0, 0]) == (-1, 0)


def test_repr_of_a_subclass_shows_what_it_has():
    class Halved(nnext.SGD):
        def __init__(self, rate):
            super().__init__(rate / 2)

    assert repr(Halved(1.0)).startswith("Halved(")


@pytest.mark.parametrize("state", [None, [1], "adam"])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(TypeError, match="state: expected what state_dict"):
        nnext.Adam().load_state_dict(state)
