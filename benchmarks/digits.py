"""A whole training on scikit-learn's handwritten digits, beside its own MLPClassifier."""

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
from bench import Bench, optional, require
from measure import Candidate
from report import OURS, row

import nnext
from nnext.models import affine

SKLEARN = "scikit-learn"
# Hidden layers, batch; Adam with a rate of 0.001, ReLU, both in float32
CASES = (((100,), 200), ((100,), 32), ((256, 128), 200), ((256, 128), 32))
EPOCHS = 50
SAMPLES = 1347  # three quarters


def run(bench: Bench) -> None:
    if optional("sklearn") is None:
        bench.note("scikit-learn is not installed: no table of it.")
        return
    title = f"Training on the digits, {EPOCHS} epochs (hidden layers, batch)"
    table = bench.table("digits", "Adam", title, "s")
    x, t = nnext.datasets.digits()
    data = x[:SAMPLES].astype(np.float32), t[:SAMPLES]
    held_out = x[SAMPLES:].astype(np.float32), t[SAMPLES:]
    for hidden, batch in CASES[:1] if bench.quick else CASES:
        candidates: dict[str, Candidate] = {
            OURS: lambda h=hidden, b=batch: fit_ours(h, b, *data),  # type: ignore[misc]
            SKLEARN: lambda h=hidden, b=batch: fit_theirs(h, b, *data),  # type: ignore[misc]
        }
        case = f"{'-'.join(map(str, hidden))}, {batch}"
        for name, fit in candidates.items():
            model: Any = fit()
            share = float(np.mean(model.predict(held_out[0]) == held_out[1]))
            require(share >= 0.85, f"the accuracy of {name}, {share:.2f},")
        timing = bench.time(case, candidates)
        table.rows.append(row(case, timing, (SKLEARN,)))
    bench.finish(table)


def fit_ours(hidden: tuple[int, ...], batch: int, x: Any, t: Any) -> Any:
    rng = np.random.default_rng(0)
    sizes = (x.shape[1], *hidden, 10)
    layers: list[Any] = []
    for d, h in pairwise(sizes):
        layers += [affine(d, h, rng), nnext.ReLU()]
    model = nnext.Sequential(layers[:-1])
    trainer = nnext.Trainer(model, nnext.Adam(lr=0.001), seed=0)
    trainer.fit(x, t, max_epoch=EPOCHS, batch_size=batch, progress="none")
    return model


def fit_theirs(hidden: tuple[int, ...], batch: int, x: Any, t: Any) -> Any:
    settings = {"alpha": 0.0, "tol": 0.0, "n_iter_no_change": EPOCHS, "random_state": 0}
    make = optional("sklearn.neural_network").MLPClassifier
    model = make(hidden, batch_size=batch, max_iter=EPOCHS, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged yet
        return model.fit(x, t)
