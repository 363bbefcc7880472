"""`train_reward`: a folder that says what was done, and is measured as it was split."""

import json

import numpy as np
import pytest

from prlhf.config import DataConfig, SplitConfig
from prlhf.config.rewards import PerUser, Stored
from prlhf.config.rewards.run import RewardRun
from prlhf.data import load_comparisons
from prlhf.errors import CheckpointError, DataError
from prlhf.evaluation.reward.run import evaluate_reward_run, load_run
from prlhf.training.reward import train_reward
from tiny_reward import tiny, votes, write_votes  # noqa: F401


@pytest.fixture
def config(tmp_path, tiny):  # noqa: F811
    data, embeddings = write_votes(votes(), tmp_path)
    split = SplitConfig(test=0.3, validation=0.1, users=0.25)
    return RewardRun(
        data=DataConfig(source=str(data), split=split),
        features=Stored(path=str(embeddings), surface=False),
        model=PerUser(),
    )


def test_a_run_keeps_what_it_takes_to_understand_and_repeat_it(config, tmp_path):
    result = train_reward(config, tmp_path / "run")
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "config.json",
        "data.json",
        "metrics.json",
        "model",
        "split.json",
    }
    model, held = load_run(tmp_path / "run")
    assert held == config
    log = load_comparisons(config.data)
    some = log.comparisons[:20]
    assert np.array_equal(model.margin(some).mean, result.model.margin(some).mean)
    figures = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert figures["seen"]["accuracy"]["value"] > 0.75 > figures["unseen"]["accuracy"]["value"]
    assert "9 users" in result.learned and not result.checks[0].finding
    train_reward(config, tmp_path / "again")
    assert json.loads((tmp_path / "again" / "metrics.json").read_text()) == figures


def test_by_default_it_is_measured_on_what_it_held_out(config, tmp_path):
    made = train_reward(config, tmp_path / "run").metrics
    found = evaluate_reward_run(tmp_path / "run")
    assert found.side == "test and unseen" and not found.notes
    assert found.all == made.all
    assert not any(check.finding for check in found.checks), found.checks
    few = evaluate_reward_run(tmp_path / "run", votes=10)
    assert few.told == 3 and few.left_out["folded_in"] == 0, "the votes are those of the side context"
    assert len(few.unseen) == len(found.unseen)
    assert few.sides["unseen"].own.accuracy.value > found.sides["unseen"].own.accuracy.value


def test_other_votes_are_measured_whole_and_known_ones_told(config, tmp_path):
    train_reward(config, tmp_path / "run")
    (tmp_path / "other").mkdir()
    data, _ = write_votes(votes()[:200], tmp_path / "other")
    found = evaluate_reward_run(tmp_path / "run", data)
    assert found.side == "all" and len(found.scores) == 200
    assert "no held-out measurement" in found.notes[0]
    alone = evaluate_reward_run(tmp_path / "run" / "model", data)
    assert alone.all == found.all and "not known" in alone.notes[0]
    with pytest.raises(CheckpointError, match="no data of its own"):
        evaluate_reward_run(tmp_path / "run" / "model")


def test_texts_without_features_are_an_error(config, tmp_path):
    train_reward(config, tmp_path / "run")
    path = tmp_path / "other.jsonl"
    path.write_text(json.dumps({"prompt": "?", "chosen": "never seen", "rejected": "nor this"}) + "\n")
    with pytest.raises(DataError, match="never seen"):
        evaluate_reward_run(tmp_path / "run", path)


def test_nothing_is_overwritten_and_nothing_left_where_it_fails(config, tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    with pytest.raises(CheckpointError, match="nothing is overwritten"):
        train_reward(config, tmp_path / "there")
    monkeypatch.setattr("prlhf.training.reward.run.fit_reward", lambda *args, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_reward(config, tmp_path / "run")
    assert not list(tmp_path.glob("*run*"))


def test_what_is_no_run_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="expected a folder of `prlhf reward train`"):
        load_run(tmp_path)


def test_half_life_and_ties_reach_the_votes(config, tmp_path, monkeypatch):
    rows = [
        {
            "prompt": "?",
            "chosen": "a",
            "rejected": "b",
            "user_id": f"u{i}",
            "tie": i % 2 == 1,
            "timestamp": f"2025-{1 + i // 20:02}-{1 + i % 20:02}T00:00:00Z",
        }
        for i in range(40)
    ]
    rows = [{**row, "chosen": f"An answer 1 0 0 {i}"} for i, row in enumerate(rows)]
    path = tmp_path / "dated.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    given = []
    monkeypatch.setattr(
        "prlhf.training.reward.run.fit_reward", lambda config, votes, **more: given.append(votes) or 1 / 0
    )
    data = DataConfig(source=str(path))
    with pytest.raises(ZeroDivisionError):
        train_reward(RewardRun(data=data, half_life=10, ties=True, model=PerUser()), tmp_path / "run")
    assert set(given[0].y) == {0.5, 1.0} and given[0].weight.min() < 0.1
