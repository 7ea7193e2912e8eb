"""A linear layer with softmax loss over a large vocabulary: time and memory of a step.

A step is the loss and the gradients of the input and the weights: by the function, in one pass, and
by forward and backward of the layer, which computes the scores twice. Scores and everything of
their size are what it is about: N rows and V classes make N·V of them.
"""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench import TORCH, Bench, require
from measure import Candidate, Effort, measure
from numpy.typing import NDArray
from report import OURS, Row, row
from softmax import free_memory

import nnext
from nnext.functions import linear_cross_entropy, linear_cross_entropy_with_grad

Array = NDArray[Any]

LAYERS = "two layers"  # Affine and SoftmaxWithLoss of nnext
LAYER = "the layer"  # AffineSoftmaxWithLoss, forward and backward

SIZES = ((1024, 512, 32000), (2048, 256, 50257), (1024, 256, 128256), (4096, 64, 50257))
QUICK_SIZES = ((256, 64, 8000),)
HUGE = (8192, 768, 128256)  # whose scores alone take 4.2 GB
IS_LINUX = sys.platform == "linux"  # which says how much memory a process has in use
ARRAYS_AT_ONCE = 8  # of the scores' size, for the candidates together


def run(bench: Bench) -> None:
    if bench.threads == 1 and not bench.quick:
        bench.note("The large vocabularies were measured on the largest number of threads alone.")
        return
    sizes = QUICK_SIZES if bench.quick else SIZES
    steps = bench.table(
        "vocabulary",
        "step",
        "Linear layer and softmax loss, loss and gradients, float32 (N, D, V)",
        "s",
    )
    losses = bench.table("vocabulary", "loss", "The loss alone, float32 (N, D, V)", "s")
    memory = bench.table(
        "vocabulary", "memory", "Memory of a step beyond x, W and the gradients (N, D, V)", "MB"
    )
    for size in sizes:
        n, _, v = size
        if 4.0 * n * v * ARRAYS_AT_ONCE > free_memory():
            bench.note(f"vocabulary {size} was left out: too little memory is free.")
            continue
        *both, loss = compare(bench, *size)
        steps.rows += both
        losses.rows.append(loss)
        if IS_LINUX:
            memory.rows.append(compare_memory(bench, *size))
        nnext.empty_cache()
    if not bench.quick:
        steps.rows.append(without_peer(bench, *HUGE))
        if IS_LINUX:
            memory.rows.append(compare_memory(bench, *HUGE))
    for table in (steps, losses, memory):
        bench.finish(table)


def operands(n: int, d: int, v: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d), dtype=np.float32)
    W = rng.standard_normal((d, v), dtype=np.float32)
    W *= np.float32(0.1)
    return x, W, rng.integers(0, v, n)


def compare(bench: Bench, n: int, d: int, v: int) -> tuple[Row, Row, Row]:
    """Return the step by the function, the step by the layer, the loss alone."""
    x, W, t = operands(n, d, v)
    out = np.empty_like(x), np.empty_like(W), None
    affine, softmax = nnext.MatMul(W), nnext.SoftmaxWithLoss()

    def layers() -> Any:
        loss = softmax.forward(affine.forward(x), t)
        return loss, affine.backward(softmax.backward()), affine.grads[0]

    last = nnext.AffineSoftmaxWithLoss(W)

    def layer() -> Any:
        loss = last.forward(x, t)
        return loss, last.backward(), last.grads[0]

    fused = partial(linear_cross_entropy_with_grad, x, W, t, out=out)
    check(x, W, t, *fused()[:3])
    check(x, W, t, *layer())
    check(x, W, t, *layers())
    steps: dict[str, Candidate] = {OURS: fused, LAYER: layer, LAYERS: layers}
    losses: dict[str, Candidate] = {
        OURS: partial(linear_cross_entropy, x, W, t),
        LAYERS: lambda: softmax.forward(affine.forward(x), t),
    }
    if bench.torch is not None:
        torch = bench.torch
        # Its linear layer keeps the weights as (V, D).
        inputs, weights = (torch.from_numpy(a).requires_grad_() for a in (x, W.T.copy()))
        labels = torch.from_numpy(t)

        def loss_of() -> Any:
            scores = torch.nn.functional.linear(inputs, weights)
            return torch.nn.functional.cross_entropy(scores, labels)

        def step() -> Any:
            inputs.grad = weights.grad = None
            loss = loss_of()
            loss.backward()
            return loss

        def loss_alone() -> Any:
            with torch.no_grad():
                return loss_of()

        check(x, W, t, step().item(), inputs.grad.numpy(), weights.grad.numpy().T)
        steps[TORCH], losses[TORCH] = step, loss_alone
    whole = bench.time(f"({n}, {d}, {v})", steps, dtype="float32")
    by_layer = {**whole, OURS: whole[LAYER]}
    alone = bench.time(f"({n}, {d}, {v}), the loss", losses, dtype="float32")
    flop = 2.0 * n * d * v
    ways = ((whole, 3 * flop, "function"), (by_layer, 3 * flop, "layer"), (alone, flop, ""))
    rows = []
    for timing, work, form in ways:
        limit = bench.against_limit(timing, flop=work, read=0, written=0)
        peers = (TORCH, LAYERS)
        rows.append(row(f"{n}, {d}, {v}", timing, peers, work=work, form=form, **limit))
    return rows[0], rows[1], rows[2]


def without_peer(bench: Bench, n: int, d: int, v: int) -> Row:
    """Time nnext alone, once: the peers' scores would not fit in memory."""
    bench.tell(f"({n}, {d}, {v})")
    x, W, t = operands(n, d, v)
    out = np.zeros_like(x), np.zeros_like(W), None
    fused = partial(linear_cross_entropy_with_grad, x, W, t, out=out)
    probes = bench.limits.probes("float32") if bench.limits is not None else {}
    timing = measure({OURS: fused}, Effort(1, 0.01, 1.0, 1, bench.effort.settle), probes)
    flop = 6.0 * n * d * v
    limit = bench.against_limit(timing, flop=flop, read=0, written=0)
    return row(f"{n}, {d}, {v}", timing, (), work=flop, form="function", **limit)


def check(x: Array, W: Array, t: Array, loss: float, dx: Array, dW: Array) -> None:
    """Raise if the loss, some rows of dx or some columns of dW are not those of float64."""
    n, v = len(x), W.shape[1]
    what = f"the loss over {v} classes"
    rows, cols = slice(0, n, max(1, n // 16)), slice(0, v, max(1, v // 16))
    total = 0.0
    columns = np.zeros((W.shape[0], len(range(v)[cols])))
    weights = W.astype(np.float64)
    lines = np.zeros((len(range(n)[rows]), W.shape[0]))
    for first in range(0, n, 64):  # by and by: whole scores in float64 would be large
        part = x[first : first + 64].astype(np.float64)
        z = part @ weights
        z -= z.max(axis=1, keepdims=True)
        at = np.arange(len(part)), t[first : first + 64]
        label = z[at]
        p = np.exp(z, out=z)
        sums = p.sum(axis=1, keepdims=True)
        total += float((np.log(sums[:, 0]) - label).sum())
        p /= sums
        p[at] -= 1
        columns += part.T @ p[:, cols]
        for i, r in enumerate(range(n)[rows]):
            if first <= r < first + len(part):
                lines[i] = weights @ p[r - first]
    require(abs(loss - total / n) <= 1e-5 * total / n, what)
    for ours, exact in ((dx[rows], lines / n), (dW[:, cols], columns / n)):
        require(bool((abs(ours - exact) <= 1e-4 * abs(exact).max()).all()), what)


# --- memory ---------------------------------------------------------------------------------------


def compare_memory(bench: Bench, n: int, d: int, v: int) -> Row:
    """Measure how far one step raises the peak of a process that holds x, W and the gradients."""
    names = [OURS]
    if 4.0 * n * v * ARRAYS_AT_ONCE <= free_memory() and (n, d, v) != HUGE:
        names += [TORCH] * (bench.torch is not None) + [LAYERS]
    grown = {name: child(name, bench.threads, n, d, v) for name in names}
    ratios = {name: grown[name] / grown[OURS] for name in names[1:]}
    return Row(f"{n}, {d}, {v}", grown, ratios)


def child(name: str, threads: int, n: int, d: int, v: int) -> float:
    numbers = [str(number) for number in (threads, n, d, v)]
    # With -P a script's own folder is not searched for the modules beside it.
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-P", __file__, name, *numbers],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(json.loads(done.stdout.splitlines()[-1]))


def _step_in_this_process(name: str, threads: int, n: int, d: int, v: int) -> float:
    """Return how many megabytes more are in use at most during a step than before it."""
    nnext.set_num_threads(threads)
    x, W, t = operands(n, d, v)
    dx, dW = np.zeros_like(x), np.zeros_like(W)
    small = operands(16, 16, 64)
    if name == TORCH:
        import torch

        torch.set_num_threads(threads)
        cross_entropy, linear = torch.nn.functional.cross_entropy, torch.nn.functional.linear

        def step(x: Array, W: Array, t: Array, dx: Array, dW: Array) -> None:
            inputs = torch.from_numpy(x).requires_grad_()
            weights = torch.from_numpy(W.reshape(W.shape[::-1])).requires_grad_()
            inputs.grad, weights.grad = (
                torch.from_numpy(a) for a in (dx, dW.reshape(W.shape[::-1]))
            )
            cross_entropy(linear(inputs, weights), torch.from_numpy(t)).backward()
    elif name == LAYERS:

        def step(x: Array, W: Array, t: Array, dx: Array, dW: Array) -> None:
            affine, softmax = nnext.MatMul(W), nnext.SoftmaxWithLoss()
            affine.grads[0] = dW
            softmax.forward(affine.forward(x), t)
            affine.backward(softmax.backward())
    else:

        def step(x: Array, W: Array, t: Array, dx: Array, dW: Array) -> None:
            linear_cross_entropy_with_grad(x, W, t, out=(dx, dW, None))

    step(*small, np.zeros_like(small[0]), np.zeros_like(small[1]))  # what a first call loads

    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
    before = _resident("VmRSS")
    step(x, W, t, dx, dW)
    return max(_resident("VmHWM") - before, 0.01)


def _resident(what: str) -> float:
    """Return the resident memory now (VmRSS) or at most (VmHWM), in megabytes; Linux alone."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(what)) / 1024


if __name__ == "__main__":
    print(json.dumps(_step_in_this_process(sys.argv[1], *map(int, sys.argv[2:]))))
