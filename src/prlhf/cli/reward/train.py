"""`prlhf reward train`: from a preference log to a reward model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prlhf.cli.console import is_first, no_loading_bars
from prlhf.cli.errors import interruptible
from prlhf.cli.options import SOURCES, Folder, OnBadRow, Overrides, Recipe, one_source
from prlhf.cli.places import check_new_folder
from prlhf.cli.resuming import RESUME, how_to_go_on, kept
from prlhf.cli.reward.options import LM_FLAGS, REWARD_FLAGS, Embeddings, Features, feature_values

if TYPE_CHECKING:
    from prlhf.training.reward import RewardResult

__all__ = ["train"]

READS_TEXTS = "soft_prompt"


def train(
    output: Folder,
    data: Annotated[list[str] | None, typer.Option(metavar="SOURCE", help=SOURCES)] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="factor (the default), bt, per_user, linear_head, lore, pref, vpl, …"),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Of soft_prompt, the language model: a folder, a hub id, or planted: the small model in the package.",
        ),
    ] = None,
    features: Features = None,
    embeddings: Embeddings = None,
    recipe: Recipe = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn.")] = None,
    on_bad_row: OnBadRow = None,
    resume: Annotated[bool, typer.Option("--resume", help=f"Of soft_prompt. {RESUME}")] = False,
    overrides: Overrides = None,
) -> None:
    """Learn from votes what a response is worth to each person, and measure it on votes that were held out.

    Options come from the recipe, then from the flags, then from --set; docs/rewards.md lists them. Those of the model
    begin with model., as --set model.rank=8, those of the features with features.

    --model soft_prompt reads texts with a language model (--base) and has the options of `prlhf train`, as --set
    training.max_steps=500, beside its own, as --set tastes=4.
    """
    recipe = kept(output) if resume and recipe is None else recipe
    kind = model if model is not None else _type_in(recipe)
    given = {"data.source": one_source(data), "seed": seed, "data.on_bad_row": on_bad_row}
    values = {name: value for name, value in given.items() if value is not None}
    if kind == READS_TEXTS:
        _no_features(features, embeddings)
        values |= {} if base is None else {"model.base": base}
        _train_on_texts(output, recipe, overrides or [], values, resume)
    else:
        _no_language_model(base, resume)
        values |= {} if model is None else {"model.type": model}
        _train_on_features(output, recipe, overrides or [], values | feature_values(features, embeddings))


def _type_in(recipe: Path | None) -> str | None:
    """`soft_prompt` where a recipe, or the config that a run kept, is of it."""
    from prlhf.config.load import read_recipe
    from prlhf.config.rewards import SoftPrompt

    if recipe is None:
        return None
    kind = SoftPrompt.options_in(read_recipe(recipe)).get("type")
    return READS_TEXTS if kind == READS_TEXTS else None


def _no_features(features: str | None, embeddings: Path | None) -> None:
    from prlhf.errors import ConfigError

    for flag, value in (("--features", features), ("--embeddings", embeddings)):
        if value is not None:
            raise ConfigError(f"{flag}: {READS_TEXTS} reads the texts themselves, with --base; leave {flag} out")


def _no_language_model(base: str | None, resume: bool) -> None:
    from prlhf.errors import ConfigError

    if base is not None:
        raise ConfigError(
            f"--base is the language model of --model {READS_TEXTS}; other reward models see of texts what --features "
            f"says (hidden states of a language model: --features hidden:{base})"
        )
    if resume:
        raise ConfigError(f"--resume: only --model {READS_TEXTS} keeps checkpoints to go on from; leave it out")


def _train_on_features(output: Path, recipe: Path | None, overrides: list[str], values: dict[str, Any]) -> None:
    from prlhf.config import load_config
    from prlhf.config.rewards.run import RewardRun

    check_new_folder("--output", output)
    config = load_config(RewardRun, recipe, overrides, values, REWARD_FLAGS)
    with interruptible("nothing was kept; run the same command again"):
        from prlhf.training.reward import train_reward

        _tell(train_reward(config, output))


def _train_on_texts(
    output: Path, recipe: Path | None, overrides: list[str], values: dict[str, Any], resume: bool
) -> None:
    from prlhf.config import load_config
    from prlhf.config.rewards import SoftPrompt
    from prlhf.errors import ConfigError

    config = load_config(SoftPrompt, recipe, overrides, values, LM_FLAGS)
    if "base" not in config.model.model_fields_set:
        raise ConfigError(
            f"--model {READS_TEXTS} needs --base MODEL, the language model that reads the texts: a folder, a hub id, "
            "or planted, the small model in the package"
        )
    with interruptible(lambda: how_to_go_on(output, SoftPrompt)):
        from prlhf.training.reward import soft_prompt_result, train_soft_prompt

        no_loading_bars()
        reward = train_soft_prompt(config, output, resume=resume)
        if is_first():  # of several processes only the first has measured something
            _tell(soft_prompt_result(reward, output))


def _tell(result: RewardResult) -> None:
    from rich.console import Console

    from prlhf.cli.reward.tables import figures_table

    console = Console()
    if result.read:
        console.print(result.read, highlight=False, markup=False)
    for warning in result.warnings:
        console.print(f"warning: {warning}", highlight=False, markup=False, style="yellow")
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
    told = " --votes 10" if result.metrics is not None and result.metrics.unseen is not None else ""
    typer.echo(f"\nreward model: {folder}\nnext:\n  prlhf reward evaluate {folder}{told}")
    typer.echo(f"  prlhf reward score {folder} --data responses.jsonl")
