"""Half-lives by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from prlhf.data import recency_weights
from prlhf.errors import ConfigError, DataError
from prlhf.types import Comparison

NEWEST = datetime(2025, 6, 1, tzinfo=UTC)


def dated(days: float) -> Comparison:
    return Comparison("p", "a", "b", timestamp=NEWEST - timedelta(days=days), id=f"{days}")


def test_by_hand():
    weights = recency_weights([dated(60), dated(0), dated(30), dated(15)], half_life_days=30)
    np.testing.assert_allclose(weights, [0.25, 1.0, 0.5, 2**-0.5])
    assert weights.dtype == np.float64


def test_nothing():
    assert recency_weights([], 3).shape == (0,)


def test_errors():
    undated = Comparison("p", "a", "b", id="17")
    with pytest.raises(DataError, match="1 of 2 have no timestamp, the first is row 17"):
        recency_weights([dated(0), undated], 3)
    with pytest.raises(ConfigError, match="expected a positive number of days"):
        recency_weights([dated(0)], 0)
