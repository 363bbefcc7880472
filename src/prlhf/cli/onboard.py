"""`prlhf onboard`: an interview in the terminal, after which the model knows somebody."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prlhf.cli.errors import interruptible
from prlhf.cli.options import DataOverrides
from prlhf.cli.places import check_places
from prlhf.cli.reward.fold_in import Commit, NewFolder, Replace, check_target
from prlhf.cli.reward.options import NewEmbeddings, RewardFolder
from prlhf.cli.suggest import Asked, PoolSource, RuleName, prepared
from prlhf.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from prlhf.data.votes_file import VotesFile
    from prlhf.rewards import RewardModel
    from prlhf.rewards.asking import Answer, Interview, Move, Question

__all__ = ["onboard"]

KEYS: dict[str, str] = {
    **dict.fromkeys(("l", "left", "1", "\x1b[D", "\x1bOD"), "left"),
    **dict.fromkeys(("r", "right", "2", "\x1b[C", "\x1bOC"), "right"),
    **dict.fromkeys(("t", "tie", "=", "\x1b[A", "\x1bOA"), "tie"),
    **dict.fromkeys(("s", "skip", "\x1b[B", "\x1bOB"), "skip"),
    **dict.fromkeys(("u", "undo", "\x7f", "\x08"), "undo"),
    **dict.fromkeys(("q", "quit", "\x04"), "quit"),
}
"""What is typed -> what is meant; arrows, backspace and Ctrl-D too."""
HELP = "l or ← left · r or → right · t tie · s skip · u undo · q quit"
SHOWN = 3


def onboard(
    folder: RewardFolder,
    user: Asked,
    pool: PoolSource,
    votes: Annotated[
        Path, typer.Option(metavar="OUT.jsonl", help="Where answers are kept; those of the user in it count already.")
    ] = Path("votes.jsonl"),
    most: Annotated[int, typer.Option(min=1, help="So many votes of the user in all, at most.")] = 20,
    least: Annotated[
        float, typer.Option(min=0, help="Stop where the best question is expected to tell fewer nats.")
    ] = 0.1,
    rule: RuleName = None,
    output: NewFolder = None,
    commit: Commit = False,
    replace: Replace = False,
    embeddings: NewEmbeddings = None,
    seed: Annotated[int, typer.Option(help="Of which response stands left, and of what is drawn.")] = 0,
    overrides: DataOverrides = None,
) -> None:
    """Ask somebody which of two responses they prefer, always about the pair that is expected to tell most.

    Every answer is on disk at once: Ctrl-C loses nothing, and the same command goes on. The file of votes is read by
    `prlhf train` and `prlhf reward train`. Where answers are piped in, there is one on each line.
    """
    from prlhf.errors import ConfigError

    if commit and output is not None:
        raise ConfigError("give --output FOLDER for a new model, or --commit to change this one; not both")
    check_places({"--votes": votes}, {"--pool": pool})
    check_target(output)

    from rich.console import Console

    from prlhf.data.log import trainable
    from prlhf.data.votes_file import VotesFile
    from prlhf.rewards.asking import Interview, check_interview
    from prlhf.rewards.newcomers import keep

    earlier = votes if votes.is_file() else None
    made = prepared(folder, pool, earlier, overrides, embeddings, seed, partial(check_interview, rule=rule))
    file, console = VotesFile(votes, made.votes), Console(highlight=False)
    told = [c for c in file.read().comparisons if c.user == user and trainable(c, ties=True)]
    interview = Interview(made.model, made.pool, user, told, rule=rule, seed=seed)  # type: ignore[arg-type]
    keeps = commit or output is not None
    if keeps and not replace:
        _check_most(made.model, user, max(most, len(told)))
    _introduce(interview, file)
    kept = f"the votes are in {votes}, and the same command goes on" + ("; the model is as it was" if keeps else "")
    with interruptible(kept):
        _ask(interview, file, console, most, least)
    _summary(interview, console)
    typer.echo(f"\nvotes: {file.path} ({len(interview.votes):,} of {user})")
    if keeps:
        if interview.votes:
            typer.echo(keep(folder, made.model, [user], interview.state, output, replace=replace).text())
        else:
            typer.echo(f"{user} has no votes, so nothing was kept")


def _check_most(model: RewardModel, user: str, most: int) -> None:
    """Say before the first question that the answers could not be kept after the last one."""
    from prlhf.errors import ConfigError
    from prlhf.rewards.newcomers import votes_before

    known = int(votes_before(model, [user])[0])
    if most < known:
        raise ConfigError(
            f"{user} is known to the model by {counted(known, 'vote')}, and --most {most} would end with fewer, which "
            f"are not kept in their place. Raise --most to {known} or more, or say --replace to have the new ones "
            "alone count"
        )


def _introduce(interview: Interview, file: VotesFile) -> None:
    user, table = interview.user, interview.model.users
    row = int(table.rows([user])[0])
    if row:
        known = counted(table.states.votes[row], "vote")
        typer.echo(
            f"{user} is known to the model (version {table.versions[row]}, {known}). What is asked, and kept, rests "
            f"on the votes in {file.path} alone"
        )
    else:
        typer.echo(f"{user} is unknown: the interview begins with the generic user")
    if file.dropped:
        typer.echo(f"{file.path}: its last line was cut off in the middle, and is dropped: {file.dropped:.60}")
    if interview.told:
        typer.echo(f"going on after {counted(len(interview.told), 'vote')} of {user} in {file.path}")


def _ask(interview: Interview, file: VotesFile, console: Console, most: int, least: float) -> None:
    """Question by question, until there is nothing worth asking."""
    if sys.stdin.isatty():
        typer.echo(HELP)
    while True:
        q = interview.question
        why = _enough(interview, q, most, least)
        if q is None or why:
            typer.echo(why)
            return
        _show(console, q, len(interview.votes) + 1)
        said = _said(interview)
        if said == "quit":
            return
        if said == "undo":
            if interview.undo() is not None:
                file.undo()
            continue
        vote = interview.answer(said)  # type: ignore[arg-type]
        if vote is not None:
            file.add(vote)


def _enough(interview: Interview, q: Question | None, most: int, least: float) -> str:
    """Why the interview ends here; empty where it does not."""
    if q is None:
        return "\nEvery pair of the pool was asked."
    if len(interview.votes) >= most:
        return f"\n{counted(most, 'vote')}, as many as --most says."
    if interview.best < least:
        return (
            f"\nThat is enough: no answer is expected to tell more than {interview.best:.2f} nats (--least {least:g})."
        )
    return ""


def _show(console: Console, q: Question, number: int) -> None:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    from prlhf.types import prompt_text

    told = "" if q.suggestion.nats is None else f"  (expected to tell {q.suggestion.nats:.2f} nats)"
    console.print(Text(f"\n{number}. {prompt_text(q.prompt)}", style="bold") + Text(told, style="dim"))
    both = Table.grid(expand=True, padding=(0, 1))
    for _ in range(2):
        both.add_column(ratio=1)
    both.add_row(Panel(Text(q.left), title="left"), Panel(Text(q.right), title="right"))
    console.print(both)


def _said(interview: Interview) -> Answer | str:
    """The next answer, undo or quit; what is none is told, and asked for again."""
    while True:
        typed = _typed()
        if typed is None:
            return "quit"
        said = KEYS.get(typed if typed in KEYS else typed.strip().lower(), "")
        if said == "undo" and not interview.answered:
            typer.echo("there is no answer of this interview to take back")
        elif said:
            typer.echo(f"→ {said}")
            return said
        elif typed.strip():
            typer.echo(f"found {typed.strip()!r}; {HELP}")


def _typed() -> str | None:
    """A key of the keyboard, or a line of what is piped in; None at the end."""
    if sys.stdin.isatty():
        return typer.getchar()
    line = sys.stdin.readline()
    return line.strip() if line else None


def _summary(interview: Interview, console: Console) -> None:
    """What is believed now, in words."""
    from prlhf.data.oddities import oddities
    from prlhf.rewards.asking import moves, predictable

    model, user = interview.model, interview.user
    if not interview.votes:
        typer.echo(f"\nNothing is known of {user} yet.")
        return
    now, before = predictable(model, interview.belief), predictable(model, interview.generic)
    count = counted(len(interview.votes), "vote")
    typer.echo(f"\nAfter {count} of {user} the model expects to predict {now:.0%} of their")
    typer.echo(
        f"choices in this pool, {before:.0%} of a stranger's; {interview.unknown:.0%} of what was unknown still is."
    )
    found = moves(model, interview.pool, interview.state)
    up, down = [m for m in found if m.by > 0][:SHOWN], [m for m in found if m.by < 0][: -SHOWN - 1 : -1]
    for what, some in (("more", up), ("less", down)):
        if some:
            console.print(f"\nWorth {what} to {user} than to most (log-odds):", markup=False)
            for move in some:
                console.print(_moved(move), markup=False)
    for remark in oddities(interview.votes):
        console.print(f"\nremark: {remark}", markup=False, style="yellow")


def _moved(move: Move) -> str:
    from prlhf.cli.console import short

    sure = "surely" if move.sure > 0.95 else "probably" if move.sure > 0.8 else "perhaps"
    return f"  {move.by:+.1f} {sure:8} {short(move.response, 64)}"
