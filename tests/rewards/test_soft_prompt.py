"""`soft_prompt` under the contract of reward models: scores, users, saving, and the rows of people it never met."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from prlhf.config import Individual, LowRank, ModelConfig, Uniform
from prlhf.config.rewards import SoftPrompt
from prlhf.errors import CheckpointError, DataError
from prlhf.lm import RewardLM
from prlhf.rewards import load_reward
from prlhf.rewards.soft_prompt import SoftPromptReward
from prlhf.types import Comparison

USERS = ["ann", "bob", "cem"]
PAIRS = [
    Comparison(f"question {i}?", "red" + "!" * i, "a blue sky, perhaps" * (1 + i % 2), user=[*USERS, None][i % 4])
    for i in range(8)
]


@torch.no_grad()
def model(base: str, user_model=None) -> SoftPromptReward:
    """Of random weights, in which people differ."""
    options = {"pool": "mean", "tastes": 2}
    lm = RewardLM.create(ModelConfig(base=base), user_model or Individual(tokens=2), USERS, seed=1, **options)
    torch.manual_seed(3)
    for p in lm.reward_head.parameters():
        p.normal_()
    if lm.user_model.table is not None:
        lm.user_model.table.weight[1:].normal_(std=0.5)
    return SoftPromptReward(SoftPrompt(fold_in_passes=3), lm)


@pytest.fixture(scope="module")
def reward(base_folder):
    return model(base_folder())


def test_swapping_a_pair_negates_its_margin(reward):
    turned = [Comparison(c.prompt, c.rejected, c.chosen, user=c.user) for c in PAIRS]
    margin = reward.margin(PAIRS)
    np.testing.assert_allclose(reward.margin(turned).mean, -margin.mean, atol=1e-5)
    assert np.abs(margin.mean).min() > 1e-3 and not margin.variance.any()


def test_batch_is_singles_and_a_margin_is_a_difference_of_scores(reward):
    margin = reward.margin(PAIRS).mean
    np.testing.assert_allclose([reward.margin([c]).mean[0] for c in PAIRS], margin, atol=1e-5)
    prompts, users = [c.prompt for c in PAIRS], [c.user for c in PAIRS]
    chosen, rejected = (reward.score(prompts, [c.responses[k] for c in PAIRS], users).mean for k in (0, 1))
    np.testing.assert_allclose(chosen - rejected, margin, atol=1e-5)
    with pytest.raises(DataError, match="8 prompts, 8 responses and 1 users"):
        reward.score(prompts, [c.chosen for c in PAIRS], ["ann"])
    assert len(reward.margin([]).mean) == 0 and len(reward.score([], [], []).mean) == 0


def test_strangers_are_the_generic_user_and_people_differ(reward):
    nobody = reward.margin(PAIRS, [None] * 8).mean
    assert np.array_equal(reward.margin(PAIRS, ["zoe"] * 8).mean, nobody)
    assert np.abs(reward.margin(PAIRS, ["ann"] * 8).mean - nobody).max() > 1e-2
    assert reward.probability(PAIRS, ["zoe"] * 8) == pytest.approx(1 / (1 + np.exp(-nobody)))


def test_saved_and_loaded_it_is_the_same(reward, tmp_path):
    again = load_reward(reward.save(tmp_path / "reward"))
    assert isinstance(again, SoftPromptReward) and again.config == reward.config
    assert np.array_equal(again.margin(PAIRS).mean, reward.margin(PAIRS).mean)
    a, b = again.users, reward.users
    assert a.index.ids() == b.index.ids() and np.array_equal(a.states["row"], b.states["row"])
    files = {path.suffix for path in (tmp_path / "reward").rglob("*") if path.is_file()}
    assert files <= {".json", ".safetensors", ".parquet", ".md", ".jinja"}
    with pytest.raises(CheckpointError, match="exists"):
        reward.save(tmp_path / "reward")
    (tmp_path / "reward" / "model" / "head.safetensors").unlink()
    with pytest.raises(CheckpointError, match="not the head of a reward model"):
        load_reward(tmp_path / "reward")
    shutil.rmtree(tmp_path / "reward" / "model")
    with pytest.raises(CheckpointError, match="unfinished"):
        load_reward(tmp_path / "reward")


VOTES = [Comparison(c.prompt, *c.responses[:: 1 if i % 2 else -1], user="zoe") for i, c in enumerate(PAIRS)]


@pytest.mark.parametrize("kind", [Individual(tokens=2), LowRank(tokens=2, rank=4)])
def test_fold_in_moves_its_own_row_towards_its_votes(base_folder, kind):
    reward = model(base_folder(), kind)
    before = {name: value.clone() for name, value in reward.lm.state_dict().items()}
    others = [Comparison(c.prompt, c.rejected, c.chosen, user="yan") for c in VOTES[:3]]
    names, states = reward.fold_in([*VOTES, *others])
    assert names == ["yan", "zoe"] and states.votes.tolist() == [3, 8]
    after = reward.lm.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in reward.lm.parameters())
    generic, table = reward.margin(VOTES).mean, reward.users  # zoe is a stranger yet
    reward.commit(names, states)
    assert np.log1p(np.exp(-reward.margin(VOTES).mean)).sum() < np.log1p(np.exp(-generic)).sum() - 0.05
    assert np.array_equal(reward.users.states["row"][:4], table.states["row"])
    assert reward.users.versions.tolist() == [1, 1, 1, 1, 1, 1] and reward.users.states.votes[-2:].tolist() == [3, 8]
    alone = reward.fold_in(VOTES)[1]
    np.testing.assert_allclose(alone["row"][0], states["row"][1], atol=1e-4)
    reward.commit(["zoe"], alone)
    assert reward.users.versions.tolist() == [1, 1, 1, 1, 1, 2]


def test_ties_and_weightless_votes_move_nobody(reward):
    votes = [Comparison(c.prompt, *c.responses, user="zoe", tie=True) for c in PAIRS]
    votes += [Comparison(c.prompt, *c.responses, user="yan", weight=0.0) for c in PAIRS]
    states = reward.fold_in(votes)[1]
    np.testing.assert_allclose(states["row"], np.repeat(reward.users.states["row"][:1], 2, 0), atol=1e-6)


def test_fold_in_asks_who_voted(reward, base_folder):
    with pytest.raises(DataError, match="row 7 has no user"):
        reward.fold_in([Comparison("a", "b", "c", id="7")])
    assert reward.fold_in([])[0] == []
    everybody = model(base_folder(), Uniform())
    names, states = everybody.fold_in(VOTES)
    everybody.commit(names, states)
    assert everybody.users.states["row"].shape == (5, 0) and np.isfinite(everybody.margin(VOTES).mean).all()


def test_whom_it_met_for_a_while_it_does_not_keep(reward):
    before, index = reward.users.states["row"].copy(), reward.users.index
    with reward.meeting([replace(c, user="newcomer") for c in VOTES]):
        assert reward.users.rows(["newcomer"])[0] == len(before)
        assert np.abs(reward.users.states["row"][-1] - before[0]).max() > 0
    assert reward.users.rows(["newcomer"])[0] == 0 and len(reward.users.index) == len(index)
    np.testing.assert_array_equal(reward.users.states["row"], before)
