"""The factor model on planted votes whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from planted_votes import planted, votes_of

from prlhf.config.rewards import Bt, Factor
from prlhf.rewards import Items, fit_reward
from prlhf.rewards.factor.strengths import shared_responses

FIXED = {"personal": 1.5, "item_effects": "off", "nonlinear": "off", "flips": 0.0}


def accuracy(model, votes, truth, states=None, generic=False):
    asked = votes.of_users([]) if generic else votes
    return float(((model.margins(asked, states).mean > 0) == (truth.margins(votes) > 0)).mean())


@pytest.mark.parametrize("seed", [0, 1])
def test_where_all_are_alike_nobody_differs(seed):
    train, test, truth = planted(users=20, votes_each=40, items=2000, width=4, rank=0, seed=seed)
    model = fit_reward(Factor(), train)
    assert model.rank == 0
    np.testing.assert_array_equal(model.margins(test).mean, model.margins(test.of_users([])).mean)
    assert accuracy(model, test, truth) > 0.93


def test_where_people_differ_it_is_found_out_how(seed=5):
    train, test, truth = planted(users=30, votes_each=60, items=2000, width=4, rank=2, seed=seed, personal=3.0)
    model = fit_reward(Factor(rank=4), train)
    assert 2 <= model.rank <= 3
    assert accuracy(model, test, truth) > 0.88 > 0.8 > accuracy(model, test, truth, generic=True)


def test_intervals_cover_the_true_margins():
    train, _, truth = planted(users=190, votes_each=40, items=300, rank=2, seed=2, personal=1.5)
    old = train.take(train.user < 150).of_users(train.names[:150])
    model = fit_reward(Factor(**FIXED, rank=2), old)
    new = train.take(train.user >= 150)
    for count in (5, 30):
        few = np.concatenate([np.flatnonzero(new.user == user)[:count] for user in range(150, 190)])
        found = model.margins(new, model.states_of(new.take(few)))
        covered = np.abs(found.mean - truth.margins(new)) < 1.645 * np.sqrt(found.variance)
        assert 0.8 < covered.mean() < 0.98


def test_votes_that_are_the_wrong_way_round_are_noticed():
    train, test, truth = planted(
        users=20, votes_each=150, items=2000, width=3, rank=1, seed=3, personal=4.0, flips=0.15
    )
    options = {"item_effects": "off", "nonlinear": "off", "rank": 1, "personal": 3.0}
    model = fit_reward(Factor(**options), train)
    assert 0.08 < model.flips < 0.22
    z = truth.margins(test)
    slope = {}
    for name, flips in (("learned", None), ("none", 0.0)):
        margins = fit_reward(Factor(**options, flips=flips), train).margins(test).mean
        slope[name] = float(margins @ z / (z @ z))
    assert slope["none"] + 0.15 < slope["learned"] < 1.15


def test_what_stands_first_is_not_what_is_liked():
    train, test, truth = planted(users=10, votes_each=150, items=200, rank=0, seed=4)
    rng = np.random.default_rng(0)
    left = rng.random(len(train)) < 0.5  # of the pair (a, b) with a < b, whether a was shown on the left
    smaller = train.chosen < train.rejected
    z = np.where(smaller, 1, -1) * truth.margins(train) + 1.5 * np.where(left, 1, -1)
    likes_smaller = rng.random(len(train)) < 1 / (1 + np.exp(-z))
    low, high = np.minimum(train.chosen, train.rejected), np.maximum(train.chosen, train.rejected)
    votes = replace(
        train,
        chosen=np.where(likes_smaller, low, high),
        rejected=np.where(likes_smaller, high, low),
        first=np.where(likes_smaller == left, 1.0, -1.0),
    )
    told = fit_reward(Factor(rank=0, **FIXED), votes)
    assert 1.1 < told.parameters["bias"][0] < 1.9
    assert accuracy(told, test, truth) > 0.9
    untold = fit_reward(Factor(rank=0, **FIXED), replace(votes, first=0 * votes.first))
    assert untold.parameters["bias"][0] == 0


def test_a_tie_pulls_a_margin_to_nothing():
    train, _, _ = planted(users=1, votes_each=40, items=20, rank=0, seed=1)
    before = fit_reward(Factor(rank=0, **FIXED), train).margins(train)
    tied = fit_reward(Factor(rank=0, **FIXED), replace(train, y=np.full(len(train), 0.5))).margins(train)
    assert np.abs(tied.mean).max() < 1e-6 < 0.5 < np.abs(before.mean).max()


def test_a_text_says_where_somebody_stands_before_any_vote():
    train, test, truth = planted(users=80, votes_each=40, items=200, rank=1, seed=6, personal=4.0)
    side = (truth.users - truth.mean) @ (truth.users[0] - truth.mean)
    told = np.stack([np.sign(side), np.random.default_rng(0).normal(size=80)], 1).astype(np.float32)
    old = replace(train.take(train.user < 60), told=told).of_users(train.names[:60])
    model = fit_reward(Factor(**FIXED, rank=1), old)
    new = replace(test.take(test.user >= 60), told=told)
    without = model.states_of(replace(new.take(np.zeros(0, np.int64)), told=None))
    with_text = model.states_of(new.take(np.zeros(0, np.int64)))
    assert accuracy(model, new, truth, with_text) > accuracy(model, new, truth, without) + 0.03
    assert with_text.votes.sum() == 0


def test_a_vote_of_weight_two_is_two_votes():
    train, test, _ = planted(users=5, votes_each=20, items=60, rank=1, seed=7)
    heavy = fit_reward(Factor(**FIXED, rank=1), replace(train, weight=2 * train.weight))
    twice = fit_reward(Factor(**FIXED, rank=1), train.take(np.tile(np.arange(len(train)), 2)))
    np.testing.assert_allclose(heavy.margins(test).mean, twice.margins(test).mean, atol=1e-4)


def test_responses_have_effects_where_several_people_judge_them():
    shared, _, _ = planted(users=20, votes_each=20, items=30, seed=0)
    assert shared_responses(shared)
    own = planted(users=20, votes_each=20, items=40000, seed=0)[0]
    assert not shared_responses(own)
    again = votes_of(own.items, [0, 0, 0], [1, 2, 3], [0, 0, 0], ("a",))  # one person, the same response again
    assert not shared_responses(again)


def test_an_effect_of_a_response_is_learned_beyond_its_features():
    rng = np.random.default_rng(0)
    items = Items(np.arange(1, 41, dtype=np.uint64), rng.normal(size=(40, 3)).astype(np.float32))
    worth = 2 * rng.normal(size=40)
    a, b = rng.integers(40, size=(2, 1500))
    a, b = a[a != b], b[a != b]
    likes = rng.random(len(a)) < 1 / (1 + np.exp(worth[b] - worth[a]))
    user = list(np.arange(len(a)) % 15)
    votes = votes_of(items, list(np.where(likes, a, b)), list(np.where(likes, b, a)), user, tuple(map(str, range(15))))
    right = np.sign(worth[a] - worth[b])
    where = np.zeros(len(a), np.int64)
    for effects, low, high in (("on", 0.93, 1.0), ("off", 0.4, 0.75)):
        model = fit_reward(Factor(rank=0, item_effects=effects, nonlinear="off"), votes)
        found = model.reward(items, a, b, model.users.states, where)
        assert low < (np.sign(found.mean) == right).mean() <= high
    stranger = Items(items.keys + np.uint64(1000), items.x)  # the same features, another response
    model = fit_reward(Factor(rank=0, item_effects="on"), votes)
    unsure = model.reward(stranger, a, b, model.users.states, where)
    assert unsure.variance.mean() > 3 * model.reward(items, a, b, model.users.states, where).variance.mean()


def test_smooth_functions_of_features_where_held_out_votes_say_so():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(800, 2)).astype(np.float32)
    worth = 4 * np.exp(-np.abs(x[:, 0]))  # best in the middle
    a = rng.integers(800, size=2000)
    b = (a + rng.integers(1, 800, size=2000)) % 800
    likes = rng.random(2000) < 1 / (1 + np.exp(worth[b] - worth[a]))
    items = Items(np.arange(800, dtype=np.uint64), x)
    votes = votes_of(items, list(np.where(likes, a, b)), list(np.where(likes, b, a)), [0] * 2000, ("one",))
    model = fit_reward(Factor(rank=0, item_effects="off"), votes)
    assert len(model.parameters["basis.landmarks"])
    linear = fit_reward(Factor(rank=0, item_effects="off", nonlinear="off"), votes)
    right = np.sign(worth[a] - worth[b])
    where = np.zeros(2000, np.int64)
    for fitted, low, high in ((model, 0.85, 1), (linear, 0.4, 0.65)):
        found = fitted.reward(items, a, b, fitted.users.states, where).mean
        assert low < (np.sign(found) == right).mean() < high


def test_what_counts_of_a_variance_is_learned_and_changes_probabilities_alone():
    train, test, _ = planted(users=15, votes_each=30, items=2000, width=3, rank=1, seed=1)
    model = fit_reward(Factor(**{**FIXED, "flips": None}, rank=1), train)
    assert 0 <= model.parameters["doubt"][0] <= 1
    margin = model.margins(test)
    timid = []
    for doubt in (0.0, 1.0):
        model.parameters["doubt"] = np.array([doubt])
        timid.append(np.abs(model.probability_of(margin) - 0.5))
        np.testing.assert_array_equal(model.margins(test).variance, margin.variance)
    assert (timid[1] < timid[0]).all()
    np.testing.assert_allclose(timid[0], np.abs(1 / (1 + np.exp(-margin.mean)) - 0.5) * (1 - 2 * model.flips))


@pytest.mark.parametrize(("users", "each"), [(1, 10), (2, 10), (5, 10)])
def test_with_few_votes_it_is_no_worse_than_the_crowd(users, each):
    """By chance a handful of held-out votes is told best by a model that believes every vote."""
    losses = []
    for seed in range(8):
        train, test, _ = planted(users=users, votes_each=each, items=300, width=30, rank=2, seed=seed)
        models = fit_reward(Factor(), train), fit_reward(Bt(), train)
        p = [model.probability_of(model.margins(test)) for model in models]
        losses.append([-np.log(np.maximum(each, 1e-12)).mean() for each in p])
    ours, crowd = np.mean(losses, 0)
    assert ours <= crowd + 0.03


def test_strengths_that_are_given_are_used():
    train, _, _ = planted(users=10, votes_each=20, items=20, rank=0, seed=0)
    assert fit_reward(Factor(), train).rank == 0
    assert fit_reward(Factor(personal=0.5), train).rank > 0
    assert fit_reward(Factor(personal_items=0.5, flips=0.0), train).rank > 0
    assert fit_reward(Factor(personal=0.5, rank=0), train).rank == 0
