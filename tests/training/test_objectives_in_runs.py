"""Objectives in whole runs: one from outside the package, and ties, which only some learn from."""

import json
from dataclasses import replace

import pytest
import torch
from made_up import comparisons

from prlhf.config import RunConfig, SplitConfig
from prlhf.data import Log, Notes, split
from prlhf.errors import ConfigError
from prlhf.training.train import train

OUTSIDE = """
from torch.nn.functional import logsigmoid

def loss(policy, reference, beta):
    h = (policy.chosen - reference.chosen) - (policy.rejected - reference.rejected)
    return -logsigmoid(beta * h)
"""


def config(base, **objective) -> RunConfig:
    return RunConfig.model_validate(
        {
            "data": {"split": {"test": 0.2}},
            "model": {"base": base, "tuning": {"type": "lora", "r": 2}},
            "user_model": {"tokens": 2},
            "objective": objective,
            "training": {"batch_size": 4, "learning_rate": 1e-3, "device": "cpu", "eval_steps": 0, "save_steps": 0},
        }
    )


def log_of(made) -> Log:
    made = tuple(made)
    return Log(made, "made up", notes=Notes.of(made))


def test_an_objective_from_outside_learns_as_the_same_one_inside(base_folder, tmp_path, monkeypatch):
    (tmp_path / "outside.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    base, log = base_folder(), log_of(comparisons(12))
    inside = train(config(base, type="dpo", beta=0.2), tmp_path / "inside", log=log).lm.state_dict()
    own = config(base, type="custom", function="outside:loss", options={"beta": 0.2})
    outside = train(own, tmp_path / "outside_run", log=log).lm.state_dict()
    assert inside.keys() == outside.keys() and all(torch.equal(inside[name], outside[name]) for name in inside)


def test_an_objective_that_cannot_be_found_writes_nothing(base_folder, tmp_path):
    with pytest.raises(ConfigError, match="cannot import 'nowhere'"):
        train(config(base_folder(), type="custom", function="nowhere:loss"), tmp_path / "run", log=log_of([]))
    assert not (tmp_path / "run").exists()


def with_ties() -> Log:
    return log_of(replace(c, tie=i % 3 == 0) for i, c in enumerate(comparisons(24)))


def test_ties_are_trained_on_where_the_objective_learns_from_them(base_folder, tmp_path, caplog):
    log = with_ties()
    tied = {c.id for c in log.comparisons if c.tie}
    for objective, said in (({"ties": 0.5}, "; 8 ties"), ({}, "not trained on: 8 ties")):
        with caplog.at_level("INFO", logger="prlhf"):
            run = train(config(base_folder(), **objective), tmp_path / f"run{len(objective)}", log=log)
        sides = json.loads((run.folder / "split.json").read_text())["sides"]
        assert bool(tied & set(sides["train"])) == bool(objective) and not tied & set(sides["test"])
        assert said in caplog.text
        trained = len(tied & set(sides["train"]))
        assert (f"of 24 comparisons; {trained} of the training side are ties" in caplog.text) == bool(objective)
        caplog.clear()


def test_a_split_keeps_ties_out_of_every_side_but_the_trained_one():
    log = with_ties()
    config = SplitConfig(test=0.2, validation=0.2, users=0.3)
    plain, with_them = split(log, config), split(log, config, ties=True)
    ties = lambda side: [i for i in side if log.comparisons[i].tie]  # noqa: E731
    assert ties(with_them.train) and not ties(plain.train)
    for name, side in with_them.sides().items():
        if name != "train":
            assert side == plain.sides()[name] and not ties(side)
