"""Recurrent layers over whole sequences, forward alone, and forward and backward.

PyTorch is given the same weights by `nnext.torch_weights`. Its GRU resets the product of the state,
the book's the state itself: both are here, each beside its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import book_sequences
import numpy as np
from bench import NUMPY, TORCH, Bench, require
from measure import Candidate
from numpy.typing import NDArray
from report import OURS, Row, row

import nnext
from nnext import time_layers, torch_weights

Array = NDArray[Any]

FORMS = "forward", "both"
# Roundings of float32 over all steps, of the largest number of an array.
NEAR = 1e-4


@dataclass(frozen=True)
class Case:
    """A layer, the numbers of its gates and biases, and what it is called elsewhere."""

    name: str
    gates: int
    biases: int
    ours: Callable[..., Any]
    books: type[book_sequences.Recurrent]
    torch: str | None = None  # its name in torch.nn, if it is there

    def flop(self, n: int, t: int, d: int, h: int) -> float:
        """Products of a forward; a backward has twice as many."""
        return 2.0 * n * t * self.gates * h * (d + h)

    def arrays(self, d: int, h: int, dtype: str = "float32") -> list[Array]:
        """Return the weights, the same ones each time."""
        rng = np.random.default_rng(0)
        shapes = [((d, self.gates * h), d), ((h, self.gates * h), h), ((self.biases * h,), 100)]
        made = [rng.standard_normal(shape) / scale**0.5 for shape, scale in shapes]
        return [a.astype(np.float32).astype(dtype) for a in made if a.size]


def cases() -> list[Case]:
    after = partial(time_layers.TimeGRU, reset_after=True)
    b = book_sequences
    return [
        Case("TimeRNN", 1, 1, time_layers.TimeRNN, b.TimeRNN, "RNN"),
        Case("TimeLSTM", 4, 4, time_layers.TimeLSTM, b.TimeLSTM, "LSTM"),
        Case("TimeGRU", 3, 0, time_layers.TimeGRU, b.TimeGRU),
        Case("TimeGRU, reset_after", 3, 4, after, b.TimeGRUResetAfter, "GRU"),
    ]


SIZES = ((20, 35, 100, 100), (20, 35, 650, 650))


def run(bench: Bench) -> None:
    title = "Recurrent layers, float32 (layer, N, T, D, H)"
    table = bench.table("recurrent", "float32", title, "µs")
    for sizes in SIZES[:1] if bench.quick else SIZES:
        for case in cases():
            table.rows.extend(compare(bench, case, sizes))
    bench.finish(table)


def compare(bench: Bench, case: Case, sizes: tuple[int, int, int, int]) -> list[Row]:
    n, t, d, h = sizes
    rng = np.random.default_rng(1)
    xs = rng.standard_normal((n, t, d), dtype=np.float32)
    dhs = rng.standard_normal((n, t, h), dtype=np.float32)
    expected = answers(case.books(*case.arrays(d, h, "float64")), xs, dhs)
    arrays = case.arrays(d, h)
    layers = {OURS: case.ours(*arrays), NUMPY: case.books(*arrays)}
    ways: dict[str, dict[str, Candidate]] = {form: {} for form in FORMS}
    for name, layer in layers.items():
        check(f"{case.name} of {name}", answers(layer, xs, dhs), expected)
        ways["forward"][name] = partial(layer.forward, xs)
        ways["both"][name] = partial(forward_backward, layer, xs, dhs)
    if bench.torch is not None and case.torch is not None:
        forward, both, found = torch_ways(bench.torch, case, layers[OURS], xs, dhs)
        check(f"{case.name} of {TORCH}", found, expected)
        ways["forward"][TORCH], ways["both"][TORCH] = forward, both
    rows = []
    for form, factor in zip(FORMS, (1, 3), strict=True):
        flop = factor * case.flop(*sizes)
        what = f"{case.name} {sizes}, {form}"
        timing = bench.time(what, ways[form], dtype="float32", also_one_thread=True)
        limit = bench.against_limit(timing, flop=flop, read=0, written=0)
        name = f"{case.name}, {', '.join(map(str, sizes))}"
        rows.append(row(name, timing, (NUMPY, TORCH), form=form, work=flop, **limit))
    return rows


def forward_backward(layer: Any, xs: Array, dhs: Array) -> Array:
    layer.forward(xs)
    dxs: Array = layer.backward(dhs)
    return dxs


def answers(layer: Any, xs: Array, dhs: Array) -> list[Array]:
    """Return the states, the gradient of the input and those of the weights."""
    dtype = layer.params[0].dtype
    hs = layer.forward(xs.astype(dtype))
    return [hs, layer.backward(dhs.astype(dtype)), *(grad.copy() for grad in layer.grads)]


def torch_ways(
    torch: Any, case: Case, ours: Any, xs: Array, dhs: Array
) -> tuple[Candidate, Candidate, list[Array]]:
    """Return PyTorch's forward, its forward and backward, and what it computes.

    Gradients come back as weights do, gates in order and turned, into a layer of nnext's own.
    """
    layer = getattr(torch.nn, str(case.torch))(xs.shape[2], dhs.shape[2], batch_first=True)
    state = torch_weights.to_torch(nnext.Sequential([ours]))
    tensors = {name.partition(".")[2]: torch.from_numpy(a) for name, a in state.items()}
    layer.load_state_dict(tensors)
    x = torch.from_numpy(xs).requires_grad_()
    dout = torch.from_numpy(dhs)

    def forward() -> Any:
        return layer(x)[0]

    def both() -> Any:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        hs = layer(x)[0]
        hs.backward(dout)
        return hs.detach()

    hs = both().numpy().copy()
    grads = {f"0.{name}": p.grad.numpy().copy() for name, p in layer.named_parameters()}
    second = grads["0.bias_hh_l0"]  # the two biases of a gate have one gradient, and are added up
    second[: (2 * dhs.shape[2] if case.torch == "GRU" else None)] = 0
    holder = case.ours(*map(np.zeros_like, ours.params))
    torch_weights.from_torch(grads, nnext.Sequential([holder]))
    return forward, both, [hs, x.grad.numpy().copy(), *holder.params]


def check(what: str, found: list[Array], expected: list[Array]) -> None:
    """Raise if an array is not that of float64, but for roundings."""
    for a, e in zip(found, expected, strict=True):
        require(a.dtype == np.float32 and a.shape == e.shape, what)
        require(bool((abs(a - e) <= NEAR * abs(e).max()).all()), what)
