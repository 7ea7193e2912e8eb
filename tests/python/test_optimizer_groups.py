"""Schedules as rates, weight decay of every optimizer, and groups of parameters."""

import copy
import math
import pickle

import numpy as np
import pytest

import nnext
from nnext.optimizer import SGD, Adam, AdamW, Momentum
from nnext.schedules import Cosine, ReduceOnPlateau, StepDecay, WarmUp

NAMES = ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam", "AdamW"]
TYPES = [np.float32, np.float64, np.float16]


def drawn(dtype=np.float64, seed=0, shapes=((3, 5), (5,), (5, 2), (2,))):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def make(name, **options):
    return getattr(nnext, name)(**options)


def assert_same(ones, others):
    for p, q in zip(ones, others, strict=True):
        np.testing.assert_array_equal(p, q)


# --- a schedule as the rate -----------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_schedule_gives_the_rate_of_each_step(name):
    schedule = WarmUp(2, StepDecay(0.3, 2, 0.5))
    own, by_hand = make(name, lr=schedule), make(name)
    p, q = drawn(), drawn()
    for step in range(7):
        assert own.iter == step
        assert own.lr == schedule(step)
        by_hand.lr = schedule(step)
        own.update(p, drawn(seed=step + 1))
        by_hand.update(q, drawn(seed=step + 1))
        assert_same(p, q)


def test_a_function_will_do_and_a_number_takes_its_place():
    optimizer = SGD(lambda step: 1 / (1 + step))
    p = [np.zeros(1)]
    optimizer.update(p, [np.ones(1)])
    optimizer.update(p, [np.ones(1)])
    assert p[0] == -1.5
    optimizer.lr = 2
    assert optimizer.lr == 2.0
    optimizer.update(p, [np.ones(1)])
    assert p[0] == -3.5


def test_a_schedule_is_shown():
    assert repr(SGD(Cosine(0.1, 10))) == "SGD(lr=Cosine(lr=0.1, steps=10, final=0.0))"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [math.nan, -1.0, math.inf, "a", None])
def test_what_is_no_rate_stops_before_anything_is_written(name, wrong):
    rates = iter([0.1, wrong])
    optimizer, p = make(name, lr=lambda step: next(rates)), drawn()
    optimizer.update(p, drawn(seed=1))
    before, state = copy.deepcopy(p), copy.deepcopy(vars(optimizer).get("m"))
    with pytest.raises((ValueError, TypeError), match=r"lr: expected a .*number .* at step 1, got"):
        optimizer.update(p, drawn(seed=2))
    assert_same(p, before)
    assert optimizer.iter == 1
    assert_same(vars(optimizer).get("m") or [], state or [])


def test_a_stored_run_goes_on_at_its_step():
    schedule = Cosine(0.3, 10)
    whole, p = Adam(schedule), drawn()
    for seed in range(4):
        whole.update(p, drawn(seed=seed + 1))
    other, q = Adam(schedule), copy.deepcopy(p)
    other.load_state_dict(whole.state_dict())
    assert other.lr == whole.lr == schedule(4)
    pickled, r = pickle.loads(pickle.dumps((whole, p)))
    for optimizer, params in ((whole, p), (other, q), (pickled, r)):
        for seed in range(4, 8):
            optimizer.update(params, drawn(seed=seed + 1))
    assert_same(q, p)
    assert_same(r, p)


def test_what_a_schedule_remembers_is_stored_too():
    plateau = ReduceOnPlateau(0.5, factor=0.1, patience=1)
    plateau.report(1)
    plateau.report(2)
    optimizer, other = SGD(plateau), SGD(ReduceOnPlateau(0.5, factor=0.1, patience=1))
    state = optimizer.state_dict()
    assert (state["lr"], state["lr.best"]) == (0.05, 1.0)
    other.load_state_dict(state)
    assert other.lr == 0.05
    with pytest.raises(ValueError, match=r"missing entries \['lr\.best'"):
        other.load_state_dict(SGD(0.1).state_dict())
    with pytest.raises(ValueError, match=r"unknown entries \['lr\.best'"):
        SGD(0.1).load_state_dict(state)


# --- weight decay ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_weight_decay_takes_a_part_of_the_parameter_away_before_the_step(name, dtype):
    lr, decay = 0.25, 0.5  # 1 - lr decay is exact
    own, plain = make(name, lr=lr, weight_decay=decay), make(name, lr=lr, weight_decay=0)
    p, q = drawn(dtype), drawn(dtype)
    g = drawn(dtype, 1)
    own.update(p, g)
    if dtype == np.float16:  # the master is the parameter
        plain.update(q, g)
        plain.reset()
        q = [(a.astype(np.float32) * np.float32(1 - lr * decay)) for a in drawn(dtype)]
        plain.update(q, [a.astype(np.float32) for a in g])
        q = [a.astype(np.float16) for a in q]
    else:
        q = [a * dtype(1 - lr * decay) for a in q]
        plain.update(q, g)
    assert_same(p, q)


def test_no_weight_decays_by_default_but_those_of_adamw():
    assert [make(name).weight_decay for name in NAMES] == [0.0] * 6 + [0.01]


def test_weight_decay_follows_the_rate():
    """As torch.optim.AdamW has it: p is multiplied by 1 - lr weight_decay."""
    optimizer, p = SGD(StepDecay(0.5, 1, 0.5), weight_decay=1.0), [np.ones(1)]
    for expected in (0.5, 0.375, 0.328125):
        optimizer.update(p, [np.zeros(1)])
        assert p[0] == expected


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf])
def test_what_is_no_weight_decay_is_refused(wrong):
    with pytest.raises(ValueError, match=r"weight_decay: expected a number in \[0, inf\), got"):
        SGD(weight_decay=wrong)


# --- groups ---------------------------------------------------------------------------------------


def is_bias(p):
    return p.ndim < 2


# Each option of each optimizer that a group may have.
GROUPS = {
    "SGD": {"lr": 0.2, "weight_decay": 0.3},
    "Momentum": {"lr": 0.2, "momentum": 0.3},
    "Nesterov": {"momentum": 0.3, "weight_decay": 0.1},
    "AdaGrad": {"lr": 0.2},
    "RMSprop": {"decay_rate": 0.5, "lr": 0.2},
    "Adam": {"beta1": 0.5, "beta2": 0.7, "lr": 0.2},
    "AdamW": {"eps": 1e-3, "weight_decay": 0.0, "beta2": 0.7},
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", NAMES)
def test_a_group_is_an_optimizer_of_its_own_with_its_options(name, dtype):
    own = make(name, groups=[{"params": is_bias, **GROUPS[name]}])
    matrices, biases = make(name), make(name, **GROUPS[name])
    p, q = drawn(dtype), drawn(dtype)
    for seed in range(1, 5):
        g = drawn(dtype, seed)
        own.update(p, g)
        matrices.update(q[::2], g[::2])
        biases.update(q[1::2], g[1::2])
    assert_same(p, q)


def test_groups_may_name_their_arrays_in_any_view():
    p = drawn()
    groups = [{"params": [p[1][:], p[2].T], "lr": 1.0}, {"params": [p[2], p[3]], "lr": 3.0}]
    optimizer = SGD(0.0, groups=groups)
    before = copy.deepcopy(p)
    optimizer.update(p, [np.ones_like(a) for a in p])
    for array, old, lr in zip(p, before, [0.0, 1.0, 1.0, 3.0], strict=True):
        np.testing.assert_allclose(array, old - lr)  # the first group that has it


def test_options_of_a_group_follow_the_optimizers_unless_it_has_them():
    optimizer = AdamW(lr=0.1, groups=[{"params": is_bias, "weight_decay": 0}])
    [group] = optimizer.groups
    optimizer.lr = 0.5
    assert (group.lr, group.weight_decay, optimizer.weight_decay) == (0.5, 0.0, 0.01)
    group.lr = 0.2
    optimizer.lr = 0.7
    assert (group.lr, optimizer.lr) == (0.2, 0.7)
    assert repr(group) == f"Group({is_bias}, weight_decay=0.0, lr=0.2)"


def test_a_group_may_have_a_schedule_of_its_own():
    optimizer = SGD(Cosine(1.0, 4), groups=[{"params": is_bias, "lr": StepDecay(8.0, 1, 0.5)}])
    p = [np.zeros((1, 1)), np.zeros(1)]
    for _ in range(2):
        optimizer.update(p, [np.ones_like(a) for a in p])
    assert p[1] == -12
    np.testing.assert_allclose(p[0], -1 - (2 + math.sqrt(2)) / 4)


@pytest.mark.parametrize("way", ["state_dict", "pickle", "deepcopy"])
def test_groups_are_stored_with_the_rest(way):
    def new():
        return Adam(0.1, groups=[{"params": is_bias, "lr": Cosine(0.3, 9), "beta1": 0.5}])

    whole, p = new(), drawn()
    for seed in range(3):
        whole.update(p, drawn(seed=seed))
    whole.groups[0].beta1 = 0.25
    if way == "state_dict":
        state = whole.state_dict()
        assert state["groups.0.beta1"] == 0.25
        other, q = new(), copy.deepcopy(p)
        other.load_state_dict(state)
        assert other.groups[0].beta1 == 0.25
    elif way == "pickle":
        other, q = pickle.loads(pickle.dumps((whole, p)))
    else:
        other, q = copy.deepcopy((whole, p))
    for optimizer, params in ((whole, p), (other, q)):
        for seed in range(3, 6):
            optimizer.update(params, drawn(seed=seed))
    assert_same(q, p)
    with pytest.raises(ValueError, match=r"state: unknown entries \['groups\.0"):
        Adam().load_state_dict(whole.state_dict())


def test_shared_weights_are_in_the_group_of_the_first():
    from nnext.models import Sequential, affine
    from nnext.step import Step

    first = affine(3, 3, seed=0)
    model = Sequential([first, nnext.Affine(first.params[0].T, np.zeros(3, np.float32))])
    step = Step(model, SGD(0.0, groups=[{"params": [first.params[0].T], "lr": 1.0}]))
    W = first.params[0].copy()
    step(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    assert not np.array_equal(W, first.params[0])
    assert not model.params[3].any()


@pytest.mark.parametrize(
    ("groups", "kind", "message"),
    [
        ({"params": []}, TypeError, "groups: expected a list of dicts, got"),
        (3, TypeError, "groups: expected a list of dicts, got 3"),
        ([[1]], TypeError, r"groups\[0\]: expected a dict such as"),
        ([{"lr": 1}], TypeError, r"groups\[0\]: expected a dict such as"),
        (
            [{"params": [1.0]}],
            TypeError,
            r'groups\[0\]\["params"\]\[0\]: expected an array, got fl',
        ),
        (
            [{"params": is_bias, "rate": 1}],
            ValueError,
            r"groups\[0\]: SGD has no option 'rate': lr",
        ),
        ([{"params": is_bias, "iter": 1}], ValueError, r"groups\[0\]: SGD has no option 'iter'"),
        ([{"params": is_bias, "lr": -1}], ValueError, r"groups\[0\]: lr: expected a number in"),
        ([{"params": is_bias, "lr": "a"}], TypeError, r"groups\[0\]: lr: expected a number, got s"),
    ],
)
def test_what_is_no_group_is_refused(groups, kind, message):
    with pytest.raises(kind, match=message):
        SGD(groups=groups)


@pytest.mark.parametrize(
    ("params", "kind", "message"),
    [
        ([np.ones(5)], ValueError, r'groups\[0\]\["params"\]\[0\], of shape \(5,\), is not among'),
        (lambda p: False, ValueError, r"groups\[0\]: none of the 4 params is in it"),
        (lambda p: 1, TypeError, r'groups\[0\]\["params"\]: expected True or False .* got 1'),
    ],
)
def test_a_group_of_other_arrays_is_refused_before_anything_is_written(params, kind, message):
    optimizer, p = Momentum(groups=[{"params": params, "lr": 1.0}]), drawn()
    before = copy.deepcopy(p)
    with pytest.raises(kind, match=message):
        optimizer.update(p, drawn(seed=1))
    assert_same(p, before)
    assert optimizer.v is None


def test_gradients_that_do_not_fit_are_refused_before_any_group_is_written():
    optimizer, p = Momentum(groups=[{"params": is_bias, "lr": 1.0}]), drawn()
    optimizer.update(p, drawn(seed=1))
    before, v = copy.deepcopy(p), copy.deepcopy(optimizer.v)
    bad = drawn(seed=2)
    bad[3] = np.ones(7)
    with pytest.raises(ValueError, match=r"grads\[3\]"):
        optimizer.update(p, bad)
    assert_same(p, before)
    assert_same(optimizer.v, v)


def test_the_core_takes_a_number_for_each_parameter_or_one_for_all():
    from nnext import _nnext

    p = [np.ones(2), np.ones(3)]
    _nnext.sgd_update(p, [np.ones(2), np.ones(3)], [1.0, 2.0], 0.5)
    assert [a.tolist() for a in p] == [[-0.5] * 2, [-1.5] * 3]
    with pytest.raises(ValueError, match=r"lr: expected a number, or 2 of them, .* got 3"):
        _nnext.sgd_update(p, p, [1.0, 2.0, 3.0], 0.5)
    with pytest.raises(TypeError, match="decay: expected a number, got str"):
        _nnext.sgd_update(p, p, 1.0, (0.1, "a"))


@pytest.mark.parametrize("way", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_groups_of_arrays_are_known_by_their_places_in_a_copy(way):
    p = drawn()
    whole = Momentum(0.1, groups=[{"params": [p[1], p[2].T], "lr": 0.5}])
    whole.update(p, drawn(seed=1))
    other, q = way(way(whole)), copy.deepcopy(p)
    for optimizer, params in ((whole, p), (other, q)):
        optimizer.update(params, drawn(seed=2))
    assert_same(q, p)


def test_a_state_of_two_schedules_is_loaded_whole_or_not_at_all():
    def new():
        group = {"params": is_bias, "lr": ReduceOnPlateau(0.2, patience=1)}
        return SGD(ReduceOnPlateau(0.1, patience=1), groups=[group])

    optimizer = new()
    state = {**optimizer.state_dict(), "lr.best": 0.5, "lr.rate": 0.01, "groups.0.lr.waited": -1}
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match="state: expected whole numbers"):
        optimizer.load_state_dict(state)
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_groups_are_given_when_an_optimizer_is_made():
    with pytest.raises(AttributeError):
        SGD().groups = [{"params": is_bias}]
    with pytest.raises(TypeError, match=r'groups\[0\]\["params"\]: expected a list of arrays or a'):
        SGD(groups=[{"params": np.ones(2)}])


def test_a_schedule_whose_table_is_at_its_end_is_still_shown():
    optimizer = SGD([0.1].__getitem__)
    optimizer.update([np.ones(1)], [np.ones(1)])
    assert "__getitem__" in repr(optimizer)


def test_a_schedule_is_asked_once_a_step_for_each_that_has_it():
    asked = []

    def schedule(step):
        asked.append(step)
        return 0.1

    plain, p = SGD(schedule), drawn()
    plain.update(p, drawn(seed=1))
    assert asked == [0]
    own = SGD(schedule, groups=[{"params": is_bias, "lr": 0.5}])
    own.update(p, drawn(seed=1))
    assert asked == [0, 0]


# --- what is said of a state that does not fit ----------------------------------------------------


def with_groups(*options, **others):
    return Momentum(groups=[{"params": lambda p: p.ndim < 3, **o} for o in options], **others)


def test_a_wrong_option_of_a_group_is_named_by_its_group():
    optimizer = with_groups({"weight_decay": 0.1}, {"lr": 0.5})
    state = optimizer.state_dict()
    with pytest.raises(
        ValueError, match=r"^groups\.1\.lr: expected a number in \[0, inf\), got -1"
    ):
        optimizer.load_state_dict({**state, "groups.1.lr": -1.0})
    with pytest.raises(TypeError, match=r"^groups\.0\.weight_decay: expected a number, got str"):
        optimizer.load_state_dict({**state, "groups.0.weight_decay": "much"})
    with pytest.raises(ValueError, match=r"^lr: expected a number"):
        optimizer.load_state_dict({**state, "lr": -1.0})
    assert (optimizer.groups[0].weight_decay, optimizer.groups[1].lr) == (0.1, 0.5)


def test_what_a_groups_schedule_remembers_is_named_by_its_group():
    optimizer = with_groups({"lr": ReduceOnPlateau(0.1)})
    state = {**optimizer.state_dict(), "groups.0.lr.rate": -2.0}
    with pytest.raises(ValueError, match=r"^groups\.0\.lr: .*-2"):
        optimizer.load_state_dict(state)


def test_a_state_of_other_groups_says_which_entries_and_what_to_do():
    one, two = with_groups({"lr": 0.5}), with_groups({"lr": 0.5}, {"lr": 0.1, "weight_decay": 0.0})
    with pytest.raises(
        ValueError,
        match=r"missing entries \['groups\.1\.lr', 'groups\.1\.weight_decay'\]\. groups\.0\.lr is",
    ):
        two.load_state_dict(one.state_dict())
    with pytest.raises(
        ValueError,
        match=r"unknown entries \['groups\.1\.lr', 'groups\.1\.weight_decay'\]\. groups\.0\.lr is",
    ):
        one.load_state_dict(two.state_dict())
    state = {**one.state_dict(), 3: 0}
    del state["iter"]
    with pytest.raises(
        ValueError, match=r"missing entries \['iter'\] and unknown entries \['3'\]$"
    ):
        one.load_state_dict(state)
