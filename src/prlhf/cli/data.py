"""`prlhf data …`: look at preference logs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prlhf.cli.options import DataOverrides, OnBadRow, Source, data_config
from prlhf.cli.places import check_places

if TYPE_CHECKING:
    from prlhf.data.inspect import Inspection
    from prlhf.data.log import Log

__all__ = ["app"]

app = typer.Typer(help="Look at preference logs.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Look at preference logs."""


@app.command("inspect")
def inspect_command(
    source: Source,
    on_bad_row: OnBadRow = None,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="OUT.json", help="Write all figures.")] = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="OUT.png", help="Write four plots.")] = None,
    overrides: DataOverrides = None,
) -> None:
    """Users, lengths, ties and duplicates of a log; how users disagree; what personalisation can hope for."""
    from prlhf.data import inspect_log, load_comparisons

    check_places({"--json": json_path, "--picture": picture}, {"SOURCE": source})
    if picture is not None:
        from prlhf.data.picture import check_picture, draw

        check_picture(picture)
    log = load_comparisons(data_config({"source": source, "on_bad_row": on_bad_row}, overrides))
    found = inspect_log(log)
    _print(log, found)
    if json_path is not None:
        import json

        json_path.write_text(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf8")
        typer.echo(f"numbers: {json_path}")
    if picture is not None:
        draw(found, picture)
        typer.echo(f"picture: {picture}")


def _print(log: Log, found: Inspection) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title=log.source, show_header=False, title_justify="left")
    for name, value in _lines(found):
        table.add_row(name, value)
    console.print(table)
    console.print(log.notes.text(), highlight=False, markup=False)
    console.print()
    console.print(found.hope(), highlight=False, markup=False)
    if log.attribution:
        console.print(f"\nSource: {log.attribution}", highlight=False, markup=False, style="dim")


def _lines(found: Inspection) -> list[tuple[str, str]]:
    counts, a, s = found.counts, found.agreement, found.surface
    lines = [(name.replace("_", " "), f"{value:,}") for name, value in counts.items() if value or name == "users"]
    lines.append((f"{found.kinds} per user", _spread(found.per_user)))
    lines.append(("users with at least", ", ".join(f"{n}: {k:,}" for n, k in found.users_with.items() if k) or "none"))
    lines += [(f"characters, {name}", _spread(values)) for name, values in found.characters.items()]
    if found.kinds != "thumbs":
        lines.append(("pairs judged by several users", f"{a.pairs:,}, contested {a.contested:,}"))
    shares = {
        "two users disagree": a.disagreement,
        "majority of other users is right": a.majority_of_others,
        "majority with the vote itself": a.majority,
        "pooled model at best, at least": found.pooled.lower,
        "pooled model at best, at most": found.pooled.upper,
        f"a user agrees with themselves ({a.repeats:,})": a.self_agreement,
        "votes for the longer response": s.longer,
        "predicted by length": s.length,
        "by length and formatting": s.surface,
        "by length, each user's own sign": s.length_by_user,
    }
    lines += [(name, f"{value:.1%}") for name, value in shares.items() if value is not None]
    if s.coefficients:
        lines.append(("surface weights", ", ".join(f"{name} {w:+.2f}" for name, w in s.coefficients.items())))
    return lines


def _spread(quantiles: dict[str, float]) -> str:
    return ", ".join(f"{name}: {value:,.0f}" for name, value in quantiles.items()) or "none"
