"""The promise itself, trained for real: votes with names on them teach what each user wants."""

from importlib.resources import files
from pathlib import Path

import pytest

from prlhf.config import RunConfig, load_config
from prlhf.training.train import train

OVERRIDES = [
    "data.options={users=12, votes=100}",
    "training.max_steps=60",
    "training.eval_steps=0",
    "training.test_comparisons=240",
]


@pytest.mark.slow
def test_own_rows_carry_what_their_users_want(tmp_path):
    config = load_config(RunConfig, Path(str(files("prlhf.demo") / "demo.toml")), OVERRIDES)
    metrics = train(config, tmp_path / "run").metrics
    assert metrics is not None
    found = metrics.overall
    assert found.accuracy_seen.value > found.accuracy_generic.value + 0.15, found
    assert found.permutation_drop.value >= 0.10, found.permutation_drop
