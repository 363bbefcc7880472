"""A run on a file that is converted, tokenised and mapped part by part is the run on the same file in memory."""

import json

import pytest
import torch

import prlhf.data.rows as reading
import prlhf.lm.tokens as tokens
from prlhf.config import RunConfig
from prlhf.training.train import train


def rows(thumbs: bool) -> list[dict]:
    pairs = [
        {
            "prompt": f"p{i % 9}",
            "chosen": f"yes {i}",
            "rejected": "no" * (i % 5 + 1),
            "user_id": ["ann", "bob", None][i % 3],
        }
        for i in range(40)
    ]
    alone = [
        {"prompt": f"p{i % 9}", "completion": f"well {i}", "label": i % 2 == 0, "user_id": ["ann", "bob"][i % 2]}
        for i in range(12)
    ]
    return pairs + alone * thumbs


@pytest.mark.parametrize("objective", ["dpo", "kto"])
def test_the_run_is_the_same(base_folder, tmp_path, monkeypatch, objective):
    source = tmp_path / "votes.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows(objective == "kto")))
    config = RunConfig.model_validate(
        {
            "data": {"source": str(source), "split": {"test": 0.2}},
            "model": {"base": base_folder(), "tuning": {"type": "lora", "r": 2}},
            "user_model": {"tokens": 2},
            "objective": {"type": objective},
            "training": {"batch_size": 4, "max_steps": 3, "device": "cpu", "eval_steps": 0, "save_steps": 0},
        }
    )
    whole = train(config, tmp_path / "whole", cache=tmp_path / "a")
    assert not list((tmp_path / "a").glob("feedback-*"))
    monkeypatch.setattr(reading, "PART", 10)
    monkeypatch.setattr(tokens, "PART", 10)
    parts = train(config, tmp_path / "parts", cache=tmp_path / "b")
    assert list((tmp_path / "b").glob("feedback-*/00003.arrow")) and len(list((tmp_path / "b").glob("tokens-*/*"))) > 2
    a, b = whole.lm.state_dict(), parts.lm.state_dict()
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert (whole.folder / "split.json").read_text() == (parts.folder / "split.json").read_text()
    assert whole.held_out == parts.held_out and whole.sample == parts.sample
