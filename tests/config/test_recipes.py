"""Every recipe is a configuration, and runs."""

import inspect
import runpy
from pathlib import Path

import pytest

from prlhf.config import RunConfig, SftConfig, load_config
from prlhf.data import SOURCES
from prlhf.lm import is_checkpoint
from prlhf.training.sft import sft
from prlhf.training.train import train

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
SFT = [recipe for recipe in RECIPES if recipe.stem.endswith("sft")]
TRAIN = [recipe for recipe in RECIPES if recipe not in SFT]
PAPERS = sorted((ROOT / "recipes" / "papers").glob("*.toml"))  # of data that have to be fetched first


def name(recipe: Path) -> str:
    return recipe.stem


@pytest.mark.parametrize("recipe", [*RECIPES, *PAPERS], ids=name)
def test_parses(recipe):
    load_config(SftConfig if recipe in SFT else RunConfig, recipe)


@pytest.mark.parametrize("recipe", [*RECIPES, *PAPERS], ids=name)
def test_begins_with_what_it_is_and_its_command(recipe):
    head = [line for line in recipe.read_text(encoding="utf8").splitlines() if line.startswith("#")]
    assert head and any(f"--recipe {recipe.relative_to(ROOT).as_posix()}" in line for line in head)


@pytest.mark.parametrize("recipe", PAPERS, ids=name)
def test_a_papers_recipe_has_what_all_of_them_publish(recipe):
    config = load_config(RunConfig, recipe)
    assert set(config.data.options) <= set(inspect.signature(SOURCES[config.data.source]).parameters)
    rates = config.training
    assert (rates.learning_rate, rates.user_learning_rate, rates.shared_learning_rate) == (5e-5, 5e-5, 5e-5)
    assert rates.batch_size * rates.gradient_accumulation_steps == 16  # comparisons, each with both branches
    assert (rates.warmup_steps, rates.lr_scheduler_type, config.seed, config.alpha) == (150, "cosine", 123, 0.5)
    assert (config.user_model.tokens, config.user_model.start) == (10, "vocabulary")


def test_the_papers_recipes_are_all_there():
    found = [name(recipe) for recipe in PAPERS]
    assert found == ["prism_cluster", "prism_paper", "prism_script", "psoups", "tldr", "tldr_top40"]
    tldr, forty = (load_config(RunConfig, ROOT / "recipes" / "papers" / f"{n}.toml") for n in ("tldr", "tldr_top40"))
    assert forty.data.options == {**tldr.data.options, "top": 40}
    assert forty.model_copy(update={"data": tldr.data}) == tldr


def test_the_benchmark_tunes_around_the_recipes(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
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
