"""What every part of the benchmarks needs: time candidates in turn, print a table.

The speed of a machine drifts by some percent from second to second, so times are never compared
across runs: candidates take turns, round by round, and what is reported is the median of a round's
ratio. No part measures anything whose answer it has not checked.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Candidate = Callable[[], object]


@dataclass(frozen=True)
class Effort:
    """How long to measure: `rounds` turns of `seconds` for each candidate."""

    rounds: int
    seconds: float


FULL = Effort(rounds=25, seconds=0.02)
QUICK = Effort(rounds=3, seconds=0.002)


@dataclass(frozen=True)
class Timing:
    """Seconds a call, one figure for each round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def best(self) -> float:
        return min(self.rounds)

    def times_faster_than(self, other: "Timing") -> float:
        """Median over the rounds of how many times longer `other` took in the same round."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(theirs / ours for ours, theirs in pairs)


def measure(candidates: Mapping[str, Candidate], effort: Effort) -> dict[str, Timing]:
    """Time the candidates in turn, in the opposite order every other round."""
    calls = {name: _calls_in(effort.seconds, call) for name, call in candidates.items()}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(effort.rounds):
            for name in order:
                times[name].append(_time(candidates[name], calls[name]) / calls[name])
            order.reverse()
    finally:
        if was_enabled:
            gc.enable()
    return {name: Timing(tuple(rounds)) for name, rounds in times.items()}


def _calls_in(seconds: float, call: Candidate) -> int:
    """Find how many calls take about so long; warms up caches, clocks and thread pools too."""
    calls = 1
    while (taken := _time(call, calls)) < seconds / 2:
        calls = max(2 * calls, int(0.75 * calls * seconds / taken)) if taken > 0 else 2 * calls
    return max(1, round(calls * seconds / taken))


def _time(call: Candidate, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - start


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of texts: the first column flush left, figures flush right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    print(f"\n{title}\n{rule}")
    for i, row in enumerate([head, *rows]):
        first, *rest = zip(row, widths, strict=True)
        cells = [f"{first[0]:<{first[1]}}", *(f"{text:>{width}}" for text, width in rest)]
        print("  ".join(cells).rstrip())
        if i == 0:
            print(rule)
    print(rule)
