"""Losses that every score has of its own, forward and backward: regression, and labels.

SigmoidWithLoss adds up the losses of a row where PyTorch takes their mean: the same work, another
factor.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from bench import NUMPY, TORCH, Bench, require
from measure import Candidate
from numpy.typing import NDArray
from report import OURS, row
from softmax import forward_backward

import nnext

Array = NDArray[Any]
Loss = tuple[Any, Array]  # the loss, and the gradient of the scores

SIZES = ((32, 1), (128, 10), (4096, 16), (4096, 256))  # rows, numbers in each
DELTA, POS_WEIGHT = 0.5, 3.0


@dataclass(frozen=True)
class Case:
    """A loss, what NumPy's users write for it, and PyTorch's function."""

    name: str
    ours: Any
    numpy: Callable[[Array, Array], Loss]
    theirs: Callable[..., Any]  # of torch.nn.functional, scores and targets
    added: bool = False  # whether the losses of a row are added up


def run(bench: Bench) -> None:
    title = "Losses, forward and backward, float32 (rows, numbers in each)"
    table = bench.table("losses", "float32", title, "µs")
    for case in cases():
        for n, c in SIZES[:2] if bench.quick else SIZES:
            x, t = operands(case, n, c)
            candidates: dict[str, Candidate] = {
                OURS: partial(forward_backward, case.ours, x, t),
                NUMPY: partial(case.numpy, x, t),
            }
            check(case, x, t, case.ours.forward(x, t), case.ours.backward())
            check(case, x, t, *case.numpy(x, t))
            if bench.torch is not None:
                scores = bench.torch.from_numpy(x).requires_grad_()
                step = torch_step(bench.torch, case, scores, bench.torch.from_numpy(t))
                factor = c if case.added else 1
                check(case, x, t, factor * step().item(), np.float32(factor) * scores.grad.numpy())
                candidates[TORCH] = step
            name = f"{case.name}, {n}, {c}"
            table.rows.append(row(name, bench.time(name, candidates), (NUMPY, TORCH)))
    bench.finish(table)


def cases() -> list[Case]:
    sigmoid = nnext.SigmoidWithLoss(pos_weight=POS_WEIGHT)
    return [
        Case("SquaredError", nnext.SquaredError(), squared, lambda f, x, t: f.mse_loss(x, t)),
        Case("AbsoluteError", nnext.AbsoluteError(), absolute, lambda f, x, t: f.l1_loss(x, t)),
        Case("HuberLoss", nnext.HuberLoss(DELTA), huber, _huber),
        Case("PoissonLoss", nnext.PoissonLoss(), poisson, _poisson),
        Case("SigmoidWithLoss", sigmoid, binary, _binary, added=True),
    ]


def operands(case: Case, n: int, c: int) -> tuple[Array, Array]:
    """Draw scores, and targets that the loss may have."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, c), dtype=np.float32)
    if case.name == "PoissonLoss":
        return x, rng.poisson(2, (n, c)).astype(np.float32)
    if case.name == "SigmoidWithLoss":
        return x, rng.integers(0, 2, (n, c)).astype(np.float32)
    return x, rng.standard_normal((n, c), dtype=np.float32)


def torch_step(torch: Any, case: Case, scores: Any, targets: Any) -> Callable[[], Any]:
    functional = torch.nn.functional
    options = {"pos_weight": torch.tensor(POS_WEIGHT)} if case.added else {}

    def step() -> Any:
        scores.grad = None
        loss = case.theirs(functional, scores, targets, **options)
        loss.backward()
        return loss

    return step


def check(case: Case, x: Array, t: Array, loss: Any, dx: Array) -> None:
    """Raise if the loss or its gradient is not that of float64, but for roundings."""
    true, exact = case.numpy(x.astype(np.float64), t.astype(np.float64))
    require(dx.dtype == x.dtype and dx.shape == x.shape, case.name)
    require(abs(loss - true) <= 1e-5 * (1 + abs(true)), case.name)
    require(np.allclose(dx, exact, rtol=1e-5, atol=1e-6 * abs(exact).max()), case.name)


# --- NumPy's, and in float64 what is right --------------------------------------------------------


def squared(x: Array, t: Array) -> Loss:
    d = x - t
    return (d * d).mean(), d * (2 / d.size)


def absolute(x: Array, t: Array) -> Loss:
    d = x - t
    return np.abs(d).mean(), np.sign(d) * (1 / d.size)


def huber(x: Array, t: Array) -> Loss:
    d = x - t
    dx = d.clip(-DELTA, DELTA)  # the loss is dx (d - dx / 2): d²/2, or delta (|d| - delta/2)
    return (dx * (d - 0.5 * dx)).mean(), dx * (1 / d.size)


def poisson(x: Array, t: Array) -> Loss:
    y = np.exp(x)
    return (y - t * x).mean(), (y - t) * (1 / x.size)


def binary(x: Array, t: Array) -> Loss:
    weight = 1 + (POS_WEIGHT - 1) * t
    far = np.exp(-np.abs(x))
    each = (1 - t) * x + weight * (np.log1p(far) + np.maximum(-x, 0))
    y = np.where(x >= 0, 1, far) / (1 + far)
    return each.sum() / len(x), (weight * y - POS_WEIGHT * t) * (1 / len(x))


# --- PyTorch's ------------------------------------------------------------------------------------


def _huber(functional: Any, x: Any, t: Any) -> Any:
    return functional.huber_loss(x, t, delta=DELTA)


def _poisson(functional: Any, x: Any, t: Any) -> Any:
    return functional.poisson_nll_loss(x, t)


def _binary(functional: Any, x: Any, t: Any, pos_weight: Any) -> Any:
    return functional.binary_cross_entropy_with_logits(x, t, pos_weight=pos_weight)
