"""What the optimizers share: options, whose state it is, and storing and restoring it.

The formulas are in `optimizer`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from inspect import signature
from itertools import chain
from operator import is_
from typing import Any, ClassVar

import numpy as np

from nnext._masters import HALF_PARAMS, Halves, check_list, state_type
from nnext._optimizer_options import (
    Count,
    Group,
    Number,
    Rate,
    at_step,
    groups_of,
    memory,
)
from nnext._support import Array, find_overlap, zeros_for
from nnext.schedules import ReduceOnPlateau, plateaus_of, remembered

Arrays = Sequence[Array]

# The form of what `state_dict` returns; another one is refused.
_VERSION = 1

_OTHER_ARRAYS = (
    "This optimizer holds the state of other arrays. Make a new optimizer for these, or call "
    "reset() to begin anew, or load_state_dict() to give it their state."
)


def _same_objects(ones: Sequence[object], others: Sequence[object]) -> bool:
    return len(ones) == len(others) and all(map(is_, ones, others))


def _listed(name: str, arrays: Iterable[Any]) -> list[Any]:
    try:
        items = iter(arrays)
    except TypeError:
        found = type(arrays).__name__
        raise TypeError(f"{name}: expected a list of arrays, got {found}") from None
    return list(items)


def _as_list(name: str, arrays: Iterable[Any]) -> list[Any]:
    """Return a list as it is, and anything else that can be iterated over as one."""
    return arrays if isinstance(arrays, list) else _listed(name, arrays)


def _check_apart(own: Mapping[str, Arrays], others: Mapping[str, Arrays]) -> None:
    """Raise a ValueError if two arrays share memory, of which one or both are among `own`."""
    named = [
        [(f"{name}[{i}]", a) for name, arrays in lists.items() for i, a in enumerate(arrays)]
        for lists in (own, others)
    ]
    found = find_overlap(*([a for _, a in part] for part in named))
    if found is None:
        return
    first, second = ((named[0] + named[1])[k][0] for k in found)
    what = "itself" if first == second else second
    raise ValueError(f"{first} shares memory with {what}; the state needs memory of its own")


class Optimizer:
    """What every optimizer has: a rate, a state that belongs to its parameters, and `update`.

    Parameters
    ----------
    lr : float or callable
        The rate, finite and at least 0; or a schedule (`nnext.schedules`), a function from the
        number of steps made to the rate of the next.
    weight_decay : float
        The part of each parameter that a step takes away, before it is scaled by the rate; finite
        and at least 0. It is decoupled from the gradient.
    groups : iterable of dict
        Options of some parameters: ``{"params": [...], "weight_decay": 0, "lr": 0.01}`` with
        ``"params"`` a list of arrays, or a function that says of an array whether it is one
        (``lambda p: p.ndim < 2`` are biases). A parameter in several has the first one's.

    Attributes
    ----------
    groups : tuple of Group
        With the options as attributes, which may be set.
    iter : int
        The number of steps made.
    """

    lr = Rate()
    weight_decay = Number("[0, inf)")
    iter = Count()

    # The core's function: it takes params, grads, the state's lists and what `_numbers_of` returns.
    _core: ClassVar[Callable[..., None]]

    # The lists of what is remembered, an array for each parameter.
    _state: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, lr: Any, weight_decay: float = 0.0, groups: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        self.lr = lr
        self.weight_decay = weight_decay
        if isinstance(groups, Mapping | str) or not isinstance(groups, Iterable):
            raise TypeError(f"groups: expected a list of dicts, got {groups!r}")
        self._groups = tuple(Group(f"groups[{i}]", self, g) for i, g in enumerate(groups))
        self._forget()

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups, which are given when the optimizer is made; their options may be set."""
        return self._groups

    def _forget(self) -> None:
        self.iter = 0
        self._options_of: list[Any] = []  # whose options each parameter has, if there are groups
        for name in self._state:
            setattr(self, name, None)
        self.master: list[Array] | None = None
        # The parameters that the state belongs to, and its lists and their arrays as they were
        # checked against them. They are kept, so that no other array can come to lie at their
        # addresses. Without parameters the state belongs to the next ones whose shapes it has.
        self._params: list[Array] | None = None
        self._checked: list[object] = []
        self._arrays: list[Array] = []
        self._halves = Halves([])

    def reset(self) -> None:
        """Forget everything but the options: the next `update` is the first one.

        A schedule that remembers something, as `ReduceOnPlateau` does, forgets it too.
        """
        for schedule in self._schedules():
            reset = getattr(schedule, "reset", None)
            if reset is not None:
                reset()
        self._forget()

    def plateaus(self) -> list[ReduceOnPlateau]:
        """Return the schedules that want to be told how training goes, those of groups too."""
        return plateaus_of(self._schedules())

    def _schedules(self) -> list[Any]:
        """Return the schedules among the options, of the groups too."""
        return [
            own[option] for own, option in self._named_options().values() if callable(own[option])
        ]

    def check_options(self, params: list[Array]) -> None:
        """Raise what the next `update` of these parameters would of its options."""
        for own in groups_of(self.groups, params, self) or [self]:
            self._numbers_of(own)

    def update(self, params: Arrays, grads: Arrays) -> None:
        """Move `params` in place by one step against `grads`.

        Parameters
        ----------
        params : sequence of ndarray
            The parameters, float32, float64, float16 or bfloat16, of any shapes. Always the same
            memory: what the optimizer remembers belongs to the arrays of the first call. New lists
            and new views of it will do.
        grads : sequence of ndarray
            Their gradients, of the same shapes, which are not written.

        Raises
        ------
        TypeError
            For types that cannot be used.
        ValueError
            For lengths and shapes that do not fit, read-only parameters, parameters other than
            those that the state belongs to, groups that have none of them, a schedule whose rate is
            no finite number of at least 0, and a state set by hand whose arrays share memory with
            each other, the parameters or the gradients. In all cases nothing has been written.
        """
        params = _listed("params", params)
        lists = self._lists()
        bound = self._is_bound(params, lists)
        halves = self._halves if bound else Halves(params)
        if not bound:
            grads = _as_list("grads", grads)
            lists = self._adopted(params, grads, halves)
        options = self._options_of if bound else groups_of(self.groups, params, self)
        numbers: Sequence[Any]
        if not options:
            numbers = self._numbers_of(self)
        else:
            owners = {id(own): own for own in options}
            of = {key: self._numbers_of(own) for key, own in owners.items()}
            numbers = [*zip(*(of[id(own)] for own in options), strict=True)]
        *state, masters = lists
        if halves.own:
            self._core(halves.read(params, masters), grads, *state, *numbers)
            halves.write(masters)
        else:  # mostly so, and an update of small arrays takes a few microseconds
            self._core(params, grads, *state, *numbers)
        vars(self)["iter"] += 1  # not by the attribute, which would check it
        if not bound:
            self._options_of = options
            for name, arrays in zip(self._list_names(), lists, strict=True):
                setattr(self, name, arrays)
            self._params, self._checked, self._halves = params, lists, halves
            self._arrays = [a for arrays in lists for a in arrays]

    def _numbers_of(self, options: Any) -> tuple[float, ...]:
        """Return what the core takes of options, the optimizer's own or a group's, for a step."""
        raise NotImplementedError

    def _list_names(self) -> tuple[str, ...]:
        return (*self._state, "master")

    def _lists(self) -> list[Any]:
        return [getattr(self, name) for name in self._list_names()]

    def _is_bound(self, params: list[Array], lists: list[Any]) -> bool:
        """Say whether `params` and `lists` are those that were checked, array by array."""
        if not _same_objects(lists, self._checked):
            return False
        if sum(map(len, lists)) != len(self._arrays):
            return False
        return all(map(is_, chain.from_iterable(lists), self._arrays)) and self._belongs_to(params)

    def _belongs_to(self, params: list[Array]) -> bool:
        held = self._params
        if held is None:
            return False
        return _same_objects(params, held) or [*map(memory, params)] == [*map(memory, held)]

    def _adopted(self, params: list[Array], grads: Arrays, halves: Halves) -> list[Any]:
        """Return the lists of the state, checked to be those of `params`, or new ones."""
        *state, masters = self._lists()
        known = self._params is None or self._belongs_to(params)
        has_state = bool(masters) or any(arrays is not None for arrays in state)
        if has_state and self._params is not None and not known:
            _raise_other_arrays(params, self._params)
        if all(arrays is None for arrays in state):
            state = [[zeros_for(np.asarray(p), state_type(p)) for p in params] for _ in state]
        else:
            for name, arrays in zip(self._state, state, strict=True):
                if arrays is None:
                    raise ValueError(f"{name} is None: set all of {', '.join(self._state)} or none")
            state = [*map(_as_list, self._state, state)]
            for name, arrays in zip(self._state, state, strict=True):
                check_list(name, arrays, params, "params")
        if masters is None:
            masters = halves.new_masters()
        masters = _as_list("master", masters)
        check_list("master", masters, halves.own, HALF_PARAMS)
        if has_state:
            own = dict(zip(self._list_names(), [*state, masters], strict=True))
            _check_apart(own, {"params": params, "grads": grads})
        return [*state, masters]

    def check_params(self, params: Iterable[Array]) -> None:
        """Raise what `update` would raise if the state cannot be that of `params`."""
        listed = _listed("params", params)
        self._adopted(listed, [], Halves(listed))

    @classmethod
    def _numbers(cls) -> list[str]:
        """Return the names of all numbers: the options and what is counted."""
        found = [vars(c).items() for c in reversed(cls.__mro__)]
        return [name for items in found for name, value in items if isinstance(value, Number)]

    @classmethod
    def option_names(cls) -> list[str]:
        """Return the names of the options, which groups may have of their own."""
        return [name for name in cls._numbers() if not isinstance(getattr(cls, name), Count)]

    @classmethod
    def _type_name(cls) -> str:
        return f"{cls.__module__}.{cls.__qualname__}"

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, apart from the parameters.

        Returns
        -------
        dict
            ``"type"`` (str) and ``"version"`` (int) say what it is; then every option and counter
            as a float or int by its name, and every list of the state (``"master"`` too) as a list
            of new arrays, empty before the first `update`. The options of group i are named
            ``"groups.i.lr"``; a rate that is a schedule is the rate of the next step, NaN where the
            schedule has none, and what the schedule itself remembers is named ``"lr.best"``.
        """
        state: dict[str, Any] = {"type": self._type_name(), "version": _VERSION, "iter": self.iter}
        for name, (own, option) in self._named_options().items():
            value = own[option]
            if callable(value):
                state.update({f"{name}.{key}": of for key, of in remembered(value).items()})
                value = _next_rate(value, self.iter)
            state[name] = value
        for name, arrays in zip(self._list_names(), self._lists(), strict=True):
            state[name] = [np.array(a, order="K") for a in arrays or []]
        return state

    def _named_options(self) -> dict[str, tuple[dict[str, Any], str]]:
        """Return where each option stands, by its name in `state_dict`."""
        named = {name: (vars(self), name) for name in self.option_names()}
        for i, group in enumerate(self.groups):
            named.update({f"groups.{i}.{name}": (group.own, name) for name in group.own})
        return named

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, options included.

        The arrays are copied. The state then belongs to the parameters of the next `update`, which
        must have its shapes and types. A schedule stays what it is, and goes on from the step that
        the state is of.

        Parameters
        ----------
        state : mapping
            From an optimizer of the same type, with the same groups. Numbers and text may have
            become 0-d arrays, as ``numpy.savez`` makes them.

        Raises
        ------
        TypeError
            For arrays of other types than a state has.
        ValueError
            For the state of another type of optimizer, missing or unknown entries, numbers that are
            not allowed, lists that do not fit each other or the parameters that this optimizer
            already has. In all cases nothing has been changed.
        """
        options = self._named_options()
        schedules = {
            n: own[option] for n, (own, option) in options.items() if callable(own[option])
        }
        told = {n: [f"{n}.{key}" for key in remembered(of)] for n, of in schedules.items()}
        names = [*options, *chain.from_iterable(told.values()), *self._list_names()]
        _check_kind(state, self._type_name(), ["iter", *names])
        restored = type(self).__new__(type(self))
        restored._forget()
        restored.iter = _plain(state["iter"])
        numbers = {}
        for name, (_, option) in options.items():
            if name not in schedules:
                with _saying_where(name, option):
                    numbers[name] = getattr(type(self), option).checked(_plain(state[name]))
        lists = {name: _state_arrays(name, state[name]) for name in self._list_names()}
        if any(lists[name] for name in self._state):
            first = self._state[0] if self._params is None else "params"
            models = lists[first] if self._params is None else self._params
            for name in self._state:
                check_list(name, lists[name], models, first)
        if lists["master"] and self._params is not None:
            check_list("master", lists["master"], self._halves.own, HALF_PARAMS)
        for name, arrays in lists.items():
            setattr(restored, name, arrays or None)
        kept = {
            name: {key[len(name) + 1 :]: _plain(state[key]) for key in keys}
            for name, keys in told.items()
            if keys
        }
        for name, of in kept.items():  # all are tried before the first is changed
            with _saying_where(name):
                deepcopy(schedules[name]).load_state_dict(of)
        for name, of in kept.items():
            schedules[name].load_state_dict(of)
        vars(self).update(vars(restored))
        for name in numbers:
            own, option = options[name]
            own[option] = numbers[name]

    def __getstate__(self) -> dict[str, Any]:
        # A copy of the parameters lies elsewhere in memory: the next ones are taken for them.
        unbound: dict[str, Any] = {
            "_params": None,
            "_checked": [],
            "_arrays": [],
            "_halves": Halves([]),
            "_options_of": [],
        }
        return {**vars(self), **unbound}

    def __repr__(self) -> str:
        shown = []
        for name, parameter in signature(type(self)).parameters.items():
            if name not in vars(self) and not hasattr(
                self, name
            ):  # a subclass may take what it does not keep
                continue
            value = vars(self)[name] if name in vars(self) else getattr(self, name)
            if name == "lr" or value != parameter.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


def _next_rate(schedule: Any, step: int) -> float:
    """Return what a schedule says of a step; NaN if that is nothing, as at the end of a list."""
    try:
        return at_step(schedule, step)  # type: ignore[no-any-return]
    except Exception:
        return math.nan


def decay_of(rate: float, options: Any) -> float:
    """Return the part of a parameter that the next step takes away.

    Raises
    ------
    ValueError
        If that is more than all of it.
    """
    decay: float = rate * options.weight_decay
    if decay > 1:
        raise ValueError(
            f"weight_decay: a step would take away lr * weight_decay = {rate:g} * "
            f"{options.weight_decay:g} of each parameter, more than all of it"
        )
    return decay


def _raise_other_arrays(params: list[Array], held: list[Array]) -> None:
    if len(params) != len(held):
        raise ValueError(f"params: expected {len(held)} arrays, got {len(params)}. {_OTHER_ARRAYS}")
    for i, (p, own) in enumerate(zip(params, held, strict=True)):
        if memory(p) != memory(own):
            raise ValueError(
                f"params[{i}], of shape {np.shape(p)}, is not the array of earlier updates, of "
                f"shape {own.shape}. {_OTHER_ARRAYS}"
            )


def _plain(value: Any) -> Any:
    """Return what a 0-d array holds, and anything else as it is."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _check_kind(state: Mapping[str, Any], kind: str, names: list[str]) -> None:
    if not hasattr(state, "get"):
        raise TypeError(f"state: expected what state_dict() returns, got {type(state).__name__}")
    found = _plain(state.get("type"))
    if found != kind:
        raise ValueError(f"state: expected that of {kind}, got that of {found}")
    version = _plain(state.get("version"))
    if version != _VERSION:
        raise ValueError(f"state: expected version {_VERSION}, got {version}")
    expected = {"type", "version", *names}
    missing, unknown = sorted(expected - {*state}), sorted(map(str, {*state} - expected))
    if not (missing or unknown):
        return
    faults = [
        f"{what} entries {entries}"
        for what, entries in (("missing", missing), ("unknown", unknown))
        if entries
    ]
    hint = ""
    if any(name.startswith("groups.") for name in missing + unknown):
        hint = (
            ". groups.0.lr is the lr of groups[0]: it goes into an optimizer whose groups have the "
            "options that those of its own had"
        )
    raise ValueError(f"state: {' and '.join(faults)}{hint}")


@contextmanager
def _saying_where(name: str, option: str = "") -> Iterator[None]:
    """Name the entry of a state in an error that names its option, or nothing."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: {str(error).removeprefix(f'{option}: ')}") from None


def _state_arrays(name: str, arrays: Iterable[Any]) -> list[Array]:
    types = ["float32"] if name == "master" else ["float32", "float64"]
    copies = []
    for i, array in enumerate(_listed(name, arrays)):
        if not isinstance(array, np.ndarray) or array.dtype.name not in types:
            found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(f"{name}[{i}]: expected an array of {' or '.join(types)}, got {found}")
        copies.append(np.array(array, dtype=array.dtype.newbyteorder("="), order="K"))
    return copies
