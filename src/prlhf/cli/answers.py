"""What `prlhf generate` and `prlhf chat` share: the options of decoding, and how answers look in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.columns import Columns

    from prlhf.generation.compare import Voice
    from prlhf.lm.requests import Generation

__all__ = ["MaxNewTokens", "NoRepeat", "Penalty", "Seed", "Stop", "Temperature", "TopK", "TopP", "beside", "write"]

MaxNewTokens = Annotated[
    int, typer.Option("--max-new-tokens", "-n", metavar="N", help="The longest answer, in tokens.")
]
Temperature = Annotated[
    float, typer.Option("--temperature", "-t", metavar="T", help="0 = greedy; 1 = as the model says.")
]
TopP = Annotated[float, typer.Option(metavar="P", help="Sample from the likeliest tokens of this total probability.")]
TopK = Annotated[int, typer.Option(metavar="K", help="Sample from this many likeliest tokens; 0 = from all.")]
Penalty = Annotated[float, typer.Option(metavar="X", help="Above 1: tokens that occurred become less likely.")]
NoRepeat = Annotated[int, typer.Option(metavar="N", help="No sequence of N tokens occurs twice; 0 = off.")]
Stop = Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Ends an answer; may be repeated.")]
Seed = Annotated[int, typer.Option(metavar="SEED", help="Of sampling.")]


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
