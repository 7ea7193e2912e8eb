"""float32 matrix products in the three forms of a layer, nnext beside NumPy, on one thread.

nn is the forward pass ``x W``, nt the gradient of the input ``dout Wᵀ``, tn the gradient of the
weights ``xᵀ dout``; transposed operands are views, as layers have them.
"""

import numpy as np
from measure import Effort, measure, print_table
from numpy.typing import NDArray

import nnext

Array = NDArray[np.float32]

SIZES = (64, 128, 256, 512, 1024)
QUICK_SIZES = (64, 256)
FORMS = ("nn", "nt", "tn")


def run(effort: Effort, quick: bool) -> None:
    """Check every product, time it, print the table."""
    rows = []
    for size in QUICK_SIZES if quick else SIZES:
        for form in FORMS:
            a, b = operands(form, size, size, size)
            check(a, b, nnext.matmul(a, b))
            timing = measure(
                {
                    "nnext": lambda a=a, b=b: nnext.matmul(a, b),  # type: ignore[misc]
                    "NumPy": lambda a=a, b=b: np.matmul(a, b),  # type: ignore[misc]
                },
                effort,
            )
            ours, theirs = timing["nnext"], timing["NumPy"]
            gflop = 2e-9 * size**3
            rows.append(
                [
                    f"{size} {form}",
                    *(f"{1e6 * t.median:.1f}" for t in (ours, theirs)),
                    *(f"{gflop / t.median:.1f}" for t in (ours, theirs)),
                    *(f"{gflop / t.best:.1f}" for t in (ours, theirs)),
                    f"{ours.times_faster_than(theirs):.2f}",
                ]
            )
    print_table(
        "float32 matrix products (n, n) x (n, n), one thread; ratio: NumPy's time by nnext's",
        [
            "n, form",
            *("nnext µs", "NumPy µs"),
            *("nnext GFLOP/s", "NumPy GFLOP/s"),
            *("nnext best", "NumPy best"),
            "ratio",
        ],
        rows,
    )


def operands(form: str, m: int, k: int, n: int) -> tuple[Array, Array]:
    """Make factors of shapes (m, k) and (k, n), the transposed one a view."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((k, m) if form == "tn" else (m, k), dtype=np.float32)
    b = rng.standard_normal((n, k) if form == "nt" else (k, n), dtype=np.float32)
    return (a.T if form == "tn" else a), (b.T if form == "nt" else b)


def check(a: Array, b: Array, product: Array) -> None:
    """Raise if an element is further from the true product than K roundings explain.

    A sum of K products, rounded once a step, is wrong by at most K u (|A| |B|), u = 2^-24.
    """
    if product.dtype != np.float32 or product.shape != (a.shape[0], b.shape[1]):
        raise AssertionError(f"the product is {product.dtype} {product.shape}")
    A, B = a.astype(np.float64), b.astype(np.float64)
    bound = a.shape[1] * 2.0**-24 * (abs(A) @ abs(B))
    if not (abs(product - A @ B) <= bound).all():
        raise AssertionError(f"the product {a.shape} x {b.shape} is wrong")
