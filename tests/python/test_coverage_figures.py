"""What `make coverage` prints are lines and branches of sources, not of instantiations."""

import io
import json
from pathlib import Path

import pytest

from programs import script

ROOT = Path(__file__).resolve().parents[2]

# A template in two instantiations: each saw what the other did not, `K > 2` is constant in both.
SHOWN = f"""{ROOT}/cpp/src/a.h:
    1|       |template <class T, int K>
    2|  1.20k|int f(T x, int n) {{
    3|      2|  if constexpr (K > 2) {{
  ------------------
  |  Branch (3:17): [Folded - Ignored]
  ------------------
  |  Branch (3:17): [Folded - Ignored]
  ------------------
    4|      0|    return n;
    5|      0|  }}
    6|      1|  if (n > 3 || x > 2) return 2;
  ------------------
  |  Branch (6:7): [True: 0, False: 1.5k]
  |  Branch (6:16): [True: 0, False: 1]
  ------------------
  |  Branch (6:7): [True: 7, False: 0]
  |  Branch (6:16): [True: 0, False: 0]
  ------------------
    7|      1|  return 1;
    8|      0|  unreachable();
    9|      1|}}

{ROOT}/cpp/src/b.cpp:
    1|      3|int g() {{ return 1; }}
    2|      0|constexpr int h(int n) {{  // coverage off: when it is compiled
    3|      0|  if (n > 0) return 2;
  ------------------
  |  Branch (3:7): [True: 0, False: 0]
  ------------------
    4|      0|}}  // coverage on
    5|      1|int i() {{ return 3; }}  // coverage off: nobody knows

{ROOT}/cpp/src/kernels/c.h:
    1|      2|Vec<T> f(Vec<T> v, int n) {{
    2|      2|  const Vec<T> x = v < low ? zero : v;
  ------------------
  |  Branch (2:20): [True: 2, False: 0]
  ------------------
    3|      2|  if (n > 0) return n < 5 ? x : v;
  ------------------
  |  Branch (3:7): [True: 2, False: 0]
  |  Branch (3:21): [True: 1, False: 1]
  ------------------
"""


@pytest.fixture(scope="module")
def figures():
    return script("coverage_figures")


@pytest.fixture
def run(figures, tmp_path, monkeypatch, capsys):
    totals = {"num_statements": 10, "covered_lines": 9, "num_branches": 4, "covered_branches": 3}
    (tmp_path / "python.json").write_text(json.dumps({"totals": totals}))

    def run(least, shown=SHOWN):
        monkeypatch.setattr("sys.stdin", io.StringIO(shown))
        code = figures.main([f"{tmp_path}/cpp.txt", f"{tmp_path}/python.json", str(least)])
        return code, capsys.readouterr()

    return run


def test_a_branch_was_taken_where_any_instantiation_took_it(run, tmp_path):
    code, said = run(60)
    assert code == 0
    assert said.err == ""
    assert said.out.splitlines() == [
        "Python lines:     90.00 % (9 of 10)",
        "Python branches:  75.00 % (3 of 4)",
        "C++ lines:        75.00 % (9 of 12)",
        "C++ branches:     75.00 % (6 of 8)",
    ]
    rows = (tmp_path / "cpp.txt").read_text().splitlines()
    assert rows[1].split() == ["cpp/src/a.h", "8", "3", "62.5%", "4", "1", "75.0%"]
    assert rows[2:4] == ["    lines 4-5, 8", "    branches 6:16 never true"]
    assert rows[4].split() == ["cpp/src/b.cpp", "1", "0", "100.0%", "0", "0", "100.0%"]
    assert rows[5].split() == ["cpp/src/kernels/c.h", "3", "0", "100.0%", "4", "1", "75.0%"]
    assert rows[6:] == ["    branches 3:7 never false"]


@pytest.mark.parametrize(
    ("least", "complaints"),
    [(75.1, ["Python branches", "C++ lines", "C++ branches"]), (91, None)],
)
def test_what_is_too_little_fails(run, least, complaints):
    complaints = complaints or ["Python lines", "Python branches", "C++ lines", "C++ branches"]
    code, said = run(least)
    assert code == 1
    assert said.err.splitlines() == [f"nnext: less than {least} % of {name}" for name in complaints]


def test_nothing_read_is_not_everything_covered(run):
    code, said = run(0, "")
    assert code == 1
    assert "llvm-cov says nothing" in said.err
