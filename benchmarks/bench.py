"""What every part is given: the threads, the effort, the peers that are there."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import report
from limits import Limits
from measure import Candidate, Effort, Probe, Timing, measure

import nnext

NUMPY = "NumPy"
TORCH = "PyTorch"
JAX = "JAX"


@dataclass
class Bench:
    """One run of the benchmarks on one number of threads."""

    threads: int
    effort: Effort
    quick: bool
    torch: Any  # the module, or None
    jax: Any  # the same
    limits: Limits | None
    compile: bool = False  # whether to try torch.compile
    tables: list[report.Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tell: Any = print  # progress: what is measured now

    def table(self, part: str, kind: str, title: str, unit: str) -> report.Table:
        """Begin a table."""
        table = report.Table(part, kind, title, self.threads, unit)
        if self.limits is not None:
            table.memory = self.limits.memory()
        return table

    def finish(self, table: report.Table) -> None:
        """Print the table and keep it."""
        if table.rows:
            self.tables.append(table)
            print(f"\n{report.render(table)}", flush=True)

    def note(self, text: str) -> None:
        """Keep what the reader must know, once."""
        if text not in self.notes:
            self.notes.append(text)
            print(f"Note: {text}", flush=True)

    def time(
        self,
        what: str,
        candidates: Mapping[str, Candidate],
        *,
        dtype: str | None = None,
        also_one_thread: bool = False,
    ) -> dict[str, Timing]:
        """Measure; with `dtype` the peak too, and nnext on one thread where that is asked for."""
        self.tell(what)
        probes: dict[str, Probe] = {}
        if dtype is not None and self.limits is not None:
            probes = self.limits.probes(dtype)
        prepare: dict[str, Candidate] = {}
        if also_one_thread and self.threads > 1:
            candidates = {**candidates, "one thread": candidates[report.OURS]}
            prepare = {
                report.OURS: lambda: nnext.set_num_threads(self.threads),
                "one thread": lambda: nnext.set_num_threads(1),
            }
        try:
            return measure(candidates, self.effort, probes, prepare)
        finally:
            nnext.set_num_threads(self.threads)

    def against_limit(
        self, timing: Mapping[str, Timing], *, flop: float, read: float, written: float
    ) -> dict[str, float]:
        """Return the limit's entries of a row, none where no limit was measured."""
        if self.limits is None or "peak" not in timing:
            return {}
        peak = timing["peak"]
        fraction = self.limits.fraction(timing[report.OURS], peak, flop, read, written)
        return {"limit": fraction, "peak": peak.median}


def optional(module: str) -> Any:
    """Import a module that need not be there; None if it is not."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:  # it is there, and lacks something itself
            raise
        return None


def require(holds: bool, what: str) -> None:
    """Raise AssertionError that says `what` is wrong."""
    if not holds:
        raise AssertionError(f"{what} is wrong")
