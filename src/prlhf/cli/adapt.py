"""`prlhf adapt`: meet new users."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prlhf.cli.console import no_loading_bars
from prlhf.cli.options import SOURCES, DataOverrides, OnBadRow, data_config
from prlhf.cli.places import check_places
from prlhf.cli.reward.fold_in import Replace
from prlhf.words import counted, some

if TYPE_CHECKING:
    from rich.table import Table

    from prlhf.config import DataConfig
    from prlhf.training.adapt import Adapted
    from prlhf.types import Feedback

__all__ = ["adapt"]

_SHOWN = 20


def adapt(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of `prlhf train`.")],
    votes: Annotated[str | None, typer.Option(metavar="SOURCE", help=f"Votes of the new users. {SOURCES}")] = None,
    states: Annotated[
        Path | None,
        typer.Option("--user-state", metavar="FILE", help="States of an earlier --output, instead of --votes."),
    ] = None,
    commit: Annotated[
        bool, typer.Option("--commit", help="Keep the users in the run; a row that is there gets the next version.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the users' states (Parquet).")
    ] = None,
    half_life_days: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Older votes count less: half after so many days.")
    ] = None,
    old_votes: Annotated[
        bool, typer.Option("--old-votes", help="With what these users voted in the training of the run.")
    ] = False,
    replace: Replace = False,
    on_bad_row: OnBadRow = None,
    overrides: DataOverrides = None,
) -> None:
    """Meet new users: fit their rows from a few votes; language model and all other rows stay as they are.

    Says of each user how many votes were learned from, how far the row moved, and what the votes lose before and after.
    Nobody is kept without --commit or --output.
    """
    from prlhf.errors import ConfigError

    if (votes is None) == (states is None):
        raise ConfigError("give the votes of the new users with --votes, or states of an earlier --output; not both")
    if states is not None and (output or half_life_days or old_votes or not commit):
        raise ConfigError("--user-state is what was fitted before: it goes with --commit alone")
    check_places({"--output": output}, {"--votes": votes, "--user-state": states})
    no_loading_bars()
    if states is not None:
        from prlhf.lm.adapting.states import UserStates

        _commit(run, UserStates.load(states), replace=replace)
        return
    assert votes is not None

    from prlhf.lm import default_cache
    from prlhf.training.adapt import adapt as fit
    from prlhf.training.progress import bar

    given = _votes(_data(run, votes, on_bad_row, overrides))
    found = fit(run, given, half_life_days=half_life_days, old_votes=old_votes, cache=default_cache(), progress=bar)
    _tell(found)
    if output is not None:
        typer.echo(f"states: {found.fit.states.save(output)}")
    if commit:
        _commit(run, found.fit.states, replace=replace)
    elif output is None:
        typer.echo("nobody is kept: add --commit, or --output FILE")


def _data(run: Path, votes: str, on_bad_row: str | None, overrides: list[str] | None) -> DataConfig:
    """How the votes are read: as the run's data were, where that fits."""
    from prlhf.data import inherit
    from prlhf.errors import CheckpointError
    from prlhf.evaluation.rows import read_config

    config = data_config({"source": votes, "on_bad_row": on_bad_row}, overrides)
    try:
        return inherit(config, read_config(run).data)
    except CheckpointError:  # a model without its run
        return config


def _votes(config: DataConfig) -> list[Feedback]:
    """What can be learned from; a note where rows are left out, as in training."""
    from prlhf.data import load_comparisons, trainable
    from prlhf.errors import DataError

    log = load_comparisons(config)
    kept = [item for item in log.items if trainable(item, ties=True)]
    said = log.notes.text(ties=True)
    if not kept:
        raise DataError(f"{log.source}: found no vote to learn from, expected some ({said})")
    if len(kept) < len(log.items) or log.notes.skipped:
        typer.echo(f"note: {log.source}: {said}", err=True)
    return kept


def _commit(run: Path, states: object, *, replace: bool) -> None:
    from prlhf.lm.adapting.keep import commit_to
    from prlhf.lm.adapting.states import UserStates

    assert isinstance(states, UserStates)
    voted = states.of(states.votes > 0)
    if len(voted) < len(states):
        missing = some(sorted(set(states.names) - set(voted.names)))
        typer.echo(f"not kept, since no vote of theirs counts: {missing}")
    if not len(voted):
        return
    known = commit_to(run, voted, replace=replace)
    new = [name for name in voted.names if name not in set(known)]
    typer.echo(f"kept in {run}: {len(new)} new, {len(known)} that were there and have a new version of their row")
    user = shlex.quote(new[0] if new else known[0])
    typer.echo(f'ask as one of them: prlhf generate {shlex.quote(str(run))} --user {user} "…"')


def _tell(found: Adapted) -> None:
    import numpy as np
    from rich.console import Console

    console = Console()
    console.print(_table(found))
    fit, prior = found.fit, found.prior
    for remark in fit.remarks:
        console.print(remark, highlight=False, markup=False, style="yellow")
    if found.known:
        words = f"in the run already: {some(found.known)}; {_old_votes(found.old)}"
        console.print(words, highlight=False, markup=False, style="yellow")
    each = found.seconds / max(len(fit.states), 1)
    how = f"learned on {prior.users} trained users" if prior.users else "not learned"
    told = f"{len(fit.states)} users in {found.seconds:.1f} s, {each:.2f} s each; strength {prior.strength:.2g} ({how})"
    own = fit.strength[~np.isnan(fit.held_out)]
    if len(own):
        told += f", by their own votes {own.min():.2g} to {own.max():.2g}"
    console.print(told, highlight=False, markup=False)


def _old_votes(count: int | None) -> str:
    """What became of what known users voted before."""
    if count is None:
        return "what they voted in its training counts only with --old-votes"
    words = f"{counted(count, 'vote')} of its training {'counts' if count == 1 else 'count'} too"
    return words if count else words + " (votes of users who came later are not kept in it: give them all with --votes)"


def _table(found: Adapted) -> Table:
    from rich.table import Table

    fit = found.fit
    table = Table("user", "votes", "row moved", "loss before", "after", "held out", caption="loss a vote")
    for i, name in enumerate(fit.states.names[:_SHOWN]):
        losses = [f"{x[i]:.3f}" if x[i] == x[i] else "–" for x in (fit.before, fit.after, fit.held_out)]
        table.add_row(name, str(fit.states.votes[i]), f"{fit.moved[i]:.2f} sd", *losses)
    if len(fit.states) > _SHOWN:
        table.add_row(f"… {len(fit.states) - _SHOWN} more", *[""] * 5)
    return table
