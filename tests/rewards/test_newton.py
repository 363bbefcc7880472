"""Many people's logistic regressions at once: against SciPy, one by one and together, and in time."""

import time

import numpy as np
import pytest
from scipy.optimize import minimize

from prlhf.errors import DataError
from prlhf.rewards.newton import fit_many


def drawn(counts, k, seed=0, strength=1.0):
    """Votes of len(counts) people in mixed order: z, offset, y, weight, who."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    z = strength * rng.normal(size=(len(who), k))
    y = rng.choice([0.0, 0.5, 1.0], size=len(who), p=[0.2, 0.1, 0.7])
    return z, rng.normal(size=len(who)), y, rng.uniform(0.3, 2, size=len(who)), who


def prior(k, seed=1):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(k, k))
    return rng.normal(size=k), a @ a.T / k + 0.2 * np.eye(k)


def by_scipy(z, offset, y, weight, mean, precision):
    """The same maximum by a second way, and the inverse of the Hessian there."""

    def loss(v):
        s = offset + z @ v
        p = 1 / (1 + np.exp(-s))
        value = (weight * (np.logaddexp(0, s) - y * s)).sum() + 0.5 * (v - mean) @ precision @ (v - mean)
        return value, z.T @ (weight * (p - y)) + precision @ (v - mean)

    def hessian(v):
        p = 1 / (1 + np.exp(-(offset + z @ v)))
        return (z.T * (weight * p * (1 - p))) @ z + precision

    v = minimize(loss, mean, jac=True, method="BFGS", options={"gtol": 1e-6}).x
    for _ in range(3):  # to the last digit
        v = v - np.linalg.solve(hessian(v), loss(v)[1])
    return v, np.linalg.inv(hessian(v))


@pytest.mark.parametrize("counts", [[0, 1, 2, 3, 5, 8, 13, 0, 40], [7]], ids=["many", "one"])
def test_the_maximum_and_the_covariance_are_those_of_a_second_way(counts):
    z, offset, y, weight, who = drawn(counts, 3, strength=2.0)
    mean, precision = prior(3)
    found, covariance = fit_many(z, offset, y, weight, who, len(counts), mean, precision)
    for u in range(len(counts)):
        own = who == u
        maximum, inverse = by_scipy(z[own], offset[own], y[own], weight[own], mean, precision)
        np.testing.assert_allclose(found[u], maximum, atol=1e-8)
        np.testing.assert_allclose(covariance[u], inverse, atol=1e-8)


def test_one_vote_by_hand():
    # l + sigma(l) - 1 = 0 at l = 0.4010581375: sigma = 0.5989418625
    found, covariance = fit_many(*(np.ones((1, 1)), np.zeros(1), np.ones(1), np.ones(1)), np.zeros(1, np.int64), 1,
                                 np.zeros(1), np.eye(1))  # fmt: skip
    np.testing.assert_allclose(found, [[0.4010581375]], atol=1e-9)
    np.testing.assert_allclose(covariance, [[[1 / (1 + 0.4010581375 * 0.5989418625)]]], atol=1e-8)


def test_a_mean_for_each_person_and_votes_of_nobody():
    z, offset, y, weight, who = drawn([4, 6, 5], 2)
    mean, precision = np.random.default_rng(5).normal(size=(3, 2)), prior(2)[1]
    nobody = np.where(who == 1, -1, who)
    found, covariance = fit_many(z, offset, y, weight, nobody, 3, mean, precision)
    np.testing.assert_allclose(found[1], mean[1])
    np.testing.assert_allclose(covariance[1], np.linalg.inv(precision))
    maximum, _ = by_scipy(*(a[who == 2] for a in (z, offset, y, weight)), mean[2], precision)
    np.testing.assert_allclose(found[2], maximum, atol=1e-8)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("strength", [1.0, 30.0, 1000.0])
def test_separable_duplicate_and_contradictory_votes_converge(alone, strength):
    z = strength * np.array([[1.0, 0.5]] * 9 + [[-1.0, 2.0]] * 4)
    y = np.array([1.0] * 9 + [1.0, 0.0, 1.0, 0.0])
    who = np.zeros(13, np.int64)
    n = 1 if alone else 2  # two: the path of many
    offset, weight, precision = np.full(13, -5.0), np.ones(13), 0.1 * np.eye(2)
    found, _ = fit_many(z, offset, y, weight, who, n, np.zeros(2), precision)
    p = 1 / (1 + np.exp(-np.clip(offset + z @ found[0], -700, 700)))
    np.testing.assert_allclose(z.T @ (p - y) + 0.1 * found[0], 0, atol=1e-6 * strength)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numbers_that_are_not_finite(n, wrong):
    z, offset, y, weight, who = drawn([4], 2)
    z[2, 1] = wrong
    with pytest.raises(DataError, match="not finite"):
        fit_many(z, offset, y, weight, who, n, np.zeros(2), np.eye(2))


def test_ten_votes_of_one_person_take_less_than_a_millisecond():
    z, offset, y, weight, who = drawn([10], 16)
    taken = []
    for _ in range(30):
        start = time.perf_counter()
        fit_many(z, offset, y, weight, who, 1, np.zeros(16), np.eye(16))
        taken.append(time.perf_counter() - start)
    assert min(taken) < 1e-3
