"""Whole training steps: forward, loss, backward, update, through the ordinary layers."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import book
import numpy as np
from bench import JAX, NUMPY, TORCH, Bench, require
from measure import Candidate
from numpy.typing import NDArray
from report import OURS, Row, row

import nnext

Array = NDArray[Any]

Made = tuple[Callable[[], Any], list[Any]]  # a step, and the parameters that it moves

COMPILED = "torch.compile"
COMPILE_SECONDS = 180  # for one net; then the table goes on without


@dataclass(frozen=True)
class Case:
    """A net, from its input to its classes, and a batch; hidden layers have this activation."""

    sizes: tuple[int, ...]
    batch: int
    hidden: str

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, {self.batch}"

    def flop(self) -> float:
        """Products of a step: y = x W, dW, and dx but of the data, which nobody uses."""
        products = [d * h for d, h in pairwise(self.sizes)]
        return 2.0 * self.batch * (3 * sum(products) - products[0])

    def data(self) -> tuple[Array, Array]:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.batch, self.sizes[0]), dtype=np.float32)
        return x, rng.integers(0, self.sizes[-1], self.batch)

    def parameters(self, dtype: str = "float32") -> list[Array]:
        """Return weights and biases in turn, the same ones each time."""
        rng = np.random.default_rng(1)
        made: list[Array] = []
        for d, h in pairwise(self.sizes):
            made.append((rng.standard_normal((d, h)) / d**0.5).astype(np.float32).astype(dtype))
            made.append(np.zeros(h, dtype))
        return made


CASES = (
    Case((2, 10, 3), 30, "Sigmoid"),  # the book's spiral
    Case((64, 100, 10), 32, "ReLU"),  # scikit-learn's digits
    Case((100, 100, 100, 100, 5), 20, "ReLU"),
    Case((784, 128, 10), 64, "ReLU"),  # MNIST
    Case((784, 512, 256, 10), 128, "ReLU"),
    Case((784, 2048, 2048, 10), 256, "ReLU"),
)
OPTIMIZERS = ("SGD", "Adam")


def run(bench: Bench) -> None:
    for optimizer in OPTIMIZERS:
        title = f"A training step with {optimizer}, float32 (layer sizes, batch)"
        table = bench.table("training", optimizer, title, "µs")
        for case in CASES[:5] if bench.quick else CASES:
            table.rows.append(compare(bench, case, optimizer))
        bench.finish(table)


def compare(bench: Bench, case: Case, optimizer: str) -> Row:
    makers = {OURS: our_step, NUMPY: book_step}
    if bench.torch is not None:
        torch = bench.torch

        def eager(case: Case, name: str, lr: float) -> Any:
            return torch_step(torch, case, name, lr)

        def compiled(case: Case, name: str, lr: float) -> Any:
            return torch_step(torch, case, name, lr, compile_it=True)

        makers[TORCH] = eager
        if bench.compile:
            makers[COMPILED] = compiled
    if bench.jax is not None:
        jax = bench.jax
        makers[JAX] = lambda case, name, lr: jax_step(jax, case, name, lr)
    candidates: dict[str, Candidate] = {}
    for name, make in makers.items():
        bench.tell(f"{optimizer} {case}: {name}")
        try:
            with time_limit(COMPILE_SECONDS if name == COMPILED else 0):
                step, params = make(case, optimizer, 0.001)
                check(case, optimizer, float(step()), params)
                # Timed at a rate that hardly moves: on one batch over and over the gradients
                # would soon shrink to numbers so small that they slow every CPU down.
                candidates[name], _ = make(case, optimizer, 1e-7)
                candidates[name]()
        except AssertionError:
            raise
        except Exception as error:
            if name != COMPILED:
                raise
            bench.note(f"{COMPILED} does not work here: {str(error).strip().splitlines()[0]}")
            bench.compile = False
    timing = bench.time(f"{optimizer} {case}", candidates, dtype="float32", also_one_thread=True)
    limit = bench.against_limit(timing, flop=case.flop(), read=0, written=0)
    peers = (NUMPY, TORCH, COMPILED, JAX)
    return row(str(case), timing, peers, work=case.flop(), **limit)


def our_step(case: Case, name: str, lr: float) -> Made:
    """Make a step of nnext, and the parameters that it moves."""
    return _chain(case, nnext, nnext.Sequential, getattr(nnext, name)(lr=lr))


def book_step(case: Case, name: str, lr: float) -> Made:
    """Make a step of the book's NumPy code, and the parameters that it moves."""
    return _chain(case, book, book.Net, getattr(book, name)(lr=lr))


def _chain(case: Case, layers: Any, chain: Any, optimizer: Any, dtype: str = "float32") -> Made:
    params = case.parameters(dtype)
    made = [layers.Affine(W, b) for W, b in zip(params[::2], params[1::2], strict=True)]
    hidden = getattr(layers, case.hidden)
    model = chain([x for affine in made[:-1] for x in (affine, hidden())] + made[-1:])
    x, t = case.data()
    x = x.astype(dtype)

    def step() -> Any:
        loss = model.forward(x, t)
        model.backward()
        optimizer.update(model.params, model.grads)
        return loss

    return step, params


def torch_step(torch: Any, case: Case, name: str, lr: float, *, compile_it: bool = False) -> Made:
    """Make PyTorch's step, and the parameters that it moves, as the book lays them out."""
    nn = torch.nn
    start = case.parameters()
    layers: list[Any] = []
    for W, b in zip(start[::2], start[1::2], strict=True):
        linear = nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, getattr(nn, case.hidden)()]
    model = nn.Sequential(*layers[:-1])
    x, t = map(torch.from_numpy, case.data())

    def loss_of(x: Any, t: Any) -> Any:
        return nn.functional.cross_entropy(model(x), t)

    forward = torch.compile(loss_of) if compile_it else loss_of
    more = {"eps": book.TORCH_EPS} if name == "Adam" else {}
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=lr, **more)

    def step() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(x, t)
        loss.backward()
        optimizer.step()
        return loss.detach()  # one that is kept must not keep the graph

    return step, [p.detach().numpy().T for p in model.parameters()]


def jax_step(jax: Any, case: Case, name: str, lr: float) -> Made:
    """Make JAX's step: one compiled program that is given the parameters to write into.

    The list of the parameters is filled anew at each step, since the arrays given are used up.
    """
    jnp = jax.numpy
    hidden = getattr(jax.nn, case.hidden.lower())
    params = [jnp.asarray(p) for p in case.parameters()]
    count = 2 if name == "Adam" else 0
    state = [[jnp.zeros_like(p) for p in params] for _ in range(count)]
    steps = jnp.zeros((), jnp.int32)
    x, t = map(jnp.asarray, case.data())

    def loss_of(params: Any, x: Any, t: Any) -> Any:
        for W, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            x = hidden(x @ W + b)
        logs = jax.nn.log_softmax(x @ params[-2] + params[-1])
        return -jnp.take_along_axis(logs, t[:, None], axis=1).mean()

    def sgd(params: Any, state: Any, steps: Any, x: Any, t: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x, t)
        return loss, [p - lr * g for p, g in zip(params, grads, strict=True)], state, steps

    def adam(params: Any, state: Any, steps: Any, x: Any, t: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x, t)
        steps = steps + 1
        rate = lr * jnp.sqrt(1 - 0.999**steps) / (1 - 0.9**steps)
        m = [m + 0.1 * (g - m) for m, g in zip(state[0], grads, strict=True)]
        v = [v + 0.001 * (g * g - v) for v, g in zip(state[1], grads, strict=True)]
        moves = [rate * a / (jnp.sqrt(b) + 1e-7) for a, b in zip(m, v, strict=True)]
        return loss, [p - d for p, d in zip(params, moves, strict=True)], [m, v], steps

    program = jax.jit({"SGD": sgd, "Adam": adam}[name], donate_argnums=(0, 1, 2))

    def step() -> Any:
        nonlocal state, steps
        # It returns before the work is done: waited for, or the work would fall into another turn.
        loss, params[:], state, steps = jax.block_until_ready(program(params, state, steps, x, t))
        return loss

    return step, params


def check(case: Case, optimizer: str, loss: float, params: list[Any]) -> None:
    """Raise if the first step's loss or move is not that of the book's code in float64."""
    what = f"the step of {case} with {optimizer}"
    step, expected = _chain(
        case, book, book.Net, getattr(book, optimizer)(lr=0.001), dtype="float64"
    )
    before = [p.copy() for p in expected]
    true_loss = float(step())
    require(abs(loss - true_loss) <= 1e-4 * abs(true_loss), what)
    check_moves(what, optimizer, 0.001, before, params, expected)


def check_moves(
    what: str,
    optimizer: str,
    lr: float,
    before: Sequence[Array],
    params: Sequence[Any],
    expected: Sequence[Array],
) -> None:
    """Raise if parameters did not move as those of float64, but for roundings."""
    for start, held, e in zip(before, params, expected, strict=True):
        p = np.asarray(held)
        moved = abs(e - start)
        roundings = 2.0**-22 * (abs(e) + moved)
        if optimizer == "Adam":
            # The move is the gradient's sign, nearly: where the gradient is next to nothing its
            # own roundings decide. So a few may be off.
            bad = abs(p - e) > 0.02 * lr + roundings
            require(float(bad.mean()) <= 0.01, what)
        else:
            require(bool((abs(p - e) <= 1e-3 * moved.max() + roundings).all()), what)


@contextlib.contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError after so long; 0, or a system without alarms: no limit."""
    if seconds == 0 or not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
