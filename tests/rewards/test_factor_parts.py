"""The parts of the factor model, each against a second way of computing it."""

import numpy as np
import pytest
from planted_votes import planted
from scipy.integrate import quad

from prlhf.rewards.factor.basis import Basis
from prlhf.rewards.factor.em import Spread, fit_crowd, grow, improve, moments
from prlhf.rewards.factor.pairs import Pairs
from prlhf.rewards.factor.posterior import Evidence, meet, observed, omega
from prlhf.rewards.factor.solve import solve
from prlhf.rewards.factor.strengths import gain_is_real
from prlhf.rewards.factor.texts import TextPrior


def test_conjugate_gradients_solve():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(7, 7))
    matrix, right = a @ a.T + np.eye(7), rng.normal(size=7)

    def operator(x):
        both = matrix @ np.concatenate([x[0], x[1].ravel()])
        return [both[:3], both[3:].reshape(2, 2)]

    found = solve(
        operator,
        [right[:3], right[3:].reshape(2, 2)],
        [np.zeros(3), np.zeros((2, 2))],
        [np.diag(matrix)[:3], np.diag(matrix)[3:].reshape(2, 2)],
        steps=30,
        close=1e-12,
    )
    np.testing.assert_allclose(np.concatenate([found[0], found[1].ravel()]), np.linalg.solve(matrix, right), rtol=1e-8)


@pytest.mark.parametrize("items", [12, 400], ids=["responses repeat", "they do not"])
def test_sums_over_votes_are_those_of_the_differences(items):
    votes, _, _ = planted(users=6, votes_each=15, items=items, width=4, seed=1)
    pairs = Pairs(votes.items.x, votes)
    d = (votes.items.x[pairs.votes.chosen] - votes.items.x[pairs.votes.rejected]).astype(np.float64)
    rng = np.random.default_rng(0)
    weights, values = rng.normal(size=(4, 3)), rng.normal(size=(len(votes), 3))
    np.testing.assert_allclose(pairs.along(weights), d @ weights, atol=1e-4)
    np.testing.assert_allclose(pairs.against(values), d.T @ values, atol=1e-3)
    np.testing.assert_allclose(pairs.squares_along(weights**2), d**2 @ weights**2, rtol=1e-4)
    np.testing.assert_allclose(pairs.squares_against(values), (d**2).T @ values, rtol=1e-3, atol=1e-3)
    assert (np.diff(pairs.user) >= 0).all()


def evidence(z, offset, y, unsure=0.0, phi_variance=0.0):
    b = len(z)
    return Evidence(np.reshape(z, (b, 1)), np.full((b, 1), phi_variance), offset, np.full(b, unsure), y, np.ones(b))


@pytest.mark.parametrize("flips", [0.0, 0.1])
def test_a_person_is_where_the_integral_says(flips):
    """With one direction the posterior can be integrated; the bound and Laplace are close to it, and not exact."""
    rng = np.random.default_rng(0)
    phi, offset = rng.normal(size=12) * 1.5, rng.normal(size=12)
    wrong = rng.random(12) > 1 / (1 + np.exp(-(offset + 0.8 * phi)))
    phi, offset = np.where(wrong, -phi, phi), np.where(wrong, -offset, offset)

    def density(x):
        p = 1 / (1 + np.exp(-(offset + phi * x)))
        return np.prod(flips + (1 - 2 * flips) * p) * np.exp(-x * x / 2)

    mass, first, second = (quad(lambda x, k=k: x**k * density(x), -6, 6)[0] for k in range(3))
    mean, variance = first / mass, second / mass - (first / mass) ** 2
    found, spread = meet(evidence(phi, offset, np.ones(12)), np.zeros(12, np.int64), np.zeros((1, 1)), flips)
    assert abs(found[0, 0] - mean) < 0.15 * np.sqrt(variance)
    assert 0.7 < spread[0, 0, 0] / variance < 1.3


def test_people_met_together_are_those_met_alone():
    rng = np.random.default_rng(0)
    b, k = 60, 3
    who = rng.integers(-1, 7, b)
    some = Evidence(
        rng.normal(size=(b, k)), rng.random((b, k)), rng.normal(size=b), rng.random(b), np.ones(b), np.ones(b)
    )
    prior = rng.normal(size=(8, k))
    means, covariances = meet(some, who, prior, 0.05)
    for person in range(8):
        own = who == person
        alone = Evidence(*(column[own] for column in some))
        mean, covariance = meet(alone, np.zeros(own.sum(), np.int64), prior[person : person + 1], 0.05)
        np.testing.assert_allclose(means[person], mean[0], atol=1e-3)
        np.testing.assert_allclose(covariances[person], covariance[0], atol=1e-3)
    assert (who == 7).sum() == 0
    np.testing.assert_array_equal(means[7], prior[7])
    np.testing.assert_array_equal(covariances[7], np.eye(k))


def test_unsure_loadings_hold_a_person_back():
    votes = evidence(np.full(500, 0.3), np.zeros(500), np.ones(500))
    unsure = evidence(np.full(500, 0.3), np.zeros(500), np.ones(500), phi_variance=1.0)
    nobody = np.zeros((1, 1))
    sure, held_back = (meet(v, np.zeros(500, np.int64), nobody, 0.0)[0][0, 0] for v in (votes, unsure))
    assert 0 < held_back < 0.3 * sure


def test_the_bound_touches_the_logistic_likelihood_at_its_point():
    """`log sigma(z) >= log sigma(xi) + (z - xi) / 2 - omega(xi) (z² - xi²) / 2`, equal at `z = ±xi`."""
    z = np.linspace(-6, 6, 200)
    for xi in (0.0, 0.7, 3.0):
        half = omega(np.array(xi)) / 2
        bound = -np.log1p(np.exp(-xi)) + (z - xi) / 2 - half * (z**2 - xi**2)
        assert (bound <= -np.log1p(np.exp(-z)) + 1e-12).all()
        at = -np.log1p(np.exp(-xi)) - xi  # of the bound at -xi
        np.testing.assert_allclose(at, -np.log1p(np.exp(xi)), atol=1e-12)


def test_a_vote_that_may_be_wrong_pulls_by_the_slope_of_its_likelihood():
    """At `z` the slope of `pull z' - information z'² / 2` is that of `log(f + (1 - 2 f) sigma(z))` (variance 0)."""
    z, flips, step = np.array([-3.0, -0.5, 0.0, 2.0]), 0.1, 1e-6

    def likelihood(x):
        return np.log(flips + (1 - 2 * flips) / (1 + np.exp(-x)))

    slope = (likelihood(z + step) - likelihood(z - step)) / (2 * step)
    information, pull = observed(np.ones(4), np.ones(4), z, np.zeros(4), flips)
    sure, plain = observed(np.ones(4), np.ones(4), z, np.zeros(4), 0.0)
    np.testing.assert_allclose(plain - sure * z, 1 / (1 + np.exp(z)), atol=1e-9)  # logistic
    np.testing.assert_allclose(pull - information * z, slope, atol=1e-6)


def test_margins_and_their_variances_follow_from_the_moments_by_sampling():
    votes, _, _ = planted(users=8, votes_each=20, items=30, width=3, seed=2)
    basis = Basis.of(votes, 10)
    pairs = Pairs(basis(votes.items.x), votes)
    crowd = fit_crowd(pairs, items=True)
    model = grow(pairs, crowd, 2, Spread(1.0, 0.5), None)
    for _ in range(3):
        model = improve(pairs, model, Spread(1.0, 0.5))
    found = moments(pairs, model)
    rng, row = np.random.default_rng(0), 5
    draws = 200_000
    a, c, u = pairs.votes.chosen[row], pairs.votes.rejected[row], pairs.user[row]
    d = (pairs.z[a] - pairs.z[c]).astype(np.float64)

    def normal(mean, variance):
        return mean + np.sqrt(variance) * rng.normal(size=(draws, *np.shape(mean)))

    phi = np.einsum("r,nrk->nk", d, normal(model.v, model.v_variance))
    phi += normal(model.b[a], model.b_variance[a]) - normal(model.b[c], model.b_variance[c])
    base = normal(crowd_of(model, "w"), crowd_of(model, "w_variance")) @ d
    base += normal(crowd_of(model, "c")[a], crowd_of(model, "c_variance")[a])
    base -= normal(crowd_of(model, "c")[c], crowd_of(model, "c_variance")[c])
    person = rng.multivariate_normal(model.l[u], model.s[u], size=draws)
    z = base + (person * phi).sum(1)
    assert abs(z.mean() - found.mean[row]) < 0.02
    assert 0.97 < z.var() / found.variance[row] < 1.03


def crowd_of(model, name):
    return getattr(model.crowd, name)


def test_a_basis_ignores_what_never_differs_and_keeps_what_it_learned():
    votes, _, _ = planted(users=3, votes_each=30, items=25, width=4, seed=0)
    x = np.concatenate([votes.items.x, np.full((25, 1), 7, np.float32)], 1)
    same = votes.items.__class__(votes.items.keys, x)
    basis = Basis.of(votes.__class__(**{**vars(votes), "items": same}), 10, nonlinear=True)
    changed = x.copy()
    changed[:, 4] += 5
    np.testing.assert_array_equal(basis(x), basis(changed))
    again = Basis.from_arrays(basis.arrays())
    np.testing.assert_array_equal(basis(x), again(x))


def test_weights_of_coordinates_are_weights_on_features():
    votes, _, _ = planted(users=3, votes_each=30, items=25, width=4, seed=0)
    x = np.concatenate([votes.items.x, np.full((25, 1), 7, np.float32)], 1)
    basis = Basis.of(votes.__class__(**{**vars(votes), "items": votes.items.__class__(votes.items.keys, x)}), 3)
    along = np.random.default_rng(0).normal(size=(3, 2))
    on, z = basis.weights(along), basis(x)
    assert on.shape == (5, 2) and not on[4].any()
    np.testing.assert_allclose((x[1:] - x[:-1]) @ on, (z[1:] - z[:-1]) @ along, atol=1e-4)


def test_a_gain_is_real_where_people_share_it():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(50), 20)
    assert gain_is_real(0.05 + 0.1 * rng.normal(size=1000), people)[0]
    assert not gain_is_real(0.3 * rng.normal(size=1000) - 0.01, people)[0]
    one = np.where(people == 0, 1.0, 0.0)  # somebody alone gains it all
    assert not gain_is_real(one, people)[0]
    assert gain_is_real(np.zeros(0), np.zeros(0, np.int64)) == (False, 0.0)


def test_texts_that_say_nothing_leave_people_where_they_are():
    rng = np.random.default_rng(0)
    told = rng.normal(size=(200, 5)).astype(np.float32)
    informative, noise = told[:, :2].astype(np.float64), rng.normal(size=(200, 2))
    prior = TextPrior.of(told, 201)
    for people, low, high in ((informative, 0.9, 1.1), (noise, 0.0, 0.3)):
        mean = prior.learned(people, np.tile(0.01 * np.eye(2), (200, 1, 1))).mean(2)[:-1]
        assert low <= np.sqrt((mean**2).mean() / (people**2).mean()) < high
    assert TextPrior.of(np.full((200, 5), np.nan, np.float32), 201).told is None
