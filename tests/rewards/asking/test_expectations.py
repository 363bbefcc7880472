"""The tables against drawn margins and against integrals."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from prlhf.rewards.asking.expectations import entropy, expectations

CASES = [(0.0, 1.0), (0.7, 0.3), (-2.0, 1.5), (4.0, 3.0), (0.0, 12.0), (9.0, 0.5)]


@pytest.mark.parametrize("flips", [0.0, 0.1])
@pytest.mark.parametrize(("mean", "spread"), CASES)
def test_information_is_what_monte_carlo_finds(mean, spread, flips):
    z = mean + spread * np.random.default_rng(0).standard_normal(400_000)
    p = flips + (1 - 2 * flips) * expit(z)
    drawn = float(entropy(p.mean()) - entropy(p).mean())
    [found] = expectations(flips).information(np.array([mean]), np.array([spread]))
    assert found == pytest.approx(drawn, abs=3e-3)


@pytest.mark.parametrize("flips", [0.0, 0.1])
@pytest.mark.parametrize(("mean", "spread"), CASES)
def test_fisher_is_the_integral(mean, spread, flips):
    def inside(z):
        p = flips + (1 - 2 * flips) * expit(z)
        return ((1 - 2 * flips) * expit(z) * expit(-z)) ** 2 / (p * (1 - p)) * norm.pdf(z, mean, spread)

    low, high = max(mean - 8 * spread, -30), min(mean + 8 * spread, 30)  # beyond 30 there is nothing
    exact = quad(inside, low, high, limit=300)[0]
    [found] = expectations(flips).fisher(np.array([mean]), np.array([spread]))
    assert found == pytest.approx(exact, abs=1e-3)


def test_a_sure_margin_has_nothing_to_tell_and_a_vote_has_at_most_a_bit():
    tables = expectations(0.0)
    nothing, all_ = tables.information(np.array([0.0, 0.0]), np.array([0.0, 1e6]))
    assert nothing == pytest.approx(0, abs=1e-9) and 0.9 * np.log(2) < all_ <= np.log(2)
    assert tables.fisher(np.zeros(1), np.zeros(1)) == pytest.approx(0.25)
    assert expectations(0.3).information(np.zeros(1), np.ones(1)) < 0.3 * tables.information(np.zeros(1), np.ones(1))
