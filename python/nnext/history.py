"""What happened in training: losses, times, metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nnext._support import as_number, require

__all__ = ["History"]

COLUMNS = ("loss", "seconds")  # of every frame, which a metric of the name would hide


@dataclass(repr=False)
class History:
    """What happened in training, over all calls of `nnext.trainer.Trainer.fit`.

    A mean of several batches weighs each with what it counts: the rows whose labels are not
    ignored, or the sum of their weights. So with a learning rate of 0 `epoch_loss` is the loss of
    the whole data. With a loss of ``reduction="sum"`` it is the sum over the whole data, and a
    point of `loss` the mean of the batches' sums. A batch whose weights add up to 0 has no mean,
    but what its rows lose (by ``label_smoothing`` or ``z_loss``) belongs to those of the whole.

    Attributes
    ----------
    iteration : list of int
        How many batches had been gone through, in all, at each point of `loss`.
    loss : list of float
        Mean loss since the point before.
    epoch_loss : list of float
        Mean (or sum) of the loss over each epoch; NaN if no row of it counts.
    epoch_seconds : list of float
        Time that each epoch's training took, without what is measured after it.
    metrics : dict of list of float
        What was measured after each epoch, on a validation set, by ``metrics`` or by ``on_epoch``:
        a value for each epoch under each name, nan where there is none.
    batches : int
        How many batches have been gone through, in all.
    epoch_iteration : list of int
        How many batches had been gone through, in all, at the end of each epoch.
    """

    iteration: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    epoch_loss: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    batches: int = 0
    epoch_iteration: list[int] = field(default_factory=list)

    def __repr__(self) -> str:
        parts = [_count(len(self.epoch_loss), "epoch"), _count(self.batches, "batch", "es")]
        if self.epoch_loss:
            parts.append(f"last loss {self.epoch_loss[-1]:.4g}")
        parts += [f"{name} {values[-1]:.4g}" for name, values in self.metrics.items() if values]
        return f"History({', '.join(parts)})"

    def add_point(self, loss: float) -> None:
        """Append a point of `loss`, at the present number of batches."""
        self.iteration.append(self.batches)
        self.loss.append(loss)

    def add_epoch(self, loss: float, seconds: float) -> None:
        """Append an epoch, with nan for every metric."""
        self.epoch_iteration.append(self.batches)
        self.epoch_loss.append(loss)
        self.epoch_seconds.append(seconds)
        self._level()

    def set_metrics(self, metrics: Mapping[str, float]) -> None:
        """Note the metrics of the last epoch."""
        for name, value in metrics.items():
            self.metrics.setdefault(name, [])
            self._level()
            self.metrics[name][-1] = float(value)

    def to_frame(self) -> Any:
        """Return the epochs as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame
            A row for each epoch, numbered from 1 (the index ``"epoch"``), and the columns
            ``"loss"``, ``"seconds"`` and the metrics, NaN where there is none.

        Raises
        ------
        ImportError
            If pandas is not installed; the message says how to install it.
        ValueError
            If a metric has the name of another column.
        """
        pandas = require("pandas", "pandas", "History.to_frame")
        columns = dict(zip(COLUMNS, (self.epoch_loss, self.epoch_seconds), strict=True))
        for name in columns.keys() & self.metrics.keys():
            raise ValueError(f"metrics: {name!r} is the name of a column that every history has")
        index = pandas.RangeIndex(1, len(self.epoch_loss) + 1, name="epoch")
        return pandas.DataFrame(columns | self.metrics, index=index, dtype="float64")

    def trim(self) -> None:
        """Make columns equally long again after an interrupt between two appends."""
        del self.iteration[len(self.loss) :]
        epochs = len(self.epoch_seconds)
        del self.epoch_iteration[epochs:], self.epoch_loss[epochs:]
        self._level()

    def _level(self) -> None:
        for values in self.metrics.values():
            values.extend([math.nan] * (len(self.epoch_loss) - len(values)))


def read_metrics(returned: Any) -> dict[str, float]:
    """Return what ``on_epoch`` returned as a dict of floats, an empty one for None.

    Raises
    ------
    TypeError
        If it is no dict of numbers.
    ValueError
        If a name is that of a column that every history has.
    """
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise TypeError(
            f'on_epoch: expected a dict such as {{"accuracy": 0.9}} or None, got {returned!r}'
        )
    metrics = {}
    for name, value in returned.items():
        if not isinstance(name, str):
            raise TypeError(f"on_epoch: expected a name for each number, got {name!r}")
        if name in COLUMNS:
            raise ValueError(f"on_epoch: every history has a column {name!r}, take another name")
        number = as_number(value)
        if number is None:
            raise TypeError(f"on_epoch: expected a number for {name!r}, got {value!r}")
        metrics[name] = number
    return metrics


def _count(n: int, what: str, plural: str = "s") -> str:
    return f"{n:,} {what}{'' if n == 1 else plural}"
