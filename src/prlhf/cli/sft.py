"""`prlhf sft`: plain supervised fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from prlhf.cli.options import OnBadRow

__all__ = ["sft"]


def sft(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the model.")],
    recipe: Annotated[Path | None, typer.Option(help="A TOML recipe, as recipes/planted_sft.toml.")] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A preference log, or a file with the columns prompt and completion."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A folder, hub id or `planted` to start from; without it a new small model.")
    ] = None,
    on_bad_row: OnBadRow = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="Any option, as learning_rate=1e-3; may be repeated."),
    ] = None,
) -> None:
    """Fine-tune a language model on chosen responses or on prompt/completion rows, or make a small one from them.

    Needs no network unless the model or the data do.
    """
    from prlhf.config import SftConfig, load_config

    given: dict[str, Any] = {"data.source": data, "base": model, "data.on_bad_row": on_bad_row}
    values = {name: value for name, value in given.items() if value is not None}
    config = load_config(SftConfig, recipe, overrides or (), values)

    from prlhf.training.sft import sft as run

    typer.echo(f"model: {run(config, output)}")
