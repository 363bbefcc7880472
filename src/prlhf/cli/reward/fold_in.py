"""`prlhf reward fold-in`: meet people by their votes, and keep them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prlhf.cli.options import DataOverrides, read_as
from prlhf.cli.reward.options import NewEmbeddings, RewardFolder

__all__ = ["Commit", "NewFolder", "Replace", "check_target", "fold_in"]

NewFolder = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="Write the model with them to a new folder."),
]
Commit = Annotated[
    bool,
    typer.Option("--commit", help="Change the model where it is: its table of users is replaced as a whole."),
]
Replace = Annotated[
    bool,
    typer.Option("--replace", help="Also where somebody is known by more votes than these, which are then lost."),
]


def fold_in(
    folder: RewardFolder,
    votes: Annotated[str, typer.Option(metavar="SOURCE", help="The votes, with user ids; ties are half a vote each.")],
    output: NewFolder = None,
    commit: Commit = False,
    replace: Replace = False,
    embeddings: NewEmbeddings = None,
    overrides: DataOverrides = None,
) -> None:
    """Meet the users of these votes, with everything else of the model frozen, and keep them in it.

    Who is known already gets a new version, which rests on the votes given here alone; with --replace also where those
    are fewer than the model learned from.
    """
    from prlhf.errors import ConfigError

    if commit == (output is not None):
        raise ConfigError("give --output FOLDER for a new model, or --commit to change this one; exactly one of them")
    check_target(output)

    from prlhf.data.oddities import oddities_by_user
    from prlhf.evaluation.reward.run import load_run, votes_to_fold_in
    from prlhf.rewards.newcomers import keep
    from prlhf.words import counted

    model, config = load_run(folder, embeddings)
    (reading,) = read_as(None if config is None else config.data, overrides, votes)
    rows, log = votes_to_fold_in(config, reading, ties=True)
    names, states = model.fold_in(rows)
    left = len(log) - len(rows)
    typer.echo(f"folded in: {counted(len(rows), 'vote')} of {counted(len(names), 'user')} from {log.source}")
    if left:
        typer.echo(f"left out: {left:,} without a user, of thumbs, or of texts that are equal or empty")
    for remark in oddities_by_user(rows):
        typer.echo(f"remark: {remark}")
    typer.echo(keep(folder, model, names, states, output, replace=replace).text())


def check_target(output: Path | None) -> None:
    """Say before the work that a new folder cannot be made."""
    from prlhf.cli.places import check_new_folder

    if output is not None:
        check_new_folder("--output", output)
