"""Schedules: their formulas against math, their ends, and what is refused."""

import math

import pytest

from nnext.schedules import (
    Constant,
    Cosine,
    Exponential,
    ReduceOnPlateau,
    StepDecay,
    WarmUp,
    checked_rate,
)

STEPS = [0, 1, 2, 7, 99, 100, 101, 1000]


@pytest.mark.parametrize("step", STEPS)
def test_formulas(step):
    assert Constant(0.3)(step) == 0.3
    assert StepDecay(0.3, 10, 0.5)(step) == pytest.approx(0.3 * 0.5 ** (step // 10), rel=1e-13)
    assert Exponential(0.3, 0.99)(step) == pytest.approx(0.3 * 0.99**step, rel=1e-13)
    cosine = 0.1 + 0.2 * (1 + math.cos(math.pi * min(step, 100) / 100)) / 2
    assert Cosine(0.3, 100, final=0.1)(step) == pytest.approx(cosine, rel=1e-15)


def test_cosine_is_exact_at_its_ends_and_its_middle():
    schedule = Cosine(0.4, 100)
    assert [schedule(s) for s in (0, 50, 100, 10**9)] == [
        pytest.approx(0.4, rel=1e-15),
        0.2,
        0.0,
        0.0,
    ]


def test_a_warm_up_rises_to_what_follows():
    schedule = WarmUp(4, StepDecay(1.0, 2, 0.5))
    assert [schedule(s) for s in range(9)] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 0.5, 0.5, 0.25]
    assert [WarmUp(1, 0.5)(s) for s in range(3)] == [0.25, 0.5, 0.5]
    assert WarmUp(2, WarmUp(2, 0.9))(5) == 0.9


def test_schedules_show_what_they_are():
    assert (
        repr(WarmUp(4, Cosine(0.1, 10)))
        == "WarmUp(steps=4, then=Cosine(lr=0.1, steps=10, final=0.0))"
    )


def told(schedule, values):
    rates = []
    for value in values:
        schedule.report(value)
        rates.append(schedule(len(rates)))
    return rates


def test_a_plateau_makes_the_rate_fall():
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=2, min_delta=0.1)
    assert schedule(0) == 1.0
    assert told(schedule, [5, 4, 3.95, 3.92, 3, 2.99, 2.98]) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert schedule.best == 3


def test_a_cooldown_lets_reports_pass_and_there_is_a_lowest_rate():
    schedule = ReduceOnPlateau(1.0, factor=0.1, patience=1, cooldown=2, min_lr=0.05)
    assert told(schedule, [1, 1, 1, 1, 1, 1, 1, 1]) == [1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05]


def test_higher_may_be_better_and_nan_is_no_improvement():
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=2, mode="max")
    assert told(schedule, [1, 2, 3, math.nan, 3]) == [1, 1, 1, 1, 0.5]
    assert schedule.best == 3


def test_a_plateaus_state_goes_on_elsewhere():
    reports = [5, 4, 4, 4, 4, 3, 3, 3, 3, 3]
    whole = ReduceOnPlateau(1.0, factor=0.5, patience=2, cooldown=1)
    expected = told(whole, reports)
    first = ReduceOnPlateau(1.0, factor=0.5, patience=2, cooldown=1)
    got = told(first, reports[:4])
    second = ReduceOnPlateau(1.0, factor=0.5, patience=2, cooldown=1)
    second.load_state_dict(first.state_dict())
    assert got + told(second, reports[4:]) == expected


@pytest.mark.parametrize(
    "change", [{"rate": math.nan}, {"waited": 1.5}, {"cooling": -1}, {"other": 1}]
)
def test_a_wrong_state_changes_nothing(change):
    schedule = ReduceOnPlateau(1.0, patience=1)
    told(schedule, [1, 1])
    before = schedule.state_dict()
    with pytest.raises(ValueError, match="expected"):
        schedule.load_state_dict({**before, **change})
    with pytest.raises(ValueError, match="state: expected"):
        schedule.load_state_dict(3)
    assert schedule.state_dict() == before


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Constant(-1), ValueError, "lr: expected a finite number of at least 0, got -1"),
        (lambda: Constant("a"), TypeError, "lr: expected a number, got str"),
        (lambda: StepDecay(1, 0), ValueError, "every: expected a whole number of at least 1"),
        (lambda: StepDecay(1, 1, math.inf), ValueError, "factor: expected a finite number"),
        (lambda: Exponential(1, math.nan), ValueError, "factor: expected a finite number"),
        (lambda: Cosine(1, 0), ValueError, "steps: expected a whole number of at least 1"),
        (lambda: Cosine(1, 1, -1), ValueError, "final: expected a finite number"),
        (lambda: WarmUp(0, 1), ValueError, "steps: expected a whole number of at least 1"),
        (lambda: WarmUp(1, "a"), TypeError, "lr: expected a number, got str"),
        (lambda: ReduceOnPlateau(1, factor=1), ValueError, r"factor: expected a number in \(0, 1"),
        (lambda: ReduceOnPlateau(1, mode="up"), ValueError, "mode: expected .* got 'up'"),
        (lambda: ReduceOnPlateau(1, cooldown=-1), ValueError, "cooldown: expected a whole number"),
        (lambda: ReduceOnPlateau(1, patience=0), ValueError, "patience: expected a whole number"),
        (lambda: ReduceOnPlateau(1, min_lr=-1), ValueError, "min_lr: expected a finite number"),
        (lambda: checked_rate(lambda step: [1], 3), TypeError, "at step 3, got"),
    ],
)
def test_what_is_no_schedule_is_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
