"""The paper's recipes, dry, on files of the published schemas and tiny models of the published architectures."""

from pathlib import Path

import pytest

from prlhf.config import RunConfig, load_config
from prlhf.training.dry_run import dry_run
from published import person, talk, tldr_row, write_prism, write_psoups, write_tldr

PAPERS = sorted((Path(__file__).parents[2] / "recipes" / "papers").glob("*.toml"))


def write_workers(folder, count: int = 44) -> str:
    """TL;DR comparisons of more workers than any recipe keeps, each with two on either side."""
    rows = [
        tldr_row(f"w{i:02}", side, texts=(f" short {k}", f" a longer one {k}"), title=f"{i} {k}")
        for i in range(count)
        for side in ("train", "valid1")
        for k in range(2)
    ]
    return write_tldr(folder, rows)


def write_people(folder) -> str:
    people = [f"user{i}" for i in range(20)]
    talks = [talk(f"c{i}_{k}", user) for i, user in enumerate(people) for k in range(i % 4 + 1)]
    return write_prism(folder, [person(name) for name in people], talks)


WRITE = {"tldr": write_workers, "psoups": write_psoups, "prism": write_people}
ARCHITECTURE = {"tldr": "gptj", "psoups": "llama", "prism": "llama"}


@pytest.mark.parametrize("recipe", PAPERS, ids=lambda recipe: recipe.stem)
def test_a_dry_run(recipe, tmp_path, base_folder):
    paper = recipe.stem.partition("_")[0]
    config = load_config(RunConfig, recipe, [f"data.options.path={WRITE[paper](tmp_path)}"])
    chat = paper != "tldr"  # summaries follow a text, the others a conversation
    base = base_folder(ARCHITECTURE[paper], chat=chat)
    config = config.model_copy(update={"model": config.model.model_copy(update={"base": base})})
    found = dry_run(config)
    assert found.rehearsed_on == ARCHITECTURE[paper] and found.loss > 0 and found.remarks == ()
    assert found.users == {"tldr": 40 if "40" in recipe.stem else 10, "psoups": 6}.get(paper, found.users)
    assert found.parameters.users and found.parameters.trained and found.memory.total > found.memory.weights
    assert found.steps >= 1 and found.longest > 0
