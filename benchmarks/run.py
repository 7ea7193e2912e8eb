"""Benchmarks: ``python benchmarks/run.py [--quick] [--parts ...] [--threads ...]``.

A part is a module beside this one. It checks each answer, times nnext and its peers in turn and
fills tables. Each number of threads is a process of its own, started with that number, so that
every library sets up its pool for it and none changes it under another's feet.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BUSY = 0.05  # the part of the CPUs that others may have before the page tells of it
HERE = Path(__file__).resolve().parent

PARTS = (
    "matmul",
    "softmax",
    "losses",
    "vocabulary",
    "elementwise",
    "near_zero",
    "training",
    "recurrent",
    "sequences",
    "calls",
    "digits",
    "estimators",
)


def main(arguments: Sequence[str] | None = None) -> None:
    sys.path.insert(0, str(HERE))  # with `python -P` a script's own folder is not searched
    import peers

    options = parse(arguments)
    if options.worker is not None:
        work(options)
        return
    if options.compare is not None:
        import compare

        sys.exit(compare.run(options.compare, options.threads, options.quick))
    try:
        environment, restrictions = peers.environment(os.environ)
    except ValueError as error:
        sys.exit(f"run.py: {error}")
    ignored = peers.ignored(os.environ)
    if ignored:
        print(f"Ignored, since it would slow a peer down: {', '.join(ignored)}", flush=True)
    if restrictions:
        held = ", ".join(f"{name}={text}" for name, text in restrictions.items())
        print(f"Every peer is held to {os.environ['NNEXT_ISA']}: {held}", flush=True)
    start = time.perf_counter()
    results = [run_worker(options, threads, environment) for threads in options.threads]
    finish(options, results, time.perf_counter() - start)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    import machine

    parser = argparse.ArgumentParser(
        description="Time nnext side by side with its peers.",
        epilog="Compare figures of one run only: the speed of a machine drifts. With NNEXT_ISA=avx2"
        " the peers are held to AVX2 too.",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", nargs="+", type=int, help="default: 1, and 2 if there are")
    parser.add_argument("--quick", action="store_true", help="few sizes, short: does it run at all")
    parser.add_argument("--out", type=Path, default=Path("bench_output"), metavar="DIR")
    parser.add_argument(
        "--write-docs",
        action="store_true",
        help="keep the figures of this CPU in benchmarks/results and write the pages of docs anew;"
        " with --parts the other parts keep theirs",
    )
    parser.add_argument(
        "--compare",
        nargs="?",
        const="",
        metavar="WHEEL or REVISION",
        help="measure the tree beside an earlier nnext instead, by default that of the newest tag,"
        " and fail where it is more than a tenth slower",
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    every = list(range(1, min(2, machine.usable_cores()) + 1))
    options.threads = options.threads or every
    if min(options.threads) < 1:
        parser.error("--threads: expected numbers from 1 up")
    if options.compare is not None and options.write_docs:
        parser.error("--compare: it writes nothing that --write-docs could keep")
    if options.write_docs and options.quick:
        parser.error("--write-docs: the figures of --quick are not worth writing down")
    if options.write_docs and options.threads != every:
        parser.error(f"--write-docs: needs the threads {every}, which the pages have side by side")
    return options


def run_worker(options: argparse.Namespace, threads: int, environment: dict[str, str]) -> Any:
    """Run the parts in a process of `threads` threads; return what it found."""
    import peers

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        command = [sys.executable, "-P", __file__, "--worker", str(path), "--threads", str(threads)]
        command += ["--quick"] * options.quick + ["--parts", *options.parts]
        pools = dict.fromkeys(peers.POOLS, str(threads))
        own = {
            **environment,
            **pools,
            "PYTHONIOENCODING": "utf-8",
            # torch.compile finds code that it wrote with wider instructions again where it is held
            # to narrower ones, and then computes wrong losses (2.13.0): so it starts from nothing.
            "TORCHINDUCTOR_CACHE_DIR": str(Path(folder) / "torch"),
        }
        done = subprocess.run(command, env=own, check=False)
        if done.returncode != 0:
            sys.exit(f"run.py: the run on {threads} threads failed")
        return json.loads(path.read_text(encoding="utf-8"))


def work(options: argparse.Namespace) -> None:
    """Run the parts on one number of threads and write the results as JSON."""
    import dataclasses

    import machine

    (threads,) = options.threads
    cpu = machine.here()
    machine.keep_to(threads)  # before the libraries are loaded, which look how many CPUs there are

    import limits
    import measure
    import peers
    from bench import Bench, optional
    from report import say_threads

    import nnext

    effort = measure.FULL if threads == 1 else measure.FULL_SETTLED
    if options.quick:
        effort = dataclasses.replace(measure.QUICK, settle=threads > 1)
    torch, jax = optional("torch"), optional("jax")
    if torch is not None:
        torch.set_num_threads(threads)
    nnext.set_num_threads(threads)
    limit = limits.load(threads, effort.seconds / 2, nnext.show_config("dicts")["isa"])

    before = machine.clock()
    start = time.perf_counter()

    def tell(what: str) -> None:
        """Show on a terminal what is measured now."""
        if sys.stderr.isatty():
            seconds = time.perf_counter() - start
            print(f"\r\033[K[{seconds:4.0f} s] {what}", end="\r", file=sys.stderr, flush=True)

    bench = Bench(
        threads=threads,
        effort=effort,
        quick=options.quick,
        torch=torch,
        jax=jax,
        limits=None if isinstance(limit, str) else limit,
        compile=torch is not None and not options.quick,
        tell=tell,
    )
    config: dict[str, Any] = nnext.show_config("dicts") or {}
    facts = peers.in_use(torch, optional("threadpoolctl"))
    restricted = peers.restrictions_of(os.environ)
    wrong = peers.broken(facts, config["isa"]) if restricted else []
    if wrong:
        sys.exit(f"run.py: the peers are not held to {config['isa']}: {', '.join(wrong)}")
    about = {**cpu.describe(), **peers.versions(config, facts, restricted)}
    print("\n".join(f"{what}: {text}" for what, text in about.items()), flush=True)
    if isinstance(limit, str):
        bench.note(f"The limit of the machine was not measured: {limit}.")
    for name, module in (("PyTorch", torch), ("JAX", jax)):
        if module is None:
            bench.note(f"{name} is not installed: no column of it.")
    for part in options.parts:
        begun = time.perf_counter()
        importlib.import_module(part).run(bench)
        seconds = time.perf_counter() - begun
        print(f"\n[{part}, {say_threads(threads)}: {seconds:.0f} s]", flush=True)
    after = machine.clock()
    if before is not None and after is not None:
        share = before.others(after, os.cpu_count() or 1)
        if share > BUSY:
            bench.note(
                f"Other programs had {100 * share:.0f} % of the CPUs during the run on"
                f" {say_threads(threads)}: its figures are not those of a quiet machine."
            )
    found = {
        "key": cpu.key(config["isa"]),
        "name": cpu.name,
        "isa": config["isa"],
        "version": config["version"],
        "about": about,
        "notes": bench.notes,
        "tables": [table.to_json() for table in bench.tables],
    }
    options.worker.write_text(json.dumps(found), encoding="utf-8")


def finish(options: argparse.Namespace, results: Sequence[Any], seconds: float) -> None:
    """Write the results, print the summary."""
    import pages
    import roofline
    import store

    measured = store.Measured.of_run(results, options.parts, time.strftime("%Y-%m-%d"))
    if "matmul" in measured.parts:
        print(f"\n{pages.all_products(measured.parts['matmul'].tables)}")
    print(f"\n{pages.summary(measured)}\n")
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    for part in measured.parts:
        pages.write(out / f"{part}.md", pages.part(measured, part))
    pages.write(out / "summary.md", pages.summary(measured))
    (out / "results.json").write_text(json.dumps(results), encoding="utf-8")
    drawn = roofline.draw(measured.tables(), out / "roofline.png")
    what = "the tables, results.json" + (", roofline.png" if drawn else "")
    print(f"{seconds:.0f} s; written to {out}: {what}")
    if options.write_docs:
        kept = store.keep(measured)
        written = pages.write_all(pages.ROOT, store.load_all(), kept.key)
        print(f"Kept for {kept.title}; written anew: {', '.join(written)}")


if __name__ == "__main__":
    main()
