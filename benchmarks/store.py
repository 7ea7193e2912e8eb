"""What was measured on each CPU, part by part: one JSON file for a CPU and an instruction set."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from report import Table

FOLDER = Path(__file__).resolve().parent / "results"


@dataclass
class Part:
    """The tables of one part, all from one run."""

    date: str
    version: str  # nnext's
    about: dict[str, str]  # the machine and what was compared
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass
class Measured:
    """Everything that is known of one CPU with one instruction set."""

    key: str  # names its files
    name: str  # of the CPU
    isa: str
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.name}, {self.isa}"

    def tables(self) -> list[Table]:
        return [table for part in self.parts.values() for table in part.tables]

    def version(self) -> str:
        """Return the versions of nnext that were measured, as "0.1.0" or "0.1.0 and 0.2.0"."""
        return " and ".join(sorted({part.version for part in self.parts.values()}))

    @staticmethod
    def of_run(results: Sequence[Mapping[str, Any]], parts: Sequence[str], date: str) -> "Measured":
        """Collect what the workers of one run found."""
        first = results[0]
        measured = Measured(first["key"], first["name"], first["isa"])
        notes = list(dict.fromkeys(note for found in results for note in found["notes"]))
        tables = [Table.from_json(table) for found in results for table in found["tables"]]
        for part in parts:
            own = [table for table in tables if table.part == part]
            if own:
                own.sort(key=lambda table: (table.kind, table.threads))
                about = dict(first["about"])
                measured.parts[part] = Part(date, first["version"], about, notes, own)
        return measured

    def merged(self, newer: "Measured") -> "Measured":
        """Return this with the parts of `newer` in the place of its own."""
        if self.key != newer.key:
            raise ValueError(f"expected figures of {self.key}, got those of {newer.key}")
        return Measured(self.key, newer.name, self.isa, {**self.parts, **newer.parts})


def load(path: Path) -> Measured:
    data = json.loads(path.read_text(encoding="utf-8"))
    parts = {
        name: Part(**{**part, "tables": [Table.from_json(table) for table in part["tables"]]})
        for name, part in data.pop("parts").items()
    }
    return Measured(**data, parts=parts)


def load_all(folder: Path = FOLDER) -> list[Measured]:
    """Load every CPU's file, in the order of their names."""
    return [load(path) for path in sorted(folder.glob("*.json"))]


def keep(newer: Measured, folder: Path = FOLDER) -> Measured:
    """Put the parts of a run into the file of their CPU; return all that is known of it."""
    path = folder / f"{newer.key}.json"
    measured = load(path).merged(newer) if path.exists() else newer
    save(measured, path)
    return measured


def save(measured: Measured, path: Path) -> None:
    """Write a file whose changes git can show: a row a line, figures of five digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(_lines(_rounded(asdict(measured)))) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    """Round every figure; a row leaves out what it does not have."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        said = {n: v for n, v in value.items() if not (_is_row(value) and v in (None, ""))}
        return {name: _rounded(item) for name, item in said.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and "case" in value


def _lines(value: Any, indent: str = "") -> Iterator[str]:
    """Write JSON that is indented down to the rows of the tables."""
    if not isinstance(value, dict | list) or not value or _is_row(value):
        yield json.dumps(value, ensure_ascii=False)
        return
    if isinstance(value, dict):
        items = [(f"{json.dumps(name)}: ", item) for name, item in value.items()]
        begin, end = "{", "}"
    else:
        items = [("", item) for item in value]
        begin, end = "[", "]"
    yield f"{begin}\n"
    for i, (name, item) in enumerate(items):
        yield ",\n" if i else ""
        yield f" {indent}{name}"
        yield from _lines(item, f" {indent}")
    yield f"\n{indent}{end}"
