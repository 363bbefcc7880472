"""From a configuration to a reward model, and back from whatever folder one was saved in."""

import json
from dataclasses import replace

import numpy as np
import pytest
from planted_votes import planted

from prlhf.config.rewards import Bt, PerUser, SoftPrompt
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.rewards import RewardModel, VectorReward, fit_reward, load_reward
from prlhf.rewards.ensemble import EnsembleReward
from prlhf.rewards.make import MEMBERS, OTHERS, vector_member

VOTES, _, _ = planted(users=3, votes_each=10, items=12, width=3)


@pytest.mark.parametrize("kind", MEMBERS)
def test_each_member_is_of_its_type(kind):
    assert issubclass(vector_member(kind), VectorReward)
    assert vector_member(kind).Config().type == kind


def test_members_of_an_ensemble_of_models_may_be_of_different_kinds(tmp_path):
    models = [fit_reward(config, VOTES) for config in (Bt(ridge=1.0), PerUser())]
    saved = EnsembleReward.of([EnsembleReward.of(models[:1]), models[1]], "worst", penalty=0.5).save(tmp_path / "e")
    again = load_reward(saved)
    assert isinstance(again, RewardModel) and (again.how, again.penalty) == ("worst", 0.5)
    inner, second = again.models
    assert inner.models[0].config == models[0].config and second.config == models[1].config
    for before, after in zip(models, (inner.models[0], second), strict=True):
        np.testing.assert_array_equal(before.margins(VOTES).mean, after.margins(VOTES).mean)


@pytest.mark.parametrize(
    "described",
    [
        None,
        "{",
        "[]",
        {"format": "prlhf-checkpoint", "config": {"type": "bt"}},
    ],
)
def test_a_folder_of_something_else(described, tmp_path):
    if described is not None:
        text = described if isinstance(described, str) else json.dumps(described)
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match="no reward model"):
        load_reward(tmp_path)


@pytest.mark.parametrize("weight", [np.nan, -1.0, np.inf])
def test_weights_are_numbers_from_0(weight):
    weights = VOTES.weight.copy()
    weights[3] = weight
    with pytest.raises(DataError, match=r"1 weights cannot be used, the first of them that of vote 3 .*found"):
        fit_reward(PerUser(), replace(VOTES, weight=weights))


def test_a_run_folder_is_its_model(tmp_path):
    model = fit_reward(PerUser(), VOTES)
    model.save(tmp_path / "run" / "model")
    (tmp_path / "run" / "config.json").write_text("{}")
    again = load_reward(tmp_path / "run")
    np.testing.assert_array_equal(model.margins(VOTES).mean, again.margins(VOTES).mean)


def test_what_learns_from_texts_is_not_fitted_to_vectors():
    assert set(MEMBERS).isdisjoint(OTHERS)
    with pytest.raises(ConfigError, match="from texts"):
        fit_reward(SoftPrompt(), VOTES)


def test_no_votes():
    with pytest.raises(DataError, match="found none"):
        fit_reward(Bt(), VOTES.take(np.zeros(0, np.int64)))
