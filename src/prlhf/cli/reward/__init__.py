"""`prlhf reward …`: what a response is worth to each person."""

from __future__ import annotations

import typer

from prlhf.cli.reward.compare import compare
from prlhf.cli.reward.evaluate import evaluate
from prlhf.cli.reward.fold_in import fold_in
from prlhf.cli.reward.score import score
from prlhf.cli.reward.train import train

__all__ = ["app"]

app = typer.Typer(help="Learn what a response is worth to each person.", no_args_is_help=True)


@app.callback()
def _reward() -> None:
    """Learn what a response is worth to each person."""


for _command in (train, evaluate, score, fold_in, compare):
    app.command(_command.__name__.replace("_", "-"))(_command)
