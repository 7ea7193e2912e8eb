"""Fits of `nnext.sklearn.MLPClassifier` beside scikit-learn's own, which does the same steps."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from bench import Bench, optional, require
from measure import Candidate
from report import OURS, row

import nnext

SKLEARN = "scikit-learn"


@dataclass(frozen=True)
class Case:
    """A fit: its data, hidden layers, batch and epochs; Adam, ReLU and all else by default."""

    data: str
    hidden: tuple[int, ...]
    batch: int
    epochs: int

    def __str__(self) -> str:
        return f"{self.data}, {'-'.join(map(str, self.hidden))}, {self.batch}"


CASES = (
    Case("digits", (100,), 200, 50),
    Case("digits", (100,), 32, 50),
    Case("20,000 × 100", (256, 128), 200, 2),
)
# How near the losses of each epoch are: these two sum in another order.
NEAR = {"float64": 1e-6, "float32": 1e-2}


def run(bench: Bench) -> None:
    if optional("sklearn") is None:
        bench.note("scikit-learn is not installed: no table of it.")
        return
    makers = {
        OURS: optional("nnext.sklearn").MLPClassifier,
        SKLEARN: optional("sklearn.neural_network").MLPClassifier,
    }
    for dtype in ("float32", "float64"):
        title = f"Fits of MLPClassifier, {dtype} (data, hidden layers, batch)"
        table = bench.table("estimators", dtype, title, "s")
        for case in CASES[:1] if bench.quick else CASES:
            x, t = data(case.data, dtype)
            candidates: dict[str, Candidate] = {
                name: lambda make=make, case=case, x=x, t=t: fit(make, case, x, t)  # type: ignore[misc]
                for name, make in makers.items()
            }
            ours, theirs = (fit(make, case, x, t).loss_curve_ for make in makers.values())
            require(np.allclose(ours, theirs, rtol=NEAR[dtype]), f"a loss of {case}, {dtype},")
            table.rows.append(row(str(case), bench.time(f"{case} {dtype}", candidates), (SKLEARN,)))
        bench.finish(table)


def data(name: str, dtype: str) -> tuple[Any, Any]:
    if name == "digits":
        x, t = nnext.datasets.digits()
    else:
        x, t = optional("sklearn.datasets").make_classification(
            20_000, 100, n_informative=30, n_classes=5, random_state=0
        )
    return x.astype(dtype), t


def fit(make: Any, case: Case, x: Any, t: Any) -> Any:
    settings = {"tol": 0.0, "n_iter_no_change": case.epochs, "random_state": 0}
    model = make(case.hidden, batch_size=case.batch, max_iter=case.epochs, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged yet
        return model.fit(x, t)
