"""Softmax with cross-entropy loss, forward and backward: from scores and labels to the gradient."""

from functools import partial
from pathlib import Path
from typing import Any

import book
import numpy as np
from bench import NUMPY, TORCH, Bench, require
from measure import Candidate
from numpy.typing import NDArray
from report import OURS, Row, row

import nnext

Array = NDArray[Any]

SIZES = (
    *((32, 10), (128, 10), (128, 1000), (10000, 10), (64, 10000)),
    *((512, 50257), (1024, 128256)),
)
QUICK_SIZES = ((32, 10), (128, 10), (128, 1000), (64, 10000))
ARRAYS_AT_ONCE = 8  # of the scores' size, for the candidates together


def run(bench: Bench) -> None:
    title = "Softmax with loss, forward and backward, float32 (N, C)"
    table = bench.table("softmax", "float32", title, "µs")
    for n, c in QUICK_SIZES if bench.quick else SIZES:
        if 4.0 * n * c * ARRAYS_AT_ONCE > free_memory():
            bench.note(f"softmax ({n}, {c}) was left out: too little memory is free.")
            continue
        table.rows.append(compare(bench, n, c))
        nnext.empty_cache()
    bench.finish(table)


def compare(bench: Bench, n: int, c: int) -> Row:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, c), dtype=np.float32)
    t = rng.integers(0, c, n)
    candidates: dict[str, Candidate] = {}
    layers: dict[str, Any] = {OURS: nnext.SoftmaxWithLoss(), NUMPY: book.SoftmaxWithLoss()}
    for name, layer in layers.items():
        loss, dx = layer.forward(x, t), layer.backward()
        check(x, t, float(loss), dx)
        candidates[name] = partial(forward_backward, layer, x, t)
    if bench.torch is not None:
        scores = bench.torch.from_numpy(x).requires_grad_()
        labels = bench.torch.from_numpy(t)
        cross_entropy = bench.torch.nn.functional.cross_entropy

        def step() -> Any:
            scores.grad = None
            loss = cross_entropy(scores, labels)
            loss.backward()
            return loss

        check(x, t, step().item(), scores.grad.numpy())
        candidates[TORCH] = step
    del dx
    # Forward must read the scores and write the probabilities, backward read those and write
    # the gradient; the arithmetic counts for nothing here.
    timing = bench.time(f"({n}, {c})", candidates, dtype="float32" if is_large(bench, x) else None)
    limit = bench.against_limit(timing, flop=0, read=2.0 * x.nbytes, written=2.0 * x.nbytes)
    limit.pop("peak", None)
    return row(f"{n}, {c}", timing, (NUMPY, TORCH), **limit)


def forward_backward(layer: Any, x: Array, t: Array) -> Array:
    layer.forward(x, t)
    dx: Array = layer.backward()
    return dx


def is_large(bench: Bench, x: Array) -> bool:
    """Whether the arrays outgrow the caches, so that memory is the limit."""
    return bench.limits is not None and 2 * x.nbytes > bench.limits.cache


def check(x: Array, t: Array, loss: float, dx: Array) -> None:
    """Raise if the loss or its gradient is not that of float64, but for roundings."""
    n, c = x.shape
    what = f"softmax with loss ({n}, {c})"
    require(dx.dtype == x.dtype and dx.shape == x.shape, what)
    # A row's sum is wrong by less than sqrt(C) roundings, each exponential by a few more.
    roundings = (32 + c**0.5) * 2.0**-24
    total, rows = 0.0, max(1, 10_000_000 // c)
    for first in range(0, n, rows):  # by and by: the float64 arrays are twice as large
        part = x[first : first + rows].astype(np.float64)
        at = np.arange(len(part)), t[first : first + rows]
        part -= part.max(axis=1, keepdims=True)
        y = np.exp(part)
        sums = y.sum(axis=1, keepdims=True)
        total += float((np.log(sums[:, 0]) - part[at]).sum())
        y /= sums
        bound = roundings * y / n
        bound[at] += roundings / n
        y[at] -= 1
        y /= n
        y -= dx[first : first + rows]
        require(bool((abs(y) <= bound).all()), what)
    # The book adds 1e-7 to a probability before it takes the logarithm.
    tolerance = 1e-5 * total / n + 1e-6 * c
    require(abs(loss - total / n) <= tolerance, what)


def free_memory() -> float:
    """Return how many bytes could be had; infinity where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("inf")
    kilobytes = {line.split()[0]: float(line.split()[1]) for line in lines}
    return 1024 * kilobytes.get("MemAvailable:", float("inf"))
