"""Folders of reward models: what they say of themselves."""

import json

import pytest

from prlhf.errors import CheckpointError
from prlhf.rewards import load_reward
from prlhf.rewards.folders import is_reward_model, read_described, write_described


def test_what_was_written_is_read(tmp_path):
    write_described(tmp_path, {"type": "bt", "ridge": 1.0}, more=[1])
    assert is_reward_model(tmp_path)
    described = read_described(tmp_path, "bt")
    assert described["config"] == {"type": "bt", "ridge": 1.0}
    assert described["more"] == [1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other"}, "no reward model"),
        ({"format_version": 2}, "found version 2 of the format, this prlhf reads 1"),
        ({"config": []}, "does not say which reward model"),
        ({"config": {"type": ["bt"]}}, "does not say which reward model"),
        ({"config": {"type": "new"}}, "found a reward model of type new, expected one of factor"),
    ],
)
def test_another_format_is_refused(tmp_path, change, said):
    write_described(tmp_path, {"type": "bt"})
    held = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(held | change))
    with pytest.raises(CheckpointError, match=said):
        load_reward(tmp_path)


def test_another_kind_is_refused(tmp_path):
    write_described(tmp_path, {"type": "bt"})
    with pytest.raises(CheckpointError, match="type bt, expected models"):
        read_described(tmp_path, "models")
