"""docs/benchmarks.md from the figures in benchmarks/results: `python benchmarks/table.py`; --check only compares.

A file of results is what a benchmark's `--json` wrote, on the machine that it names.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Made by `python benchmarks/table.py` from the figures in `benchmarks/results`, each of which is what a script in
`benchmarks/` wrote with `--json` on the machine that it names. What they mean is said where they are used:
[training.md](training.md#speed), [scale.md](scale.md), [generation.md](generation.md), [onboarding.md](onboarding.md),
[results.md](results.md). Every script has `--quick`, which CI runs for correctness, and a description at its head.
"Wanted" is what was aimed at before it was measured. Brackets hold the range that the script gives: of rounds, or an
interval.
"""


def number(value: Any) -> str:
    """A cell: three digits that count, thousands with commas, a middle with its range."""
    if isinstance(value, list):
        middle, low, high = map(number, value)
        return f"{middle} [{low}, {high}]"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def tables(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """The rows as tables, one for each `table` among them."""
    for name, group in groupby(rows, key=lambda row: row.get("table", "")):
        part = [{k: v for k, v in row.items() if k != "table"} for row in group]
        columns = list(dict.fromkeys(column for row in part for column in row))
        lines = [columns, ["---"] * len(columns), *([number(row.get(c)) for c in columns] for row in part)]
        yield (f"**{name}**\n\n" if name else "") + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section(path: Path) -> str:
    """One file of results."""
    found = json.loads(path.read_text(encoding="utf8"))
    script = HERE / f"{found['benchmark']}.py"
    about = (ast.get_docstring(ast.parse(script.read_text(encoding="utf8"))) or "").split("\n")[0]
    options = " ".join(f"{name}={value}" for name, value in found["options"].items() if value not in (None, False, ""))
    head = f"## {path.stem}\n\n`benchmarks/{script.name}`: {about}\n\nOptions: {options}. Machine: {found['machine']}."
    return "\n\n".join([head, *tables(found["rows"]), *found.get("remarks", [])])


def main() -> None:
    sections = [section(path) for path in sorted((HERE / "results").glob("*.json"))]
    page = "\n\n".join([HEAD.rstrip(), *sections]) + "\n"
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf8") != page:
        raise SystemExit(f"{PAGE.name} is not what benchmarks/results gives; write it with: make docs")


if __name__ == "__main__":
    main()
