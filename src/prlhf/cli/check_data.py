"""`prlhf check-data`: leaks in a preference log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prlhf.cli.options import DataOverrides, OnBadRow, Source, data_config
from prlhf.cli.places import check_places

if TYPE_CHECKING:
    from prlhf.data import Log
    from prlhf.data.checks import Check

__all__ = ["check_data"]


def check_data(
    source: Source,
    on_bad_row: OnBadRow = None,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="OUT.json", help="Write all numbers.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where there is a finding.")] = False,
    overrides: DataOverrides = None,
) -> None:
    """Leaks of a log: marks of serialisation, the same on both sides of the split, ids that tell the vote."""
    from prlhf.data import load_comparisons
    from prlhf.data.checks import check_log

    check_places({"--json": json_path}, {"SOURCE": source})
    config = data_config({"source": source, "on_bad_row": on_bad_row}, overrides)
    log = load_comparisons(config)
    checks = check_log(log, config.split)
    _tell(log, checks)
    if json_path is not None:
        _write(json_path, log, checks)
    if strict and any(check.finding for check in checks):
        raise typer.Exit(1)


def _tell(log: Log, checks: list[Check]) -> None:
    from rich.console import Console

    from prlhf.cli.tables import checks_table
    from prlhf.data.checks import findings

    console = Console()
    console.print(f"{log.source}: {log.notes.text()}", highlight=False, markup=False)
    console.print(checks_table(checks))
    found = any(check.finding for check in checks)
    console.print(findings(checks), highlight=False, markup=False, style="yellow" if found else "")


def _write(place: Path, log: Log, checks: list[Check]) -> None:
    import json

    made = {"source": log.source, "fingerprint": log.fingerprint, "checks": [check.as_dict() for check in checks]}
    place.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf8")
    typer.echo(f"numbers: {place}")
