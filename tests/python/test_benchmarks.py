"""The benchmarks: they run, reject wrong answers and hold the peers to what they say."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nnext
from programs import run

ROOT = Path(__file__).resolve().parents[2]
CONFIG = nnext.show_config("dicts")


def bench(*arguments, **more):
    """Run the benchmarks, whatever instruction set the tests themselves were given."""
    return run(ROOT / "benchmarks" / "run.py", *arguments, **{"NNEXT_ISA": "", **more})


@pytest.fixture
def benchmarks(monkeypatch):
    """Make the modules of benchmarks/ importable."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def test_benchmarks_run_and_write_their_tables(tmp_path):
    parts = ["matmul", "calls"]
    command = ["--quick", "--threads", "1", "--parts", *parts, "--out", "results"]
    printed = bench(*command, folder=tmp_path)
    for part in parts:
        text = (tmp_path / "results" / f"{part}.md").read_text(encoding="utf-8")
        assert text.count("\n|") >= 7
        assert all(line in printed for line in text.splitlines())
    assert re.search(r"^\| 256, 256, 256 +\| +[\d.]+ / [\d.]+ / [\d.]+ \| ", printed, re.MULTILINE)
    assert re.search(r"^Geometric means: [\d.]+ × NumPy", printed, re.MULTILINE)
    (found,) = json.loads((tmp_path / "results" / "results.json").read_text(encoding="utf-8"))
    assert {table["part"] for table in found["tables"]} == set(parts)


def test_benchmarks_ignore_and_name_what_would_slow_a_peer_down(tmp_path):
    command = ["--quick", "--threads", "1", "--parts", "calls"]
    printed = bench(*command, folder=tmp_path, OPENBLAS_CORETYPE="Haswell", XLA_FLAGS="--none")
    assert "Ignored, since it would slow a peer down: " in printed
    assert "OPENBLAS_CORETYPE=Haswell" in printed
    assert "XLA_FLAGS=--none" in printed
    assert "peers: each with the best instructions it has for this CPU" in printed


@pytest.mark.skipif("avx2" not in CONFIG["isa_available"], reason="this CPU has no AVX2")
def test_with_avx2_every_peer_is_held_to_it(tmp_path):
    command = ["--quick", "--threads", "1", "--parts", "calls"]
    printed = bench(*command, folder=tmp_path, NNEXT_ISA="avx2")
    for restriction in ("OPENBLAS_CORETYPE=Haswell", "ATEN_CPU_CAPABILITY=avx2"):
        assert re.search(f"^Every peer is held to avx2: .*{restriction}", printed, re.M)
        assert re.search(f"^peers: held to avx2: .*`{restriction}`", printed, re.M)
    assert re.search(r"^nnext: \S+, avx2, ", printed, re.M)
    assert not re.search(r"^NumPy: .*(X86_V4|AVX512)", printed, re.M)


def test_an_instruction_set_that_peers_cannot_be_held_to_is_refused(tmp_path):
    command = ["--quick", "--threads", "1", "--parts", "calls"]
    printed = bench(*command, folder=tmp_path, status=1, NNEXT_ISA="portable")
    assert "NNEXT_ISA: expected one of avx512, neon, avx2, or nothing, got 'portable'" in printed


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--quick"], "--write-docs: the figures of --quick are not worth writing down"),
        (["--threads", "7"], "--write-docs: needs the threads [1"),
    ],
)
def test_figures_that_the_pages_cannot_show_are_refused_before_anything_runs(tmp_path, more, said):
    assert said in bench("--write-docs", *more, folder=tmp_path, status=2)
    assert not list(tmp_path.iterdir())


def test_a_restriction_names_to_numpy_what_it_found_and_no_more(benchmarks, monkeypatch):
    import peers

    found = ["X86_V3", "X86_V4", "AVX512_ICL"]
    monkeypatch.setattr(peers, "_numpy_features", lambda fair: found)
    inherited = {"NNEXT_ISA": "avx2", "HOME": "/", "NPY_DISABLE_CPU_FEATURES": "X86_V3"}
    environment, restrictions = peers.environment(inherited)
    assert restrictions["NPY_DISABLE_CPU_FEATURES"] == "X86_V4 AVX512_ICL"
    assert environment == {"NNEXT_ISA": "avx2", "HOME": "/", **restrictions}
    assert peers.restrictions_of(environment) == restrictions
    found[1:] = []
    assert "NPY_DISABLE_CPU_FEATURES" not in peers.environment(inherited)[0]
    for isa in ({}, {"NNEXT_ISA": "avx512"}, {"NNEXT_ISA": "neon"}):
        assert peers.environment({**isa, "MKL_CBWR": "SSE4_2"}) == (isa, {})


def test_a_peer_that_is_not_held_is_found(benchmarks):
    import peers

    held = {"numpy": ["X86_V2", "X86_V3"], "openblas": ["Haswell"], "torch": "AVX2"}
    assert peers.broken(held, "avx2") == []
    free = {"numpy": ["X86_V3", "X86_V4"], "openblas": ["SkylakeX"], "torch": "AVX512"}
    assert peers.broken(free, "avx512") == []
    for name in free:
        (said,) = peers.broken({**held, name: free[name]}, "avx2")
        assert said.split(" uses ")[1] in ("X86_V4", "SkylakeX", "AVX512")


def test_benchmarks_reject_a_wrong_product(benchmarks):
    import matmul

    a, b = matmul.operands("tn", 5, 7, 3)
    y = nnext.matmul(a, b)
    assert y.shape == (7, 3)
    matmul.check(a, b, y)
    for wrong in (1.001 * y, np.full_like(y, np.nan), y.astype(np.float64), y[:4]):
        with pytest.raises(AssertionError, match="the product"):
            matmul.check(a, b, wrong)


def test_benchmarks_reject_a_wrong_loss_or_gradient(benchmarks):
    import softmax

    x = np.random.default_rng(0).standard_normal((6, 4), dtype=np.float32)
    t = np.arange(6) % 4
    layer = nnext.SoftmaxWithLoss()
    loss, dx = layer.forward(x, t), layer.backward()
    softmax.check(x, t, loss, dx)
    for wrong in ((1.01 * loss, dx), (np.nan, dx), (loss, 1.001 * dx), (loss, dx[:5])):
        with pytest.raises(AssertionError, match="softmax with loss"):
            softmax.check(x, t, *wrong)


def test_benchmarks_reject_a_wrong_loss_of_regression_or_of_labels(benchmarks):
    import losses

    cases = losses.cases()
    assert len({case.name for case in cases}) == 5
    for case in cases:
        for n, c in ((1, 1), (7, 3), *losses.SIZES[:2]):
            x, t = losses.operands(case, n, c)
            for loss, dx in ((case.ours.forward(x, t), case.ours.backward()), case.numpy(x, t)):
                losses.check(case, x, t, loss, dx)
                wrong = 1.001 * abs(loss) + 1e-3
                for pair in ((wrong, dx), (np.nan, dx), (loss, 1.01 * dx), (loss, dx[1:])):
                    with pytest.raises(AssertionError, match=case.name):
                        losses.check(case, x, t, *pair)


def test_benchmarks_take_pytorchs_losses_for_the_same(benchmarks):
    torch = pytest.importorskip("torch")
    import losses

    for case in losses.cases():
        x, t = losses.operands(case, 7, 3)
        scores = torch.from_numpy(x).requires_grad_()
        factor = 3 if case.added else 1
        loss = factor * losses.torch_step(torch, case, scores, torch.from_numpy(t))().item()
        losses.check(case, x, t, loss, np.float32(factor) * scores.grad.numpy())


def test_benchmarks_reject_a_wrong_function_or_step(benchmarks):
    import book
    import elementwise
    import training

    y = np.exp(np.linspace(-3, 3, 50, dtype=np.float32))
    elementwise.check_ulps("exp", y, y.astype(np.longdouble))
    with pytest.raises(AssertionError, match="exp of float32"):
        elementwise.check_ulps("exp", y, 1.00001 * y.astype(np.longdouble))

    params, grads = elementwise.parameters((4, 3))
    nnext.Adam(lr=1e-4).update(params, grads)
    elementwise.check_step("Adam", book.Adam, (4, 3), params)
    with pytest.raises(AssertionError, match="the step of Adam"):
        elementwise.check_step("Adam", book.Adam, (4, 3), [1.00001 * p for p in params])

    for optimizer in training.OPTIMIZERS:
        step, params = training.our_step(training.CASES[0], optimizer, 0.001)
        loss = step()
        training.check(training.CASES[0], optimizer, loss, params)
        with pytest.raises(AssertionError, match="the step of 2-10-3"):
            training.check(training.CASES[0], optimizer, 1.001 * loss, params)
        step()
        with pytest.raises(AssertionError, match="the step of 2-10-3"):
            training.check(training.CASES[0], optimizer, loss, params)


def test_benchmarks_reject_a_wrong_layer(benchmarks):
    import layers

    cases = layers.cases()
    names = " ".join(case.name for case in cases)
    for name in ("Sigmoid", "Tanh", "LeakyReLU", "SiLU", "GELU", "Dropout", "Softmax", "Embedding"):
        assert name in names
    for case in cases:
        for layer in (case.ours, case.books):
            if layer is None:  # the exact GELU, for which NumPy has no function
                assert case.name == "GELU"
                continue
            forward, backward = layers.pair(layer, case)
            y, dx = forward(), backward()
            assert case.dout.size == layers.SIZE
            layers.check(case, y, dx)
            for wrong in ((1.001 * y, dx), (y, 1.001 * dx), (y, np.zeros_like(dx))):
                with pytest.raises(AssertionError, match=case.name):
                    layers.check(case, *wrong)


def test_benchmarks_reject_a_wrong_recurrent_layer(benchmarks):
    import recurrent

    rng = np.random.default_rng(0)
    xs, dhs = (rng.standard_normal((3, 4, d), dtype=np.float32) for d in (5, 6))
    for case in recurrent.cases():
        expected = recurrent.answers(case.books(*case.arrays(5, 6, "float64")), xs, dhs)
        for make in (case.ours, case.books):
            found = recurrent.answers(make(*case.arrays(5, 6)), xs, dhs)
            recurrent.check(case.name, found, expected)
            for i, a in enumerate(found):
                wrong = (1.001 * a, np.full_like(a, np.nan), a.astype(np.float64), a[1:])
                for other in wrong:
                    with pytest.raises(AssertionError, match=case.name):
                        recurrent.check(case.name, [*found[:i], other, *found[i + 1 :]], expected)


def test_benchmarks_give_pytorchs_recurrent_layers_the_same_weights(benchmarks):
    torch = pytest.importorskip("torch")
    import recurrent

    rng = np.random.default_rng(0)
    xs, dhs = (rng.standard_normal((3, 4, d), dtype=np.float32) for d in (5, 6))
    known = [case for case in recurrent.cases() if case.torch is not None]
    assert [case.torch for case in known] == ["RNN", "LSTM", "GRU"]
    for case in known:
        expected = recurrent.answers(case.books(*case.arrays(5, 6, "float64")), xs, dhs)
        ours = case.ours(*case.arrays(5, 6))
        *_, found = recurrent.torch_ways(torch, case, ours, xs, dhs)
        recurrent.check(case.name, found, expected)


def test_benchmarks_reject_a_wrong_step_of_a_program(benchmarks):
    import sequences

    cases = {case.name.split(",")[0]: case for case in sequences.cases()}
    assert len(cases) == 8
    for name in ("SimpleCBOW", "SimpleSkipGram", "CBOW", "Seq2seq"):
        case = cases[name]
        step, model = case.our_step(case.lr)
        loss, wrong = step(), sequences.words_drawn(model)
        expected = sequences.specification(case, wrong)
        sequences.check(case, expected, loss, model.params)
        plain, books = case.book_step(case.lr, wrong=wrong)
        sequences.check(case, expected, float(plain()), books.params)
        with pytest.raises(AssertionError, match="the step of"):
            sequences.check(case, expected, 1.001 * loss, model.params)
        step()
        with pytest.raises(AssertionError, match="the step of"):
            sequences.check(case, expected, loss, model.params)


@pytest.mark.parametrize("tied", [False, True])
def test_the_books_step_adds_up_what_is_shared_and_clips(benchmarks, tied):
    import book_models

    W = np.ones((2, 3))
    other = W.T if tied else W
    params = [W, np.zeros(3), other]
    grads = [np.full((2, 3), 1.0), np.ones(3), np.full(other.shape, 2.0)]
    params, grads = book_models.join_shared(params, grads)
    assert [p.shape for p in params] == [(2, 3), (3,)]
    assert (grads[0] == 3).all()
    book_models.clip_grads(grads, 0.5)
    assert np.sqrt(sum((g**2).sum() for g in grads)) == pytest.approx(0.5)


def test_both_ways_of_a_large_vocabulary_are_in_one_table(benchmarks):
    import measure
    import vocabulary
    from bench import Bench
    from report import Table, render

    bench = Bench(1, measure.QUICK, True, None, None, None, tell=lambda what: None)
    function, layer, loss = vocabulary.compare(bench, 8, 4, 50)
    assert (function.form, layer.form, loss.form) == ("function", "layer", "")
    assert function.case == layer.case == "8, 4, 50"
    assert function.seconds["two layers"] == layer.seconds["two layers"]
    assert "(function / layer)" in render(
        Table("vocabulary", "step", "T", 1, "s", [function, layer])
    )


def test_products_have_72_cases_of_a_type(benchmarks):
    import matmul

    assert len({*matmul.SHAPES, *matmul.EXTREMES}) * len(matmul.FORMS) == 72


def test_jax_takes_the_same_step_and_uses_up_its_old_parameters(benchmarks):
    jax = pytest.importorskip("jax")
    import training

    for case in training.CASES[:2]:
        for optimizer in training.OPTIMIZERS:
            step, params = training.jax_step(jax, case, optimizer, 0.001)
            before = list(params)
            loss = float(step())
            training.check(case, optimizer, loss, params)
            assert all(p.is_deleted() for p in before)
            step()
            with pytest.raises(AssertionError, match="the step of"):
                training.check(case, optimizer, loss, params)


def test_a_worker_keeps_to_as_many_cpus_as_threads(tmp_path):
    code = "import machine, os; machine.keep_to(1); print(len(os.sched_getaffinity(0)))"
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not bind processes to CPUs")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "benchmarks",
    )
    assert done.stdout == "1\n"


def test_benchmarks_compare_within_a_round_and_judge_by_the_worst_case(benchmarks):
    from measure import Timing
    from report import Table, render, row
    from targets import Target

    timing = {
        "nnext": Timing((1.0, 2.0, 4.0)),
        "NumPy": Timing((2.0, 4.0, 8.0)),
        "PyTorch: loop": Timing((9.0, 9.0, 9.0)),
        "PyTorch: fused": Timing((0.5, 1.0, 2.0)),
    }
    lost = row("a", timing, ("NumPy", "PyTorch", "absent"), work=4e9, form="nn")
    assert lost.ratios == {"NumPy": 2.0, "PyTorch": 0.5}
    won = row("b", {"nnext": Timing((1.0,)), "NumPy": Timing((3.0,))}, ("NumPy",), form="nn")
    table = Table("matmul", "float32", "Products", 1, "GFLOP/s", [lost, won])
    assert Table.from_json(json.loads(json.dumps(table.to_json()))) == table
    text = render(table)
    assert re.search(r"^\| a +\| +2 \| +1 \| +4 \| +2\.00 \| +0\.50 \| +0\.50 \|", text, re.M)
    assert "Worst: 0.50 at a nn. Slower than the better peer: 1 of 2." in text

    def figures(tables):
        return ((r.case, r.better) for table in tables for r in table.rows)

    def verdict(bar, at_most=False):
        return Target("says", bar, figures, at_most).verdict([table])[2:]

    assert verdict(0.5) == ("reached", "0.50 ×: a")
    assert verdict(1) == ("missed by 1 of 2", "0.50 ×: a")
    assert verdict(3, at_most=True) == ("reached", "3.00 ×: b")
    assert Target("says", 1, figures).verdict([]) is None


# Beside an earlier nnext


class Clock:
    """Stands for a process that is so fast at each case."""

    version = "1.2.3"

    def __init__(self, seconds, missing=()):
        self.seconds, self.missing, self.case = seconds, missing, None

    def ask(self, what):
        if isinstance(what, int):
            return what * self.seconds(self.case)
        self.case = what
        return "there is none" if what in self.missing else None

    def close(self):
        pass


@pytest.fixture
def compare(benchmarks, monkeypatch):
    module = importlib.import_module("compare")
    monkeypatch.setattr(module, "install", lambda what, folder: folder)
    return module


def test_what_is_more_than_a_tenth_slower_is_lost(compare, monkeypatch, capsys):
    slow, missing = "relu (128, 1000), float32", "softmax with loss (128, 10), float64"

    def worker(folder, threads):
        if folder is not None:
            return Clock(lambda case: 1e-6, {missing})
        return Clock(lambda case: 1.2e-6 if case == slow else 1.05e-6)

    monkeypatch.setattr(compare, "Worker", worker)
    assert compare.run("old", [1, 2], quick=False) == 1
    printed = capsys.readouterr().out
    assert f"More than a tenth slower:\n{slow}, 1 threads: 0.83\n{slow}, 2 threads: 0.83" in printed
    assert printed.count("lost") == 2
    assert printed.count(f"{missing}: not in both, there is none") == 2
    assert re.search(r"0\.95  geometric mean", printed)
    monkeypatch.setattr(compare, "Worker", lambda folder, threads: Clock(lambda case: 1e-6))
    assert compare.run("old", [1], quick=False) == 0


def test_two_processes_take_turns(compare, monkeypatch, capsys):
    site = Path(nnext.__file__).parents[1]
    monkeypatch.setattr(compare, "install", lambda what, folder: site)
    monkeypatch.setattr(compare, "cases", lambda: {"Affine.forward (1, 10) · (10, 10)": None})
    monkeypatch.setattr(compare, "LOST", 0)
    monkeypatch.setenv("PYTHONPATH", str(site))
    assert compare.run("itself", [1], quick=True) == 0
    printed = capsys.readouterr().out
    version = nnext.__version__
    assert f"1 thread: {version} over {version} (itself)" in printed
    assert re.search(r"^ +\d+\.\d\d  Affine.forward", printed, re.MULTILINE)


def test_the_cases_run(compare):
    for make in compare.cases().values():
        call = make()
        call()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no.whl", "there is no wheel no.whl"),
        ("no-such-revision", "neither a wheel nor a revision: no-such-revision"),
    ],
)
def test_an_earlier_one_that_is_none_is_refused(what, message, tmp_path):
    assert message in bench("--compare", what, folder=tmp_path, status=1)


def test_a_comparison_writes_no_pages(tmp_path):
    assert "--compare: it writes nothing" in bench(
        "--compare", "v1", "--write-docs", folder=tmp_path, status=2
    )
