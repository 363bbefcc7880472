"""PReF: it finds planted camps on shared and on disjoint pairs, and beats one taste for all."""

from dataclasses import replace

import numpy as np
import pytest
from camps import accuracy, camps, pooled_accuracy, votes_on
from scipy.sparse import csr_matrix

from prlhf.config.rewards import Pref
from prlhf.errors import DataError
from prlhf.rewards import Items
from prlhf.rewards.pref import PrefReward
from prlhf.rewards.pref_start import _completed, overlap, start

PLAIN = {"factors": 2, "l2": 0.3, "l2_features": 1.0, "steps": 30}


@pytest.mark.parametrize("pairs", [60, None], ids=["shared", "disjoint"])
@pytest.mark.parametrize("init", ["auto", "random"])
@pytest.mark.parametrize("prior", ["none", "trained", "standard"])
def test_camps_are_told_apart_where_one_taste_cannot(pairs, init, prior):
    train, test = camps(pairs=pairs)
    model = PrefReward.fit(Pref(init=init, prior=prior, **PLAIN), train)
    assert accuracy(model.margins(test).mean) > pooled_accuracy(train, test) + 0.15
    assert accuracy(model.margins(test).mean) > 0.85


def test_a_hidden_layer_learns_too():
    train, test = camps()
    model = PrefReward.fit(Pref(hidden=8, **PLAIN), train)
    assert accuracy(model.margins(test).mean) > pooled_accuracy(train, test) + 0.15


def test_a_new_person_of_a_few_votes_is_met_and_an_unknown_one_has_the_mean():
    train, test = camps(users=13)
    model = PrefReward.fit(Pref(prior="trained", **PLAIN), train.take(train.user > 0))
    known = train.take(np.flatnonzero(train.user == 0)[:10])
    state = model.states_of(known)
    own = test.take(test.user == 0)
    assert accuracy(model.margins(own, state).mean) > accuracy(model.margins(own.of_users([])).mean) + 0.1
    assert np.allclose(model.users.states["weights"][0], model.parameters["mean"])
    assert np.allclose(model.states_of(known.take(known.user < 0))["weights"], model.parameters["mean"])


def test_refolding_lands_where_training_did():
    train, _ = camps()
    model = PrefReward.fit(Pref(**PLAIN), train)
    again = model.states_of(train)
    for name, array in again.arrays.items():
        assert np.array_equal(array, model.users.states[name][1:])


def test_labels_of_rank_one_are_completed_with_or_without_the_centre():
    rng = np.random.default_rng(0)
    left, right = rng.choice([-1.0, 1.0], 40), rng.choice([-1.0, 1.0], 30)
    whole = np.outer(left, right) / 2
    known = rng.random(whole.shape) < 0.5
    at = np.nonzero(known)
    for base in (0.0, 0.5):
        labels = csr_matrix((whole[at] + base, at), whole.shape)
        u, s, v = _completed(labels, base, 2, 10, rng)
        found = (u * s) @ v.T - base
        assert (np.sign(found[~known]) == np.sign(whole[~known])).mean() > (0.99 if not base else 0.9)
    assert u.shape == (40, 2) and v.shape == (30, 2)


def test_the_first_factors_follow_the_camps():
    train, _ = camps()
    x = train.items.x / train.differences.std(axis=0)
    found = start(Pref(factors=2), train, x, np.random.default_rng(0))
    sides = np.array([w @ found.weights[0] for w in found.weights]) > 0
    assert (sides == (np.arange(12) % 2 == 0)).all()


def test_overlap_is_the_share_of_votes_on_pairs_of_several_users():
    items = Items(np.arange(1, 7, dtype=np.uint64), np.eye(6, dtype=np.float32))
    # pairs 01 by users 0 and 1, 23 twice by user 0, 45 by user 1
    votes = votes_on(items, np.array([0, 1, 2, 2, 4]), np.array([1, 0, 3, 3, 5]), np.array([0, 1, 0, 0, 1]), 2)
    assert overlap(votes) == pytest.approx(2 / 5)


def test_more_factors_than_users_and_a_feature_that_never_differs():
    train, test = camps(users=2, pairs=None)
    x = np.concatenate([train.items.x, np.full((len(train.items), 1), 7, np.float32)], axis=1)
    wide = replace(train, items=Items(train.items.keys, x))
    model = PrefReward.fit(Pref(l2_features=1.0), wide)
    assert all(np.isfinite(a).all() for a in model.users.states.arrays.values())
    moved = Items(train.items.keys, x + np.float32([0, 0, 0, 0, 5]))
    args = (wide.chosen, None, model.users.states, wide.user + 1)
    assert np.array_equal(model.reward(moved, *args).mean, model.reward(wide.items, *args).mean)
    with pytest.raises(DataError, match="found 4 numbers a response, expected 5"):
        model.margins(test)


def test_the_same_seed_is_the_same_model_and_held_out_votes_may_stop_it():
    train, test = camps()
    config = Pref(factors=3, steps=40)
    one, two = (PrefReward.fit(config, train, validation=test, seed=3) for _ in range(2))
    assert all(np.array_equal(one.parameters[name], two.parameters[name]) for name in one.parameters)
    other = PrefReward.fit(config, train, seed=3)

    def log_loss(model: PrefReward) -> float:
        return float(np.logaddexp(0, -model.margins(test).mean).mean())

    assert log_loss(one) <= log_loss(other)


def test_what_is_saved_is_read(tmp_path):
    train, test = camps()
    model = PrefReward.fit(Pref(hidden=3, **PLAIN), train)
    again = PrefReward.load(model.save(tmp_path / "m"))
    assert np.array_equal(again.margins(test).mean, model.margins(test).mean)
    assert np.array_equal(again.margins(test).variance, model.margins(test).variance)
