"""Print how much of Python and C++ the tests ran, and fail where it is too little.

``llvm-cov show ... | python scripts/coverage_figures.py LIST PYTHON_JSON LEAST`` reads what
``llvm-cov show --show-branches=count --show-instantiations=false`` prints, and the file that
``coverage json`` wrote. The table of C++, with all that is left, becomes the file LIST.

A branch of C++ is one that the source has: each operand of && and || by itself, once true and once
false; a case, taken and passed over. (GCC counts those of the machine code, in every instantiation
of a template anew: 59,000 in 5,600 lines.) As a line has run where it ran in any instantiation, for
any type and instruction set, so has a branch. What is constant in an instantiation is none there.
A selection among the lanes of vectors, ``mask ? a : b`` in kernels/, is none either, but Clang
shows it as a condition that is never false: what is shown so there is left out. What stands between
``// coverage off: REASON`` and ``// coverage on`` is not counted.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

FILE = re.compile(r"(/.*):\n?")
LINE = re.compile(r" *(\d+)\| *([\d.]*)[kMGTPEZY]?\|(.*)")
BRANCH = re.compile(r" *\|  Branch \((\d+):(\d+)\): \[(.*)\]")
OFF = re.compile(r"// coverage off: \w")  # on the first line that is not counted, with the reason
ON = re.compile(r"// coverage on$")  # on the last
KERNELS = "cpp/src/kernels/"
OUTCOME = re.compile(r"(True|False): ([\d.]+)[kMGTPEZY]?")  # else "Folded": it is constant there


@dataclass
class Source:
    """How often the lines of a file ran, and which outcomes its conditions had."""

    lines: dict[int, bool] = field(default_factory=dict)
    outcomes: dict[tuple[int, int, str], bool] = field(default_factory=dict)
    selections: set[tuple[int, int]] = field(default_factory=set)

    def missed_lines(self) -> list[int]:
        """Give the numbers of the lines that never ran."""
        return [number for number, ran in self.lines.items() if not ran]

    def missed_outcomes(self) -> list[tuple[int, int, str]]:
        """Give line, column and True or False of what no condition ever was."""
        return sorted(key for key, seen in self.outcomes.items() if not seen)


def read(text: Iterable[str]) -> dict[str, Source]:
    """Read what llvm-cov printed: a source for each file's name, relative to the project's."""
    sources: dict[str, Source] = {}
    source = Source()
    counts = True
    stops = False
    code = ""
    for row in text:
        if (match := FILE.fullmatch(row)) is not None:
            source = sources.setdefault(match[1].removeprefix(f"{ROOT}/"), Source())
            counts, stops = True, False
        elif (match := LINE.match(row)) is not None:
            code = match[3]
            counts = (counts or stops) and OFF.search(match[3]) is None
            stops = ON.search(match[3].rstrip()) is not None
            if match[2] and counts:
                source.lines[int(match[1])] = float(match[2]) > 0
        elif counts and (match := BRANCH.match(row)) is not None:
            for outcome, count in OUTCOME.findall(match[3]):
                key = int(match[1]), int(match[2]), outcome
                source.outcomes[key] = source.outcomes.get(key, False) or float(count) > 0
            if selects(code[int(match[2]) - 1 :]):
                source.selections.add((int(match[1]), int(match[2])))
    for name, source in sources.items():
        if name.startswith(KERNELS):
            leave_out_selections(source)
    return sources


def selects(code: str) -> bool:
    """Say whether the condition that code begins with ends in a question mark."""
    depth = 0
    for i, letter in enumerate(code):
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0 or (depth == 0 and (letter == ";" or code[i : i + 2] in ("&&", "||"))):
            return False
        if depth == 0 and letter == "?":
            return True
    return False


def leave_out_selections(source: Source) -> None:
    """Take out what selects among lanes: it was true, was never false, and is no plain branch."""
    for line, column in source.selections:
        true, false = (line, column, "True"), (line, column, "False")
        if source.outcomes.get(true) and source.outcomes.get(false) is False:
            del source.outcomes[true], source.outcomes[false]


def ranges(numbers: list[int]) -> str:
    """Write numbers of lines as ``3, 7-9``."""
    ends = [i for i, (a, b) in enumerate(pairwise(numbers)) if b != a + 1]
    starts = [0, *(i + 1 for i in ends)]
    runs = zip(starts, [*ends, len(numbers) - 1], strict=True) if numbers else ()
    return ", ".join(f"{numbers[a]}" if a == b else f"{numbers[a]}-{numbers[b]}" for a, b in runs)


def percent(missed: int, of: int) -> float:
    """Give how much is not missed, of nothing everything."""
    return 100.0 if of == 0 else 100 * (of - missed) / of


def table(sources: dict[str, Source]) -> str:
    """Write a row for each file, and under it what is left."""
    rows = [f"{'':40}{'lines':>8}{'missed':>8}{'':>7}{'branches':>10}{'missed':>8}"]
    for name, source in sorted(sources.items()):
        lines, outcomes = source.missed_lines(), source.missed_outcomes()
        rows.append(
            f"{name:40}{len(source.lines):8}{len(lines):8}"
            f"{percent(len(lines), len(source.lines)):6.1f}%{len(source.outcomes):10}"
            f"{len(outcomes):8}{percent(len(outcomes), len(source.outcomes)):6.1f}%"
        )
        if lines:
            rows.append(f"    lines {ranges(lines)}")
        if outcomes:
            never = (
                f"{line}:{column} never {outcome.lower()}" for line, column, outcome in outcomes
            )
            rows.append(f"    branches {', '.join(never)}")
    return "\n".join(rows) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Read what llvm-cov prints from standard input; give the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("list", type=Path, help="where to write what of C++ is left")
    parser.add_argument("python", type=Path, help="what coverage json wrote")
    parser.add_argument("least", type=float, help="percent that each figure has to reach")
    options = parser.parse_args(arguments)
    sources = read(sys.stdin)
    if not sources:
        print("nnext: llvm-cov says nothing about any file", file=sys.stderr)
        return 1
    options.list.write_text(table(sources), encoding="utf-8")

    totals = json.loads(options.python.read_text(encoding="utf-8"))["totals"]
    of_python = [
        totals[f"num_{what}"] - totals[f"covered_{part}"]
        for what, part in (("statements", "lines"), ("branches", "branches"))
    ]
    figures = [
        ("Python lines", of_python[0], totals["num_statements"]),
        ("Python branches", of_python[1], totals["num_branches"]),
        (
            "C++ lines",
            sum(len(source.missed_lines()) for source in sources.values()),
            sum(len(source.lines) for source in sources.values()),
        ),
        (
            "C++ branches",
            sum(len(source.missed_outcomes()) for source in sources.values()),
            sum(len(source.outcomes) for source in sources.values()),
        ),
    ]
    code = 0
    for name, missed, of in figures:
        reached = percent(missed, of)
        print(f"{name + ':':17}{reached:6.2f} % ({of - missed} of {of})")
        if reached < options.least:
            print(f"nnext: less than {options.least:g} % of {name}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
