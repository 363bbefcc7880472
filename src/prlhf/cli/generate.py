"""`prlhf generate`: answers to a prompt or to a file of prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlhf.cli.answers import Compare, Run, User, UserText, beside, check_texts, notes, with_decoding, write
from prlhf.cli.console import no_loading_bars
from prlhf.cli.errors import interruptible
from prlhf.cli.places import check_places
from prlhf.cli.questions import AnswersFile, EachUser, Prompts, Users, check_questions, questions_of
from prlhf.words import counted, some

if TYPE_CHECKING:
    from prlhf.generation.jobs import Question
    from prlhf.lm import PersonalizedLM
    from prlhf.lm.requests import GenerationOptions

__all__ = ["generate"]


@with_decoding
def generate(
    run: Run,
    prompt: Annotated[str | None, typer.Argument(metavar="PROMPT", help="What to answer.")] = None,
    user: User = None,
    user_text: UserText = None,
    compare: Compare = None,
    prompts: Prompts = None,
    users: Users = None,
    each_user: EachUser = False,
    output: AnswersFile = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Answer by what training started from, without user tokens.")
    ] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Prompts at once.")] = 16,
    user_state: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Users that `prlhf adapt --output FILE` met, beside those of the run."),
    ] = None,
    *,
    options: Any,
) -> None:
    """Answer prompts as each user would like them answered.

    One PROMPT is answered on the terminal as it is written; --prompts answers a file of them in batches, each line
    telling `known: false` where the user is not in the user table and the generic user answered.
    """
    check_questions(prompt, prompts, users, user, output, each_user)
    _check_compare(compare, prompts, user, reference)
    check_texts(user_text, compare)
    check_places({"--output": output}, {"--prompts": prompts, "--users": users, "--user-state": user_state})
    if prompts is None:
        assert prompt is not None
        lm = _load(run, user_state)
        _one(lm, prompt, user, user_text or [], compare, reference, options)
        return
    questions = questions_of(prompts, users, user, user_text[0] if user_text else None, each_user)
    lm = _load(run, user_state)
    if each_user and users is None:
        questions = _for_everybody(lm, questions, run)
    _tell_unknown(lm, questions)
    _tell_shared(questions)
    if output is None:
        _print(lm, questions, options, batch_size, reference)
    else:
        _job(lm, questions, output, options, batch_size, reference)


def _check_compare(compare: str | None, prompts: Path | None, user: str | None, reference: bool) -> None:
    from prlhf.errors import ConfigError

    if compare is not None and (prompts or user is not None or reference):
        raise ConfigError("--compare goes with one PROMPT alone")


def _load(run: str, user_state: Path | None) -> PersonalizedLM:
    from prlhf.lm import PersonalizedLM

    no_loading_bars()
    lm = PersonalizedLM.from_pretrained(run)
    if user_state is not None:
        from prlhf.lm.adapting.states import UserStates

        lm.commit(UserStates.load(user_state))
    return lm


def _one(
    lm: PersonalizedLM,
    prompt: str,
    user: str | None,
    texts: list[str],
    compare: str | None,
    reference: bool,
    options: GenerationOptions,
) -> None:
    """Answer one prompt on the terminal."""
    from dataclasses import replace

    from prlhf.generation.compare import REFERENCE, voice, voices
    from prlhf.generation.conversation import Conversation

    text = texts[0] if texts else None
    alone = replace(REFERENCE, text=text) if reference else voice(lm, user, text)
    who = [alone] if compare is None else voices(lm, compare, texts)
    for note in notes(who):
        typer.echo(note, err=True)
    conversation = Conversation(lm, who, options)
    if compare is None:
        write(conversation.ask(prompt))
        return
    from rich.console import Console

    Console().print(beside(who, conversation.ask_all(prompt)))


def _for_everybody(lm: PersonalizedLM, questions: list[Question], run: str) -> list[Question]:
    """Each question by every user of the user table; the generic user is not one of them."""
    from prlhf.errors import ConfigError
    from prlhf.generation.jobs import assign

    if not len(lm.users):
        raise ConfigError(
            f"--each-user: {run} has no users; leave it out for the generic user, or name some with --users"
        )
    return assign(questions, lm.users.ids(), every=True)


def _tell_unknown(lm: PersonalizedLM, questions: list[Question]) -> None:
    ids = sorted({q.user for q in questions if q.user is not None})
    unknown = [i for i, known in zip(ids, lm.users.known(ids), strict=True) if not known]
    if unknown:
        shown = some([repr(name) for name in unknown])
        many = f"{counted(len(unknown), 'user')} {'is' if len(unknown) == 1 else 'are'}"
        typer.echo(f"note: {many} not in the user table: the generic user answers ({shown})", err=True)


def _tell_shared(questions: list[Question]) -> None:
    about: dict[str, set[str | None]] = {}
    for q in questions:
        if q.user_text:
            about.setdefault(q.user_text, set()).add(q.user)
    shared = max(map(len, about.values()), default=0)
    if shared > 1:
        own = "the columns user_id and user_text of --prompts give each their own"
        typer.echo(f"note: the same text is told about {shared} users; {own}", err=True)


def _print(
    lm: PersonalizedLM, questions: list[Question], options: GenerationOptions, batch_size: int, reference: bool
) -> None:
    from prlhf.generation.jobs import answers

    for records in answers(lm, questions, options, batch_size=batch_size, reference=reference):
        for record in records:
            typer.echo(json.dumps(record, ensure_ascii=False))


def _job(
    lm: PersonalizedLM,
    questions: list[Question],
    output: Path,
    options: GenerationOptions,
    batch_size: int,
    reference: bool,
) -> None:
    from prlhf.generation.jobs import answer_file
    from prlhf.training.progress import bar

    with interruptible("the same command goes on where it stopped"):
        done = answer_file(lm, questions, output, options, batch_size=batch_size, reference=reference, progress=bar)
    before = f" ({done.kept:,} were there)" if done.kept else ""
    typer.echo(f"{counted(done.written, 'answer')} written{before}: {done.path}")
