"""Benchmarks: ``python benchmarks/run.py [--quick] [--parts ...] [--threads ...]``.

A part is a module beside this one. It checks each answer, times nnext and its peers in turn and
fills tables. Each number of threads is a process of its own, started with that number, so that
every library sets up its pool for it and none changes it under another's feet.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent / "docs" / "performance.md"
PICTURE = HERE.parent / "docs" / "images" / "roofline.png"

PARTS = (
    "matmul",
    "softmax",
    "vocabulary",
    "elementwise",
    "near_zero",
    "training",
    "calls",
    "digits",
)

# What keeps a peer from the instructions that it would choose by itself. With
# OPENBLAS_CORETYPE=Haswell, for one, NumPy does without AVX-512 and takes twice as long on a CPU
# that has it. nnext's own NNEXT_ISA holds: the first line printed says what is in use.
HANDICAPS = (
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
)
POOLS = ("MKL_NUM_THREADS", "NNEXT_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    # With `python -P` a script's own folder is not searched.
    sys.path.insert(0, str(HERE))
    if options.worker is not None:
        work(options)
        return

    # Before anything imports NumPy: its BLAS reads these when it is loaded.
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    ignored = [f"{name}={environment.pop(name)}" for name in HANDICAPS if name in environment]
    if ignored:
        print(f"Ignored, since it would slow a peer down: {', '.join(ignored)}", flush=True)
    start = time.perf_counter()
    results = [run_worker(options, threads, environment) for threads in options.threads]
    finish(options, results, time.perf_counter() - start)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Time nnext side by side with its peers.",
        epilog="Compare figures of one run only: the speed of a machine drifts.",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", nargs="+", type=int, help="default: 1, and 2 if there are")
    parser.add_argument("--quick", action="store_true", help="few sizes, short: does it run at all")
    parser.add_argument("--out", type=Path, default=Path("bench_output"), metavar="DIR")
    parser.add_argument("--write-docs", action="store_true", help=f"put the tables into {DOCUMENT}")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.threads = options.threads or list(range(1, min(2, usable_cores()) + 1))
    if min(options.threads) < 1:
        parser.error("--threads: expected numbers from 1 up")
    if options.write_docs and options.quick:
        parser.error("--write-docs: the figures of --quick are not worth writing down")
    if options.write_docs and set(options.parts) != set(PARTS):
        parser.error("--write-docs: needs every part, since figures of two runs do not compare")
    return options


def run_worker(options: argparse.Namespace, threads: int, environment: dict[str, str]) -> Any:
    """Run the parts in a process of `threads` threads; return what it found."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        command = [sys.executable, "-P", __file__, "--worker", str(path), "--threads", str(threads)]
        command += ["--quick"] * options.quick + ["--parts", *options.parts]
        pools = dict.fromkeys(POOLS, str(threads))
        done = subprocess.run(command, env={**environment, **pools}, check=False)
        if done.returncode != 0:
            sys.exit(f"run.py: the run on {threads} threads failed")
        return json.loads(path.read_text(encoding="utf-8"))


def work(options: argparse.Namespace) -> None:
    """Run the parts on one number of threads and write the results as JSON."""
    import dataclasses

    import limits
    import measure
    from bench import Bench, optional

    import nnext

    (threads,) = options.threads
    effort = measure.QUICK if options.quick else measure.FULL
    effort = dataclasses.replace(effort, settle=threads > 1)
    torch = optional("torch")
    if torch is not None:
        torch.set_num_threads(threads)
    nnext.set_num_threads(threads)
    limit = limits.load(threads, effort.seconds / 2)

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
        limits=None if isinstance(limit, str) else limit,
        compile=torch is not None and not options.quick,
        tell=tell,
    )
    machine = describe(nnext.show_config("dicts") or {}, torch)
    print("\n".join(f"{what}: {text}" for what, text in machine.items()), flush=True)
    if isinstance(limit, str):
        bench.note(f"The limit of the machine was not measured: {limit}.")
    if torch is None:
        bench.note("PyTorch is not installed: no column of it.")
    for part in options.parts:
        begun = time.perf_counter()
        importlib.import_module(part).run(bench)
        seconds = time.perf_counter() - begun
        print(f"\n[{part}, {threads} threads: {seconds:.0f} s]", flush=True)
    found = {
        "machine": machine,
        "notes": bench.notes,
        "tables": [table.to_json() for table in bench.tables],
    }
    options.worker.write_text(json.dumps(found), encoding="utf-8")


def finish(options: argparse.Namespace, results: Sequence[Any], seconds: float) -> None:
    """Write the results, print the summary."""
    import report
    import roofline
    import targets

    tables = [report.Table.from_json(table) for found in results for table in found["tables"]]
    notes = list(dict.fromkeys(note for found in results for note in found["notes"]))
    about = {**results[0]["machine"], **report.limits(tables)}
    blocks = {"machine": "\n".join(f"- {what}: {text}" for what, text in about.items())}
    for part in options.parts:
        own = sorted((t for t in tables if t.part == part), key=lambda table: table.kind)
        if own:
            blocks[part] = "\n\n".join(map(report.render, own))
    blocks["targets"] = targets.summary(tables)
    blocks["notes"] = "\n".join(f"- {note}" for note in notes) or "Nothing was left out."

    print(f"\n**Targets**\n\n{blocks['targets']}\n")
    options.out.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        if part in blocks:
            write(options.out / f"{part}.md", blocks[part])
    write(
        options.out / "summary.md", "\n\n".join(blocks[n] for n in ("machine", "targets", "notes"))
    )
    write(options.out / "results.json", json.dumps(results))
    drawn = roofline.draw(tables, options.out / "roofline.png")
    what = "the tables, results.json" + (", roofline.png" if drawn else "")
    print(f"{seconds:.0f} s; written to {options.out}: {what}")
    if options.write_docs:
        text = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(report.replace_blocks(text, blocks), encoding="utf-8")
        if drawn:
            PICTURE.write_bytes((options.out / "roofline.png").read_bytes())
        print(f"{DOCUMENT} has the new tables")


def write(path: Path, text: str) -> None:
    path.write_text(f"{text}\n", encoding="utf-8")


def describe(config: dict[str, Any], torch: Any) -> dict[str, str]:
    """Say what is compared, and on what."""
    import numpy as np
    from bench import optional
    from limits import last_cache

    found = {
        "machine": f"{cpu_name()}, {usable_cores()} cores, {platform.system()}",
        "last cache": f"{last_cache() >> 20} MiB",
        "Python": platform.python_version(),
        "nnext": f"{config['version']}, {config['isa']}, {config['compiler']}",
    }
    pools = optional("threadpoolctl")
    blas = [
        f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}".rstrip()
        for pool in (pools.threadpool_info() if pools is not None else ())
        if pool["user_api"] == "blas"
    ]
    found["NumPy"] = ", ".join([np.__version__, *blas[:1]])
    if torch is not None:
        found["PyTorch"] = torch.__version__
    sklearn = optional("sklearn")
    if sklearn is not None:
        found["scikit-learn"] = sklearn.__version__
    return found


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


if __name__ == "__main__":
    main()
