"""Whether anything gets slow because a number is small: nnext on such numbers and on ordinary ones.

On many CPUs (Intel's; not AMD's) an operation that meets a number below the smallest normal one
takes a hundred times as long.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from bench import Bench, require
from measure import Candidate
from numpy.typing import NDArray
from report import OURS, row

import nnext
from nnext import _nnext, functions, optimizer, time_layers

Array = NDArray[Any]
Pair = tuple[str, Candidate, Candidate]  # a case, the call on small numbers, that on ordinary ones

ORDINARY = "ordinary numbers"
SIZE = 500_000
CLASSES = (8, 10, 15, 16, 17, 1000)
SCALES = (20, 50, 200)  # of the scores: most exponentials are far below 1
STEPS = 2000  # after which the means of a parameter without gradient are small
LEAST = float(np.finfo(np.float32).smallest_normal)


def run(bench: Bench) -> None:
    title = f"nnext on numbers near zero, float32; the functions on {SIZE:,} of them"
    table = bench.table("near_zero", "", title, "µs")
    for case, small, ordinary in cases(bench.quick):
        timing = bench.time(case, {OURS: small, ORDINARY: ordinary})
        table.rows.append(row(case, timing, (ORDINARY,)))
    bench.finish(table)


def cases(quick: bool) -> Iterator[Pair]:
    yield from softmaxes(quick)
    yield from elementwise()
    yield from optimizers()
    yield from recurrent()


def draw(*shape: int, scale: float = 1, seed: int = 0) -> Array:
    numbers = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return numbers * np.float32(scale)


def softmaxes(quick: bool) -> Iterator[Pair]:
    def step(x: Array, t: Array) -> float:
        loss = layer.forward(x, t)
        layer.backward()
        return loss

    layer = nnext.SoftmaxWithLoss()
    for classes in CLASSES[:2] if quick else CLASSES:
        rows = SIZE // classes
        x, t = draw(rows, classes), np.arange(rows) % classes
        for scale in SCALES[1:2] if quick else SCALES:
            y = functions.softmax(x * scale)
            require(bool(((y == 0) | (y >= LEAST)).all()), "a probability")
            case = f"softmax with loss, {rows:,}, {classes}, scores × {scale}"
            yield case, partial(step, x * scale, t), partial(step, x, t)


def elementwise() -> Iterator[Pair]:
    x = draw(SIZE)
    subnormal = draw(SIZE, scale=1e-39)
    for name in ("exp", "sigmoid", "tanh", "relu"):
        call: Callable[[Array], Array] = getattr(functions, name)
        far = -abs(draw(SIZE, scale=5, seed=1)) - 95
        for what, small in (("of 1e-39", subnormal), ("of -95", far)):
            y = call(small)
            require(bool(((y == 0) | (abs(y) >= LEAST)).all()), name)
            yield f"{name} {what}", partial(call, small), partial(call, x)
    layers: dict[str, Any] = {
        "Sigmoid": nnext.Sigmoid,
        "Tanh": nnext.Tanh,
        "ReLU": nnext.ReLU,
        "Dropout": partial(nnext.Dropout, 0.5, seed=0),
    }
    for name, make in layers.items():
        saturated, usual = make(), make()
        saturated.forward(x * 20 - 60 if name == "Sigmoid" else x)
        usual.forward(x)
        for size in (1e-3, 1e-30, 1e-39):
            backward = partial(saturated.backward, draw(SIZE, scale=size, seed=2))
            yield f"{name} backward of {size:g}", backward, partial(usual.backward, x)


def optimizers() -> Iterator[Pair]:
    for name in optimizer.__all__:
        make = getattr(optimizer, name)
        calls = []
        for gradient in (np.zeros(SIZE, np.float32), draw(SIZE, seed=3)):
            opt, p = make(), [draw(SIZE)]
            opt.update(p, [draw(SIZE, scale=1e-3, seed=4)])
            for _ in range(STEPS):
                opt.update(p, [gradient])
            calls.append(partial(opt.update, p, [gradient]))
        yield f"{name} after {STEPS:,} steps without gradient", calls[0], calls[1]
    for size in (1e-30, 1e-39):
        small, usual = [draw(SIZE, scale=size)], [draw(SIZE)]
        sgd = partial(optimizer.SGD().update, [draw(SIZE)])
        yield f"SGD with gradients of {size:g}", partial(sgd, small), partial(sgd, usual)
        # The norm, which is below 1e4, and no scaling, after which the gradients would be others.
        norm = partial(_nnext.clip_grads, max_norm=1e4)
        yield f"clipping gradients of {size:g}", partial(norm, small), partial(norm, usual)


def recurrent() -> Iterator[Pair]:
    """Shut gates, and gradients that fade: batch 20, 35 steps, 100 units."""
    x, dout = draw(20, 35, 100), draw(20, 35, 100, seed=1)
    kinds: dict[str, tuple[Any, int, int]] = {
        "TimeRNN": (time_layers.TimeRNN, 1, 1),
        "TimeLSTM": (time_layers.TimeLSTM, 4, 4),
        "TimeGRU": (partial(time_layers.TimeGRU, reset_after=True), 3, 4),
    }
    for name, (make, gates, biases) in kinds.items():
        weights = draw(100, gates * 100, scale=0.1, seed=2), draw(100, gates * 100, scale=0.1)
        usual = make(*weights, np.zeros(biases * 100, np.float32))
        usual.forward(x)
        for bias in (-20, -87):
            shut = make(*weights, np.full(biases * 100, bias, np.float32))
            hs = shut.forward(x)
            require(bool(((hs == 0) | (abs(hs) >= LEAST)).all()), name)
            yield f"{name}, biases of {bias}", partial(shut.forward, x), partial(usual.forward, x)
            backward = partial(shut.backward, dout)
            yield f"{name} backward, biases of {bias}", backward, partial(usual.backward, dout)
        for size in (1e-20, 1e-36):
            small = partial(usual.backward, dout * np.float32(size))
            yield f"{name} backward of {size:g}", small, partial(usual.backward, dout)
