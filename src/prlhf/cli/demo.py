"""`prlhf demo`: planted users vote, one model learns, an exact judge counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for both runs and the report.")] = Path("demo"),
    recipe: Annotated[
        Path | None,
        typer.Option(help="A recipe on the planted world, as recipes/planted.toml; by default a short one."),
    ] = None,
    questions: Annotated[int, typer.Option(help="Held-out questions that every user asks.")] = 4,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change an option, as training.epochs=2.")
    ] = None,
) -> None:
    """Learn what planted users want from their votes alone, and answer each of them differently.

    Trains pooled DPO and P-DPO on the same votes, measures both on held-out questions, and writes report.html.
    Needs no network and no GPU.
    """
    from importlib.resources import files

    from prlhf.config import RunConfig, load_config

    short = Path(str(files("prlhf.demo") / "demo.toml"))
    config = load_config(RunConfig, recipe or short, overrides or ())

    from rich.console import Console

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
