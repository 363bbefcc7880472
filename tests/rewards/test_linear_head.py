"""P-RM's linear head: its loss by hand, its gradient, its optimum, and alpha at both ends."""

import numpy as np
from planted_votes import planted, votes_of
from scipy.optimize import approx_fprime

from prlhf.config.rewards import Bt, LinearHead
from prlhf.rewards import Items
from prlhf.rewards.bt import BtReward
from prlhf.rewards.linear_head import AlphaMix, LinearHeadReward
from prlhf.rewards.scales import root_mean_square

TRAIN, TEST, TRUTH = planted(users=5, votes_each=30, width=4, rank=2)


def test_the_loss_by_hand():
    # ann prefers a to b (d = 2), nobody in particular b to a (d = -2); e_0 = 0.3, ann's offset 0.2
    items = Items(np.arange(2, dtype=np.uint64), np.array([[2.0], [0.0]], np.float32))
    votes = votes_of(items, [0, 1], [1, 0], [0, -1], ("ann",))
    mix = AlphaMix.of(LinearHead(alpha=0.75, user_l2=4.0, common_l2=6.0), votes, np.ones(1))
    own = -np.log(1 / (1 + np.exp(-2 * 0.5)))
    generic = -np.log(1 / (1 + np.exp(-2 * 0.3)))
    nobody = -np.log(1 / (1 + np.exp(2 * 0.3)))
    expected = 0.75 * own + 0.25 * generic + nobody + 4 / 2 * 0.2**2 + 6 / 2 * 0.3**2
    np.testing.assert_allclose(mix.loss(np.array([0.3, 0.2]))[0], expected, rtol=1e-12)


def test_the_gradient_is_that_of_the_loss_and_zero_at_the_fit():
    votes = TRAIN.take(np.random.default_rng(0).permutation(len(TRAIN))[:40])  # people in any order
    mix = AlphaMix.of(LinearHead(user_l2=2.0, common_l2=1.0), votes, root_mean_square(votes))
    theta = 0.3 * np.random.default_rng(1).normal(size=4 + mix.own.shape[1])
    np.testing.assert_allclose(mix.loss(theta)[1], approx_fprime(theta, lambda t: mix.loss(t)[0]), atol=1e-4)
    np.testing.assert_allclose(mix.loss(mix.fit())[1], 0, atol=1e-3)


def test_with_alpha_zero_it_is_bt_for_everybody():
    model = LinearHeadReward.fit(LinearHead(alpha=0.0, common_l2=2.0), TRAIN)
    expected = BtReward.fit(Bt(ridge=2.0), TRAIN).margins(TEST).mean
    np.testing.assert_allclose(model.margins(TEST).mean, expected, atol=1e-3)


def test_folding_in_is_exactly_what_training_found():
    model = LinearHeadReward.fit(LinearHead(user_l2=2.0), TRAIN)
    mix = AlphaMix.of(LinearHead(user_l2=2.0), TRAIN, root_mean_square(TRAIN))
    theta = mix.fit()
    trained = mix.common.margins(theta[:4]) + mix.own @ theta[4:]
    np.testing.assert_allclose(model.margins(TRAIN, model.states_of(TRAIN)).mean, trained, atol=1e-3)


def test_people_who_differ_are_told_apart():
    right = TRUTH.margins(TEST) > 0
    accuracy = [
        ((LinearHeadReward.fit(LinearHead(user_l2=l2), TRAIN).margins(TEST).mean > 0) == right).mean()
        for l2 in (1.0, 1e6)
    ]
    assert accuracy[0] > accuracy[1] + 0.05
