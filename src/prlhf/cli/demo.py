"""`prlhf demo`: planted users vote, one model learns, an exact judge counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prlhf.cli.console import no_loading_bars
from prlhf.cli.options import Folder, Overrides, Recipe

__all__ = ["demo"]


def demo(
    output: Folder = Path("demo"),
    recipe: Recipe = None,
    questions: Annotated[int, typer.Option(help="Held-out questions that every user asks.")] = 4,
    overrides: Overrides = None,
) -> None:
    """Learn what planted users want from their votes alone, and answer each of them differently.

    Trains pooled DPO and P-DPO on the same votes, measures both on held-out questions, and writes report.html.
    Needs no network and no GPU. Without a recipe the training is a short one; recipes/planted.toml is the full one.
    """
    from importlib.resources import files

    from prlhf.config import RunConfig, load_config

    short = Path(str(files("prlhf.demo") / "demo.toml"))
    config = load_config(RunConfig, recipe or short, overrides or ())

    from rich.console import Console

    no_loading_bars()
    from prlhf.demo.page import page
    from prlhf.demo.show import show
    from prlhf.demo.study import run_study
    from prlhf.demo.targets import DEMO, FULL, findings

    console = Console()
    study = run_study(config, output, questions=questions, say=lambda text: console.print(f"[bold]›[/] {text}"))
    found = findings(study, FULL if recipe else DEMO)
    page(study, found).save(output / "report.html")
    show(console, study, found)
    console.print(f"\nreport: {output / 'report.html'}   ({study.total_seconds / 60:.1f} minutes)")
    console.print(f"next:   prlhf chat {output / 'personal'} --user {next(iter(study.examples.personal)).id}")
