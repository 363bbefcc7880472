"""recipes/accelerate: accelerate reads each of them, and every name in them is one of its own."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes" / "accelerate").glob("*.yaml"))
KINDS = {
    "cpu2": DistributedType.MULTI_GPU, "ddp": DistributedType.MULTI_GPU, "machines2": DistributedType.MULTI_GPU,
    "fsdp2": DistributedType.FSDP, "deepspeed_zero2": DistributedType.DEEPSPEED,
    "deepspeed_zero3": DistributedType.DEEPSPEED,
}  # fmt: skip


def test_all_are_there():
    assert {path.stem for path in RECIPES} == set(KINDS)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_accelerate_reads_it(path):
    made = load_config_from_file(str(path))
    assert isinstance(made, ClusterConfig) and made.distributed_type == KINDS[path.stem]
    assert made.num_processes == yaml.safe_load(path.read_text())["num_processes"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_name_is_known_and_every_value_is_kept(path):
    tree, made = yaml.safe_load(path.read_text()), load_config_from_file(str(path))
    assert set(tree) <= {field.name for field in fields(ClusterConfig)}
    options = {action.dest for action in launch_command_parser()._actions}
    for part in ("fsdp_config", "deepspeed_config"):
        assert set(tree.get(part, {})) <= options, part
        assert getattr(made, part) == tree.get(part, {})


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_says_what_it_is_for(path):
    assert path.read_text().startswith("# ")
    assert path.name in (ROOT / "docs" / "processes.md").read_text()
