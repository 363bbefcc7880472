"""Files of prompts, and whose answers are wanted: what `prlhf generate` and `prlhf best-of` share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from prlhf.generation.jobs import Question

__all__ = ["AnswersFile", "EachUser", "Prompts", "Users", "check_questions", "questions_of"]

Prompts = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Many prompts: a line each (.txt), or a table with the column prompt."),
]
Users = Annotated[Path | None, typer.Option(metavar="FILE", help="A user id a line, for the prompts in their order.")]
AnswersFile = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="JSON lines; goes on where an interrupted job stopped."),
]
EachUser = Annotated[
    bool,
    typer.Option("--each-user", help="Every user answers every prompt: those of --users, else all that are known."),
]


def check_questions(
    prompt: str | None,
    prompts: Path | None,
    users: Path | None,
    user: str | None,
    output: Path | None,
    each_user: bool,
) -> None:
    """Refuse options that contradict each other, before anything is loaded."""
    from prlhf.errors import ConfigError

    for wrong, message in (
        ((prompt is None) == (prompts is None), "give a PROMPT, or a file of them with --prompts"),
        (prompts is None and (users or output or each_user), "--users, --each-user and --output belong to --prompts"),
        (user is not None and users is not None, "give --user or --users, not both"),
        (user is not None and each_user, "give --user or --each-user, not both"),
    ):
        if wrong:
            raise ConfigError(message)


def questions_of(
    prompts: Path,
    users: Path | None,
    user: str | None,
    user_text: str | None,
    each_user: bool,
    columns: Mapping[str, str] | None = None,
) -> list[Question]:
    """The prompts of a file, each with its user as the options say; `columns`: our names -> the file's."""
    from dataclasses import replace

    from prlhf.generation.jobs import assign, read_questions, read_users

    questions = read_questions(prompts, columns)
    if user_text is not None:
        questions = [replace(q, user_text=user_text) for q in questions]
    if users is not None:
        return assign(questions, read_users(users), every=each_user)
    return questions if user is None else assign(questions, [user], every=True)
