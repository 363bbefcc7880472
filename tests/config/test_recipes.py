"""Every recipe is a configuration, and runs."""

import runpy
from pathlib import Path

import pytest

from prlhf.config import RunConfig, SftConfig, load_config
from prlhf.lm import is_checkpoint
from prlhf.training.sft import sft
from prlhf.training.train import train

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
SFT = [recipe for recipe in RECIPES if recipe.stem.endswith("sft")]
TRAIN = [recipe for recipe in RECIPES if recipe not in SFT]


def name(recipe: Path) -> str:
    return recipe.stem


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_parses(recipe):
    load_config(SftConfig if recipe in SFT else RunConfig, recipe)


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_begins_with_what_it_is_and_its_command(recipe):
    head = [line for line in recipe.read_text(encoding="utf8").splitlines() if line.startswith("#")]
    assert head and any(f"--recipe recipes/{recipe.name}" in line for line in head)


def test_the_benchmark_tunes_around_the_recipes():
    grid = runpy.run_path(str(ROOT / "benchmarks" / "convarg.py"))["GRID"]
    for recipe in ("convarg", "convarg_length"):
        config = load_config(RunConfig, ROOT / "recipes" / f"{recipe}.toml")
        assert (config.objective.beta, config.training.learning_rate) in grid


@pytest.mark.slow
@pytest.mark.parametrize("recipe", TRAIN, ids=name)
def test_trains_for_two_steps(recipe, tmp_path):
    small = ["training.max_steps=2", "training.eval_steps=2", "training.eval_comparisons=8", "training.device=cpu"]
    small += ["training.test_comparisons=8", "training.save_steps=0", "data.max_comparisons=32", "model.base=planted"]
    result = train(load_config(RunConfig, recipe, small), tmp_path / "run")
    assert is_checkpoint(tmp_path / "run" / "model")
    assert result.metrics is not None and result.metrics.comparisons == 8


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SFT, ids=name)
def test_makes_a_model_in_two_steps(recipe, tmp_path):
    folder = sft(load_config(SftConfig, recipe, ["max_steps=2", "data.max_comparisons=64"]), tmp_path / "model")
    assert (folder / "model.safetensors").is_file() and (folder / "tokenizer.json").is_file()
