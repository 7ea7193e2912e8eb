"""Every layer without a product, forward and backward each for itself, on half a million numbers.

PyTorch's are its own kernels, called without autograd and without modules around them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import book
import numpy as np
from bench import NUMPY, TORCH, Bench, require
from measure import Candidate
from numpy.typing import NDArray
from report import OURS, row

import nnext

Array = NDArray[Any]
Pair = tuple[Candidate, Candidate]  # forward, backward

SIZE = 500_000
WIDTHS = (10, 1000)  # of the rows of a softmax
WORDS, WIDTH = 10_000, 100  # of an embedding
NORMS = (100, 1000)  # of the rows of a layer norm, and columns of a batch norm
RATIO = 0.5  # of a dropout
SLOPE = 0.01  # of a leaky ReLU, below 0
EPS = 1e-5  # of both norms, as all three have it


@dataclass(frozen=True)
class Case:
    """A layer, what it is given, and how it is made by nnext, by NumPy's users and by PyTorch."""

    name: str
    x: Array
    dout: Array
    ours: Any
    books: Any  # or None, where NumPy lacks what it takes
    theirs: Callable[[Any, Any, Any], Pair]  # of the torch module, x and dout
    expected: Callable[[Array, Array], tuple[Array, Array]] | None  # of x and dout in float64


def run(bench: Bench) -> None:
    title = f"Layers, float32, {SIZE:,} numbers"
    table = bench.table("elementwise", "layers", title, "µs")
    for case in cases():
        pairs: dict[str, Pair] = {OURS: pair(case.ours, case)}
        if case.books is not None:
            pairs[NUMPY] = pair(case.books, case)
        if bench.torch is not None:
            x, dout = map(bench.torch.from_numpy, (case.x, case.dout))
            pairs[TORCH] = case.theirs(bench.torch, x, dout)
        for forward, backward in pairs.values():
            check(case, forward(), backward())
        for i, way in enumerate(("forward", "backward")):
            name = f"{case.name} {way}"
            timing = bench.time(name, {who: made[i] for who, made in pairs.items()})
            table.rows.append(row(name, timing, (NUMPY, TORCH)))
    bench.finish(table)


def pair(layer: Any, case: Case) -> Pair:
    """Make the two calls of a layer; an embedding's gradient is the one of its weights."""
    if case.name != "Embedding":
        return partial(layer.forward, case.x), partial(layer.backward, case.dout)

    def backward() -> Array:
        layer.backward(case.dout)
        gradient: Array = layer.grads[0]
        return gradient

    return partial(layer.forward, case.x), backward


def cases() -> list[Case]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(SIZE, dtype=np.float32)
    dout = rng.standard_normal(SIZE, dtype=np.float32)
    found = [
        Case("Sigmoid", x, dout, nnext.Sigmoid(), book.Sigmoid(), _sigmoid, true_sigmoid),
        Case("Tanh", x, dout, nnext.Tanh(), book.Tanh(), _tanh, true_tanh),
        Case("ReLU", x, dout, nnext.ReLU(), book.ReLU(), _relu, true_relu),
        Case("LeakyReLU", x, dout, *leaky_relus(), _leaky_relu, true_leaky_relu),
        Case("SiLU", x, dout, nnext.SiLU(), book.SiLU(), _silu, true_silu),
        Case("GELU", x, dout, nnext.GELU(), None, partial(_gelu, "none"), true_gelu),
        Case("GELU, tanh", x, dout, *gelus(), partial(_gelu, "tanh"), true_gelu_tanh),
        Case("Dropout", x, dout, nnext.Dropout(RATIO, seed=0), book.Dropout(RATIO), _dropout, None),
    ]
    for width in WIDTHS:
        rows, douts = x.reshape(-1, width), dout.reshape(-1, width)
        name = f"Softmax of {len(rows):,} rows"
        ours, books = nnext.Softmax(), book.Softmax()
        found.append(Case(name, rows, douts, ours, books, _softmax, true_softmax))
    for width in NORMS:
        rows, douts = x.reshape(-1, width), dout.reshape(-1, width)
        arrays = [rng.standard_normal(width, dtype=np.float32) for _ in range(2)]
        for kind, axis, norm in (("LayerNorm", 1, _layer_norm), ("BatchNorm", 0, _batch_norm)):
            ours, books = (getattr(m, kind)(*arrays) for m in (nnext, book))
            name = f"{kind} of {len(rows):,} rows"
            true = partial(true_norm, axis, *arrays)
            found.append(Case(name, rows, douts, ours, books, partial(norm, *arrays), true))
    W = rng.standard_normal((WORDS, WIDTH), dtype=np.float32)
    count = SIZE // WIDTH
    idx = np.minimum(rng.zipf(1.3, count) - 1, WORDS - 1)  # a few words are most of a text
    given = idx, dout.reshape(count, WIDTH)
    own = nnext.Embedding(W), book.Embedding(W)
    theirs, true = partial(_embedding, W), partial(true_embedding, W)
    found.append(Case("Embedding", *given, *own, theirs, true))
    return found


def leaky_relus() -> tuple[Any, Any]:
    return nnext.LeakyReLU(SLOPE), book.LeakyReLU(SLOPE)


def gelus() -> tuple[Any, Any]:
    return nnext.GELU(approximate="tanh"), book.GELU()


def check(case: Case, y: Any, dx: Any) -> None:
    """Raise if the output or the gradient is not that of float64, but for roundings."""
    y, dx = np.asarray(y), np.asarray(dx)
    if case.expected is None:  # each draws its own numbers
        kept = y != 0
        require(bool((y == np.where(kept, case.x / np.float32(1 - RATIO), 0)).all()), case.name)
        require(abs(kept.mean() - (1 - RATIO)) < 0.01, f"the share that {case.name} keeps")
        expected = np.where(kept, case.dout / np.float32(1 - RATIO), 0)
        require(bool((dx == expected).all()), f"{case.name} backward")
        return
    for actual, exact in zip((y, dx), case.expected(case.x, case.dout), strict=True):
        close = np.allclose(actual, exact, rtol=1e-4, atol=1e-6 * abs(exact).max())
        require(actual.dtype == np.float32 and close, case.name)


# --- in float64 -----------------------------------------------------------------------------------


def true_sigmoid(x: Array, dout: Array) -> tuple[Array, Array]:
    y = 1 / (1 + np.exp(-x.astype(np.float64)))
    return y, dout * y * (1 - y)


def true_tanh(x: Array, dout: Array) -> tuple[Array, Array]:
    y = np.tanh(x.astype(np.float64))
    return y, dout * (1 - y * y)


def true_relu(x: Array, dout: Array) -> tuple[Array, Array]:
    return np.maximum(x, 0), dout * (x > 0)


def true_leaky_relu(x: Array, dout: Array) -> tuple[Array, Array]:
    slope = np.where(x > 0, 1.0, SLOPE)
    return slope * x, slope * dout


def true_silu(x: Array, dout: Array) -> tuple[Array, Array]:
    x = x.astype(np.float64)
    y = 1 / (1 + np.exp(-x))
    return x * y, dout * y * (1 + x * (1 - y))


def true_gelu(x: Array, dout: Array) -> tuple[Array, Array]:
    x = x.astype(np.float64)
    share = np.array([0.5 * math.erfc(-value) for value in (x / math.sqrt(2)).tolist()])
    slope = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return x * share, dout * (share + x * slope)


def true_gelu_tanh(x: Array, dout: Array) -> tuple[Array, Array]:
    layer = book.GELU()
    return layer.forward(x.astype(np.float64)), layer.backward(dout.astype(np.float64))


def true_softmax(x: Array, dout: Array) -> tuple[Array, Array]:
    y = book.softmax(x.astype(np.float64))
    return y, y * (dout - (y * dout).sum(axis=1, keepdims=True))


def true_norm(axis: int, gamma: Array, beta: Array, x: Array, dout: Array) -> tuple[Array, Array]:
    x = x.astype(np.float64)
    s = np.sqrt(x.var(axis, keepdims=True) + EPS)
    z, h = (x - x.mean(axis, keepdims=True)) / s, gamma * dout
    dx = (h - h.mean(axis, keepdims=True) - z * (h * z).mean(axis, keepdims=True)) / s
    return gamma * z + beta, dx


def true_embedding(W: Array, idx: Array, dout: Array) -> tuple[Array, Array]:
    dW = np.zeros(W.shape)
    np.add.at(dW, idx, dout)
    return W[idx], dW


# --- PyTorch's ------------------------------------------------------------------------------------


def _sigmoid(torch: Any, x: Any, dout: Any) -> Pair:
    backward = torch.ops.aten.sigmoid_backward
    return partial(torch.sigmoid, x), partial(backward, dout, torch.sigmoid(x))


def _tanh(torch: Any, x: Any, dout: Any) -> Pair:
    return partial(torch.tanh, x), partial(torch.ops.aten.tanh_backward, dout, torch.tanh(x))


def _relu(torch: Any, x: Any, dout: Any) -> Pair:
    backward = torch.ops.aten.threshold_backward
    return partial(torch.relu, x), partial(backward, dout, torch.relu(x), 0)


def _leaky_relu(torch: Any, x: Any, dout: Any) -> Pair:
    forward, backward = torch.nn.functional.leaky_relu, torch.ops.aten.leaky_relu_backward
    return partial(forward, x, SLOPE), partial(backward, dout, x, SLOPE, False)


def _silu(torch: Any, x: Any, dout: Any) -> Pair:
    forward, backward = torch.nn.functional.silu, torch.ops.aten.silu_backward
    return partial(forward, x), partial(backward, dout, x)


def _gelu(approximate: str, torch: Any, x: Any, dout: Any) -> Pair:
    forward, backward = torch.nn.functional.gelu, torch.ops.aten.gelu_backward
    how = {"approximate": approximate}
    return partial(forward, x, **how), partial(backward, dout, x, **how)


def _dropout(torch: Any, x: Any, dout: Any) -> Pair:
    mask = None

    def forward() -> Any:
        nonlocal mask
        y, mask = torch.native_dropout(x, RATIO, True)
        return y

    def backward() -> Any:
        return torch.ops.aten.native_dropout_backward(dout, mask, 1 / (1 - RATIO))

    return forward, backward


def _softmax(torch: Any, x: Any, dout: Any) -> Pair:
    backward = torch.ops.aten._softmax_backward_data
    y = torch.softmax(x, 1)
    return partial(torch.softmax, x, 1), partial(backward, dout, y, 1, x.dtype)


def _layer_norm(gamma: Array, beta: Array, torch: Any, x: Any, dout: Any) -> Pair:
    options = [len(gamma)], torch.from_numpy(gamma), torch.from_numpy(beta)
    norm, norm_backward = (
        torch.ops.aten.native_layer_norm,
        torch.ops.aten.native_layer_norm_backward,
    )
    _, mean, rstd = norm(x, *options, EPS)

    def backward() -> Any:
        size, *params = options
        return norm_backward(dout, x, size, mean, rstd, *params, [True] * 3)[0]

    return lambda: norm(x, *options, EPS)[0], backward


def _batch_norm(gamma: Array, beta: Array, torch: Any, x: Any, dout: Any) -> Pair:
    weight, bias = torch.from_numpy(gamma), torch.from_numpy(beta)
    running = torch.zeros(len(gamma)), torch.ones(len(gamma))
    norm, norm_backward = (
        torch.ops.aten.native_batch_norm,
        torch.ops.aten.native_batch_norm_backward,
    )
    _, mean, rstd = norm(x, weight, bias, *running, True, 0.1, EPS)

    def backward() -> Any:
        return norm_backward(dout, x, weight, *running, mean, rstd, True, EPS, [True] * 3)[0]

    return lambda: norm(x, weight, bias, *running, True, 0.1, EPS)[0], backward


def _embedding(W: Array, torch: Any, idx: Any, dout: Any) -> Pair:
    weight = torch.from_numpy(W)
    backward = torch.ops.aten.embedding_dense_backward
    return (
        partial(torch.nn.functional.embedding, idx, weight),
        partial(backward, dout, idx, len(W), -1, False),
    )
