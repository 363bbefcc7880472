"""`prlhf reward compare`: reward models on the same votes, each tuned with the same budget."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from prlhf.cli.errors import interruptible
from prlhf.cli.options import SOURCES, Folder, OnBadRow, Overrides, Recipe, one_source
from prlhf.cli.reward.options import REWARD_FLAGS, Embeddings, Features, feature_values

if TYPE_CHECKING:
    from prlhf.evaluation.reward.comparison import RewardComparison

__all__ = ["compare"]

FLAGS = {name: f"--{name.replace('_', '-')}" for name in ("seeds", "min_votes", "budget", "split", "unseen", "models")}


def compare(
    output: Folder,
    data: Annotated[list[str] | None, typer.Option(metavar="SOURCE", help=SOURCES)] = None,
    models: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Types, as bt,per_user,lore,pref,vpl,factor (the default), item_mf."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many splits; 3 unless the recipe says.")] = None,
    features: Features = None,
    embeddings: Embeddings = None,
    min_votes: Annotated[int | None, typer.Option(min=1, help="Leave out users with fewer votes.")] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Configurations of each model that are tried: defaults first; usually 8.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="BY", help="What no two sides share: pair, prompt or response.")
    ] = None,
    unseen: Annotated[float | None, typer.Option(help="Share of the users who are held out; usually 0.25.")] = None,
    recipe: Recipe = None,
    seed: Annotated[int | None, typer.Option(help="Of the first split.")] = None,
    on_bad_row: OnBadRow = None,
    overrides: Overrides = None,
) -> None:
    """Fit several reward models to the same votes, each tuned with the same budget, and say how they differ.

    Measured are held-out votes of the users learned from, and unseen users after 0, 5, 10 and 20 of their votes. Each
    (seed, model) is kept when it is done: the same command again goes on, one with more models or seeds adds them
    (name all, old and new). FOLDER gets results.json and report.html.
    """
    from prlhf.config import load_config
    from prlhf.config.rewards.compare import RewardCompare

    given = {
        "data.source": one_source(data),
        "models": None if models is None else [name.strip() for name in models.split(",") if name.strip()],
        "seeds": seeds,
        "min_votes": min_votes,
        "budget": budget,
        "split": split,
        "unseen": unseen,
        "seed": seed,
        "data.on_bad_row": on_bad_row,
    }
    values = {name: value for name, value in given.items() if value is not None}
    values |= feature_values(features, embeddings)
    config = load_config(RewardCompare, recipe, overrides or (), values, {**REWARD_FLAGS, **FLAGS})
    with interruptible("the same command goes on"):
        from prlhf.training.reward.compare import compare_rewards

        found = compare_rewards(config, output)
    _tell(found)
    typer.echo(f"\n{shlex.quote(str(output))}: results.json, report.html")


def _tell(found: RewardComparison) -> None:
    from rich.console import Console

    from prlhf.cli.reward.tables import comparison_tables
    from prlhf.cli.tables import checks_table
    from prlhf.data.checks import findings

    console = Console()
    console.print(found.about(), highlight=False, markup=False)
    for note in found.notes:
        console.print(note, highlight=False, markup=False, style="dim")
    for table in comparison_tables(found):
        console.print(table)
    if found.verdict():
        console.print(found.verdict(), highlight=False, markup=False)
    warned = [check for check in found.checks if check.finding]
    if warned:
        console.print(checks_table(warned))
    console.print(findings(found.checks), highlight=False, markup=False)
