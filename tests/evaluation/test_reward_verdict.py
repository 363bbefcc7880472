"""A difference is called one only where its interval leaves 0 out."""

import math

import pytest

from prlhf.evaluation.bootstrap import Estimate
from prlhf.evaluation.reward.verdict import verdict


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (0.01, 0.052, "is better for seen users (+1.0 to +5.2 points)"),
        (-0.3, -0.01, "is worse for seen users (-30.0 to -1.0 points)"),
        (0.0, 0.5, "cannot be told apart with these votes for seen users (+0.0 to +50.0 points)"),
        (-0.1, 0.0, "cannot be told apart with these votes for seen users (-10.0 to +0.0 points)"),
        (math.nan, math.nan, "cannot be told apart with these votes for seen users (no interval)"),
    ],
)
def test_of_one_difference(low, high, told):
    assert verdict("bt", {"factor": {"seen users": Estimate(0.256, low, high)}}) == (
        f"In accuracy (95 % intervals), against bt: factor {told}."
    )


def test_of_several_and_of_none():
    yes, no = Estimate(0.2, 0.1, 0.3), Estimate(-0.2, -0.3, -0.1)
    assert verdict("bt", {"a": {"x": yes, "y": no}, "b": {"x": no}}) == (
        "In accuracy (95 % intervals), against bt: a is better for x (+10.0 to +30.0 points) and is worse for y "
        "(-30.0 to -10.0 points); b is worse for x (-30.0 to -10.0 points)."
    )
    assert verdict("bt", {"a": {"x": yes, "y": yes}}) == (
        "In accuracy (95 % intervals), against bt: a is better for x (+10.0 to +30.0 points) and for y (+10.0 "
        "to +30.0 points)."
    )
    assert verdict("bt", {}) == ""
