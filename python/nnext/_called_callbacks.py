"""The callbacks of one call of ``fit``: checked, called in their order, asked for their states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nnext.callbacks import (
    Callback,
    LearningRateSchedule,
    ModelCheckpoint,
    Monitoring,
    remembers,
)

if TYPE_CHECKING:
    from nnext.trainer import Trainer

_EVENTS = (
    *("on_train_begin", "on_epoch_begin", "on_batch_begin", "on_gradients"),
    *("on_batch_end", "on_epoch_end", "on_train_end"),
)
_STOPPING = ("on_batch_end", "on_epoch_end")


class Callbacks:
    """The callbacks of one call of ``fit``, checked; calling it calls them.

    Parameters
    ----------
    callbacks : iterable
    trainer : Trainer
    columns : set of str, optional
        All that the history is going to have, if that is known: what callbacks monitor is among
        them.
    own : sequence of Callback
        Those of ``fit`` itself, called after the others.
    """

    def __init__(
        self,
        callbacks: Iterable[Any],
        trainer: Trainer,
        columns: set[str] | None,
        own: Sequence[Callback] = (),
    ) -> None:
        if not isinstance(callbacks, Iterable):
            raise TypeError(f"callbacks: expected a list of callbacks, got {callbacks!r}")
        self.all = [*callbacks, *own]
        self._trainer = trainer
        places: dict[int, int] = {}
        for i, callback in enumerate(self.all):
            _check_callback(f"callbacks[{i}]", callback)
            first = places.setdefault(id(callback), i)
            if first != i:
                raise ValueError(
                    f"callbacks[{i}] is callbacks[{first}] again, {callback!r}: it would be called "
                    "twice; make another object"
                )
            known = isinstance(callback, Monitoring | LearningRateSchedule)
            wanted = callback.monitor if known and getattr(callback, "save_best", True) else None
            if columns is not None and isinstance(wanted, str) and wanted not in columns:
                hint = "; give fit a validation set" if wanted.startswith("val_") else ""
                raise ValueError(
                    f"callbacks[{i}]: {type(callback).__name__} monitors {wanted!r}, and there "
                    f"will be {', '.join(map(repr, sorted(columns)))}{hint}"
                )
        # Those that write what the others remember come after these.
        self.all.sort(key=lambda c: c.rank() if isinstance(c, ModelCheckpoint) else (0, 0))
        self._handlers = {event: _handlers(event, self.all) for event in _EVENTS}
        self.stopped_by = ""  # the callback that said to stop, for people

    def states(self) -> list[tuple[str, Any]]:
        """Return the states of those that remember something, with their types' names."""
        states = [(type(c).__name__, c.state_dict()) for c in self.all if remembers(c)]
        return [(name, state) for name, state in states if state]

    def check_states(self, states: Sequence[tuple[str, Any]]) -> None:
        """Raise a ValueError unless every state is that of one of these callbacks."""
        self._matched(states)

    def load_states(self, states: Sequence[tuple[str, Any]], stopped_by: str) -> None:
        """Hand each its state; those that have none begin anew."""
        for callback, state in self._matched(states):
            callback.load_state_dict(state)
        self.stopped_by = stopped_by

    def _matched(self, states: Sequence[tuple[str, Any]]) -> list[tuple[Any, Any]]:
        remembering = iter([callback for callback in self.all if remembers(callback)])
        matched = []
        for name, state in states:
            callback = next((c for c in remembering if type(c).__name__ == name), None)
            if callback is None:
                raise ValueError(
                    f"callbacks: the checkpoint has the state of {', '.join(n for n, _ in states)},"
                    f" and goes on with callbacks of these types in this order; got {self.all!r}"
                )
            matched.append((callback, state))
        return matched

    def has(self, event: str) -> bool:
        """Whether any callback wants this."""
        return bool(self._handlers[event])

    def __call__(self, event: str) -> bool:
        """Call all; return whether one said to stop.

        What is raised is raised at once, but at the end of the training only when all were called:
        one may have to put something back.
        """
        if event == "on_train_end":
            self._end()
            return False
        stop = False
        for handler in self._handlers[event]:
            answer = handler(self._trainer)
            if answer is None or event not in _STOPPING:
                continue
            if not isinstance(answer, (bool, np.bool)):
                raise TypeError(
                    f"{getattr(handler, '__qualname__', handler)}: expected True, to stop, False "
                    f"or None, got {answer!r}"
                )
            if answer and not stop:
                stop = True
                self.stopped_by = repr(getattr(handler, "__self__", handler))
        return stop

    def _end(self) -> None:
        errors: list[Exception] = []
        for handler in self._handlers["on_train_end"]:
            try:
                handler(self._trainer)
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]


def _check_callback(name: str, callback: Any) -> None:
    if isinstance(callback, type):
        raise TypeError(f"{name}: expected an object, got the class {callback.__name__}")
    known = [event for event in _EVENTS if callable(getattr(callback, event, None))]
    unknown = [a for a in dir(callback) if a.startswith("on_") and a not in known]
    if unknown or not known:
        what = f"which has {', '.join(unknown)}" if unknown else "which has none of these methods"
        raise TypeError(
            f"{name}: got {callback!r}, {what}; a callback's methods are {', '.join(_EVENTS)}"
        )


def _handlers(event: str, callbacks: Sequence[Any]) -> list[Callable[[Any], Any]]:
    """Return the methods to call, without those that `Callback` leaves empty."""
    empty = getattr(Callback, event)
    found = [getattr(callback, event, None) for callback in callbacks]
    return [f for f in found if f is not None and getattr(f, "__func__", None) is not empty]
