"""What a call costs: operations so small that nearly all of it is the way there and back."""

from functools import partial
from typing import Any

import numpy as np
from bench import NUMPY, TORCH, Bench, require
from measure import Candidate
from report import OURS, row

import nnext


def run(bench: Bench) -> None:
    table = bench.table("calls", "float32", "The cost of a call, float32", "ns")
    for case, candidates in cases(bench.torch).items():
        expected = candidates[NUMPY]()
        for call in candidates.values():
            close = np.allclose(np.asarray(call()), np.asarray(expected), rtol=1e-5, atol=1e-6)
            require(close, case)
        table.rows.append(row(case, bench.time(case, candidates), (NUMPY, TORCH)))
    bench.finish(table)


def cases(torch: Any) -> dict[str, dict[str, Candidate]]:
    """Name the calls and what NumPy's and PyTorch's users would write for them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 10), dtype=np.float32)
    W = rng.standard_normal((10, 10), dtype=np.float32)
    out = np.empty((1, 10), np.float32)
    b = np.zeros(10, np.float32)
    found: dict[str, dict[str, Candidate]] = {
        "MatMul.forward, (1, 10) · (10, 10); np.dot": {
            OURS: partial(nnext.MatMul(W).forward, x),
            NUMPY: partial(np.dot, x, W),
        },
        "matmul with out=, (1, 10) · (10, 10)": {
            OURS: partial(nnext.matmul, x, W, out=out),
            NUMPY: partial(np.matmul, x, W, out=out),
        },
        "Affine.forward, (1, 10) · (10, 10)": {
            OURS: partial(nnext.Affine(W, b).forward, x),
            NUMPY: lambda: np.dot(x, W) + b,
        },
        "ReLU.forward, (1, 10)": {
            OURS: partial(nnext.ReLU().forward, x),
            NUMPY: partial(np.maximum, x, 0),
        },
        "tanh, (1, 10)": {OURS: partial(nnext.tanh, x), NUMPY: partial(np.tanh, x)},
    }
    if torch is not None:
        X, V, B, C = map(torch.from_numpy, (x, W, b, out))
        theirs: list[Candidate] = [
            partial(torch.mm, X, V),
            partial(torch.mm, X, V, out=C),
            partial(torch.nn.functional.linear, X, V.T, B),
            partial(torch.relu, X),
            partial(torch.tanh, X),
        ]
        for candidates, call in zip(found.values(), theirs, strict=True):
            candidates[TORCH] = call
    return found
