"""What the options of an optimizer are: attributes that are checked whenever they are set."""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from nnext._support import Array, alike_strides, refuse_axes
from nnext.schedules import checked_rate


class Number:
    """An attribute that is a finite number of an interval, checked whenever it is set.

    Parameters
    ----------
    interval : str
        As in mathematics: ``"[0, 1)"`` holds 0 and not 1.

    Raises
    ------
    TypeError
        When it is set to what is no number. NumPy's scalars and 0-d arrays are numbers.
    ValueError
        When it is set to NaN, infinity or a number outside the interval.
    """

    def __init__(self, interval: str) -> None:
        self._interval = interval
        low, high = interval[1:-1].split(",")
        self._low, self._high = float(low), float(high)

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    if TYPE_CHECKING:  # at run time what was set is read as any attribute of an object is, at once

        @overload
        def __get__(self, instance: None, owner: type | None = None) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type | None = None) -> float: ...
        def __get__(self, instance: Any, owner: type | None = None) -> Any: ...

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self._name] = self.checked(value)

    def checked(self, value: Any) -> float:
        """Return a value as a number of the interval, or raise what setting it would raise."""
        try:
            refuse_axes(value)
            math.isnan(value)  # refuses text, which float() would read
            number = float(value)
        except TypeError:
            found = type(value).__name__
            raise TypeError(f"{self._name}: expected a number, got {found}") from None
        except OverflowError:
            number = math.inf
        above = self._low <= number if self._interval[0] == "[" else self._low < number
        below = number <= self._high if self._interval[-1] == "]" else number < self._high
        if not (above and below):
            raise ValueError(f"{self._name}: expected a number in {self._interval}, got {value}")
        return number


class Count(Number):
    """An attribute that is a whole number of at least 0, checked whenever it is set."""

    def __init__(self) -> None:
        super().__init__("[0, inf)")

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type | None = None) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type | None = None) -> int: ...
        def __get__(self, instance: Any, owner: type | None = None) -> Any: ...

    def checked(self, value: Any) -> int:
        """Return a value as a whole number."""
        try:
            count = -1 if isinstance(value, bool) else operator.index(value)
        except TypeError:
            count = -1
        if count < 0:
            raise ValueError(f"{self._name}: expected a whole number of at least 0, got {value!r}")
        return count


class Rate(Number):
    """A rate: a finite number of at least 0, or set to a schedule what that says of `iter`."""

    def __init__(self) -> None:
        super().__init__("[0, inf)")

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> float: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else at_step(instance.__dict__[self._name], instance.iter)

    def checked(self, value: Any) -> Any:
        """Return a number, or a schedule as it is."""
        if callable(value) and not isinstance(value, type):
            return value
        return super().checked(value)


class Power:
    """``base ** t`` as the product of t factors from the left.

    Not by pow(), which rounds differently from one C library to the next. A function of its
    arguments alone; it remembers the last answer, since t mostly goes up by one.
    """

    def __init__(self) -> None:
        self._base, self._t, self._value = 1.0, 0, 1.0

    def __call__(self, base: float, t: int) -> float:
        if base != self._base or t < self._t:
            self._base, self._t, self._value = base, 0, 1.0
        while self._t < t:
            value = self._value * base
            # At 0 or the smallest number there is it stays: no need to count a billion steps.
            self._t = t if value == self._value else self._t + 1
            self._value = value
        return self._value


class Group:
    """Options of some parameters, in place of the optimizer's own.

    Attributes
    ----------
    params : sequence of ndarray, or callable
        The parameters, or what says of an array whether it is one.

    Each option of the optimizer is an attribute too: the group's, if it has one, else the
    optimizer's. Set, it becomes the group's.
    """

    def __init__(self, name: str, optimizer: Any, options: Any) -> None:
        if not isinstance(options, Mapping) or "params" not in options:
            raise TypeError(
                f'{name}: expected a dict such as {{"params": [b], "weight_decay": 0}}, got '
                f"{options!r}"
            )
        params = options["params"]
        if not callable(params):
            if isinstance(params, np.ndarray) or not isinstance(params, Iterable):
                raise TypeError(
                    f'{name}["params"]: expected a list of arrays or a function, got '
                    f"{type(params).__name__}"
                )
            params = list(params)
            for i, p in enumerate(params):
                if not isinstance(p, np.ndarray):
                    raise TypeError(
                        f'{name}["params"][{i}]: expected an array, got {type(p).__name__}'
                    )
        vars(self).update(_name=name, _optimizer=optimizer, own={}, params=params)
        for option, value in options.items():
            if option != "params":
                setattr(self, option, value)

    def __getattr__(self, option: str) -> Any:
        if option.startswith("_"):  # before there are any, in copies
            raise AttributeError(option)
        if option in self.own:
            return at_step(self.own[option], self._optimizer.iter)
        return getattr(self._optimizer, option)

    def __setattr__(self, option: str, value: Any) -> None:
        optimizer = type(self._optimizer)
        if option not in optimizer.option_names():
            known = ", ".join(optimizer.option_names())
            raise ValueError(
                f"{self._name}: {optimizer.__name__} has no option {option!r}: {known}"
            )
        try:
            self.own[option] = getattr(optimizer, option).checked(value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self._name}: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the parameters lies elsewhere in memory: they are known by their places.
        held = self._optimizer._params
        if callable(self.params) or held is None:
            return dict(vars(self))
        known = _places_of(held)
        places = [p if isinstance(p, int) else known.get(memory(p), [p])[0] for p in self.params]
        return {**vars(self), "params": places}

    def __repr__(self) -> str:
        what = self.params if callable(self.params) else f"{len(self.params)} arrays"
        return f"Group({', '.join([str(what), *(f'{k}={v!r}' for k, v in self.own.items())])})"


def memory(p: Any) -> tuple[Any, ...]:
    """Return what is equal for two arrays exactly if they are the same memory seen alike."""
    if not isinstance(p, np.ndarray):
        return (id(p),)
    if p.size == 0:
        return (p.shape, p.dtype)
    return (p.__array_interface__["data"][0], p.shape, alike_strides(p), p.dtype)


def _places_of(params: Sequence[Array]) -> dict[tuple[Any, ...], list[int]]:
    """Return where each memory stands among parameters, seen as they are or transposed."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for i, p in enumerate(params):
        for seen in {memory(p), memory(p.T)}:
            found.setdefault(seen, []).append(i)
    return found


def groups_of(groups: Sequence[Group], params: Sequence[Array], optimizer: Any) -> list[Any]:
    """Return whose options each parameter has: a group's, the first that it is in, or `optimizer`.

    Nothing, if there are no groups.

    Raises
    ------
    ValueError
        If an array of a group is not among the parameters, or a group has none of them.
    TypeError
        If a function of a group answers something else than True or False.
    """
    if not groups:
        return []
    found: list[Any] = [None] * len(params)
    places = _places_of(params)
    for group in groups:
        if callable(group.params):
            chosen = [i for i, p in enumerate(params) if _says_yes(group, p)]
        else:
            chosen = []
            for k, p in enumerate(group.params):
                if isinstance(p, int):  # in a copy, of the optimizer and not of these
                    at = [p] if p < len(params) else []
                else:
                    at = places.get(memory(p), [])
                if not at:
                    raise ValueError(
                        f'{group._name}["params"][{k}], of shape {np.shape(p)}, is not among '
                        "the params"
                    )
                chosen += at
        if not chosen:
            raise ValueError(f"{group._name}: none of the {len(params)} params is in it")
        for i in chosen:
            found[i] = group if found[i] is None else found[i]
    return [optimizer if group is None else group for group in found]


def _says_yes(group: Group, p: Array) -> bool:
    answer = group.params(p)
    if not isinstance(answer, (bool, np.bool)):
        raise TypeError(
            f'{group._name}["params"]: expected True or False from the function, got {answer!r}'
        )
    return bool(answer)


def at_step(option: Any, step: int) -> Any:
    """Return an option, or what it says of this step."""
    return option if type(option) is float else checked_rate(option, step)
