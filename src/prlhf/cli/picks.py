"""How picked answers look in a terminal: the answer, the candidates where they are asked for, and the tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import typer

from prlhf.words import counted

if TYPE_CHECKING:
    from prlhf.generation.jobs import Question
    from prlhf.generation.picks import Pick, Spent

__all__ = ["show", "tell_unsure", "tokens_text"]


def show(questions: Sequence[Question], picks: Iterable[Pick], candidates: bool, *, one: bool) -> None:
    """`one`: the answer to one prompt as text, else each as a line of JSON; what they took goes to standard error."""
    from prlhf.generation.pick_jobs import record
    from prlhf.generation.picks import total

    found = []
    for question, pick in zip(questions, picks, strict=True):
        found.append(pick)
        if not one:
            typer.echo(json.dumps(record(question, pick, candidates), ensure_ascii=False))
        else:
            typer.echo(pick.text)
            if candidates:
                _table(pick)
    typer.echo(tokens_text(total(found), len(found)), err=True)
    tell_unsure(sum(p.unsure for p in found), len(found))


def tell_unsure(unsure: int, of: int, what: str = "candidates", beside: str = "their average") -> None:
    """Note on standard error that in some of so many sets the best is not surely better; nothing where there are none.

    Args:
        beside: what the best of a set is compared with.
    """
    if unsure:
        where = "for this user" if of == 1 else f"in {unsure:,} of {of:,} cases"
        typer.echo(
            f"note: the reward model does not tell the {what} apart {where}: the best is worth less than a standard "
            f"deviation more than {beside}; further votes would help",
            err=True,
        )


def tokens_text(spent: Spent, answers: int) -> str:
    """What so many answers took altogether."""
    plain = "one plain answer" if answers == 1 else counted(answers, "plain answer")
    return (
        f"tokens: {spent.generated:,} generated, {spent.ratio:.1f} times {plain}; {spent.read:,} read before them; "
        f"{spent.scored:,} given to the reward model to read"
    )


def _table(pick: Pick) -> None:
    """All candidates, the picked one first."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False, pad_edge=False)
    for heading in ("reward", "sd", "drawn"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("answer", overflow="fold")
    for c in pick.candidates:
        table.add_row(f"{c.mean:+.3f}", f"{c.sd:.3f}", f"{c.times}x", Text(c.text.strip()))
    Console().print(table)
