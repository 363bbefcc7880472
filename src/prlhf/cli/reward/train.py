"""`prlhf reward train`: from a preference log to a reward model."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from prlhf.cli.errors import interruptible
from prlhf.cli.options import SOURCES, Folder, OnBadRow, Overrides, Recipe, one_source
from prlhf.cli.places import check_new_folder
from prlhf.cli.reward.options import REWARD_FLAGS, Embeddings, Features, feature_values

if TYPE_CHECKING:
    from prlhf.training.reward import RewardResult

__all__ = ["train"]


def train(
    output: Folder,
    data: Annotated[list[str] | None, typer.Option(metavar="SOURCE", help=SOURCES)] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="factor (the default), bt, per_user, linear_head, lore, pref, vpl, …"),
    ] = None,
    features: Features = None,
    embeddings: Embeddings = None,
    recipe: Recipe = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn.")] = None,
    on_bad_row: OnBadRow = None,
    overrides: Overrides = None,
) -> None:
    """Learn from votes what a response is worth to each person, and measure it on votes that were held out.

    Options come from the recipe, then from the flags, then from --set; docs/rewards.md lists them. Those of the model
    begin with model., as --set model.rank=8, those of the features with features.
    """
    from prlhf.config import load_config
    from prlhf.config.rewards.run import RewardRun

    check_new_folder("--output", output)
    given = {"data.source": one_source(data), "model.type": model, "seed": seed, "data.on_bad_row": on_bad_row}
    values = {name: value for name, value in given.items() if value is not None}
    values |= feature_values(features, embeddings)
    config = load_config(RewardRun, recipe, overrides or (), values, REWARD_FLAGS)
    with interruptible("nothing was kept; run the same command again"):
        from prlhf.training.reward import train_reward

        _tell(train_reward(config, output))


def _tell(result: RewardResult) -> None:
    from rich.console import Console

    from prlhf.cli.reward.tables import figures_table

    console = Console()
    console.print(result.learned, highlight=False, markup=False)
    for check in result.checks:
        if check.finding:
            console.print(f"{check.name}: {check.text}", highlight=False, markup=False, style="yellow")
    if result.metrics is None:
        console.print("no vote was held out, so nothing was measured (see the options data.split.*)")
    else:
        console.print(result.metrics.about(), highlight=False, markup=False)
        console.print(figures_table(result.metrics))
    folder = shlex.quote(str(result.folder))
    typer.echo(f"\nreward model: {folder}\nnext:\n  prlhf reward evaluate {folder}")
    typer.echo(f"  prlhf reward score {folder} --data responses.jsonl")
