"""`prlhf chat`: talk to a model as one of its users."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from prlhf.cli.answers import Compare, Run, User, UserText, beside, check_texts, notes, with_decoding, write
from prlhf.cli.console import no_loading_bars

if TYPE_CHECKING:
    from prlhf.generation.compare import Voice
    from prlhf.generation.conversation import Conversation

__all__ = ["chat"]

HELP = """\
/user ID       answer as this user from now on, in a new conversation (generic: the generic user)
/compare A,B   answer as several, side by side
/text TEXT     what the model is told about the user from now on, in a new conversation (alone: nothing)
/reset         forget what was said
/quit          end (so does the end of the input)
//text         a line that begins with one slash"""


@with_decoding
def chat(
    run: Run,
    user: User = None,
    user_text: UserText = None,
    compare: Compare = None,
    *,
    options: Any,
) -> None:
    """Talk to a trained model as one of its users.

    /user ID switches to another one, /help lists what else there is. A model with a chat template remembers the
    conversation; for others each line is a question of its own.
    """
    from prlhf.errors import ConfigError

    if user is not None and compare is not None:
        raise ConfigError("give --user or --compare, not both")
    check_texts(user_text, compare)
    no_loading_bars()

    from prlhf.generation.compare import voice, voices
    from prlhf.generation.conversation import Conversation
    from prlhf.lm import PersonalizedLM

    lm = PersonalizedLM.from_pretrained(run)
    texts = user_text or []
    who = [voice(lm, user, *texts)] if compare is None else voices(lm, compare, texts)
    conversation = Conversation(lm, who, options)
    typer.echo(f"{run}: {len(lm.users):,} users; /help lists the commands")
    if not conversation.remembers:
        typer.echo("This model has no chat template: each line is a question of its own.")
    _introduce(who)
    _talk(conversation)


def _introduce(who: list[Voice]) -> None:
    typer.echo(f"Answering as {', '.join(v.name for v in who)}.")
    for note in notes(who):
        typer.echo(note)


def _talk(conversation: Conversation) -> None:
    """Answer line by line until the end."""
    for line in _lines(conversation):
        text = line.strip()
        if text in ("/quit", "/exit"):
            return
        if text.startswith("/") and not text.startswith("//"):
            _command(conversation, *text.partition(" ")[::2])
        elif text:
            _answer(conversation, text.removeprefix("/"))


def _lines(conversation: Conversation) -> Iterator[str]:
    """Lines from the keyboard after a prompt with the voice's name, or as they are piped in; Ctrl-C ends too."""
    asked = sys.stdin.isatty()
    if asked:
        _line_editing()
    while True:
        try:
            yield input(f"\n{' | '.join(v.name for v in conversation.who)}> " if asked else "")
        except EOFError:
            return
        except KeyboardInterrupt:
            typer.echo()
            return


def _line_editing() -> None:
    """Arrow keys and history, where Python has them."""
    from contextlib import suppress
    from importlib import import_module

    with suppress(ImportError):
        import_module("readline")


def _command(conversation: Conversation, name: str, value: str) -> None:
    from dataclasses import replace

    from prlhf.errors import ConfigError
    from prlhf.generation.compare import voice, voices

    value = value.strip()
    if name == "/user" and value:
        conversation.switch([voice(conversation.lm, value)])
        _introduce(conversation.who)
    elif name == "/compare" and value:
        try:
            conversation.switch(voices(conversation.lm, value))
        except ConfigError as e:
            typer.echo(str(e))
            return
        _introduce(conversation.who)
    elif name == "/text":
        conversation.switch([replace(v, text=value or None) for v in conversation.who])
        typer.echo(f"The model is told {'this' if value else 'nothing'}, and the conversation begins anew.")
    elif name == "/reset":
        conversation.reset()
        typer.echo("The conversation begins anew.")
    elif name == "/help":
        typer.echo(HELP)
    elif name in ("/user", "/compare"):
        typer.echo(f"{name} needs {'an id' if name == '/user' else 'ids with commas between'}, as in {name} ann")
    else:
        typer.echo(f"no command {name}; there are:\n{HELP}")


def _answer(conversation: Conversation, text: str) -> None:
    """Ask and show; Ctrl-C stops the answer, not the conversation."""
    from prlhf.errors import DataError

    try:
        if len(conversation.who) == 1:
            found = [write(conversation.ask(text))]
        else:
            from rich.console import Console

            found = conversation.ask_all(text)
            Console().print(beside(conversation.who, found))
    except KeyboardInterrupt:
        typer.echo("\n(stopped; this answer is not remembered)")
        return
    except DataError as e:  # a question that does not fit the model's context
        typer.echo(f"error: {e}")
        return
    if any(g.truncated for g in found):
        typer.echo("(longer than the model takes: the beginning of the conversation was cut; /reset starts anew)")
