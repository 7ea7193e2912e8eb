"""Callbacks: what else happens while `nnext.trainer.Trainer.fit` trains.

A callback is any object with some of these methods, each of which is called with the trainer:

=================== ==============================================================================
``on_train_begin``  before the first batch of a call of ``fit``
``on_epoch_begin``  before the first batch of each epoch
``on_batch_begin``  before each batch
``on_gradients``    when the gradients of a batch are there, shared ones summed, none clipped yet
``on_batch_end``    after the update; ``trainer.step`` has the ``loss`` and its ``count``
``on_epoch_end``    when the epoch's loss and metrics are in ``trainer.history``
``on_train_end``    at the end of ``fit``, after Ctrl-C too, but after no other exception
=================== ==============================================================================

What a callback remembers is in checkpoints (`ModelCheckpoint`) if it has ``state_dict()``, a dict
of numbers, text, arrays, and lists and dicts of these, and ``load_state_dict(state)``.

``on_batch_end`` and ``on_epoch_end`` return True to stop: the epoch ends there, with all of its
columns in the history. Whatever else they could return but None and False is an error, as is a
method ``on_...`` that is none of these. Several callbacks are called in their order.

Examples
--------
>>> from nnext.callbacks import Callback
>>> class StopAtLoss(Callback):
...     def __init__(self, loss):
...         self.loss = loss
...
...     def on_epoch_end(self, trainer):
...         return trainer.history.epoch_loss[-1] < self.loss
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nnext._callback import Callback
from nnext._names import buffers_of
from nnext._record_parameters import RecordParameters
from nnext._support import Array, check_count, check_flag, check_numbers, whole_number
from nnext._whole_files import PathLike, check_folder, file_name
from nnext.schedules import checked_rate, plateaus_of, remembered

if TYPE_CHECKING:
    from nnext.history import History
    from nnext.trainer import Trainer

__all__ = [
    "Callback",
    "EarlyStopping",
    "LearningRateSchedule",
    "ModelCheckpoint",
    "RecordParameters",
    "TerminateOnNaN",
]

Mode = Literal["auto", "min", "max"]


class Monitoring(Callback):
    """What watches one column of the history: ``"loss"`` or a metric."""

    def __init__(self, monitor: str, mode: Mode, min_delta: float) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor: expected the name of a metric, got {monitor!r}")
        if mode not in ["auto", "min", "max"]:
            raise ValueError(f'mode: expected "auto", "min" or "max", got {mode!r}')
        check_numbers(min_delta=min_delta)
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"min_delta: expected a number of at least 0, got {min_delta!r}")
        self.monitor = monitor
        self.mode: Literal["min", "max"] = _direction(monitor) if mode == "auto" else mode
        self.min_delta = float(min_delta)

    def _is_better(self, value: float, best: float) -> bool:
        """Whether `value` is better by more than ``min_delta``; NaN is worse than anything."""
        if math.isnan(value):
            return False
        if math.isnan(best):
            return True
        return (best - value if self.mode == "min" else value - best) > self.min_delta


class EarlyStopping(Monitoring):
    """Stops when a number has not improved for some epochs, and brings back the best parameters.

    Parameters
    ----------
    monitor : str
        ``"loss"`` of the training, ``"val_loss"``, or the name of a metric.
    patience : int
        So many epochs without improvement end the training.
    min_delta : float
        What is not better by more than this is no improvement.
    mode : {"auto", "min", "max"}
        Whether lower or higher is better. ``"auto"`` goes by the last word of the name: loss and
        error are to be low, accuracy, score, r2 and f1 high; others need a ``mode``.
    restore_best : bool
        Whether the parameters and buffers of the best epoch are put back at the end of ``fit``,
        also if all epochs were done or Ctrl-C ended it. The optimizer's state stays that of the
        last step.

    Attributes
    ----------
    best : float
        The best value so far; NaN before there is one.
    best_epoch : int or None
        The number of its epoch, from 1, over all calls of ``fit``.
    stopped_epoch : int or None
        The number of the epoch after which it stopped.

    Raises
    ------
    ValueError, TypeError
        If an option cannot be used. ``fit`` raises a ValueError if there is no such number: before
        it trains, but after the first epoch where ``on_epoch`` might have given it.

    References
    ----------
    Prechelt, "Early Stopping - But When?" (1998).
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: Mode = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = check_count("patience", patience)
        self.restore_best = check_flag("restore_best", restore_best)
        self._begin()

    def __repr__(self) -> str:
        return f"EarlyStopping({self.monitor!r}, patience={self.patience})"

    def _begin(self) -> None:
        self.best = math.nan
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._waited = 0
        self._kept: list[Array] = []

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers, the best parameters too."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "waited": self._waited,
            "kept": list(self._kept),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises
        ------
        ValueError
            If it is something else; nothing has changed then.
        """
        _check_names(state, self.state_dict())
        epochs = {}
        for name in ("best_epoch", "stopped_epoch"):
            value = state[name]
            epochs[name] = None if value is None else whole_number(name, value)
        check_numbers(best=state["best"])
        waited = whole_number("waited", state["waited"])
        kept = [np.array(array, order="K") for array in state["kept"]]
        self.best, self._waited, self._kept = float(state["best"]), waited, kept
        self.best_epoch, self.stopped_epoch = epochs["best_epoch"], epochs["stopped_epoch"]

    def on_train_begin(self, trainer: Trainer) -> None:
        """Begin anew: what was best in an earlier call does not count."""
        self._begin()

    def on_epoch_end(self, trainer: Trainer) -> bool:
        """Note the best parameters; True after `patience` epochs without better ones."""
        epoch = len(trainer.history.epoch_loss)
        value = latest(trainer.history, self.monitor)
        if self._is_better(value, self.best):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best:
                self._kept = [np.array(a, order="K") for a in _arrays(trainer.model)]
            return False
        self._waited += 1
        if self._waited >= self.patience:
            self.stopped_epoch = epoch
            return True
        return False

    def on_train_end(self, trainer: Trainer) -> None:
        """Put the best parameters back."""
        arrays = _arrays(trainer.model)
        if self._kept and len(arrays) == len(self._kept):
            for array, kept in zip(arrays, self._kept, strict=True):
                np.copyto(array, kept)
        self._kept = []


class LearningRateSchedule(Callback):
    """Sets the optimizer's ``lr`` before each batch, or each epoch, by a schedule.

    Parameters
    ----------
    schedule : callable
        From the number of steps (or epochs) that are done to the rate: one of `nnext.schedules`,
        or a function of your own.
    by : {"batch", "epoch"}
        What is counted, over all calls of ``fit``.
    monitor : str, optional
        The number that a `ReduceOnPlateau`, also one behind a `WarmUp`, is told after each epoch;
        ``"val_loss"`` if left out.

    Raises
    ------
    TypeError, ValueError
        If something cannot be used. In training also if the schedule gives anything but a finite
        number of at least 0; the batch is not trained on then.
    """

    def __init__(
        self,
        schedule: Callable[[int], float],
        by: Literal["batch", "epoch"] = "batch",
        monitor: str | None = None,
    ) -> None:
        if not callable(schedule):
            raise TypeError(f"schedule: expected a function of the step, got {schedule!r}")
        if by not in ["batch", "epoch"]:
            raise ValueError(f'by: expected "batch" or "epoch", got {by!r}')
        self._plateaus = plateaus_of([schedule])
        reports = bool(self._plateaus)
        if monitor is not None and not reports:
            raise ValueError("monitor: this schedule is not told anything; ReduceOnPlateau is")
        if monitor is not None and not isinstance(monitor, str):
            raise TypeError(f"monitor: expected the name of a metric, got {monitor!r}")
        self.schedule = schedule
        self.by = by
        self.monitor = (monitor or "val_loss") if reports else None

    def __repr__(self) -> str:
        return f"LearningRateSchedule({self.schedule!r}, by={self.by!r})"

    def on_train_begin(self, trainer: Trainer) -> None:
        """Refuse an optimizer without ``lr``, and one that has a schedule of its own.

        Raises
        ------
        TypeError, ValueError
            Before anything is trained.
        """
        name = type(trainer.optimizer).__name__
        if not hasattr(trainer.optimizer, "lr"):
            raise TypeError(f"LearningRateSchedule: the optimizer {name} has no lr to set")
        own = getattr(trainer.optimizer, "__dict__", {}).get("lr")
        if callable(own):
            raise ValueError(
                f"LearningRateSchedule: the lr of the optimizer {name} is a schedule already, "
                f"{own!r}"
            )

    def state_dict(self) -> dict[str, Any]:
        """Return what the schedule remembers, nothing of most."""
        return remembered(self.schedule)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises
        ------
        ValueError
            If it is something else.
        """
        schedule: Any = self.schedule
        if remembers(schedule):
            schedule.load_state_dict(state)
        elif state:
            raise ValueError(f"state: expected nothing for {self.schedule!r}, got {state!r}")

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Set the rate, if epochs are counted."""
        if self.by == "epoch":
            self._set(trainer, len(trainer.history.epoch_loss))

    def on_batch_begin(self, trainer: Trainer) -> None:
        """Set the rate, if batches are counted."""
        if self.by == "batch":
            self._set(trainer, trainer.history.batches)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Tell a `ReduceOnPlateau` how it went."""
        for plateau in self._plateaus:
            plateau.report(latest(trainer.history, str(self.monitor)))

    def _set(self, trainer: Trainer, step: int) -> None:
        trainer.optimizer.lr = checked_rate(self.schedule, step)


class TellPlateaus(Callback):
    """Tells the plateaus of an optimizer's schedules how each epoch went; ``fit`` adds it."""

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Report the number to all that the optimizer has by then; one of your own has none."""
        for plateau in getattr(trainer.optimizer, "plateaus", list)():
            plateau.report(latest(trainer.history, self.monitor))


class TerminateOnNaN(Callback):
    """Stops after a batch whose loss is NaN or infinite.

    ``fit(on_nonfinite="raise")`` stops before such a batch is applied, with an exception; this ends
    ``fit`` as if its epochs were over, which a search over many settings may prefer.
    """

    def on_batch_end(self, trainer: Trainer) -> bool:
        """Return True if the loss of the batch is not finite."""
        step = trainer.step
        return step is not None and step.count > 0 and not math.isfinite(step.loss)


class ModelCheckpoint(Monitoring):
    """Writes what training has come to into a file, again and again.

    The file is replaced in one step: whoever reads it, and whoever is killed meanwhile, has the one
    before or the one after, whole. It is written after all other callbacks were called.

    Parameters
    ----------
    path : path-like
        The file's name, used as it is.
    monitor : str, optional
        With `save_best`, the number to go by; ``"val_loss"`` if left out.
    save_best : bool
        Whether to write only where the number is better than ever.
    every : "epoch" or int
        After each epoch, or each so many batches.
    content : {"checkpoint", "model"}
        What `Trainer.resume` goes on from, or the model alone (`BaseModel.save`), which is smaller.
        `nnext.load_model` reads both.
    mode : {"auto", "min", "max"}
        Whether lower or higher is better; see `EarlyStopping`.

    Attributes
    ----------
    best : float
        The best number so far; NaN before there is one.

    Raises
    ------
    ValueError, TypeError
        If an option cannot be used, as in `EarlyStopping`. ``fit`` raises what `Trainer` and
        `BaseModel.save` do where something cannot be stored, before it trains.

    Examples
    --------
    >>> from nnext.callbacks import ModelCheckpoint
    >>> ModelCheckpoint("run.safetensors", every=100)
    ModelCheckpoint('run.safetensors', every=100)
    """

    def __init__(
        self,
        path: PathLike,
        monitor: str | None = None,
        save_best: bool = False,
        every: Literal["epoch"] | int = "epoch",
        content: Literal["checkpoint", "model"] = "checkpoint",
        mode: Mode = "auto",
    ) -> None:
        self.save_best = check_flag("save_best", save_best)
        if monitor is not None and not self.save_best:
            raise ValueError("monitor: only with save_best=True is a number looked at")
        if content not in ["checkpoint", "model"]:
            raise ValueError(f'content: expected "checkpoint" or "model", got {content!r}')
        if every != "epoch":
            every = check_count("every", every)
            if self.save_best:
                raise ValueError(f'every: numbers come with epochs, expected "epoch", got {every}')
        super().__init__("val_loss" if monitor is None else monitor, mode, 0.0)
        self.path = file_name(path)
        self.every: Literal["epoch"] | int = every
        self.content = content
        self.best = math.nan

    def __repr__(self) -> str:
        options = f"monitor={self.monitor!r}" if self.save_best else f"every={self.every!r}"
        return f"ModelCheckpoint({self.path!r}, {options})"

    def rank(self) -> tuple[int, int]:
        """Say when it comes: what another one of these writes is to have what this remembers."""
        return 1 + (self.content == "checkpoint"), int(not self.save_best)

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers: with `save_best`, the best number."""
        return {"best": self.best} if self.save_best else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Raises
        ------
        ValueError
            If it is something else.
        """
        _check_names(state, self.state_dict())
        check_numbers(best=state["best"])
        self.best = float(state["best"])

    def on_train_begin(self, trainer: Trainer) -> None:
        """Refuse what could not be written, before anything is trained."""
        check_folder(self.path)
        if self.content == "checkpoint":
            from nnext import checkpoints  # here, for they know all layers and models

            checkpoints.check_can_save(trainer.model, trainer.optimizer, trainer._rng)
        else:
            from nnext import saving

            saving.check_can_save(trainer.model)

    def on_batch_end(self, trainer: Trainer) -> None:
        """Write, if batches are counted and it is time."""
        if self.every != "epoch" and trainer.history.batches % self.every == 0:
            self._write(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write, if epochs are counted, and this one is the best or need not be."""
        if self.save_best:
            value = latest(trainer.history, self.monitor)
            if not self._is_better(value, self.best):
                return
            self.best = value
        if self.every == "epoch":
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if self.content == "checkpoint":
            trainer.save_checkpoint(self.path)
        else:
            from nnext import saving

            saving.save_model(self.path, trainer.model)


def remembers(thing: Any) -> bool:
    """Say whether something has a state to store."""
    return all(callable(getattr(thing, n, None)) for n in ("state_dict", "load_state_dict"))


def latest(history: History, name: str) -> float:
    """Return the last epoch's ``"loss"`` or metric.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name == "loss":
        return history.epoch_loss[-1]
    if name not in history.metrics:
        known = ", ".join(map(repr, ["loss", *history.metrics]))
        raise ValueError(f"monitor: there is no {name!r} in the history, which has {known}")
    return history.metrics[name][-1]


def _direction(name: str) -> Literal["min", "max"]:
    words = name.lower().replace("_", " ").split(" ")
    if "neg" not in words and words[-1] in ("loss", "error"):
        return "min"
    if "neg" not in words and words[-1] in ("accuracy", "score", "r2", "f1"):
        return "max"
    raise ValueError(f'mode: say whether {name!r} is to be low, "min", or high, "max"')


def _check_names(state: Any, own: Mapping[str, Any]) -> None:
    if not isinstance(state, Mapping) or state.keys() != own.keys():
        raise ValueError(f"state: expected {sorted(own)}, got {state!r}")


def _arrays(model: Any) -> Sequence[Array]:
    return [*model.params, *buffers_of(model)]
