"""LoRe: its loss and priors by hand, who counts how much, early stopping, and what signed weights are for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_votes import planted, votes_of

from prlhf.config.rewards import Lore
from prlhf.rewards import Items
from prlhf.rewards.lore import LoreReward, _Data, lore_loss

TRAIN, TEST, TRUTH = planted(users=8, votes_each=40, width=4, rank=2)
ITEMS = Items(np.arange(3, dtype=np.uint64), np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]], np.float32))
BASIS, LOGITS = torch.tensor([[1.0, -0.5], [0.4, 2.0]]), torch.tensor([[0.2, -0.3], [0.0, 1.0]])
QUICK = {"steps": 100, "few_shot_steps": 100, "temperature": 10.0, "learning_rate": 0.1}


@pytest.mark.parametrize("balance", ["user", "vote"])
@pytest.mark.parametrize("mixing", ["simplex", "signed"])
def test_the_loss_by_hand(balance, mixing):
    # ann votes twice, bob once; differences (2, -1), (2, 0), (0, 1)
    votes = votes_of(ITEMS, [0, 0, 1], [1, 2, 2], [0, 0, 1], ("ann", "bob"))
    config = Lore(bases=2, temperature=2.0, balance=balance, user_weights=mixing, weight_decay=3.0, prior=0.5)
    weights = LOGITS.numpy()
    if mixing == "simplex":
        weights = np.exp(weights) / np.exp(weights).sum(axis=1, keepdims=True)
    differences = np.array([[2.0, -1.0], [2.0, 0.0], [0.0, 1.0]])
    margins = ((differences @ BASIS.numpy() / 2.0) * weights[[0, 0, 1]]).sum(axis=1)
    loss = np.log(1 + np.exp(-margins))
    apart = 0.5 / 2 * ((LOGITS.numpy() - LOGITS.numpy().mean(0)) ** 2).sum(axis=1)
    decay = 3.0 / 2 * (BASIS.numpy() ** 2).sum() / 4.0
    if balance == "vote":
        expected = (loss.sum() + apart.sum() + decay) / 3
    else:  # the mean over people of (their votes + their prior) / (number of their votes)
        expected = ((loss[:2].sum() + apart[0]) / 2 + loss[2] + apart[1]) / 2 + decay / 3
    found = lore_loss(config, _Data.of(votes, np.ones(2), balance), BASIS, LOGITS)
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)


def test_one_basis_is_the_same_for_everybody():
    model = LoreReward.fit(Lore(bases=1, **QUICK), TRAIN)
    np.testing.assert_array_equal(model.margins(TEST).mean, model.margins(TEST.of_users([])).mean)


def test_with_validation_it_stops_where_that_was_best():
    options = {**QUICK, "steps": 100, "learning_rate": 2.0, "temperature": 1.0}
    few = TRAIN.take(np.arange(0, len(TRAIN), 4))
    losses = []
    for validation in (None, TEST):
        model = LoreReward.fit(Lore(**options), few, validation=validation)
        losses.append(np.logaddexp(0, -model.margins(TEST).mean).mean())
    assert losses[1] < losses[0] - 0.05


def test_only_signed_weights_can_want_the_opposite():
    # ann and bob want the opposite of each other in all things; cid, met later, is like bob
    rng = np.random.default_rng(0)
    items = Items(np.arange(30, dtype=np.uint64), rng.normal(size=(30, 3)).astype(np.float32))
    a, b = rng.integers(30, size=120), rng.integers(30, size=120)
    better = items.x[a, 0] > items.x[b, 0]
    high, low = np.where(better, a, b), np.where(better, b, a)
    both = votes_of(items, [*high, *low], [*low, *high], [0] * 120 + [1] * 120, ("ann", "bob"))
    later = votes_of(items, list(low), list(high), [0] * 120, ("cid",))
    decided = np.flatnonzero(high != low)
    for mixing, bases, least, most in (("signed", 1, 0.9, 1.0), ("simplex", 1, 0.0, 0.75)):
        model = LoreReward.fit(Lore(bases=bases, user_weights=mixing, **QUICK), both, seed=0)
        right = (model.margins(later, model.states_of(later)).mean > 0)[decided].mean()
        assert least <= right <= most


def test_a_strong_prior_keeps_everybody_at_the_mean():
    away = []
    for prior in (0.0, 1e4):
        model = LoreReward.fit(Lore(prior=prior, **{**QUICK, "learning_rate": 0.05}), TRAIN)
        states = model.users.states, model.states_of(TRAIN)  # of training, of meeting them again
        away.append([np.ptp(s["logits"], axis=0).max() for s in states])
    assert away[1][0] < away[0][0] / 4
    assert away[1][1] < away[0][1] / 4


def test_the_same_seed_gives_the_same_model():
    one, two, other = (LoreReward.fit(Lore(**QUICK), TRAIN, seed=seed).margins(TEST).mean for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-3


def test_votes_of_nobody_teach_the_basis():
    nobody = replace(TRAIN, user=np.full(len(TRAIN), -1))
    model = LoreReward.fit(Lore(**QUICK), nobody)
    generic = TEST.of_users([])
    assert ((model.margins(generic).mean > 0) == (TRUTH.margins(generic) > 0)).mean() > 0.7


def test_a_feature_that_never_differed_in_training_says_nothing_later():
    items = Items(ITEMS.keys, np.column_stack([ITEMS.x, np.full(3, 7.0, np.float32)]))
    model = LoreReward.fit(Lore(**QUICK), votes_of(items, [0, 0, 1], [1, 2, 2], [0, 0, 1], ("ann", "bob")))
    later = Items(np.arange(2, dtype=np.uint64), np.array([[1, 1, 7], [1, 1, -7]], np.float32))
    assert model.margins(votes_of(later, [0], [1], [0], ("ann",))).mean.item() == 0
