"""How the trainer shows where it is: a bar of tqdm, the book's lines, or nothing."""

import importlib.util
import sys
import time
from collections.abc import Mapping
from typing import Literal

from nnext._support import require

ProgressKind = Literal["auto", "bar", "lines", "none"]


class Progress:
    """Shows nothing; the other two displays override what they need.

    `measure` is what the shown number is called.
    """

    def __init__(self, epochs: int, batches: int | None, done: int, measure: str = "loss") -> None:
        self.epochs, self.batches, self.done, self.measure = epochs, batches, done, measure

    def advance(self, batches: int = 1) -> None:
        """Note that a batch is done, or several."""

    def point(self, epoch: int, i: int, loss: float) -> None:
        """Show the mean loss up to batch `i` of an epoch of this training (both from 0)."""

    def epoch(self, epoch: int, loss: float, metrics: Mapping[str, float]) -> None:
        """Show the end of an epoch."""

    def stopped(self, epoch: int, by: str) -> None:
        """Show that a callback ended the training."""

    def close(self) -> None:
        """Clean up."""


class _Lines(Progress):
    def __init__(self, epochs: int, batches: int | None, done: int, measure: str = "loss") -> None:
        super().__init__(epochs, batches, done, measure)
        self.start = time.perf_counter()

    def point(self, epoch: int, i: int, loss: float) -> None:
        seconds = time.perf_counter() - self.start
        of = "" if self.batches is None else f" / {self.batches}"
        print(
            f"| epoch {self.done + epoch + 1} |  iter {i + 1}{of} "
            f"| time {seconds:.0f}[s] | {self.measure} {loss:.2f}"
        )

    def epoch(self, epoch: int, loss: float, metrics: Mapping[str, float]) -> None:
        if metrics:
            print(f"| epoch {self.done + epoch + 1} |  " + " | ".join(_format(metrics, 4)))

    def stopped(self, epoch: int, by: str) -> None:
        print(f"| epoch {self.done + epoch + 1} |  stopped by {by}")


class _Bar(Progress):
    def __init__(self, epochs: int, batches: int | None, done: int, measure: str = "loss") -> None:
        super().__init__(epochs, batches, done, measure)
        tqdm = require("tqdm.auto", "progress", "A progress bar").tqdm
        self.bar = tqdm(
            total=None if batches is None else epochs * batches,
            desc=self._name(0),
            bar_format="{desc} {n_fmt} batches {elapsed}{postfix}"
            if batches is None
            else "{desc} {percentage:3.0f}% |{bar}| {remaining}{postfix}",
            dynamic_ncols=True,
        )
        self.advance = self.bar.update  # type: ignore[method-assign]  # called for every batch

    def epoch(self, epoch: int, loss: float, metrics: Mapping[str, float]) -> None:
        self.bar.set_description_str(self._name(epoch), refresh=False)
        self.bar.set_postfix_str(
            ", ".join(_format({self.measure: loss, **metrics}, 3)), refresh=False
        )

    def stopped(self, epoch: int, by: str) -> None:
        self.bar.set_description_str(f"{self._name(epoch)}, stopped by {by}", refresh=False)

    def close(self) -> None:
        self.bar.close()

    def _name(self, epoch: int) -> str:
        return f"epoch {self.done + epoch + 1}/{self.done + self.epochs}"


def make_progress(
    kind: ProgressKind, epochs: int, batches: int | None, done: int = 0, measure: str = "loss"
) -> Progress:
    """Choose a display; "auto" is a bar if tqdm is there and stderr is a terminal, else lines.

    `epochs` are to come, of `batches` each (None: nobody knows), after `done` epochs of earlier
    trainings. `measure` is what is shown.
    """
    kinds = {"bar": _Bar, "lines": _Lines, "none": Progress}
    if kind == "auto":
        kind = "bar" if has_bar() else "lines"
    if kind not in list(kinds):  # a list, for what cannot be hashed
        raise ValueError(f'progress: expected "auto", "bar", "lines" or "none", got {kind!r}')
    return kinds[kind](epochs, batches, done, measure)


def has_bar() -> bool:
    """Whether "auto" means a bar here."""
    stderr = sys.stderr  # None under pythonw
    return importlib.util.find_spec("tqdm") is not None and stderr is not None and stderr.isatty()


def _format(values: Mapping[str, float], digits: int) -> list[str]:
    return [f"{name} {value:.{digits}f}" for name, value in values.items()]
