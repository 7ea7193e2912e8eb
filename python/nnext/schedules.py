"""Schedules: plain callables from the number of steps done to the learning rate.

``Cosine(0.1, steps=1000)(0)`` is 0.1. A schedule is given to an optimizer as its ``lr``, where the
steps are its updates, or to `nnext.callbacks.LearningRateSchedule`, which can count epochs instead.
A function of your own will do as well. All but `ReduceOnPlateau`, which learns from what it is
told, remember nothing.

The rates are computed by additions and multiplications in float64, so that they are the same
everywhere: the last digit of ``pow`` and ``cos`` depends on the C library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from nnext._support import check_count, check_numbers, whole_number

__all__ = ["Constant", "Cosine", "Exponential", "ReduceOnPlateau", "StepDecay", "WarmUp"]

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """The same rate for ever.

    Parameters
    ----------
    lr : float
    """

    lr: float

    def __post_init__(self) -> None:
        _check(lr=self.lr)

    def __call__(self, step: int) -> float:
        """Return the rate after `step` steps."""
        return self.lr


@dataclass(frozen=True)
class StepDecay:
    """``lr · factor^(step // every)``: the rate falls by steps.

    Parameters
    ----------
    lr : float
    every : int
        Steps from one fall to the next.
    factor : float, default 0.1
    """

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check(lr=self.lr, factor=self.factor)
        check_count("every", self.every)

    def __call__(self, step: int) -> float:
        """Return the rate after `step` steps."""
        return self.lr * _power(self.factor, step // self.every)


@dataclass(frozen=True)
class Exponential:
    """``lr · factor^step``.

    Parameters
    ----------
    lr : float
    factor : float
    """

    lr: float
    factor: float

    def __post_init__(self) -> None:
        _check(lr=self.lr, factor=self.factor)

    def __call__(self, step: int) -> float:
        """Return the rate after `step` steps."""
        return self.lr * _power(self.factor, step)


@dataclass(frozen=True)
class Cosine:
    """From `lr` down to `final` along half a cosine, and `final` from then on.

    Parameters
    ----------
    lr : float
    steps : int
        How long the way is.
    final : float, default 0

    References
    ----------
    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).
    """

    lr: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _check(lr=self.lr, final=self.final)
        check_count("steps", self.steps)

    def __call__(self, step: int) -> float:
        """Return the rate after `step` steps."""
        if step >= self.steps:
            return self.final
        return self.final + (self.lr - self.final) * 0.5 * (1 + _cos_pi(step / self.steps))


@dataclass(frozen=True)
class WarmUp:
    """A line from 0 up to the rate that another schedule begins with, and then that schedule.

    At step i of the first `steps` the rate is ``then(0) · (i + 1) / (steps + 1)``; the other
    schedule's step 0 follows.

    Parameters
    ----------
    steps : int
    then : callable or float
        A schedule, or a rate that stays.
    """

    steps: int
    then: Schedule | float

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        if not callable(self.then):
            object.__setattr__(self, "then", Constant(self.then))

    def __call__(self, step: int) -> float:
        """Return the rate after `step` steps."""
        then: Schedule = self.then  # type: ignore[assignment]
        if step >= self.steps:
            return then(step - self.steps)
        return then(0) * (step + 1) / (self.steps + 1)

    def state_dict(self) -> dict[str, Any]:
        """Return what the schedule behind it remembers."""
        return remembered(self.then)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hand what `state_dict` returned to the schedule behind it."""
        load = getattr(self.then, "load_state_dict", None)
        if load is not None:
            load(state)
        elif state:
            raise ValueError(f"state: {self.then!r} remembers nothing, got {state!r}")

    def reset(self) -> None:
        """Let the schedule behind it begin anew."""
        reset = getattr(self.then, "reset", None)
        if reset is not None:
            reset()


class ReduceOnPlateau:
    """A rate that falls when a number has stopped improving; `report` tells it the number.

    `Trainer.fit` does the telling after each epoch: one that is an optimizer's or a group's ``lr``,
    also behind a `WarmUp`, is told the loss of the validation set, or without one that of the
    training; `nnext.callbacks.LearningRateSchedule` can tell another number.

    Parameters
    ----------
    lr : float
    factor : float, default 0.1
        What the rate is multiplied with, in (0, 1).
    patience : int, default 10
        So many reports without improvement make it fall.
    min_delta : float, default 1e-4
        What is not better by more than this is no improvement.
    mode : {"min", "max"}
        Whether lower or higher is better.
    cooldown : int, default 0
        Reports after a fall that do not count.
    min_lr : float, default 0
        It falls no lower.

    Attributes
    ----------
    rate : float
        The present rate.
    best : float
        The best report; NaN before the first.
    """

    def __init__(
        self,
        lr: float,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        mode: Literal["min", "max"] = "min",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        _check(lr=lr, factor=factor, min_delta=min_delta, min_lr=min_lr)
        if not 0 < factor < 1:
            raise ValueError(f"factor: expected a number in (0, 1), got {factor!r}")
        if mode not in ["min", "max"]:
            raise ValueError(f'mode: expected "min" or "max", got {mode!r}')
        if whole_number("cooldown", cooldown) < 0:
            raise ValueError(f"cooldown: expected a whole number of at least 0, got {cooldown!r}")
        self.lr = float(lr)
        self.factor = float(factor)
        self.patience = check_count("patience", patience)
        self.min_delta = float(min_delta)
        self.mode = mode
        self.cooldown = int(cooldown)
        self.min_lr = float(min_lr)
        self.reset()

    def reset(self) -> None:
        """Begin anew, with the rate ``lr``."""
        self.rate = self.lr
        self.best = math.nan
        self._waited = self._cooling = 0

    def __call__(self, step: int) -> float:
        """Return the present rate, whatever the step."""
        return self.rate

    def __repr__(self) -> str:
        return f"ReduceOnPlateau({self.lr}, factor={self.factor}, patience={self.patience})"

    def report(self, value: float) -> None:
        """Tell the number of another epoch. NaN is no improvement."""
        check_numbers(value=value)
        gain = self.best - value if self.mode == "min" else value - self.best
        if not math.isnan(value) and (math.isnan(self.best) or gain > self.min_delta):
            self.best, self._waited = float(value), 0
        elif self._cooling == 0:
            self._waited += 1
        self._cooling = max(self._cooling - 1, 0)
        if self._waited >= self.patience:
            self.rate = max(self.rate * self.factor, min(self.min_lr, self.rate))
            self._waited, self._cooling = 0, self.cooldown

    def state_dict(self) -> dict[str, float]:
        """Return what it has learnt from its reports."""
        return {
            "rate": self.rate,
            "best": self.best,
            "waited": self._waited,
            "cooling": self._cooling,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises
        ------
        ValueError
            If it is something else; nothing has changed then.
        """
        names = {"rate", "best", "waited", "cooling"}
        if not hasattr(state, "keys") or set(state) != names:
            raise ValueError(f"state: expected {sorted(names)}, got {state!r}")
        numbers = {name: float(state[name]) for name in names}
        _check(rate=numbers["rate"])
        counts = [numbers["waited"], numbers["cooling"]]
        if not all(count >= 0 and count.is_integer() for count in counts):
            raise ValueError(f"state: expected whole numbers waited and cooling, got {state!r}")
        self.rate, self.best = numbers["rate"], numbers["best"]
        self._waited, self._cooling = map(int, counts)


def remembered(schedule: Any) -> dict[str, Any]:
    """Return what a schedule remembers, nothing of most."""
    state_dict = getattr(schedule, "state_dict", None)
    return {} if state_dict is None else dict(state_dict())


def plateaus_of(schedules: Iterable[Any]) -> list[ReduceOnPlateau]:
    """Return what of some schedules wants to be told how it goes, each once."""
    found: list[ReduceOnPlateau] = []
    for schedule in schedules:
        while isinstance(schedule, WarmUp):
            schedule = schedule.then
        if isinstance(schedule, ReduceOnPlateau) and not any(schedule is one for one in found):
            found.append(schedule)
    return found


def checked_rate(schedule: Schedule, step: int) -> float:
    """Return the rate of a schedule at a step.

    Raises
    ------
    ValueError
        If it is not finite or below 0; it says of which schedule and at which step.
    TypeError
        If it is no number.
    """
    rate = schedule(step)
    try:
        good = 0 <= rate < math.inf
        number = float(rate)
    except (TypeError, ValueError):
        raise TypeError(
            f"lr: expected a number from {schedule!r} at step {step}, got {rate!r}"
        ) from None
    except OverflowError:
        good = False
    if not good:
        raise ValueError(
            f"lr: expected a finite number of at least 0 from {schedule!r} at step {step}, got "
            f"{rate!r}"
        )
    return number


def _check(**numbers: float) -> None:
    check_numbers(**numbers)
    for name, value in numbers.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}: expected a finite number of at least 0, got {value!r}")


def _cos_pi(x: float) -> float:
    """Return ``cos(π x)`` for x in [0, 1], by the series of the sine of ``π (1/2 - x)``."""
    y = math.pi * (0.5 - x)
    term = total = y
    for i in range(3, 25, 2):  # (π/2)^25 / 25! is 5e-21
        term *= -y * y / (i * (i - 1))
        total += term
    return total


def _power(base: float, exponent: int) -> float:
    """Return ``base ** exponent`` by squaring: multiplications are the same everywhere."""
    result = 1.0
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result
