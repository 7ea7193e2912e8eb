"""What nnext sets out to reach, and whether this run shows it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import matmul
from report import OURS, Row, Table, geometric_mean, name_of, say_threads, table_of

LEVEL = 0.97  # counts as level: machines are noisy

Case = tuple[str, float]  # a name, and the figure that a target is about


@dataclass(frozen=True)
class Target:
    """A statement, and the figures that must all be at least (or at most) the bar."""

    says: str
    bar: float
    figures: Callable[[Sequence[Table]], Iterator[Case]]
    at_most: bool = False
    unit: str = "×"

    def verdict(self, tables: Sequence[Table]) -> tuple[str, str, str, str] | None:
        """Return the statement, the bar, what came out and the worst case; None if not measured."""
        cases = list(self.figures(tables))
        bar = f"{'≤' if self.at_most else '≥'} {_figure(self.bar, self.unit)}"
        if not cases:
            return None
        missed = [value > self.bar if self.at_most else value < self.bar for _, value in cases]
        pick = max if self.at_most else min
        name, value = pick(cases, key=lambda case: case[1])
        result = f"missed by {sum(missed)} of {len(cases)}" if any(missed) else "reached"
        return self.says, bar, result, f"{_figure(value, self.unit)}: {name}"


def summary(tables: Sequence[Table]) -> str:
    """Write a table of the targets that were measured; nothing if none was."""
    head = ("target", "bar", "result", "worst case")
    verdicts = (target.verdict(tables) for target in TARGETS)
    rows = [verdict for verdict in verdicts if verdict is not None]
    return table_of(head, rows) if rows else ""


def _figure(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.0f} %"
    return f"{value:.2f} {unit}" if value < 10 else f"{value:.1f} {unit}"


def _each(
    part: str,
    kind: str,
    figure: Callable[[Row], float | None],
    only: Callable[[Row], bool] = lambda row: True,
    threads: int | None = None,
) -> Callable[[Sequence[Table]], Iterator[Case]]:
    """Make a function that takes a figure from each row of the tables of a part and kind."""

    def figures(tables: Sequence[Table]) -> Iterator[Case]:
        for table in tables:
            if table.part != part or not table.kind.startswith(kind):
                continue
            if threads is not None and table.threads != threads:
                continue
            for row in table.rows:
                value = figure(row) if only(row) else None
                if value is not None:
                    yield f"{name_of(row)}, {say_threads(table.threads)}", value

    return figures


def _mean(part: str, kind: str) -> Callable[[Sequence[Table]], Iterator[Case]]:
    def figures(tables: Sequence[Table]) -> Iterator[Case]:
        for table in tables:
            if table.part == part and table.kind == kind:
                yield say_threads(table.threads), geometric_mean(row.better for row in table.rows)

    return figures


def _against(peer: str) -> Callable[[Row], float | None]:
    return lambda row: row.ratios.get(peer)


def _better(row: Row) -> float:
    return row.better


def _in(*cases: str) -> Callable[[Row], bool]:
    return lambda row: row.case in cases


def _begins(*names: str, but: tuple[str, ...] = ()) -> Callable[[Row], bool]:
    return lambda row: row.case.startswith(names) and not row.case.startswith(but)


def _function(*cases: str) -> Callable[[Row], bool]:
    return lambda row: row.case in cases and row.form != "layer"


def _of_peak(*cases: str) -> Callable[[Row], bool]:
    return lambda row: row.case in cases and row.form in ("nn", "tn")


def _microseconds(row: Row) -> float:
    return 1e6 * row.seconds[OURS]


def _cube(n: int) -> str:
    return f"{n}, {n}, {n}"


_CUBES = tuple(map(_cube, (256, 512, 1024, 2048)))
_WIDE = "8, 4096, 4096"
_F32, _F64 = (f"{dtype} {matmul.TABLE}" for dtype in ("float32", "float64"))

TARGETS = (
    Target("Products, float32, each shape: level with the better peer", LEVEL,
           _each("matmul", _F32, _better)),
    Target("Products, float32, geometric mean over the better peer", 1.3, _mean("matmul", _F32)),
    Target("Products, float64, each shape: level with the better peer", LEVEL,
           _each("matmul", _F64, _better)),
    Target("Products, float64, geometric mean over the better peer", 1.15, _mean("matmul", _F64)),
    Target("Products of 256³ and 512³, float32, nn and tn, one thread: of the peak", 0.97,
           _each("matmul", _F32, lambda row: row.limit, _of_peak(*_CUBES[:2]), threads=1),
           unit="%"),
    Target("Products of 1024³ and 2048³, float32, nn and tn, one thread: of the peak", 0.94,
           _each("matmul", _F32, lambda row: row.limit, _of_peak(*_CUBES[2:]), threads=1),
           unit="%"),
    Target("Products of 256³ and larger cubes: two threads over one", 1.85,
           _each("matmul", "float", lambda row: row.threads_gain, _in(*_CUBES), threads=2)),
    Target("Products: two threads never slower than one", LEVEL,
           _each("matmul", "float", lambda row: row.threads_gain, threads=2)),
    Target("Tiny products: level with the better peer", LEVEL,
           _each("matmul", "float", _better, _in("1, 10, 10", "3, 7, 3"))),
    Target("A wide layer at a small batch, (8, 4096, 4096), float32: over the better peer", 2,
           _each("matmul", "float32", _better, _in(_WIDE))),
    Target("exp, log, tanh, sigmoid, one thread: level with NumPy", LEVEL,
           _each("elementwise", "functions", _against("NumPy"), threads=1)),
    Target("Numbers near zero: against the time of ordinary numbers", 1 / 1.5,
           _each("near_zero", "", _against("ordinary numbers"))),
    Target("Softmax with loss, 10 classes: over PyTorch", 10,
           _each("softmax", "", _against("PyTorch"), _in("32, 10", "128, 10", "10000, 10"))),
    Target("Softmax with loss, (128, 1000) and (64, 10000): over PyTorch", 3,
           _each("softmax", "", _against("PyTorch"), _in("128, 1000", "64, 10000"))),
    Target("Softmax with loss, larger than the caches: over PyTorch", 7,
           _each("softmax", "", _against("PyTorch"), _in("512, 50257", "1024, 128256"))),
    Target("Softmax with loss, (32, 10), as called from Python", 2.5,
           _each("softmax", "", _microseconds, _in("32, 10")), at_most=True, unit="µs"),
    Target("Large vocabularies, (1024, 512, 32000): over PyTorch", 1.5,
           _each("vocabulary", "step", _against("PyTorch"), _function("1024, 512, 32000"))),
    Target("Large vocabularies, (2048, 256, 50257): over PyTorch", 2.5,
           _each("vocabulary", "step", _against("PyTorch"), _function("2048, 256, 50257"))),
    Target("Large vocabularies, (1024, 256, 128256): over PyTorch", 1.9,
           _each("vocabulary", "step", _against("PyTorch"), _function("1024, 256, 128256"))),
    Target("Large vocabularies, (4096, 64, 50257): over PyTorch", 3,
           _each("vocabulary", "step", _against("PyTorch"), _function("4096, 64, 50257"))),
    Target("Large vocabularies, (8192, 768, 128256): of the peak", 0.8,
           _each("vocabulary", "step", lambda row: row.limit, _function("8192, 768, 128256")),
           unit="%"),
    Target("Large vocabularies: memory beyond x, W and the gradients", 32,
           _each("vocabulary", "memory", lambda row: row.seconds[OURS]), at_most=True, unit="MB"),
    Target("Adam's step: over PyTorch's", 2,
           _each("elementwise", "optimizers", _against("PyTorch"),
                 lambda row: row.case.startswith("Adam,"))),
    Target("A training step, 2-10-3, batch 30", 15,
           _each("training", "SGD", _microseconds, _in("2-10-3, 30")), at_most=True, unit="µs"),
    Target("A training step, 64-100-10, batch 32: over the best peer", 2.2,
           _each("training", "SGD", _better, _in("64-100-10, 32"))),
    Target("A training step, 784-128-10, batch 64: over the best peer", 1.6,
           _each("training", "SGD", _better, _in("784-128-10, 64"))),
    Target("A training step of the two largest nets: over the best peer", 1.15,
           _each("training", "SGD", _better,
                 _in("784-512-256-10, 128", "784-2048-2048-10, 256"))),
    Target("Fits of MLPClassifier, digits, 100, 200: over scikit-learn's", 3,
           _each("estimators", "", _against("scikit-learn"), _in("digits, 100, 200"))),
    Target("Fits of MLPClassifier, digits, 100, 32: over scikit-learn's", 6,
           _each("estimators", "", _against("scikit-learn"), _in("digits, 100, 32"))),
    Target("Fits of MLPClassifier, 20,000 × 100, 256-128, 200: over scikit-learn's", 2,
           _each("estimators", "", _against("scikit-learn"), _in("20,000 × 100, 256-128, 200"))),
    Target("Recurrent layers: level with PyTorch", LEVEL,
           _each("recurrent", "", _against("PyTorch"))),
    Target("The book's programs, simple word models: over NumPy", 3,
           _each("sequences", "step", _against("NumPy"), _begins("Simple", but=("SimpleRnnlm",)))),
    Target("The book's programs, CBOW by negative sampling: over NumPy", 8,
           _each("sequences", "step", _against("NumPy"), _begins("CBOW"))),
    Target("The book's programs, language models of 100 units: over NumPy", 3,
           _each("sequences", "step", _against("NumPy"), _begins("SimpleRnnlm", "Rnnlm"))),
    Target("The book's programs, language model of 650 units: over NumPy", 1.4,
           _each("sequences", "step", _against("NumPy"), _begins("BetterRnnlm"))),
    Target("The book's programs, sequence to sequence and attention: over NumPy", 3,
           _each("sequences", "step", _against("NumPy"), _begins("Seq2seq", "AttentionSeq2seq"))),
    Target("Counts of 70,000 words: over NumPy", 50,
           _each("sequences", "words", _against("NumPy"))),
    Target("A call of MatMul.forward on (1, 10) · (10, 10): level with np.dot", LEVEL,
           _each("calls", "", _against("NumPy"), lambda row: row.case.startswith("MatMul"))),
)  # fmt: skip
