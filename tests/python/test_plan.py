"""Plans of matrix products: shown, forced, and the script that tries others."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nnext
from nnext import _nnext

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def wish():
    """Wish for plans; nothing is wished afterwards."""
    yield _nnext.wish_plan
    _nnext.wish_plan()


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import plan

    return plan


def operands(m, k, n, dtype="float32"):
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    return a, b, np.empty((m, n), dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_plan_shows_and_follows_wishes_and_the_bits_stay(wish, dtype):
    a, b, out = operands(61, 53, 150, dtype)
    expected = nnext.matmul(a, b)
    chosen = _nnext.plan(a, b, out)
    assert chosen["order"] == "panels"
    assert chosen["parts"] in {(1, 1), (1, 2), (2, 1)} or nnext.get_num_threads() > 2
    for wishes in (
        {"packs_a": True, "group_rows": 7, "packs_b": True, "mc": 48, "kc": 16, "nc": 64},
        {"order": "runs", "kc": 8, "tile_rows": 3},
        {"transposed": not chosen["transposed"], "tile_vectors": 1},
        {"fetches_c": True, "fetches_panels": True},
    ):
        wish(**wishes)
        plan = _nnext.plan(a, b, out)
        assert wishes.items() <= plan.items()
        np.testing.assert_array_equal(nnext.matmul(a, b, out=out), expected)
    wish()
    assert _nnext.plan(a, b, out) == chosen


def test_bad_wishes_are_refused(wish):
    with pytest.raises(TypeError, match="wish_plan: a plan has no depth"):
        wish(depth=3)
    with pytest.raises(ValueError, match="wish_plan: there is no order sideways"):
        wish(order="sideways")
    for name in ("mc", "kc", "nc", "tile_rows", "tile_vectors"):
        with pytest.raises(ValueError, match=f"wish_plan: {name} is too small"):
            wish(**{name: 0})
        with pytest.raises(TypeError, match=f"wish_plan: {name} cannot be 'many'"):
            wish(**{name: "many"})
    a, b, out = operands(2, 3, 4)
    for bad in ((a, a, out), (a, b, out.T), (a, b.astype("float64"), out), (a[0], b, out)):
        with pytest.raises(ValueError, match="plan: expected float32 or float64 matrices"):
            _nnext.plan(*bad)
    with pytest.raises(ValueError, match="not empty"):
        _nnext.plan(a[:0], b, out[:0])


@pytest.mark.parametrize("caches", ["32K/8,256K/4,0", "48K/12,2M/16,64M/16", "64/1,64/1,0"])
def test_caches_change_plans_and_no_bits(caches):
    code = (
        "import sys, numpy as np, nnext\n"
        "from nnext import _nnext\n"
        "r = np.random.default_rng(1)\n"
        "f = lambda *s: r.standard_normal(s).astype('float32')\n"
        "for m, k, n in ((70, 300, 260), (3, 600, 512), (130, 64, 1024)):\n"
        "    a, b, d = f(m, k), f(k, n), f(m, n)\n"
        "    for x, y in ((a, b), (d, b.T), (a.T, d)):\n"
        "        print(nnext.matmul(x, y).tobytes().hex())\n"
        "print(_nnext.plan(a, b, d)['mc'], file=sys.stderr)\n"
    )

    def run(**environment):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout, done.stderr

    own, forced = run(), run(NNEXT_CACHES=caches)
    assert forced[0] == own[0]
    if caches.startswith("32K"):
        assert forced[1] != run(NNEXT_CACHES="48K/12,2M/16,64M/16")[1]


def test_the_script_tries_each_other_choice_once(script):
    plan = {"packs_a": False, "group_rows": 48, "order": "runs", "mc": 96, "tile_vectors": 2}
    names = [name for name, _ in script.others(plan)]
    assert names == [
        "order=panels",
        "order=columns",
        "packs_a=True",
        "tile_vectors=1",
        "tile_vectors=3",
        "tile_vectors=4",
        "mc=48",
        "mc=192",
    ]
    assert all(wish for _, wish in script.others(plan))
    packed = dict(script.others({"packs_a": True, "group_rows": 48}))
    assert packed["group_rows=24"] == {"group_rows": 24}


def test_the_script_says_what_gains_and_by_how_much(script):
    slow = script.Finding("8, 8, 8 nn", 50.0, {}, {"kc=512": 1.25, "mc=48": 0.5})
    right = script.Finding("9, 9, 9 nn", 80.0, {}, {"kc=512": 0.9, "mc=48": 1.01})
    alone = script.Finding("1, 1, 1 nn", 1.0, {}, {})
    assert slow.best == ("kc=512", 1.25)
    assert script.Finding("", 1.0, {}, {"a": 0.9}).best == ("", 1.0)
    assert alone.best == ("", 1.0)
    text = script.summary([right, slow, alone])
    assert "3 products; another choice gains 3 % or more in 1." in text
    assert "| 8, 8, 8 nn | 50 | 1.25 | `kc=512` |" in text
    assert "9, 9, 9" not in text
    assert "none is faster" in script.line(right)
    assert "1.25 by kc=512" in script.line(slow)


def test_the_script_keeps_what_is_said_of_other_cpus_and_by_people(script):
    page = "# CPUs\n\n## one\n\nby hand\n\n### one, avx2\n\nold\n\n## two\n\ntext\n"
    assert script.replace_table(page, "one, avx2", "new") == page.replace("old", "new")
    assert script.replace_table(page, "one", "new") == page + "\n### one\n\nnew\n"
    assert script.replace_table(page + "\n### last\n\nold\n", "last", "new") == (
        page + "\n### last\n\nnew\n"
    )


def test_the_script_reads_shapes(script, capsys):
    assert script.shape_of("1,1024,7") == (1, 1024, 7)
    for bad in ("1,2", "1,2,3,4", "1,0,2", "1,x,2", "a,1,2,3", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="expected M,K,N"):
            script.shape_of(bad)
    with pytest.raises(SystemExit):
        script.main(["--shapes", "1,2,3", "--write-docs"])
    assert "without --shapes" in capsys.readouterr().err


def test_the_script_tells_every_choice_the_best_first(script):
    found = script.Finding("8, 8, 8 nn", 50.0, {"kc": 64, "mc": 8}, {"kc=32": 0.5, "mc=4": 1.25})
    assert script.every_choice(found).splitlines() == [
        "  kc 64, mc 8",
        "     1.25 by mc=4",
        "     0.50 by kc=32",
    ]


def test_the_script_compares_plans_of_a_product(script):
    import measure

    finding = script.compare("float32", "tn", (5, 6, 7), measure.QUICK)
    assert finding.case == "5, 6, 7 tn"
    assert "packs_b=True" in finding.gains or "packs_b=False" in finding.gains
    assert all(gain > 0 for gain in finding.gains.values())
