"""`item_mf`: vectors of responses and users, checked on planted ones and against its own derivative."""

import numpy as np
import pytest
from planted_votes import planted

from prlhf.config.rewards import ItemMf
from prlhf.rewards import Items, load_reward
from prlhf.rewards.item_mf import ItemMfReward


@pytest.fixture(scope="module")
def world():
    votes, test, truth = planted(users=30, votes_each=80, items=25, rank=2, noise=0.3, seed=1)
    return votes, test, truth, ItemMfReward.fit(ItemMf(rank=3, ridge=0.5), votes)


def right(model, votes, states=None):
    return float((model.margins(votes, states).mean > 0).mean())


def test_it_tells_people_apart_by_the_items_alone(world):
    votes, test, _, model = world
    blind = ItemMfReward.fit(ItemMf(rank=1, ridge=1e6), votes)
    own = right(model, test)
    assert own > 0.8 and own > right(blind, test) + 0.05


def test_somebody_new_is_met_by_their_votes(world):
    votes, test, _, _ = world
    known = votes.user < 20
    model = ItemMfReward.fit(ItemMf(rank=3, ridge=0.5), votes.take(known).of_users(votes.names[:20]))
    new = votes.names[20:]
    states = model.states_of(votes.take(~known).of_users(new))
    asked = test.take(test.user >= 20).of_users(new)
    nobody = model.states_of(votes.take(np.zeros(0, np.int64)).of_users(new))
    assert right(model, asked, states) > right(model, asked, nobody) + 0.05
    assert np.array_equal(model.margins(asked, nobody).mean, model.margins(asked.of_users(())).mean)


def test_the_fit_is_a_stationary_point_of_users_given_items(world):
    votes, _, _, model = world
    p = model.users.states["p"][1:]
    values, vectors = model._of(votes.items)
    z = vectors[votes.chosen] - vectors[votes.rejected]
    s = values[votes.chosen] - values[votes.rejected] + (z * p[votes.user]).sum(1)
    slope = 0.5 * p
    np.add.at(slope, votes.user, (1 / (1 + np.exp(-s)) - votes.y)[:, None] * z)
    assert np.abs(slope).max() < 1e-5


def test_what_has_no_votes_is_worth_nothing_and_pairs_are_antisymmetric(world):
    votes, _, _, model = world
    items = Items(np.append(votes.items.keys, np.uint64(7)), np.concatenate([votes.items.x, votes.items.x[:1]]))
    new, who = np.array([len(votes.items)]), np.array([1])
    found = model.reward(items, new, None, model.users.states, who)
    assert found.mean[0] == 0 and found.variance[0] == 0
    a, b = np.array([0, 3]), np.array([2, 5])
    there, back = (model.reward(items, x, y, model.users.states, np.array([1, 2])) for x, y in ((a, b), (b, a)))
    assert np.array_equal(there.mean, -back.mean) and np.array_equal(there.variance, back.variance)
    assert (there.variance > 0).all()


def test_a_saved_one_says_the_same(world, tmp_path):
    _, test, _, model = world
    other = load_reward(model.save(tmp_path / "m"))
    assert np.array_equal(other.margins(test).mean, model.margins(test).mean)
