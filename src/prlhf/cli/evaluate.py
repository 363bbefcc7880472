"""`prlhf evaluate`: measure a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlhf.cli.console import no_loading_bars

if TYPE_CHECKING:
    from prlhf.config import DataConfig

__all__ = ["SIDES", "evaluate"]

SIDES = ("test", "train", "validation", "unseen", "all")


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of `prlhf train`.")],
    data: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="A log to measure on; by default the one of the run.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SIDE",
            help=f"{', '.join(SIDES)}; by default test and unseen of the run's own data, and all of other data.",
        ),
    ] = None,
    pooled: Annotated[
        Path | None, typer.Option(metavar="RUN2", help="A run of pooled DPO (alpha 0), shown as a baseline.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(metavar="RUN2", help="Another run: the paired difference, with its interval.")
    ] = None,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="OUT.json", help="Write all figures.")] = None,
    users_path: Annotated[
        Path | None, typer.Option("--per-user", metavar="OUT.parquet", help="Write one row a user.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Write a report with plots, in one file.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="An option of the data, as columns.user_id=worker."),
    ] = None,
) -> None:
    """Measure a run on held-out comparisons, beside its baselines."""
    from prlhf.errors import ConfigError

    if split is not None and split not in SIDES:
        raise ConfigError(f"--split: found {split!r}, expected one of {', '.join(SIDES)}")
    config = _data(run, data, overrides or [])

    from prlhf.evaluation.evaluate import evaluate_run

    no_loading_bars()
    found = evaluate_run(run, config, split=split, pooled=pooled, against=against)
    _tell(found)
    if json_path is not None:
        json_path.write_text(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf8")
        typer.echo(f"figures: {json_path}")
    if users_path is not None:
        found.per_user.save(users_path)
        typer.echo(f"users: {users_path}")
    if report is not None:
        typer.echo(f"report: {found.report().save(report)}")


def _data(run: Path, source: str | None, overrides: list[str]) -> DataConfig:
    """The run's own data options, or those of another source, then the overrides."""
    from prlhf.config import DataConfig, RunConfig, load_config
    from prlhf.errors import CheckpointError

    held = run / "config.json"
    if not held.exists():
        raise CheckpointError(f"{run} is not a run folder of `prlhf train` (no config.json)")
    values: dict[str, Any] = {"source": source}
    if source is None:
        values = load_config(RunConfig, held).data.model_dump(mode="json")
    return load_config(DataConfig, overrides=overrides, values=values)


def _tell(found: Any) -> None:
    from rich.console import Console

    from prlhf.cli.tables import comparison_table, metrics_table

    console = Console()
    console.print(metrics_table(found.metrics))
    if found.baselines:
        console.print(comparison_table({"this run": found.metrics, **found.baselines}))
    if found.against is not None:
        console.print(
            f"difference to the other run, paired over users: {found.against.overall.accuracy}", highlight=False
        )
