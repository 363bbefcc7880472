"""Pooled Bradley-Terry: against scikit-learn, Laplace's variance by hand, item effects, the choice of the ridge."""

from dataclasses import replace

import numpy as np
import pytest
from planted_votes import planted, votes_of
from sklearn.linear_model import LogisticRegression

from prlhf.config.rewards import Bt
from prlhf.errors import ConfigError
from prlhf.rewards import Items, logistic
from prlhf.rewards.bt import BtReward
from prlhf.rewards.logistic import Design, Regression
from prlhf.rewards.scales import root_mean_square

TRAIN, TEST, TRUTH = planted(users=15, votes_each=30, items=40, width=5, rank=0)


def by_sklearn(x, ridge):
    """Weights of a regression where every row is a win: half of them turned round, for there must be two classes."""
    turn = np.where(np.arange(len(x)) % 2, -1, 1)
    model = LogisticRegression(C=1 / ridge, fit_intercept=False, tol=1e-10, max_iter=1000)
    return model.fit(x * turn[:, None], turn).coef_[0]


def test_the_weights_are_scikit_learns():
    scale = np.sqrt((TRAIN.differences.astype(float) ** 2).mean(axis=0))
    model = BtReward.fit(Bt(ridge=3.0), TRAIN)
    expected = by_sklearn(TRAIN.differences / scale, 3.0) / scale
    np.testing.assert_allclose(model.margins(TEST).mean, TEST.differences @ expected, rtol=1e-5, atol=1e-5)


def test_item_effects_are_one_more_weight_for_each_item():
    model = BtReward.fit(Bt(ridge=3.0, item_effects=True, item_ridge=0.5), TRAIN)
    scale, one = root_mean_square(TRAIN), np.eye(len(TRAIN.items))
    x = np.column_stack([TRAIN.items.x / scale * np.sqrt(1 / 3), one * np.sqrt(1 / 0.5)])
    expected = x @ by_sklearn(x[TRAIN.chosen] - x[TRAIN.rejected], 1.0)
    np.testing.assert_allclose(model.margins(TEST).mean, expected[TEST.chosen] - expected[TEST.rejected], atol=1e-4)


def test_an_item_that_was_not_there_has_no_effect_and_is_less_certain():
    model = BtReward.fit(Bt(ridge=3.0, item_effects=True, item_ridge=0.5), TRAIN)
    new = replace(TEST, items=Items(TEST.items.keys + np.uint64(1), TEST.items.x))
    f = TEST.items.width
    mean = TEST.differences @ model.parameters["weights"][:f, 0]
    part = TEST.differences @ model.parameters["weights"][:f, 1:]
    np.testing.assert_allclose(model.margins(new).mean, mean, atol=1e-5)
    np.testing.assert_allclose(model.margins(new).variance, (part**2).sum(1) + 2 / 0.5, rtol=1e-4)


def test_laplaces_variance_by_hand():
    # one feature, 2 wins: w + 2 sigma(w) - 2 = 0 at w = 0.6744 (sigma = 0.6625); H = 1 + 2 * 0.6625 * 0.3375 = 1.4472
    items = Items(np.arange(2, dtype=np.uint64), np.array([[1.0], [0.0]], np.float32))
    margin = BtReward.fit(Bt(ridge=1.0), votes_of(items, [0, 0], [1, 1], [0, 0], ("ann",))).margins(
        votes_of(items, [0], [1], [0], ("ann",))
    )
    np.testing.assert_allclose(margin.mean, [0.6749], atol=1e-3)
    p = 1 / (1 + np.exp(-margin.mean))
    np.testing.assert_allclose(margin.mean, 2 * (1 - p), atol=1e-8)
    np.testing.assert_allclose(margin.variance, 1 / (1 + 2 * p * (1 - p)), rtol=1e-8)


def test_ties_and_weights_count_as_they_say():
    both = replace(TRAIN, y=np.full(len(TRAIN), 0.5))
    np.testing.assert_allclose(BtReward.fit(Bt(ridge=1.0), both).margins(TEST).mean, 0, atol=1e-8)
    twice = TRAIN.take(np.repeat(np.arange(len(TRAIN)), 2))
    heavy = replace(TRAIN, weight=np.full(len(TRAIN), 2.0))
    np.testing.assert_allclose(*(BtReward.fit(Bt(ridge=1.0), v).margins(TEST).mean for v in (twice, heavy)), atol=1e-7)


def test_auto_takes_a_strong_ridge_where_there_is_nothing_and_a_weak_one_where_there_is():
    rng = np.random.default_rng(0)
    turn = rng.random(len(TRAIN)) < 0.5
    a, b = np.where(turn, TRAIN.rejected, TRAIN.chosen), np.where(turn, TRAIN.chosen, TRAIN.rejected)
    assert BtReward.fit(Bt(), replace(TRAIN, chosen=a, rejected=b)).ridge > 100
    assert BtReward.fit(Bt(), TRAIN).ridge <= 10


@pytest.mark.parametrize("effects", [False, True])
def test_newton_and_lbfgs_agree(effects, monkeypatch):
    design = Design.of(TRAIN, root_mean_square(TRAIN), effects=effects)
    regression = Regression(design, TRAIN.y, TRAIN.weight, np.full(design.size, 2.0))
    exact = regression.fit()
    np.testing.assert_allclose(regression.loss(exact)[1], 0, atol=1e-8)
    monkeypatch.setattr(logistic, "NEWTON", 0)
    np.testing.assert_allclose(regression.fit(), exact, atol=1e-4)


def test_items_and_differences_are_the_same_regression():
    design = Design.of(TRAIN, np.ones(5))
    plain = Design(TRAIN.differences.astype(float), None, None)
    rng = np.random.default_rng(0)
    theta, pull = rng.normal(size=5), rng.random(len(TRAIN))
    assert design.chosen is not None
    np.testing.assert_allclose(design.margins(theta), plain.margins(theta), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(design.pulled(pull), plain.pulled(pull), rtol=1e-5)
    np.testing.assert_allclose(design.gram(pull), plain.gram(pull), rtol=1e-5)


def test_a_ridge_that_cannot_be():
    with pytest.raises(ConfigError, match="ridge"):
        Bt(ridge=-1.0)
