"""What is done element by element: functions, layers, rows of an embedding, optimizers' steps."""

from functools import partial
from itertools import pairwise
from typing import Any

import book
import layers
import numpy as np
from bench import NUMPY, TORCH, Bench, require
from measure import Candidate
from numpy.typing import NDArray
from report import OURS, row

import nnext

Array = NDArray[Any]

FUNCTIONS: dict[str, Any] = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
RANGES = {"exp": (-10, 10), "log": (1e-3, 1e3), "tanh": (-4, 4), "sigmoid": (-8, 8)}
SIZES = (10_000, 4_000_000)  # in the caches; in memory, where fresh results cost page faults
# Words of the table, numbers in a row, rows asked for
TABLES = ((1000, 64, 10_000), (10_000, 100, 1000), (50_000, 128, 10_000))
# Parameters of a small net, and of one with some half a million
NETS = ((64, 100, 10), (784, 512, 256, 10))


def run(bench: Bench) -> None:
    functions(bench)
    layers.run(bench)
    embedding(bench)
    optimizers(bench)


def functions(bench: Bench) -> None:
    for dtype in ("float32", "float64"):
        table = bench.table(
            "elementwise", f"functions {dtype}", f"Functions, {dtype}", "ns an element"
        )
        for size in SIZES[:1] if bench.quick else SIZES:
            for name, theirs in FUNCTIONS.items():
                low, high = RANGES[name]
                x = np.random.default_rng(0).uniform(low, high, size).astype(dtype)
                candidates: dict[str, Candidate] = {
                    OURS: partial(getattr(nnext, name), x),
                    NUMPY: partial(theirs, x),
                }
                if bench.torch is not None:
                    X = bench.torch.from_numpy(x)
                    candidates[TORCH] = partial(getattr(bench.torch, name), X)
                expected = theirs(x.astype(np.longdouble))
                for call in candidates.values():
                    check_ulps(name, np.asarray(call()), expected)
                timing = bench.time(f"{name} {dtype} {size}", candidates)
                table.rows.append(row(f"{name}, {size:,}", timing, (NUMPY, TORCH), work=size))
        bench.finish(table)


def check_ulps(name: str, actual: Array, expected: Array) -> None:
    """Raise if an element is more than 8 units in the last place away.

    That is for the book's sigmoid, which rounds three times; the tests hold nnext to 1 or 2.
    """
    unit = np.spacing(abs(expected).astype(actual.dtype))
    require(bool((abs(actual - expected) <= 8 * unit).all()), f"{name} of {actual.dtype}")


def embedding(bench: Bench) -> None:
    title = "Embedding backward, float32: words, numbers in a row, rows that repeat"
    table = bench.table("elementwise", "embedding", title, "µs")
    for words, width, count in TABLES[:2] if bench.quick else TABLES:
        rng = np.random.default_rng(0)
        idx = np.minimum(rng.zipf(1.3, count) - 1, words - 1)  # a few words are most of a text
        dout = rng.standard_normal((count, width), dtype=np.float32)
        layer = nnext.Embedding(np.zeros((words, width), np.float32))
        layer.forward(idx)
        dW = np.zeros((words, width), np.float32)

        def add_at(dW: Array = dW, idx: Array = idx, dout: Array = dout) -> Array:
            dW[...] = 0
            np.add.at(dW, idx, dout)
            return dW

        candidates: dict[str, Candidate] = {OURS: partial(layer.backward, dout), NUMPY: add_at}
        layer.backward(dout)
        results = [layer.grads[0], add_at()]
        if bench.torch is not None:
            from_numpy = bench.torch.from_numpy
            candidates[TORCH] = partial(
                bench.torch.ops.aten.embedding_dense_backward,
                *(from_numpy(dout), from_numpy(idx), words, -1, False),
            )
            results.append(np.asarray(candidates[TORCH]()))
        expected, size = np.zeros((2, words, width))
        np.add.at(expected, idx, dout)
        np.add.at(size, idx, abs(dout))
        for result in results:
            close = abs(result - expected) <= count * 2.0**-24 * size
            require(bool(close.all()), "the embedding's gradient")
        case = f"{words:,}, {width}, {count:,}"
        timing = bench.time(f"embedding {case}", candidates)
        table.rows.append(row(case, timing, (NUMPY, TORCH)))
    bench.finish(table)


# nnext's class, the book's, PyTorch's class and its settings: the formulas are the same
OPTIMIZERS: dict[str, tuple[Any, Any, str, dict[str, Any]]] = {
    "SGD": (nnext.SGD, book.SGD, "SGD", {}),
    "Momentum": (nnext.Momentum, book.Momentum, "SGD", {"momentum": 0.9}),
    "AdaGrad": (nnext.AdaGrad, book.AdaGrad, "Adagrad", {"eps": 1e-7}),
    "Adam": (nnext.Adam, book.Adam, "Adam", {"eps": book.TORCH_EPS}),
}
WAYS: tuple[dict[str, bool], ...] = ({"foreach": False}, {"foreach": True}, {"fused": True})


def optimizers(bench: Bench) -> None:
    title = "An optimizer's step, float32; PyTorch: the fastest of its loop, foreach and fused"
    table = bench.table("elementwise", "optimizers", title, "µs")
    for sizes in NETS:
        for name, (ours, books, theirs, settings) in OPTIMIZERS.items():
            candidates: dict[str, Candidate] = {}
            for who, make in ((OURS, ours), (NUMPY, books)):
                params, grads = parameters(sizes)
                optimizer = make(lr=1e-4)
                optimizer.update(params, grads)
                check_step(name, books, sizes, params)
                candidates[who] = partial(optimizer.update, params, grads)
            for way in WAYS if bench.torch is not None else ():
                made = torch_step(bench.torch, theirs, sizes, {**settings, **way})
                if made is not None:
                    step, params = made
                    check_step(name, books, sizes, params)
                    candidates[f"{TORCH}: {'-'.join(way)} {way}"] = step
            count = sum(p.size for p in parameters(sizes)[0])
            case = f"{name}, {count:,} parameters"
            table.rows.append(row(case, bench.time(case, candidates), (NUMPY, TORCH)))
    bench.finish(table)


def parameters(sizes: tuple[int, ...], dtype: str = "float32") -> tuple[list[Array], list[Array]]:
    """Make weights and biases, and gradients that are never near 0."""
    rng = np.random.default_rng(0)
    shapes = [s for d, h in pairwise(sizes) for s in ((d, h), (h,))]
    params = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    signs = [rng.choice([-1, 1], shape) for shape in shapes]
    grads = [(sign * rng.uniform(0.5, 1.5, sign.shape)).astype(np.float32) for sign in signs]
    return [p.astype(dtype) for p in params], [g.astype(dtype) for g in grads]


def torch_step(
    torch: Any, name: str, sizes: tuple[int, ...], settings: dict[str, Any]
) -> tuple[Candidate, list[Array]] | None:
    """Make PyTorch's step and take it once; None if it cannot step in this way."""
    params, grads = parameters(sizes)
    tensors = [torch.from_numpy(p).requires_grad_() for p in params]
    for tensor, g in zip(tensors, grads, strict=True):
        tensor.grad = torch.from_numpy(g)
    try:
        optimizer = getattr(torch.optim, name)(tensors, lr=1e-4, **settings)
        optimizer.step()
    except (RuntimeError, TypeError):
        return None
    return optimizer.step, params


def check_step(name: str, books: Any, sizes: tuple[int, ...], params: list[Array]) -> None:
    """Raise if one step did not go where the book's goes in float64."""
    expected, grads = parameters(sizes, "float64")
    before = [p.copy() for p in expected]
    books(lr=1e-4).update(expected, grads)
    for start, p, e in zip(before, params, expected, strict=True):
        step = abs(e - start)
        # one rounding of the parameter itself, and some of the step
        bound = 2.0**-23 * (abs(start) + step) + 1e-5 * step
        require(bool((abs(p - e) <= bound).all()), f"the step of {name}")
