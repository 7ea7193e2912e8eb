"""The loop of `nnext.trainer.Trainer.fit`: epochs and batches, what is noted, shown and called."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnext._batches import SampleBatches, StreamBatches
from nnext._called_callbacks import Callbacks
from nnext._evaluation import Evaluation
from nnext._gathered import check_gathered
from nnext._progress import Progress
from nnext.history import History, read_metrics
from nnext.step import Step, check_optimizer

if TYPE_CHECKING:
    from nnext.trainer import Trainer


class Mean:
    """A mean of batches, each weighed with what it counts; or of a loss that is a sum, the sum."""

    def __init__(self, total: float = 0.0, weight: float = 0.0) -> None:
        self.total, self.weight = total, weight

    def add(self, total: float, weight: float) -> None:
        self.total += total
        self.weight += weight

    @property
    def value(self) -> float:
        return self.total / self.weight


@dataclass
class Position:
    """Where a call of ``fit`` stands, between two batches: what another one needs to go on there.

    Attributes
    ----------
    epochs, batches : int
        Epochs of this call that are done, and batches of the next one.
    point, mean : (float, float)
        The sums of the means at work, since the last point and the epoch's beginning.
    seconds : float
        That the epoch at work has taken.
    stopped_by : str
        What said that the call is to end, if something did.
    plan : dict
        What has to be the same to go on within the epoch.
    drawn_from : dict or None
        The generator's state before it drew the order of the epoch.
    callbacks : list of (str, dict)
        The states of callbacks, and what these are called.
    """

    epochs: int
    batches: int = 0
    point: tuple[float, float] = (0.0, 0.0)
    mean: tuple[float, float] = (0.0, 0.0)
    seconds: float = 0.0
    stopped_by: str = ""
    plan: dict[str, int] = field(default_factory=dict)
    drawn_from: Any = None
    callbacks: list[tuple[str, Any]] = field(default_factory=list)


class Loop:
    """One call of ``fit``, whose arguments are checked.

    Parameters
    ----------
    resumed : Position, optional
        Where it was interrupted, in another process.

    Attributes
    ----------
    epoch, batch : int
        Of the epoch at work the number among those of this call, and of its batch; from 0.
    """

    def __init__(
        self,
        trainer: Trainer[Any],
        batches: SampleBatches | StreamBatches,
        callbacks: Callbacks,
        evaluation: Evaluation | None,
        eval_interval: int | None,
        on_epoch: Callable[[Any], Mapping[str, float] | None] | None,
        resumed: Position | None = None,
    ) -> None:
        self._trainer = trainer
        self._history = trainer.history
        self._batches = batches
        self._callbacks = callbacks
        self._evaluation = evaluation
        self._eval_interval = eval_interval
        self._on_epoch = on_epoch
        loss_layer = getattr(trainer.model, "loss_layer", None)
        self._is_mean = getattr(loss_layer, "reduction", "mean") != "sum"
        self._resumed = resumed or Position(0)
        self._is_resumed = resumed is not None
        self._done = len(self._history.epoch_loss) - self._resumed.epochs
        self._point = Mean(*self._resumed.point)
        self._mean = Mean()
        self._start = 0.0
        self._drawn_from: Any = None
        self._between: tuple[int, int] | None = None  # epochs and batches done, where that is sure
        self.epoch = self.batch = 0
        if resumed is not None:
            callbacks.check_states(resumed.callbacks)
            self._check_plan(resumed)

    def _check_plan(self, resumed: Position) -> None:
        plan = self._batches.plan()
        if resumed.batches and plan != resumed.plan:
            was, now = (
                ", ".join(f"{n} {name}" for name, n in p.items()) or "an iterable"
                for p in (resumed.plan, plan)
            )
            raise ValueError(
                f"the checkpoint is of the middle of an epoch, and goes on with the same data in "
                f"the same batches: expected {was}, got {now}"
            )

    def position(self) -> Position:
        """Return where it stands.

        Raises
        ------
        RuntimeError
            If it is not between two batches.
        """
        if self._between is None:
            raise RuntimeError(
                "a checkpoint within fit is made between two batches: in on_batch_end or "
                "on_epoch_end of a callback"
            )
        epochs, batches = self._between
        position = Position(epochs, batches, (self._point.total, self._point.weight))
        position.stopped_by = self._callbacks.stopped_by
        position.callbacks = self._callbacks.states()
        if batches:
            position.mean = self._mean.total, self._mean.weight
            position.seconds = time.perf_counter() - self._start
            position.plan, position.drawn_from = self._batches.plan(), self._drawn_from
        return position

    def where(self) -> str:
        """Name the batch at work."""
        return f"epoch {self._done + self.epoch + 1}, step {self.batch + 1}"

    def run(self, max_epoch: int, step: Step, shown: Progress) -> History:
        """Train for some epochs, or until a callback has enough of it.

        What was done before an interruption counts among them.
        """
        try:
            self._callbacks("on_train_begin")
            first = self._resumed.epochs
            if self._is_resumed:
                self._callbacks.load_states(self._resumed.callbacks, self._resumed.stopped_by)
                shown.advance(first * (self._batches.count or 0) + self._resumed.batches)
                if not self._resumed.batches:
                    self.epoch, self.batch = max(first - 1, 0), (self._batches.count or 1) - 1
                    max_epoch = first if self._resumed.stopped_by else max_epoch
            for self.epoch in range(first, max_epoch):
                if self._run_epoch(step, shown):
                    shown.stopped(self.epoch, self._callbacks.stopped_by)
                    break
            if self._eval_interval is not None and self._point.weight:
                self._end_point(shown)
        except KeyboardInterrupt as interrupt:
            self._history.trim()
            try:
                self._callbacks("on_train_end")
            except Exception as error:  # a loop around fit that goes on after errors is to end too
                raise interrupt from error
            raise
        self._callbacks("on_train_end")
        return self._history

    def _run_epoch(self, step: Step, shown: Progress) -> bool:
        """Train for an epoch and look how it went; return whether to stop."""
        history, callbacks = self._history, self._callbacks
        at, self._resumed = self._resumed, Position(0)
        if not at.batches:  # else that was before the interruption
            callbacks("on_epoch_begin")
        wants_begin, wants_end = map(callbacks.has, ("on_batch_begin", "on_batch_end"))
        self._start = time.perf_counter() - at.seconds
        self._mean = mean = Mean(*at.mean)
        self._drawn_from = at.drawn_from or self._batches.random_state()
        stop = bool(at.batches and at.stopped_by)
        batches = self._batches.epoch(at.batches, at.drawn_from)
        for i, parts in enumerate(() if stop else batches, at.batches):
            self.batch = i
            if wants_begin:
                callbacks("on_batch_begin")
            self._follow(step)
            if len(parts) == 1:
                (samples,) = parts
                step(samples.x, samples.t, samples.weight)
            else:
                step.accumulate([(part.x, part.t, part.weight) for part in parts])
            history.batches += 1
            counts = step.count if self._is_mean or not step.count else 1.0
            self._point.add(step.total, counts)
            mean.add(step.total, counts)
            shown.advance()
            interval = self._eval_interval
            if interval is not None and history.batches % interval == 0 and self._point.weight:
                self._end_point(shown)
            if wants_end:
                self._between = self.epoch, i + 1
                stop = callbacks("on_batch_end")
                self._between = None
                if stop:
                    break
        loss = math.nan
        if mean.weight:
            loss = mean.value if self._is_mean else mean.total
        history.add_epoch(loss, time.perf_counter() - self._start)
        if not mean.weight:
            number = len(history.epoch_loss)
            step.report("epoch", f"the loss of epoch {number} is nan: no row of it counts")
        metrics = self._measure()
        history.set_metrics(metrics)
        shown.epoch(self.epoch, loss, metrics)
        self._between = self.epoch + 1, 0
        stop = callbacks("on_epoch_end") or stop
        self._between = None
        return stop

    def _follow(self, step: Step) -> None:
        """Take another optimizer that a callback gave the trainer; another model is refused."""
        trainer = self._trainer
        if trainer.optimizer is not step.optimizer:
            check_optimizer(trainer.optimizer)
            step.optimizer = trainer.optimizer
        if trainer.model is not step.model:
            raise ValueError(
                "trainer.model was replaced in training; another model needs another call of fit"
            )

    def _measure(self) -> dict[str, float]:
        metrics = {} if self._evaluation is None else self._evaluation()
        if self._on_epoch is None:
            return metrics
        own = read_metrics(self._on_epoch(self._trainer))
        check_gathered(self._trainer.model, writable=True)  # also for lists that were replaced
        if twice := sorted(own.keys() & metrics.keys()):
            raise ValueError(f"on_epoch: {twice[0]!r} is measured already; take another name")
        return {**metrics, **own}

    def _end_point(self, shown: Progress) -> None:
        self._history.add_point(self._point.value)
        shown.point(self.epoch, self.batch, self._point.value)
        self._point = Mean()
