"""`prlhf evaluate`: measure a run."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlhf.cli.console import no_loading_bars
from prlhf.cli.errors import interruptible
from prlhf.cli.options import DataOverrides, OnBadRow, data_config, one_source
from prlhf.cli.places import check_places

if TYPE_CHECKING:
    from prlhf.config import DataConfig, RunConfig
    from prlhf.evaluation.result import Evaluation

__all__ = ["BASELINES", "SIDES", "evaluate"]

SIDES = ("test", "unseen", "validation", "train", "context", "all")
BASELINES = ("pooled", "length", "user_text", "in_context", "oracle")


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of `prlhf train`.")],
    data: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE", help="A log to measure on; by default the one of the run.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="SIDE",
            help=f"{', '.join(SIDES)}; by default test and unseen of the run's own data, and all of other data.",
        ),
    ] = None,
    baselines: Annotated[
        str,
        typer.Option(metavar="LIST", help=f"Some of {','.join(BASELINES)}, or none; in_context takes longest."),
    ] = ",".join(BASELINES),
    pooled: Annotated[
        Path | None,
        typer.Option(metavar="RUN2", help="A run of pooled DPO, shown as a baseline; by default RUN/pooled."),
    ] = None,
    train_pooled: Annotated[
        bool, typer.Option("--train-pooled", help="Train pooled DPO with the run's own budget into RUN/pooled first.")
    ] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN2", help="Another run: the paired difference, with its interval. May be repeated."),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="Draws of users behind each interval; 0 = none.")] = 1000,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="OUT.json", help="Write all figures.")] = None,
    users_path: Annotated[
        Path | None,
        typer.Option("--per-user", metavar="OUT.parquet", help="Write one row a user; with --json beside it anyway."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Write a report with plots, in one file.")
    ] = None,
    on_bad_row: OnBadRow = None,
    overrides: DataOverrides = None,
) -> None:
    """Measure a run on held-out comparisons, beside its baselines on the same ones."""
    names, source = _names(baselines), one_source(data)
    _check(split, pooled, train_pooled)
    check_places({"--json": json_path, "--per-user": users_path, "--report": report}, {"--data": data})
    from prlhf.evaluation.rows import read_config

    own = read_config(run)
    config = _data(own, source, on_bad_row, overrides or [])
    no_loading_bars()
    if train_pooled:
        pooled = _train_pooled(run, own)

    from prlhf.evaluation.run import evaluate as measure
    from prlhf.training.progress import bar

    found = measure(
        run,
        config,
        split=split,
        pooled=pooled,
        against=against or [],
        baselines=names,
        bootstrap=bootstrap,
        progress=bar,
    )
    _tell(found)
    _write(found, json_path, users_path, report)


def _check(split: str | None, pooled: Path | None, train_pooled: bool) -> None:
    """Refuse options that do not fit, before anything is loaded."""
    from prlhf.errors import ConfigError

    if split is not None and split not in SIDES:
        raise ConfigError(f"--split: found {split!r}, expected one of {', '.join(SIDES)}")
    if train_pooled and pooled is not None:
        raise ConfigError("--pooled names a run and --train-pooled makes one; give one of them")


def _names(text: str) -> list[str]:
    """The baselines of a comma-separated list."""
    from prlhf.errors import ConfigError

    names = [name.strip() for name in text.split(",") if name.strip() not in ("", "none")]
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise ConfigError(f"--baselines: found {unknown[0]!r}, expected none or some of {', '.join(BASELINES)}")
    return names


def _data(own: RunConfig, source: str | None, on_bad_row: str | None, overrides: list[str]) -> DataConfig:
    """The run's own data options, or another source read as the run's where that fits; then the overrides."""
    from prlhf.data import inherit

    values: dict[str, Any] = own.data.model_dump(mode="json") if source is None else {"source": source}
    config = data_config(values if on_bad_row is None else {**values, "on_bad_row": on_bad_row}, overrides)
    return config if source is None else inherit(config, own.data)


def _train_pooled(run: Path, own: RunConfig) -> Path:
    """Train the pooled baseline of a run into its folder; a finished one is kept, an unfinished one gone on with."""
    from prlhf.lm import is_checkpoint
    from prlhf.lm.checkpoint import unfinished
    from prlhf.training.pooled import pooled_config
    from prlhf.training.train import train

    if not is_checkpoint(run / "model"):
        raise unfinished(run)
    folder, config = run / "pooled", pooled_config(own)
    if is_checkpoint(folder / "model"):
        typer.echo(f"pooled DPO: {folder} is there")
        return folder
    with interruptible(f"go on with: prlhf evaluate {shlex.quote(str(run))} --train-pooled"):
        train(config, folder, resume=(folder / "config.json").exists())
    return folder


def _write(found: Evaluation, json_path: Path | None, users_path: Path | None, report: Path | None) -> None:
    if json_path is not None:
        json_path.write_text(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf8")
        typer.echo(f"figures: {json_path}")
        users_path = users_path or json_path.with_suffix(".users.parquet")
    if users_path is not None:
        found.save_users(users_path)
        typer.echo(f"users: {users_path}")
    if report is not None:
        typer.echo(f"report: {found.report().save(report)}")


def _tell(found: Evaluation) -> None:
    from rich.console import Console

    from prlhf.cli.tables import checks_table, metrics_table, systems_table
    from prlhf.data.checks import findings

    console = Console()
    console.print(f"{found.side} of {found.source}", highlight=False, markup=False)
    if found.reading:
        console.print(found.reading, highlight=False, markup=False, style="dim")
    for note in found.notes:
        console.print(note, highlight=False, markup=False, style="yellow")
    console.print(metrics_table(found.metrics))
    if found.compared():
        console.print(systems_table(found))
    for name, baseline in found.baselines.items():
        if baseline.missing:
            console.print(f"{name}: not applicable, {baseline.missing}", highlight=False, markup=False, style="dim")
    if found.checks:
        console.print(checks_table(found.checks))
        console.print(findings(found.checks), highlight=False, markup=False)
