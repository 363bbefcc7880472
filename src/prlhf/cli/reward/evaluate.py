"""`prlhf reward evaluate`: measure a reward model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prlhf.cli.options import DataOverrides, OnBadRow, data_config, one_source
from prlhf.cli.places import check_places
from prlhf.cli.reward.options import NewEmbeddings, RewardFolder

if TYPE_CHECKING:
    from prlhf.config import DataConfig
    from prlhf.evaluation.reward import RewardEvaluation

__all__ = ["evaluate"]


def evaluate(
    folder: RewardFolder,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="Votes to measure on; by default those that the run held out."),
    ] = None,
    embeddings: NewEmbeddings = None,
    votes: Annotated[
        str,
        typer.Option(
            metavar="FEWSHOT",
            help="So many votes of each unknown user are folded in first; or a SOURCE, all votes of which are.",
        ),
    ] = "0",
    bootstrap: Annotated[int, typer.Option(min=0, help="Draws of users behind each interval; 0 = none.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the draws, of which votes come first, of who is exchanged.")] = 0,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="OUT.json", help="Write all figures.")] = None,
    users_path: Annotated[
        Path | None, typer.Option("--per-user", metavar="OUT.parquet", help="Write one row a user.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Write a report with plots, in one file.")
    ] = None,
    on_bad_row: OnBadRow = None,
    overrides: DataOverrides = None,
) -> None:
    """How many votes a reward model predicts, how sure it is, and whether that is personal.

    Users whom the model knows are measured under their own state, all others as the generic user, or with --votes after
    their first votes; beside both stand the generic user, and somebody else's state in the place of their own.
    """
    from prlhf.errors import ConfigError
    from prlhf.evaluation.reward.run import evaluate_reward_run

    read = {"--data": data, "--embeddings": embeddings, "--votes": votes}
    check_places({"--json": json_path, "--per-user": users_path, "--report": report}, read)
    if users_path is not None and users_path.suffix != ".parquet":
        raise ConfigError(f"--per-user {users_path}: found the ending {users_path.suffix!r}, expected .parquet")

    config = _data(folder, one_source(data), on_bad_row, overrides or [])
    first = _few_shot(votes)
    found = evaluate_reward_run(folder, config, embeddings=embeddings, votes=first, bootstrap=bootstrap, seed=seed)
    _tell(found)
    if json_path is not None:
        json_path.write_text(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf8")
        typer.echo(f"figures: {json_path}")
    if users_path is not None:
        found.save_users(users_path)
        typer.echo(f"users: {users_path}")
    if report is not None:
        typer.echo(f"report: {found.report().save(report)}")


def _data(folder: Path, source: str | None, on_bad_row: str | None, overrides: list[str]) -> DataConfig | None:
    """The data that were asked for, read as the run's where that fits; None: the run's own as they are."""
    if source is None and on_bad_row is None and not overrides:
        return None
    from prlhf.data import inherit
    from prlhf.errors import ConfigError
    from prlhf.evaluation.reward.run import run_config

    run = run_config(folder)
    own = None if run is None else run.data
    if source is None and own is None:
        raise ConfigError(f"{folder} is a model by itself: say with --data what to measure it on")
    values = {"source": source} if source is not None or own is None else own.model_dump(mode="json")
    config = data_config({**values, "on_bad_row": on_bad_row} if on_bad_row else values, overrides)
    return config if source is None or own is None else inherit(config, own)


def _few_shot(given: str) -> int | str:
    """A number of votes, or where there are some."""
    from prlhf.data import SOURCES
    from prlhf.errors import ConfigError

    if given.isdecimal():
        return int(given)
    # what has a slash may be a data set of the hub, and what is wrong with it is told where it is read
    if given in SOURCES or "/" in given or Path(given).expanduser().exists():
        return given
    raise ConfigError(
        f"--votes: found {given!r}, which is no file either; expected a whole number from 0, or a file or source of "
        "votes to fold in"
    )


def _tell(found: RewardEvaluation) -> None:
    from rich.console import Console

    from prlhf.cli.reward.tables import figures_table
    from prlhf.cli.tables import checks_table
    from prlhf.data.checks import findings

    console = Console()
    console.print(f"{found.model} on {found.side} of {found.source}", highlight=False, markup=False)
    console.print(found.about(), highlight=False, markup=False, style="dim")
    for note in found.notes:
        console.print(note, highlight=False, markup=False, style="yellow")
    console.print(figures_table(found))
    if found.checks:
        console.print(checks_table(found.checks))
        console.print(findings(found.checks), highlight=False, markup=False)
