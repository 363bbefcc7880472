"""Ensembles: aggregates by hand, one zero for all members, and bootstrap by user."""

import json
import shutil

import numpy as np
import pytest
from camps import accuracy, camps, pooled_accuracy, votes_on

from prlhf.config.rewards import Ensemble, Pref
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.rewards import Items, Reward, RewardModel, States, load_reward
from prlhf.rewards.aggregate import aggregate, total_variance
from prlhf.rewards.ensemble import EnsembleReward, _drawn
from prlhf.rewards.ensemble_models import ModelEnsemble
from prlhf.rewards.folders import write_described
from prlhf.rewards.make import OTHERS
from prlhf.types import Comparison, Message

FEW = Pref(factors=2, l2=0.3, l2_features=1.0, steps=20, prior="trained")
SCORES = np.array([[1.0, 0.0], [3.0, 0.0], [2.0, 6.0]])


@pytest.mark.parametrize(
    ("how", "expected"),
    # variances of (1, 3, 2) and (0, 0, 6): 2/3 and 8
    [("mean", [2, 2]), ("worst", [1, 0]), ("lcb", [2 - 0.5 * (2 / 3) ** 0.5, 2 - 0.5 * 8**0.5]), ("uwo", [5 / 3, -2])],
)
def test_by_hand(how, expected):
    assert aggregate(SCORES, how, 0.5).tolist() == pytest.approx(expected)


def test_the_variance_is_within_and_between():
    rewards = [Reward(np.array([m]), np.array([v])) for m, v in ((0.0, 1.0), (2.0, 3.0))]
    assert total_variance(rewards).tolist() == [2 + 1]


@pytest.fixture(scope="module")
def learned():
    train, test = camps(users=6, each=30)
    return train, test, EnsembleReward.fit(Ensemble(members=(FEW,), aggregate="worst"), train)


def test_camps_are_told_apart_where_one_taste_cannot(learned):
    train, test, model = learned
    assert len(model.models) == 3
    assert accuracy(model.margins(test).mean) > pooled_accuracy(train, test) + 0.15


@pytest.mark.parametrize("how", ["mean", "lcb", "worst", "uwo"])
def test_a_score_is_the_aggregate_above_each_members_zero_and_a_margin_a_difference(learned, how):
    _, test, model = learned
    model = EnsembleReward(model.config.model_copy(update={"aggregate": how}), model.parameters, model.users)
    states, who = model.users.states, test.user + 1
    args = (test.items, test.chosen, test.rejected, states, who)
    good = model.reward(test.items, test.chosen, None, states, who)
    bad = model.reward(test.items, test.rejected, None, states, who)
    both = model.reward(*args)
    assert np.allclose(both.mean, good.mean - bad.mean)
    turned = model.reward(test.items, test.rejected, test.chosen, states, who)
    assert np.allclose(turned.mean, -both.mean) and np.allclose(turned.variance, both.variance)
    own = model._scores(test.items, test.chosen, [_of(states, i) for i in range(3)], who)
    assert np.allclose(good.mean, aggregate(own, how, 1.0))
    reference = Items(np.arange(len(model.parameters["reference"]), dtype=np.uint64), model.parameters["reference"])
    everywhere = np.arange(len(reference))
    for row in (0, 2):
        zero = model._scores(reference, everywhere, [_of(states, i) for i in range(3)], np.full(len(reference), row))
        assert np.allclose(zero.mean(axis=1), 0, atol=1e-9)


def _of(states: States, i: int) -> States:
    arrays = {k.removeprefix(f"{i}."): a for k, a in states.arrays.items() if k.startswith(f"{i}.")}
    return States(arrays, states.votes)


def test_a_shift_of_a_member_moves_nothing(learned):
    """A score has no zero: a constant that one member adds must not make it the best or the worst."""
    _, test, model = learned
    shifted = EnsembleReward(model.config, model.parameters, model.users)
    first = shifted.models[0]
    plain = first.reward

    def moved(items, a, b, states, who):
        found = plain(items, a, b, states, who)
        return found if b is not None else found._replace(mean=found.mean + 100)

    first.reward = moved
    users = shifted._zeroed(shifted.users.states)
    args = (test.items, test.chosen, None)
    assert np.allclose(
        shifted.reward(*args, users, test.user + 1).mean, model.reward(*args, model.users.states, test.user + 1).mean
    )


def test_members_learn_from_other_votes_of_the_same_users():
    items = Items(np.arange(1, 9, dtype=np.uint64), np.eye(8, dtype=np.float32))
    user = np.array([1, 0, 1, 1, -1, 0, 1])
    votes = votes_on(items, np.arange(7), np.arange(1, 8), user, 2)
    drawn = _drawn(votes, np.random.default_rng(0))
    assert sorted(user[drawn]) == sorted(user) and len(set(drawn)) < len(drawn)
    assert not np.array_equal(drawn, _drawn(votes, np.random.default_rng(1)))


def test_the_same_seed_is_the_same_model_and_what_is_saved_is_read(learned, tmp_path):
    train, test, model = learned
    two = EnsembleReward.fit(model.config, train)
    assert all(np.array_equal(model.parameters[name], two.parameters[name]) for name in model.parameters)
    again = EnsembleReward.load(model.save(tmp_path / "m"))
    assert np.array_equal(again.margins(test).mean, model.margins(test).mean)
    assert np.array_equal(again.states_of(train)["0.weights"], model.states_of(train)["0.weights"])
    refolded = model.states_of(train)
    assert all(np.allclose(array, model.users.states[name][1:]) for name, array in refolded.arrays.items())


class Lengths(RewardModel):
    """A response's length times something, and a user's, above a zero of its own."""

    def __init__(self, slope: float, zero: float = 0.0):
        self.slope, self.zero, self.users, self.kept = slope, zero, None, []

    def score(self, prompts, responses, users):
        own = np.array([self.zero * (1 + (user == "u")) for user in users])
        return Reward(np.array([self.slope * len(r) for r in responses]) + own, np.full(len(responses), 0.5))

    def margin(self, comparisons, users=None):
        difference = [len(c.chosen) - len(c.rejected) for c in comparisons]
        return Reward(self.slope * np.array(difference), np.full(len(comparisons), 0.5))

    def fold_in(self, comparisons):
        return ["u"], States({"slope": np.array([self.slope])}, np.array([len(comparisons)]))

    def commit(self, names, states):
        self.kept.append((names, states["slope"].tolist()))

    def save(self, folder):
        folder.mkdir()
        write_described(folder, {"type": "lengths", "slope": self.slope, "zero": self.zero})
        return folder

    @classmethod
    def load(cls, folder):
        held = json.loads((folder / "config.json").read_text())["config"]
        return cls(held["slope"], held["zero"])


def test_models_of_any_kind(tmp_path, monkeypatch):
    monkeypatch.setitem(OTHERS, "lengths", f"{__name__}:Lengths")
    reference = [("p", "aa"), ((Message("user", "hi"),), "aaaa")]  # of mean length 3
    pair = Comparison("p", "aaaaa", "a", user="u")
    ensemble = EnsembleReward.of([Lengths(1, 7), Lengths(3, -9)], "worst", reference=reference)
    # (5 - 3) times 1 and 3; (1 - 3) times 1 and 3
    for user in ("u", None):
        assert ensemble.score(["p", "p"], ["aaaaa", "a"], [user, user]).mean.tolist() == [2, -6]
    margin = ensemble.margin([pair])
    assert margin.mean.tolist() == [8] and margin.variance.tolist() == [0.5 + 16]  # of (4, 12), 8 ± 4
    assert ensemble.probability([pair])[0] > 0.5
    names, states = ensemble.fold_in([pair])
    ensemble.commit(names, states)
    assert [m.kept for m in ensemble.models] == [[(["u"], [1])], [(["u"], [3])]]

    again = load_reward(ensemble.save(tmp_path / "e"))
    assert isinstance(again, ModelEnsemble) and [type(m) for m in again.models] == [Lengths, Lengths]
    assert again.margin([pair]).mean.tolist() == [8] and again.reference == reference
    shutil.rmtree(tmp_path / "e" / "1")
    with pytest.raises(CheckpointError, match="no reward model"):
        load_reward(tmp_path / "e")
    with pytest.raises(CheckpointError, match="no reward model"):
        ModelEnsemble.load(tmp_path)
    with pytest.raises(DataError, match="found no reward model"):
        EnsembleReward.of([])


@pytest.mark.parametrize(
    ("members", "message"),
    [([], "members.*found none"), ([{"type": "pref", "factor": 2}], "unknown option members"), ([{}], "'type'")],
)
def test_members_that_are_none(members, message):
    with pytest.raises(ConfigError, match=message):
        Ensemble(members=members)


def test_a_failure_while_people_are_met_leaves_nobody_behind(learned):
    train, _, model = learned
    first, second = Lengths(1.0), Lengths(2.0)
    first.users = second.users = model.users
    whole = EnsembleReward.of([first, second])
    first.commit = second.commit = lambda names, states: setattr(first, "users", "met")
    with pytest.raises(KeyError), whole.meeting([Comparison("?", "a", "b", user="u")]):
        assert whole.users == "met"
        raise KeyError
    assert whole.users is first.users is model.users and len(train)
