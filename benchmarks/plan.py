"""Try other plans of the matrix product on this CPU: ``python benchmarks/plan.py [--quick]``.

The product makes a plan from sizes, strides, the instruction set and the caches (cpp/src/plan.cpp).
This computes the shapes of training with that plan and with plans that differ from it in one
choice, in turn, and says where another choice is faster, by how much. Whoever has a CPU that the
rules have not met runs it, and finds what to look at; ``--write-docs`` keeps the tables, one for
each CPU, instruction set and number of threads, in docs/explanation/cpus.md; ``--shapes`` looks
closer at some products.
"""

import argparse
import math
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "docs" / "explanation" / "cpus.md"

# What is tried in place of each choice, where it is another one. Blocks by their factor.
CHOICES: Mapping[str, Sequence[Any]] = {
    "transposed": (False, True),
    "order": ("panels", "runs", "columns"),
    "packs_a": (False, True),
    "group_rows": (24, 48),
    "packs_b": (False, True),
    "fetches_panels": (False, True),
    "fetches_c": (False, True),
    "tile_vectors": (1, 2, 3, 4),
}
FACTORS: Mapping[str, Sequence[float]] = {"mc": (0.5, 2), "kc": (0.5, 2), "nc": (0.5, 2)}
EFFECT = 0.03  # differences below drown in the noise


@dataclass(frozen=True)
class Finding:
    """One shape: how fast the plan is, and how other choices compare with it."""

    case: str
    gflops: float
    plan: Mapping[str, Any]
    gains: Mapping[str, float]  # of each other choice: how many times faster than the plan's

    @property
    def best(self) -> tuple[str, float]:
        """The choice that gains most, and how much; the plan itself where none does."""
        name = max(self.gains, key=lambda name: self.gains[name], default="")
        gain = self.gains.get(name, 1.0)
        return (name, gain) if gain > 1 else ("", 1.0)


def others(plan: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name the plans that differ in one choice, as wishes.

    Examples
    --------
    >>> dict(others({"packs_a": False}))
    {'packs_a=True': {'packs_a': True}}
    """
    for name, values in CHOICES.items():
        if name == "group_rows" and not plan.get("packs_a"):
            continue  # there are no groups
        for value in values:
            if name in plan and value != plan[name]:
                yield f"{name}={value}", {name: value}
    for name, factors in FACTORS.items():
        for factor in factors:
            if name in plan:
                size = max(1, int(plan[name] * factor))
                yield f"{name}={size}", {name: size}


def summary(findings: Sequence[Finding]) -> str:
    """Write the table of what could be gained, the largest gains first, in Markdown."""
    lines = ["| M, K, N | GFLOP/s | gain | by |", "|---|---:|---:|---|"]
    for finding in sorted(findings, key=lambda finding: -finding.best[1]):
        name, gain = finding.best
        if gain >= 1 + EFFECT:
            lines.append(f"| {finding.case} | {finding.gflops:.0f} | {gain:.2f} | `{name}` |")
    gains = [f.best[1] if f.best[1] >= 1 + EFFECT else 1.0 for f in findings]
    mean = math.exp(math.fsum(math.log(gain) for gain in gains) / len(gains))
    lost = len(lines) - 2
    head = (
        f"{len(findings)} products; another choice gains {100 * EFFECT:.0f} % or more in {lost}. "
        f"With the best choice for each they were {mean:.3f} times as fast (geometric mean)."
    )
    return "\n".join([head, *(["", *lines] if lost else [])])


def replace_table(document: str, title: str, text: str) -> str:
    """Put `text` under the heading `title`, of the third level: in place of what is there, else at
    the end. What people write about a CPU stands under headings of the second level, and stays.
    """
    section = f"### {title}\n\n{text}\n"
    pattern = re.compile(rf"^### {re.escape(title)}\n.*?(?=^##|\Z)", re.DOTALL | re.MULTILINE)
    if pattern.search(document):
        return pattern.sub(lambda match: section + "\n", document).rstrip() + "\n"
    return f"{document.rstrip()}\n\n{section}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few shapes, short turns")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"])
    parser.add_argument("--write-docs", action="store_true", help=f"keep the table in {DOCUMENT}")
    parser.add_argument(
        "--shapes", nargs="+", type=shape_of, metavar="M,K,N", help="only these, every choice told"
    )
    options = parser.parse_args(arguments)
    if options.threads < 1:
        parser.error("--threads: expected a number from 1 up")
    if options.shapes and options.write_docs:
        parser.error("--write-docs keeps all shapes, not some: without --shapes")
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    sys.path.insert(0, str(HERE))
    title, text = study(options)
    if options.write_docs:
        old = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(replace_table(old, title, text), encoding="utf-8")
        print(f"Written to {DOCUMENT}")


def shape_of(text: str) -> tuple[int, int, int]:
    """Read ``M,K,N``.

    Examples
    --------
    >>> shape_of("128,784,512")
    (128, 784, 512)
    """
    sizes = [int(size) for size in text.split(",") if size.isdecimal()]
    if len(sizes) != 3 or text.count(",") != 2 or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"expected M,K,N, sizes of 1 or more, got {text}")
    return sizes[0], sizes[1], sizes[2]


def study(options: argparse.Namespace) -> tuple[str, str]:
    """Measure all shapes; return the title of the table and its text."""
    import machine
    import matmul
    import measure

    import nnext

    nnext.set_num_threads(options.threads)
    config = nnext.show_config(mode="dicts")
    threads = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    title = f"{machine.here().name}, {config['isa']}, {threads}"
    print(f"{title}, caches {config['caches']}", flush=True)
    effort = measure.Effort(rounds=7, seconds=0.006, budget=3.0, least=3)
    if options.quick:
        effort = measure.QUICK
    text = [f"nnext {nnext.__version__}. Gains that two measurements agree on, the smaller one."]
    shapes = options.shapes or (matmul.QUICK_SHAPES if options.quick else matmul.SHAPES)
    for dtype in options.dtypes:
        findings = []
        for shape in shapes:
            for form in matmul.FORMS:
                findings.append(compare(dtype, form, shape, effort))
                print(line(findings[-1]), flush=True)
                if options.shapes:
                    print(every_choice(findings[-1]), flush=True)
        text += ["", f"**{dtype}**: {summary(findings)}"]
        print(f"\n{dtype}: {summary(findings)}\n", flush=True)
    return title, "\n".join(text)


def compare(dtype: str, form: str, shape: tuple[int, int, int], effort: Any) -> Finding:
    """Time the plan of one product beside the plans that differ in one choice."""
    import matmul
    import numpy as np

    import nnext
    from nnext import _nnext

    a, b = matmul.operands(form, *shape, dtype)
    out = np.empty((a.shape[0], b.shape[1]), dtype)
    expected = nnext.matmul(a, b)
    plan = _nnext.plan(a, b, out)
    wishes: dict[str, dict[str, Any]] = {"": {}}
    try:
        for name, wish in others(plan):
            _nnext.wish_plan(**wish)
            if _nnext.plan(a, b, out) != plan:  # else this product has no such choice
                wishes[name] = wish
                nnext.matmul(a, b, out=out)
                if not np.array_equal(out, expected):
                    raise AssertionError(f"{shape} {form} {name}: other bits")
        own, gains = _gains(wishes, lambda: nnext.matmul(a, b, out=out), effort)
        if likely := [name for name, gain in gains.items() if gain >= 1 + EFFECT]:
            again = {name: wishes[name] for name in ("", *likely)}
            _, confirmed = _gains(again, lambda: nnext.matmul(a, b, out=out), effort)
            gains.update({name: min(gains[name], gain) for name, gain in confirmed.items()})
    finally:
        _nnext.wish_plan()
    gflops = 2e-9 * math.prod(shape) / own
    return Finding(f"{', '.join(map(str, shape))} {form}", gflops, plan, gains)


def _gains(
    wishes: Mapping[str, Mapping[str, Any]], product: Any, effort: Any
) -> tuple[float, dict[str, float]]:
    """Time `product` by each plan: the seconds of the plan without a wish, and what others gain."""
    import measure

    from nnext import _nnext

    timings = measure.measure(
        dict.fromkeys(wishes, product),
        effort,
        prepare={name: partial(_nnext.wish_plan, **wish) for name, wish in wishes.items()},
    )
    own = timings.pop("")
    return own.median, {name: timing.times_faster_than(own) for name, timing in timings.items()}


def every_choice(finding: Finding) -> str:
    """Tell the plan, and what each other choice gains or loses."""
    plan = ", ".join(f"{name} {value}" for name, value in finding.plan.items())
    told = sorted(finding.gains.items(), key=lambda item: -item[1])
    return "\n".join([f"  {plan}", *(f"    {gain:5.2f} by {name}" for name, gain in told)])


def line(finding: Finding) -> str:
    name, gain = finding.best
    told = f"{gain:.2f} by {name}" if gain >= 1 + EFFECT else "none is faster"
    return f"{finding.case:22} {finding.gflops:6.1f} GFLOP/s  {told}"


if __name__ == "__main__":
    main()
