"""Votes that follow the side: the numbers of an exact binomial test, by hand."""

import pytest

from prlhf.data.oddities import oddities, oddities_by_user, side_habit
from prlhf.types import Comparison, Thumb


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


def vote(a, b, first="chosen", **more):
    return Comparison("?", a, b, user="u", first_shown=first, **more)


def test_what_is_odd():
    assert oddities([]) == [] and oddities([vote("a", "b"), vote("b", "c"), vote("a", "c", "rejected")]) == []
    [one] = oddities([vote("a", "b"), vote("b", "c"), vote("c", "a", "rejected"), vote("c", "d", "rejected")])
    assert one.startswith("3 answers go round in circles")
    [both] = oddities([vote("a", "b"), vote("b", "a", "rejected")])
    assert both == "1 of 1 pairs are answered both ways; such answers cancel"
    [side] = oddities([vote(str(i), str(i + 1)) for i in range(11)] + [vote("0", "2", "rejected")])
    assert side == "11 of 12 votes are for what was shown first: a habit, and perhaps no taste"
    assert oddities([vote(str(i), str(i + 1), tie=True) for i in range(9)]) == []
    turned = [Comparison("?", *pair, user=name) for name in ("u", "v") for pair in (("a", "b"), ("b", "a"))]
    assert oddities_by_user([*turned[2:], *turned[:2]]) == [f"{name}: {both}" for name in ("u", "v")]
    assert oddities_by_user([Thumb("?", "a", True, user="u"), Comparison("?", "a", "b")]) == []
