"""What `prlhf generate` and `prlhf chat` share: the options of decoding, and how answers look in a terminal."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from rich.columns import Columns

    from prlhf.generation.compare import Voice
    from prlhf.lm.requests import Generation

__all__ = ["Compare", "Run", "User", "UserText", "beside", "check_texts", "notes", "with_decoding", "write"]

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, a model folder, or a hub id of one.")]
User = Annotated[
    str | None, typer.Option("--user", "-u", metavar="ID", help="Whose answers; without it the generic user's.")
]
UserText = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT", help="What the model is told about the user; with --compare one for each, in their order."
    ),
]
Compare = Annotated[str | None, typer.Option(metavar="A,B,…", help="Answers side by side: ids, generic, reference.")]


def _decoding(
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", "-n", metavar="N", help="The longest answer, in tokens.")
    ] = 256,
    temperature: Annotated[
        float, typer.Option("--temperature", "-t", metavar="T", help="0 = greedy; 1 = as the model says.")
    ] = 0.0,
    top_p: Annotated[
        float, typer.Option(metavar="P", help="Sample from the likeliest tokens of this total probability.")
    ] = 1.0,
    top_k: Annotated[int, typer.Option(metavar="K", help="Sample from this many likeliest tokens; 0 = from all.")] = 0,
    repetition_penalty: Annotated[
        float, typer.Option(metavar="X", help="Above 1: tokens that occurred become less likely.")
    ] = 1.0,
    no_repeat_ngram_size: Annotated[
        int, typer.Option(metavar="N", help="No sequence of N tokens occurs twice; 0 = off.")
    ] = 0,
    stop: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Ends an answer; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(metavar="SEED", help="Of sampling.")] = 0,
) -> Any:
    """The options of decoding, as each command that answers has them."""
    from prlhf.lm.requests import GenerationOptions

    return GenerationOptions(
        max_new_tokens, temperature, top_p, top_k, repetition_penalty, no_repeat_ngram_size, tuple(stop or ()), seed
    )


def with_decoding(command: Callable[..., None], *, taken: Sequence[str] = (), **defaults: Any) -> Callable[..., None]:
    """`command` with the options of decoding on its command line, which reach it as one, its keyword `options`.

    Args:
        taken: letters that the command has for something else.
        defaults: those that are other than usual, by name.
    """
    found = inspect.signature(_decoding, eval_str=True).parameters
    ours = {name: _without(p.replace(default=defaults.get(name, p.default)), taken) for name, p in found.items()}
    signature = inspect.signature(command, eval_str=True)
    own = [p for name, p in signature.parameters.items() if name != "options"]
    parameters = [*own, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in ours.values())]

    @wraps(command)
    def run(**given: Any) -> None:
        options = _decoding(**{name: given.pop(name) for name in ours})
        command(**given, options=options)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by typer
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _without(parameter: inspect.Parameter, letters: Sequence[str]) -> inspect.Parameter:
    """A parameter of typer without these among its spellings."""
    kind, option = get_args(parameter.annotation)
    option = copy(option)
    option.param_decls = tuple(spelling for spelling in option.param_decls or () if spelling not in letters)
    return parameter.replace(annotation=Annotated[kind, option])


def check_texts(texts: Sequence[str] | None, compare: str | None) -> None:
    """Refuse several texts about a single user."""
    from prlhf.errors import ConfigError

    if texts and len(texts) > 1 and compare is None:
        raise ConfigError(
            f"--user-text: found {len(texts)}, expected one; several go with --compare, one for each user"
        )


def notes(who: Sequence[Voice]) -> list[str]:
    """What must be said before these voices answer."""
    found = [f"note: {v.note}" for v in who if v.note]
    if len(who) > 1 and who[0].text and len({v.text for v in who}) == 1:
        found.append(
            "note: all are told the same text; --user-text once for each, in their order, tells each their own"
        )
    return found


def write(pieces: Iterator[str]) -> Any:
    """Print an answer as it comes; returns what the stream returns at its end."""
    while True:
        try:
            typer.echo(next(pieces), nl=False)
        except StopIteration as end:
            typer.echo()
            return end.value


def beside(who: Sequence[Voice], found: Sequence[Generation]) -> Columns:
    """Answers side by side, each under its name."""
    from rich.columns import Columns
    from rich.panel import Panel
    from rich.text import Text

    panels = [Panel(Text(g.text.strip()), title=Text(_title(v)), width=38) for v, g in zip(who, found, strict=True)]
    return Columns(panels)


def _title(voice: Voice) -> str:
    return voice.name if voice.known else f"{voice.name} (unknown: generic)"
