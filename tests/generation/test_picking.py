"""Which answer is taken, by hand arithmetic."""

import numpy as np
import pytest
from table_reward import TableReward

from prlhf.errors import ConfigError
from prlhf.generation import Picking
from prlhf.generation.picking import above_average, best_first
from prlhf.rewards import Reward

WORTH = {"a": 1.0, "b": 2.0, "c": 6.0, "d": -4.0}
SHARES = {"a": [1.0, 0.0], "b": [0.0, 2.0], "c": [3.0, 1.0], "d": [0.0, 0.0]}


def reward(common: float = 0.0) -> TableReward:
    """`common` is a standard deviation that all texts have in common."""
    return TableReward(lambda text, _: WORTH[text], lambda text: [*SHARES[text], common])


def test_a_response_is_measured_above_the_average_of_its_group():
    first, second = above_average(reward(), ["p", "q"], [["a", "b", "c"], ["c", "d"]], [None, "ann"])
    assert first.mean.tolist() == [-2, -1, 3]  # the average is 3
    assert second.mean.tolist() == [5, -5]
    shares = np.array([SHARES[t] for t in "abc"])
    slow = ((shares - shares.mean(0)) ** 2).sum(1)  # (1/9 + 1), (16/9 + 1), (25/9 + 0)
    assert first.variance == pytest.approx(slow)
    assert first.variance == pytest.approx([10 / 9, 25 / 9, 25 / 9])
    assert second.variance == pytest.approx([10 / 4, 10 / 4])  # of half the difference, for both


def test_what_all_have_in_common_does_not_matter():
    group = [["a", "b", "c"]]
    (alone,), (together,) = (above_average(reward(common), ["p"], group, [None]) for common in (0.0, 50.0))
    assert together.variance == pytest.approx(alone.variance)
    assert best_first(together, "lcb", 2.0) == best_first(alone, "lcb", 2.0)


def test_alone_a_response_is_average_and_sure():
    (found,) = above_average(reward(), ["p"], [["c"]], [None])
    assert found.mean.tolist() == [0] and found.variance.tolist() == [0]


def test_without_spread_no_margin_is_asked_for():
    asked = reward()
    asked.margin = None
    (found,) = above_average(asked, ["p"], [["a", "b"]], [None], spread=False)
    assert found.mean.tolist() == [-0.5, 0.5] and not found.variance.any()


def test_by_mean_and_by_lower_bound():
    found = Reward(np.array([0.0, 3.0, 2.0, 3.0]), np.array([0.0, 4.0, 0.25, 4.0]))
    assert best_first(found) == [1, 3, 2, 0]  # of equals the first
    assert best_first(found, "lcb", 1.0) == [2, 1, 3, 0]  # 0, 1, 1.5, 1
    assert best_first(found, "lcb", 0.0) == best_first(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"by": "best"}, "'lcb'"), ({"by": "lcb", "k": -1.0}, "from 0"), ({"by": "lcb", "k": np.nan}, "k:")],
)
def test_a_rule_that_there_is_not(options, message):
    with pytest.raises(ConfigError, match=message):
        Picking(**options)
