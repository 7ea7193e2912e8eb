"""The tree beside an earlier nnext: ``python benchmarks/run.py --compare [WHEEL or REVISION]``.

Two processes, one with each, time the same cases in turns, round by round; what counts is the
median over the rounds of the ratio within a round. A case that lost is measured again, longer,
before it counts as lost.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

LOST = 0.9  # of the speed of the earlier one: more than its figures scatter (5 %) on a busy machine
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

Case = Callable[[], object]


# The cases, of what every version has


def cases() -> dict[str, Callable[[], Case]]:
    """Name the cases; each is made when its turn comes, and may be missing in the earlier one."""
    made: dict[str, Callable[[], Case]] = {}
    for dtype in ("float32", "float64"):
        for m, k, n in ((32, 784, 256), (128, 784, 512), (128, 512, 10), (512, 512, 512)):
            for form in ("nn", "nt", "tn"):
                made[f"matmul {form} ({m}, {k}, {n}), {dtype}"] = _product(m, k, n, form, dtype)
        for name in ("sigmoid", "tanh", "relu", "exp"):
            made[f"{name} (128, 1000), {dtype}"] = _function(name, dtype)
        for n, c in ((128, 10), (128, 1000)):
            made[f"softmax with loss ({n}, {c}), {dtype}"] = _loss(n, c, dtype)
    for name in ("SGD", "Momentum", "AdaGrad", "RMSprop", "Adam"):
        made[f"{name}, 535,818 parameters"] = _optimizer(name)
    for sizes in ((10, 10, 3), (784, 128, 10), (784, 512, 512, 10)):
        made[f"a step of {'-'.join(map(str, sizes))}, batches of 32"] = _step(sizes)
    made["the fused loss, forward and backward (512, 256, 10000)"] = _fused_loss
    made["Affine.forward (1, 10) · (10, 10)"] = _call
    return made


def _normal(dtype: str, *shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def _product(m: int, k: int, n: int, form: str, dtype: str) -> Callable[[], Case]:
    def make() -> Case:
        import matmul

        import nnext

        a, b = matmul.operands(form, m, k, n, dtype)
        out = np.empty((a.shape[0], b.shape[1]), dtype)
        return lambda: nnext.matmul(a, b, out=out)

    return make


def _function(name: str, dtype: str) -> Callable[[], Case]:
    def make() -> Case:
        from nnext import functions

        function, x = getattr(functions, name), _normal(dtype, 128, 1000)
        return lambda: function(x)

    return make


def _loss(n: int, c: int, dtype: str) -> Callable[[], Case]:
    def make() -> Case:
        from nnext.layers import SoftmaxWithLoss

        layer, x, t = SoftmaxWithLoss(), _normal(dtype, n, c), np.arange(n) % c

        def both() -> None:
            layer.forward(x, t)
            layer.backward()

        return both

    return make


def _fused_loss() -> Case:
    from nnext.layers import AffineSoftmaxWithLoss

    layer = AffineSoftmaxWithLoss(_normal("float32", 256, 10000))
    x, t = _normal("float32", 512, 256), np.arange(512)

    def both() -> None:
        layer.forward(x, t)
        layer.backward()

    return both


def _optimizer(name: str) -> Callable[[], Case]:
    def make() -> Case:
        from nnext import optimizer

        rule = getattr(optimizer, name)(lr=1e-6)
        params = [_normal("float32", *shape) for shape in ((784, 512), (512,), (512, 256), (2314,))]
        grads = [p.copy() for p in params]
        return lambda: rule.update(params, grads)

    return make


def _step(sizes: Sequence[int]) -> Callable[[], Case]:
    def make() -> Case:
        import nnext
        from nnext.optimizer import SGD

        rng = np.random.RandomState(0)
        layers: list[Any] = []
        for inputs, outputs in pairwise(sizes):
            W = (rng.randn(inputs, outputs) * 0.01).astype(np.float32)
            layers += [nnext.Affine(W, np.zeros(outputs, np.float32)), nnext.ReLU()]
        model, rule = nnext.Sequential(layers[:-1]), SGD(lr=1e-6)
        x, t = rng.randn(32, sizes[0]).astype(np.float32), np.arange(32) % sizes[-1]

        def step() -> None:
            model.forward(x, t)
            model.backward()
            rule.update(model.params, model.grads)

        return step

    return make


def _call() -> Case:
    import nnext

    layer = nnext.Affine(_normal("float32", 10, 10), np.zeros(10, np.float32))
    x = _normal("float32", 1, 10)
    return lambda: layer.forward(x)


# A process of one of them


def work() -> None:
    """Answer lines of JSON: a case's name makes it, a number of calls takes so many."""
    import nnext

    named = cases()
    call: Case = _nothing
    print(json.dumps(nnext.__version__), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, str):
            try:
                call = named[asked]()
                call()
            except (AttributeError, ImportError, TypeError) as error:
                print(json.dumps(str(error)), flush=True)
            else:
                print(json.dumps(None), flush=True)
        else:
            call()
            start = time.perf_counter()
            for _ in range(asked):
                call()
            print(json.dumps(time.perf_counter() - start), flush=True)


def _nothing() -> None:
    pass


class Worker:
    """A process that has one of the two, and waits while the other is at work."""

    def __init__(self, folder: Path | None, threads: int) -> None:
        path = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        if folder is not None:
            path.insert(0, str(folder))
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path),
                "NNEXT_NUM_THREADS": str(threads),
            },
        )
        self._in: IO[str] = self._process.stdin  # type: ignore[assignment]
        self._out: IO[str] = self._process.stdout  # type: ignore[assignment]
        self.version = self._answer()

    def _answer(self) -> Any:
        line = self._out.readline()
        if not line:
            sys.exit("run.py: --compare: a process ended, see above")
        return json.loads(line)

    def ask(self, what: str | int) -> Any:
        self._in.write(json.dumps(what) + "\n")
        self._in.flush()
        return self._answer()

    def close(self) -> None:
        self._in.close()
        self._process.wait()
        self._out.close()


def ratio(old: Worker, new: Worker, rounds: int, seconds: float) -> float:
    """Return how many times as fast the new one is."""
    calls = 1
    while (taken := new.ask(calls)) < seconds / 2:
        calls = max(2 * calls, int(0.75 * calls * seconds / max(taken, 1e-9)))
    ratios: list[float] = []
    for i in range(rounds):
        times = {worker: worker.ask(calls) for worker in ((old, new) if i % 2 else (new, old))}
        ratios.append(times[old] / times[new])
    return statistics.median(ratios)


# The earlier one


def install(what: str, folder: Path) -> Path:
    """Put a wheel, or the wheel of a revision, into a folder of its own."""
    wheel = Path(what)
    if wheel.suffix != ".whl":
        tree = folder / "tree"
        tree.mkdir()
        packed = subprocess.run(
            ["git", "-C", str(ROOT), "archive", what], capture_output=True, check=False
        )
        if packed.returncode != 0:
            reason = packed.stderr.decode(errors="replace").strip()
            sys.exit(f"run.py: --compare: neither a wheel nor a revision: {what} ({reason})")
        subprocess.run(["tar", "-x", "-C", str(tree)], input=packed.stdout, check=True)
        wheel = tree
    elif not wheel.is_file():
        sys.exit(f"run.py: --compare: there is no wheel {what}")
    site = folder / "site"
    print(f"Installing {what} aside", flush=True)
    subprocess.run(
        [sys.executable, "-P", "-m", "pip", "install", "-qq", "--no-deps", "--target", str(site),
         str(wheel)],
        check=True,
    )  # fmt: skip
    return site


def latest_release() -> str:
    """Return the newest tag that is a version."""
    tags = subprocess.run(
        ["git", "-C", str(ROOT), "tag", "--list", "v*", "--sort=-v:refname"],
        capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    if not tags:
        sys.exit("run.py: --compare: there is no tag of a release (v*): name a wheel or a revision")
    return tags[0]


def run(what: str, threads: Sequence[int], quick: bool) -> int:
    """Measure all cases; return 1 if one lost more than a tenth, and name it."""
    lost: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        site = install(what or latest_release(), Path(name))
        for n in threads:
            old, new = Worker(site, n), Worker(None, n)
            of = what or "the newest tag"
            print(f"\n{n} thread{'s' * (n > 1)}: {new.version} over {old.version} ({of})")
            ratios = []
            for case in list(cases())[:: 8 if quick else 1]:
                missing = old.ask(case) or new.ask(case)
                if missing:
                    print(f"   -    {case}: not in both, {missing}")
                    continue
                rounds, seconds = (3, 0.002) if quick else (9, 0.01)
                found = ratio(old, new, rounds, seconds)
                if found < LOST and not quick:
                    found = ratio(old, new, 3 * rounds, 3 * seconds)
                mark = ""
                if found < LOST:
                    mark = "  lost"
                    lost.append(f"{case}, {n} threads: {found:.2f}")
                ratios.append(found)
                print(f"{found:6.2f}  {case}{mark}", flush=True)
            print(f"{statistics.geometric_mean(ratios):6.2f}  geometric mean")
            old.close()
            new.close()
    if lost:
        print("\nMore than a tenth slower:\n" + "\n".join(lost))
    return 1 if lost else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        work()
    else:
        sys.exit("compare.py: it is a part of run.py, python benchmarks/run.py --compare")
