"""Matrix products in the three forms of a layer, float32 and float64.

For y = x W with x (M, K) and W (K, N): nn is the forward pass x W, nt the gradient of the input
dout Wᵀ, tn the gradient of the weights xᵀ dout; transposed operands are views, as layers have them.
All write into an `out` that is there already.
"""

from typing import Any

import numpy as np
from bench import NUMPY, TORCH, Bench, require
from measure import Candidate
from numpy.typing import NDArray
from report import OURS, Row, row

import nnext

Array = NDArray[Any]

# What training meets: layers of digits and MNIST, classes, squares, batches and words. With the
# extremes 24 shapes, in three forms each 72 cases of a type.
SHAPES = (
    *((32, 64, 64), (20, 100, 100), (32, 784, 256), (64, 784, 128), (128, 784, 512)),
    *((128, 512, 10), (256, 2048, 2048)),
    *((n, n, n) for n in (64, 128, 256, 512, 1024, 2048)),
    *((10000, 10, 10), (1, 1024, 1024), (512, 256, 10000), (1000, 1000, 7)),
    *((100, 100, 10000), (700, 100, 10000), (63, 65, 67), (257, 511, 129)),
)
EXTREMES = ((1, 10, 10), (3, 7, 3), (8, 4096, 4096))
QUICK_SHAPES = ((32, 64, 64), (128, 784, 512), (128, 512, 10), (256, 256, 256), (1, 1024, 1024))
QUICK_EXTREMES = ((1, 10, 10),)
FORMS = ("nn", "nt", "tn")
TABLE, OUTSIDE = "the shapes of training", "extremes"


def run(bench: Bench) -> None:
    for dtype in ("float32", "float64"):
        groups = {
            TABLE: QUICK_SHAPES if bench.quick else SHAPES,
            OUTSIDE: QUICK_EXTREMES if bench.quick else EXTREMES,
        }
        for group, shapes in groups.items():
            title = f"Matrix products x (M, K) · W (K, N), {dtype}, {group}"
            table = bench.table("matmul", f"{dtype} {group}", title, "GFLOP/s")
            for shape in shapes:
                for form in FORMS:
                    table.rows.append(compare(bench, dtype, shape, form))
            bench.finish(table)


def compare(bench: Bench, dtype: str, shape: tuple[int, int, int], form: str) -> Row:
    a, b = operands(form, *shape, dtype)
    out = np.empty((a.shape[0], b.shape[1]), dtype)
    candidates: dict[str, Candidate] = {
        OURS: lambda: nnext.matmul(a, b, out=out),
        NUMPY: lambda: np.matmul(a, b, out=out),
    }
    if bench.torch is not None:
        matmul, A, B, C = bench.torch.matmul, *map(bench.torch.from_numpy, (a, b, out))
        candidates[TORCH] = lambda: matmul(A, B, out=C)
    expected = reference(a, b)
    for product in candidates.values():
        out.fill(np.nan)
        product()
        check(a, b, out, expected)
    case = ", ".join(map(str, shape))
    timing = bench.time(f"{dtype} {case} {form}", candidates, dtype=dtype, also_one_thread=True)
    flop, read = 2.0 * a.shape[0] * a.shape[1] * b.shape[1], float(a.nbytes + b.nbytes)
    limit = bench.against_limit(timing, flop=flop, read=read, written=out.nbytes)
    more = {"form": form, "work": flop, "traffic": read + out.nbytes}
    return row(case, timing, (NUMPY, TORCH), **more, **limit)


def operands(form: str, m: int, k: int, n: int, dtype: str = "float32") -> tuple[Array, Array]:
    """Make the factors that a layer with x (m, k) and W (k, n) multiplies in this form."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    if form == "nn":
        return normal(m, k), normal(k, n)
    if form == "nt":
        return normal(m, n), normal(k, n).T
    return normal(m, k).T, normal(m, n)


def reference(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the product in float64, and how far from it each element may be.

    A sum of K products, rounded once a step, is wrong by at most K u (|A| |B|), u = 2^-24 in
    float32. In float64 the reference itself may be wrong by as much.
    """
    A, B = a.astype(np.float64), b.astype(np.float64)
    unit = 2.0**-24 if a.dtype == np.float32 else 2.0**-52
    return A @ B, a.shape[1] * unit * (abs(A) @ abs(B))


def check(a: Array, b: Array, product: Array, expected: tuple[Array, Array] | None = None) -> None:
    """Raise if an element is further from the true product than roundings explain."""
    what = f"the product {a.shape} x {b.shape}"
    require(product.dtype == a.dtype and product.shape == (a.shape[0], b.shape[1]), what)
    true, bound = reference(a, b) if expected is None else expected
    require(bool((abs(product - true) <= bound).all()), what)
