"""A regression for each person: against scikit-learn, few votes or many, towards zero or the crowd."""

from dataclasses import replace

import numpy as np
import pytest
from planted_votes import planted
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from prlhf.config.rewards import Bt, PerUser
from prlhf.rewards.bt import BtReward
from prlhf.rewards.logistic import Span, fit_around
from prlhf.rewards.per_user import PerUserReward
from prlhf.rewards.scales import root_mean_square

FEW, FEW_TEST, _ = planted(users=6, votes_each=5, width=9, rank=2)  # fewer votes than features
MANY, MANY_TEST, TRUTH = planted(users=6, votes_each=60, width=4, rank=2)


@pytest.mark.parametrize(("train", "test"), [(FEW, FEW_TEST), (MANY, MANY_TEST)], ids=["few", "many"])
def test_towards_zero_it_is_scikit_learns_regression_of_each(train, test):
    model = PerUserReward.fit(PerUser(ridge=2.0, shrink_to="zero", pooled_ridge=1.0), train)
    scale = np.sqrt((train.differences.astype(float) ** 2).mean(axis=0))
    margins = model.margins(test).mean
    for u in range(6):
        own = train.differences[train.user == u] / scale
        both, target = np.vstack([own, -own]), np.repeat([1, -1], len(own))  # each vote twice at half its weight
        fit = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10, max_iter=2000)
        weights = fit.fit(both, target, sample_weight=np.full(len(both), 0.5)).coef_[0] / scale
        np.testing.assert_allclose(margins[test.user == u], test.differences[test.user == u] @ weights, atol=1e-4)


@pytest.mark.parametrize("votes", [FEW, MANY], ids=["few", "many"])
def test_around_a_centre_it_is_the_same_minimum_in_all_features(votes):
    scale, rng = root_mean_square(votes), np.random.default_rng(0)
    centre = rng.normal(size=len(scale))
    offsets = fit_around(votes, scale, centre, 1.5, 0.7)
    d = votes.differences[votes.user == 3] / scale
    expected = minimize(lambda o: 0.7 * np.logaddexp(0, -d @ (centre + o)).sum() + 0.75 * o @ o, 0 * centre, tol=1e-9)
    np.testing.assert_allclose(offsets[3], expected.x, atol=1e-5)


def test_the_generic_user_is_bt_and_a_strong_ridge_makes_everybody_it():
    bt = BtReward.fit(Bt(ridge=1.0), MANY)
    model = PerUserReward.fit(PerUser(ridge=1e7, pooled_ridge=1.0), MANY)
    np.testing.assert_allclose(model.margins(MANY_TEST.of_users([])).mean, bt.margins(MANY_TEST).mean, atol=1e-4)
    np.testing.assert_allclose(model.margins(MANY_TEST).mean, bt.margins(MANY_TEST).mean, atol=1e-3)


def test_people_who_differ_are_told_apart():
    right = TRUTH.margins(MANY_TEST) > 0
    accuracy = [
        ((PerUserReward.fit(PerUser(ridge=ridge), MANY).margins(MANY_TEST).mean > 0) == right).mean()
        for ridge in (2.0, 1e7)
    ]
    assert accuracy[0] > accuracy[1] + 0.05


def test_a_span_of_duplicates_has_one_direction():
    d = np.array([[1.0, 2.0, 0.0, -1.0]] * 3)
    span = Span.of(d)
    assert span.z.shape == (3, 1)
    np.testing.assert_allclose(span.weights(np.ones(1)) @ span.weights(np.ones(1)), 1)
    np.testing.assert_allclose(d @ span.weights(np.ones(1)), span.z[:, 0])


def test_without_any_votes_towards_zero_a_person_is_still_the_crowd():
    model = PerUserReward.fit(PerUser(shrink_to="zero"), replace(MANY, user=np.zeros_like(MANY.user)))
    np.testing.assert_array_equal(model.users.states["weights"][2], model.users.states["weights"][0])
