"""Every recipe is a configuration."""

from pathlib import Path

import pytest

from prlhf.config import RunConfig, SftConfig, load_config

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_parses(recipe):
    load_config(SftConfig if recipe.stem.endswith("sft") else RunConfig, recipe)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_begins_with_what_it_is_and_its_command(recipe):
    head = [line for line in recipe.read_text(encoding="utf8").splitlines() if line.startswith("#")]
    assert head and any(f"--recipe recipes/{recipe.name}" in line for line in head)
