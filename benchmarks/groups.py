"""The cases of a run in groups that a reader knows, each against the best of its peers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from report import Row, Table, geometric_mean

# Name, part, how the kinds of its tables begin. Memory is no time; near_zero has no peer.
GROUPS = (
    ("Products, float32", "matmul", ("float32",)),
    ("Products, float64", "matmul", ("float64",)),
    ("Softmax with loss", "softmax", ("",)),
    ("Losses", "losses", ("",)),
    ("Large vocabularies", "vocabulary", ("step", "loss")),
    ("Functions", "elementwise", ("functions",)),
    ("Layers", "elementwise", ("layers", "embedding")),
    ("Optimizers", "elementwise", ("optimizers",)),
    ("Training steps, SGD", "training", ("SGD",)),
    ("Training steps, Adam", "training", ("Adam",)),
    ("Recurrent layers", "recurrent", ("",)),
    ("Programs of words and sequences", "sequences", ("step",)),
    ("Counts of words", "sequences", ("words",)),
    ("Cost of a call", "calls", ("",)),
    ("Whole training", "digits", ("",)),
    ("Fits of estimators", "estimators", ("",)),
)
TRAINING = ("Training steps, SGD", "Training steps, Adam")


@dataclass(frozen=True)
class Group:
    """The cases of one group on one number of threads that have a peer; at least one."""

    name: str
    threads: int
    rows: tuple[Row, ...]

    @property
    def mean(self) -> float:
        """Geometric mean of how many times longer the best peer took."""
        return geometric_mean(row.better for row in self.rows)

    @property
    def lost(self) -> int:
        return sum(row.better < 1 for row in self.rows)

    @property
    def worst(self) -> Row:
        return min(self.rows, key=lambda row: row.better)


def grouped(tables: Sequence[Table]) -> list[Group]:
    """Sort what was measured into the groups, each number of threads for itself."""
    found = []
    for threads in sorted({table.threads for table in tables}):
        for name, part, kinds in GROUPS:
            own = [t for t in tables if (t.part, t.threads) == (part, threads)]
            rows = [row for table in own if table.kind.startswith(kinds) for row in table.rows]
            compared = tuple(row for row in rows if not math.isnan(row.better))
            if compared:
                found.append(Group(name, threads, compared))
    return found


def joined(groups: Sequence[Group], names: Sequence[str], threads: int) -> Group | None:
    """Put several groups into one; None if none of them was measured."""
    own = [group for group in groups if group.name in names and group.threads == threads]
    rows = tuple(row for group in own for row in group.rows)
    return Group(", ".join(names), threads, rows) if rows else None
