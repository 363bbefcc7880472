"""The paper's recipes, dry, on files of the published schemas: with tiny models of the published architectures, and
with the published architectures themselves, of which there is a config and nothing else."""

import json
from pathlib import Path

import pytest

from prlhf.config import RunConfig, load_config
from prlhf.training.dry_run import dry_run
from prlhf.training.skeleton import described, skeleton
from published import person, talk, tldr_row, write_prism, write_psoups, write_tldr

ROOT = Path(__file__).parents[2]
PAPERS = sorted((ROOT / "recipes" / "papers").glob("*.toml"))


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
    assert found.layout == ("plain" if paper == "tldr" else "packed")
    assert found.users == {"tldr": 40 if "40" in recipe.stem else 10, "psoups": 6}.get(paper, found.users)
    assert found.parameters.users and found.parameters.trained and found.memory.total > found.memory.weights
    assert found.steps >= 1 and found.longest > 0


SIZES = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
PUBLISHED = {
    "GPT-J 6B": {
        "model_type": "gptj", "n_embd": 4096, "n_layer": 28, "n_head": 16, "n_positions": 2048, "rotary_dim": 64,
        "vocab_size": 50400,
    },
    "Llama 7B": {"model_type": "llama", **SIZES, "intermediate_size": 11008, "vocab_size": 32000},
    "Llama 3 8B": {
        "model_type": "llama", **SIZES, "intermediate_size": 14336, "num_key_value_heads": 8, "vocab_size": 128256,
    },
}  # fmt: skip
BASE = {"GPT-J 6B": 6_050_882_784, "Llama 7B": 6_738_415_616, "Llama 3 8B": 8_030_261_248}
COUNTS = [  # recipe, model, users, N_l, N_u
    ("tldr", "GPT-J 6B", 10, 16_515_072, 450_560),
    ("tldr_top40", "GPT-J 6B", 40, 16_515_072, 1_679_360),
    ("psoups", "Llama 7B", 6, 6_291_456, 286_720),
    ("prism_cluster", "Llama 3 8B", 1396, 4_718_592, 423_570),
    ("prism_cluster", "Llama 3 8B", 1234, 4_718_592, 421_950),
    ("prism_paper", "Llama 3 8B", 1396, 4_718_592, 57_221_120),
    ("prism_paper", "Llama 3 8B", 1234, 4_718_592, 50_585_600),
]


def published(folder, name: str, config: RunConfig) -> RunConfig:
    """`config` on a base that is a folder with the published config.json alone."""
    folder = folder / "base"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(PUBLISHED[name]), encoding="utf8")
    return config.model_copy(update={"model": config.model.model_copy(update={"base": str(folder)})})


@pytest.mark.parametrize(("recipe", "name", "users", "lora", "state"), COUNTS)
def test_parameters_are_the_published_ones(recipe, name, users, lora, state, tmp_path):
    config = published(tmp_path, name, load_config(RunConfig, ROOT / "recipes" / "papers" / f"{recipe}.toml"))
    found = skeleton(described(config.model, []), config, users).parameters
    assert (found.base, found.trained, found.users) == (BASE[name], lora, state)
    row = f"| `{recipe}` | {name} | {lora:,} | {users:,} | {state:,} |"
    assert row in (ROOT / "docs" / "papers.md").read_text(encoding="utf8")


def test_five_clusters_have_half(tmp_path):
    config = published(tmp_path, "Llama 3 8B", load_config(RunConfig, PAPERS[0], ["user_model.clusters=5"]))
    assert skeleton(described(config.model, []), config, 1396).parameters.users == 211_785


def test_a_folder_with_a_config_alone_is_enough(tmp_path):
    recipe = ROOT / "recipes" / "papers" / "tldr.toml"
    (tmp_path / "data").mkdir()
    config = load_config(RunConfig, recipe, [f"data.options.path={write_workers(tmp_path / 'data')}"])
    found = dry_run(published(tmp_path, "GPT-J 6B", config))
    assert (found.parameters.trained, found.parameters.users) == (16_515_072, 450_560)
    assert found.rehearsed_on == "gptj" and found.layout == "plain"
    assert found.memory.weights == 4 * (BASE["GPT-J 6B"] + 16_515_072)
    assert len(found.remarks) == 1 and "tokenizer" in found.remarks[0]
