"""Threads that do not bite: forked children, many callers at once, no more threads than CPUs."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import nnext
from nnext.layers import Affine, ReLU, SoftmaxWithLoss
from nnext.models import Sequential
from nnext.optimizer import SGD
from same_bits import drawn, hash_of

TASKS = Path("/proc/self/task")
fork_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
linux_only = pytest.mark.skipif(not TASKS.is_dir(), reason="only Linux tells a process's threads")


@pytest.fixture(autouse=True)
def keep_threads():
    before = nnext.get_num_threads()
    yield
    nnext.set_num_threads(before)


def step(seed=0):
    """Take one training step of a network of its own, wide enough for several threads."""
    layers = [
        Affine(drawn(np.float32, seed + 1, 200, 300), drawn(np.float32, seed + 2, 300)),
        ReLU(),
        Affine(drawn(np.float32, seed + 3, 300, 100), drawn(np.float32, seed + 4, 100)),
    ]
    model = Sequential(layers, SoftmaxWithLoss())
    loss = model.forward(drawn(np.float32, seed + 5, 400, 200), np.arange(400) % 100)
    model.backward()
    SGD().update(model.params, model.grads)
    return hash_of(np.array([loss]), *[p.astype(np.float64) for p in model.params])


@contextlib.contextmanager
def warnings_of_fork_allowed():
    """Let Python 3.12 and later say that there are threads; that a child works is tested here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
        yield


def child_says(expected, timeout=60):
    """Fork; the child takes a step. Say whether it got the expected bits, and did not hang."""
    with warnings_of_fork_allowed():
        child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(timeout)  # ends a child that hangs
            code = 0 if step() == expected else 1
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status != -signal.SIGALRM, "the child hung"
    return status == 0


@fork_only
def test_a_child_forked_before_between_and_during_parallel_work_computes_the_same_bits():
    nnext.set_num_threads(1)
    expected = step()
    nnext.set_num_threads(3)
    assert child_says(expected), "before"
    assert step() == expected
    for _ in range(5):
        assert child_says(expected), "after"
    assert not child_says("other bits")

    stop = threading.Event()
    wrong = []

    def work():
        while not stop.is_set():
            if step() != expected:
                wrong.append(threading.get_ident())

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(20):
            assert child_says(expected), "during"
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    assert not wrong
    assert step() == expected


@fork_only
def test_nothing_was_computed_in_parallel_before_the_fork():
    """In a process of its own: here the pool is made by other tests."""
    code = (
        "import nnext, test_threads\n"
        "nnext.set_num_threads(1); expected = test_threads.step()\n"
        "nnext.set_num_threads(2); assert test_threads.child_says(expected)\n"
        "assert test_threads.step() == expected and test_threads.child_says(expected)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, timeout=120, check=True)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_compute_the_same_bits(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"multiprocessing cannot {method} here")
    nnext.set_num_threads(2)
    expected = [step(seed) for seed in range(6)]
    with warnings_of_fork_allowed(), multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map_async(step, range(6)).get(timeout=120) == expected
        assert step(3) == expected[3], "and the parent still works"


def in_threads(callers, work):
    """Call work(number of the caller) in that many threads at once; raise what one raises."""
    errors = []
    ready = threading.Barrier(callers)

    def call(caller):
        try:
            ready.wait(timeout=60)
            work(caller)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=call, args=(i,)) for i in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive(), "a caller hangs"
    if errors:
        raise errors[0]


def test_many_callers_at_once_each_get_their_own_right_answer():
    expected = [step(seed) for seed in range(12)]
    for threads in (1, 2, 8):
        nnext.set_num_threads(threads)
        found = [[None] * 5 for _ in expected]

        def work(caller, found=found):
            for repeat in range(5):
                found[caller][repeat] = step(caller)

        in_threads(len(expected), work)
        assert found == [[bits] * 5 for bits in expected]


COUNT_THREADS = """
import os, time, nnext, test_threads
def tasks():
    return len(os.listdir("/proc/self/task"))
callers, cpus = {callers}, {cpus}
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cpus])
cpus = len(os.sched_getaffinity(0))
before = tasks()
nnext.set_num_threads(8)
most = [0] * callers
def work(caller):
    for _ in range(10):
        test_threads.step(caller)
        most[caller] = max(most[caller], tasks())
if callers == 1:
    work(0)
    assert max(most) <= before + cpus - 1, (before, most)
    assert max(most) >= before + min(cpus, 2) - 1, (before, most)
else:
    test_threads.in_threads(callers, work)
    assert max(most) <= before + callers + cpus - 1, (before, most)
deadline = time.monotonic() + 30  # a joined thread may take a moment to leave
while tasks() > before + cpus - 1:
    assert time.monotonic() < deadline, (before, tasks())
"""


@linux_only
@pytest.mark.parametrize("callers", [1, 6])
@pytest.mark.parametrize("cpus", [1, 2])
def test_there_are_never_more_threads_than_callers_and_cpus(callers, cpus):
    """In a process of its own, that has no threads of other tests; NumPy's BLAS starts none."""
    subprocess.run(
        [sys.executable, "-c", COUNT_THREADS.format(callers=callers, cpus=cpus)],
        cwd=Path(__file__).parent,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=True,
    )


def test_the_number_of_threads_may_change_while_others_compute():
    expected = step()
    stop = time.monotonic() + 1

    def work(caller):
        while time.monotonic() < stop:
            if caller == 0:
                for n in (1, 8, 3, 2):
                    nnext.set_num_threads(n)
            else:
                assert step() == expected

    in_threads(3, work)


DAEMON = """
import sys, threading, time
import numpy as np
import nnext

a = np.ones((600, 600), np.float32)

def work():
    while True:
        nnext.softmax(nnext.matmul(a, a))

for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
sys.exit(3)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_program_ends_while_daemon_threads_compute(threads):
    environment = {**os.environ, "NNEXT_NUM_THREADS": str(threads)}
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-P", "-c", DAEMON],
            env=environment,
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (3, b"")
