"""Time candidates in turn: what is compared ran in the same second, on a machine as warm.

The speed of a machine drifts by some percent from second to second, so times are never compared
across runs: candidates take turns, round by round, and what is reported is the median over the
rounds of the ratio within a round. A limit, such as the peak of the multiply-add units, takes its
turn like any candidate. No part measures anything whose answer it has not checked.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Candidate = Callable[[], object]
Probe = Callable[[], float]


@dataclass(frozen=True)
class Effort:
    """How long to measure: `rounds` turns of `seconds` each.

    Once they have taken `budget` seconds no more than `least` are made.
    With `settle` a turn begins only when the threads of the turn before have gone to sleep.
    """

    rounds: int
    seconds: float
    budget: float
    least: int
    settle: bool = False


FULL = Effort(rounds=15, seconds=0.01, budget=8.0, least=3)
# On several threads a round waits for threads that spin, most of its time.
FULL_SETTLED = Effort(rounds=9, seconds=0.01, budget=6.0, least=3, settle=True)
QUICK = Effort(rounds=3, seconds=0.002, budget=1.0, least=1)


@dataclass(frozen=True)
class Timing:
    """One figure for each round: seconds a call, or what a probe returned."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def times_faster_than(self, other: "Timing") -> float:
        """Median over the rounds of how many times longer `other` took in the same round."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return statistics.median(theirs / ours for ours, theirs in pairs)


@dataclass
class _Turn:
    """A candidate, how many calls of it fill a turn, and what the rounds gave so far."""

    call: Candidate
    prepare: Candidate
    calls: int
    rounds: list[float] = field(default_factory=list)

    def take(self) -> None:
        self.prepare()
        # Untimed: wakes the threads, fills the caches, gets back memory that was given away.
        _time(self.call, max(1, self.calls // 4))
        self.rounds.append(_time(self.call, self.calls) / self.calls)


def measure(
    candidates: Mapping[str, Candidate],
    effort: Effort,
    probes: Mapping[str, Probe] | None = None,
    prepare: Mapping[str, Candidate] | None = None,
) -> dict[str, Timing]:
    """Time the candidates in turn, in the opposite order every other round.

    A probe is asked once a round and says its figure itself. `prepare` has what is to be called
    before the turns of a candidate.
    """
    prepare, probes = prepare or {}, probes or {}
    turns: dict[str, _Turn] = {}
    asked: dict[str, list[float]] = {name: [] for name in probes}
    for name, call in candidates.items():
        before = prepare.get(name, _nothing)
        before()
        turns[name] = _Turn(call, before, _calls_in(effort.seconds, call))

    order = [*candidates, *probes]
    rounds, done = effort.rounds, 0
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        start = time.perf_counter()
        while done < rounds:
            for name in order:
                if effort.settle:
                    settle()
                if name in turns:
                    turns[name].take()
                else:
                    asked[name].append(probes[name]())
            order.reverse()
            done += 1
            if done == 1:
                affordable = int(effort.budget / (time.perf_counter() - start))
                rounds = min(effort.rounds, max(effort.least, affordable))
    finally:
        if was_enabled:
            gc.enable()
    return {
        **{name: Timing(tuple(turn.rounds)) for name, turn in turns.items()},
        **{name: Timing(tuple(values)) for name, values in asked.items()},
    }


def settle(longest: float = 0.5) -> None:
    """Wait until the threads of this process have gone to sleep.

    The pools of the peers spin for a while after their last work, and whoever comes next pays. On
    two cores OpenBLAS span for 106 ms, and a product of 256³ took PyTorch three times as long right
    after NumPy; PyTorch's own pool spins for 11 ms, nnext's for 2 ms.
    """
    # The time of a thread that runs on another CPU is booked at that CPU's ticks, 4 or 10 ms apart:
    # a look at 2 ms took OpenBLAS's for asleep, and who came next had half the machine.
    window = 0.025
    deadline = time.perf_counter() + longest
    while time.perf_counter() < deadline:
        burnt = time.process_time()
        time.sleep(window)
        if time.process_time() - burnt < 0.2 * window:
            return


def _nothing() -> None:
    pass


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
