"""`prlhf sft`: plain supervised fine-tuning."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from prlhf.cli.console import is_first, no_loading_bars
from prlhf.cli.options import FLAGS, Folder, OnBadRow, Overrides, Recipe, one_source

__all__ = ["sft"]


def sft(
    output: Folder,
    recipe: Recipe = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="A preference log, or a file with the columns prompt and completion."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A folder, a hub id, or planted; without it a new small model is made."),
    ] = None,
    on_bad_row: OnBadRow = None,
    overrides: Overrides = None,
) -> None:
    """Fine-tune a language model on chosen responses or on prompt/completion rows, or make a small one from them.

    Needs no network unless the model or the data do.
    """
    from prlhf.config import SftConfig, load_config

    given: dict[str, Any] = {"data.source": one_source(data), "base": model, "data.on_bad_row": on_bad_row}
    values = {name: value for name, value in given.items() if value is not None}
    config = load_config(SftConfig, recipe, overrides or (), values, FLAGS)

    no_loading_bars()

    from prlhf.training.sft import sft as run

    made = run(config, output)
    if is_first():
        typer.echo(f"model: {made}")
