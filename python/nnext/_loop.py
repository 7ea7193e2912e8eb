"""The loop of `nnext.trainer.Trainer.fit`: epochs and batches, what is noted, shown and called."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nnext._batches import SampleBatches, StreamBatches
from nnext._evaluation import Evaluation
from nnext._gathered import check_gathered
from nnext._progress import Progress
from nnext.callbacks import Callbacks
from nnext.history import History, read_metrics
from nnext.step import Step, check_optimizer

if TYPE_CHECKING:
    from nnext.trainer import Trainer


class Mean:
    """A mean of batches, each weighed with what it counts; or of a loss that is a sum, the sum."""

    def __init__(self) -> None:
        self.total = self.weight = 0.0

    def add(self, total: float, weight: float) -> None:
        self.total += total
        self.weight += weight

    @property
    def value(self) -> float:
        return self.total / self.weight


class Loop:
    """One call of ``fit``, whose arguments are checked.

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
        self._done = len(self._history.epoch_loss)
        self._point = Mean()
        self.epoch = self.batch = 0

    def where(self) -> str:
        """Name the batch at work."""
        return f"epoch {self._done + self.epoch + 1}, step {self.batch + 1}"

    def run(self, max_epoch: int, step: Step, shown: Progress) -> History:
        """Train for some epochs, or until a callback has enough of it."""
        try:
            self._callbacks("on_train_begin")
            for self.epoch in range(max_epoch):
                if self._run_epoch(step, shown):
                    shown.stopped(self.epoch, self._callbacks.stopped_by)
                    break
            if self._eval_interval is not None and self._point.weight:
                self._end_point(shown)
        except KeyboardInterrupt:
            self._history.trim()
            self._callbacks("on_train_end")
            raise
        self._callbacks("on_train_end")
        return self._history

    def _run_epoch(self, step: Step, shown: Progress) -> bool:
        """Train for an epoch and look how it went; return whether to stop."""
        history, callbacks = self._history, self._callbacks
        callbacks("on_epoch_begin")
        wants_begin, wants_end = map(callbacks.has, ("on_batch_begin", "on_batch_end"))
        start = time.perf_counter()
        mean = Mean()
        stop = False
        for i, samples in enumerate(self._batches.epoch()):
            self.batch = i
            if wants_begin:
                callbacks("on_batch_begin")
            self._follow(step)
            step(samples.x, samples.t, samples.weight)
            history.batches += 1
            counts = step.count if self._is_mean or not step.count else 1.0
            self._point.add(step.total, counts)
            mean.add(step.total, counts)
            shown.advance()
            interval = self._eval_interval
            if interval is not None and history.batches % interval == 0 and self._point.weight:
                self._end_point(shown)
            if wants_end and callbacks("on_batch_end"):
                stop = True
                break
        loss = math.nan
        if mean.weight:
            loss = mean.value if self._is_mean else mean.total
        history.add_epoch(loss, time.perf_counter() - start)
        if not mean.weight:
            number = len(history.epoch_loss)
            step.report("epoch", f"the loss of epoch {number} is nan: no row of it counts")
        metrics = self._measure()
        history.set_metrics(metrics)
        shown.epoch(self.epoch, loss, metrics)
        return callbacks("on_epoch_end") or stop

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
