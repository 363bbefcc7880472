"""`prlhf sweep`: ablations of a recipe, several seeds of each, in one table."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prlhf.cli.console import no_loading_bars
from prlhf.cli.errors import interruptible
from prlhf.cli.options import FLAGS, Folder, OnBadRow, Recipe, one_source

if TYPE_CHECKING:
    from prlhf.training.sweep import Row

__all__ = ["sweep"]


def sweep(
    output: Folder,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            "-s",
            metavar="KEY=VALUES",
            help="Any option; several values, as alpha=0.5,1, are varied; repeatable.",
        ),
    ],
    recipe: Recipe = None,
    data: Annotated[list[str] | None, typer.Option(metavar="SOURCE", help="As in `prlhf train`.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="As in `prlhf train`.")] = None,
    on_bad_row: OnBadRow = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Runs of each variant, with the seeds that follow the recipe's.")
    ] = 1,
    grid: Annotated[
        bool, typer.Option("--grid", help="All combinations of the values, instead of one option at a time.")
    ] = False,
) -> None:
    """Train variants of a recipe and compare each with the recipe itself, on the same comparisons.

    One option at a time is other than in the recipe. The same command again goes on with what was begun. FOLDER gets
    sweep.json, sweep.md, the learning curves, and a run folder for each variant and seed.
    """
    from prlhf.config.variants import variants

    given = {"data.source": one_source(data), "model.base": model, "data.on_bad_row": on_bad_row}
    values = {name: value for name, value in given.items() if value is not None}
    found = variants(recipe, settings, values, FLAGS, grid=grid)
    typer.echo(
        f"{len(found)} variants, {seeds} seed{'s' if seeds > 1 else ''} each: {'; '.join(v.name for v in found)}"
    )
    with interruptible("the same command goes on"):
        from prlhf.training.sweep import sweep as run

        no_loading_bars()
        rows = run(found, output, seeds=seeds)
    _tell(rows, output)


def _tell(rows: list[Row], output: Path) -> None:
    from rich.console import Console

    from prlhf.cli.tables import sweep_table

    Console().print(sweep_table(rows))
    written = [n for n in ("sweep.md", "sweep.json", "sweep.png", "sweep_generic.png") if (output / n).is_file()]
    curves = "" if "sweep.png" in written else "; no curves, since nothing was measured while training"
    typer.echo(f"\n{shlex.quote(str(output))}: {', '.join(written)}{curves}")
