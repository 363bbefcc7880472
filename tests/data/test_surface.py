"""Surface features and the small regression on them."""

import numpy as np
import pytest

from prlhf.data.surface import FEATURES, fit_logistic, predictability, surface_features
from prlhf.types import Comparison


def test_features_by_hand():
    found = dict(zip(FEATURES, surface_features("# Two\n- A1, b\n2) **C**"), strict=True))
    counts = {"line breaks": 2, "list items": 2, "digits": 2, "markdown": 3, "capitals": 3}
    assert found["log length"] == pytest.approx(np.log1p(22))
    for name, count in counts.items():
        assert found[name] == pytest.approx(np.log1p(count)), name
    assert surface_features("")[0] == 0.0


def test_regression_is_at_its_minimum():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3)) + np.array([0.8, 0.0, -0.4])
    w = fit_logistic(x)
    gradient = -x.T @ (1 / (1 + np.exp(x @ w))) + w
    assert np.abs(gradient).max() < 1e-6
    assert w[0] > 0.5 > abs(w[1]) and w[2] < 0
    np.testing.assert_allclose(fit_logistic(-x), -w, atol=1e-6)  # swapping every pair negates


def test_separable_votes_stay_finite():
    assert np.isfinite(fit_logistic(np.array([[1.0], [2.0], [3.0]]))).all()


def test_formatting_is_noticed():
    votes = [Comparison(f"p{i}", f"- one\n- two {i}", f"one, two {i}", user="u") for i in range(60)]
    found = predictability(votes)
    assert found.surface == 1.0
    assert found.coefficients["list items"] > 0
    assert found.longer == found.length == 1.0 == found.length_by_user
