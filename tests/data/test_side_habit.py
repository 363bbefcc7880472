"""Votes that follow the side: the numbers of an exact binomial test, by hand."""

import pytest

from prlhf.data.side_habit import side_habit
from prlhf.types import Comparison


def votes(first: int, second: int = 0, **more):
    """So many for what was shown first, and second."""
    shown = ["chosen"] * first + ["rejected"] * second
    return [Comparison("p", "a", "b", user="u", first_shown=side, **more) for side in shown]


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (8, 0, (8, 8, "first")),  # 2 / 256
        (0, 8, (8, 8, "second")),
        (7, 0, None),  # 2 / 128 = 0.016
        (10, 1, None),  # 2 (1 + 11) / 2048 = 0.012
        (1, 11, (12, 11, "second")),  # 2 (1 + 12) / 4096 = 0.006
        (13, 2, (15, 13, "first")),  # 2 (1 + 15 + 105) / 32768 = 0.007
        (50, 50, None),
        (0, 0, None),
    ],
)
def test_by_hand(first, second, found):
    assert side_habit(votes(first, second)) == found


def test_the_level_is_of_both_sides_together():
    assert side_habit(votes(7), level=2 / 128) and not side_habit(votes(7), level=1.9 / 128)


def test_ties_and_votes_without_a_side_do_not_count():
    unplaced = [Comparison("p", "a", "b", user="u")] * 9
    assert side_habit(unplaced) is None and side_habit(votes(9, tie=True)) is None
    assert side_habit([*unplaced, *votes(8), *votes(0, 5, tie=True)]) == (8, 8, "first")
