"""Somebody whose answers follow the side that a response stood on, whatever it says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from prlhf.types import Comparison

__all__ = ["LEVEL", "SideHabit", "side_habit"]

LEVEL = 0.01
"""Two-sided probability of so lopsided answers by chance, below which they are a habit: 8 of 8, 11 of 12, 13 of 15."""


class SideHabit(NamedTuple):
    """Of `votes` with a winner whose sides are known, `of_side` are for what was shown on `side`."""

    votes: int
    of_side: int
    side: Literal["first", "second"]


def side_habit(votes: Iterable[Comparison], level: float = LEVEL) -> SideHabit | None:
    """The side that one person's votes are for, where an exact binomial test says that a fair coin hardly does that.

    None where it may be chance. Ties do not count, nor votes that do not say which response was shown first.
    """
    first = [vote.first_shown == "chosen" for vote in votes if vote.first_shown is not None and not vote.tie]
    k = max(sum(first), len(first) - sum(first))
    if 0.5 ** (len(first) - 1) > level:  # not even all on one side would do, and the test takes a while to load
        return None
    from scipy.stats import binomtest

    if binomtest(k, len(first)).pvalue > level:
        return None
    return SideHabit(len(first), k, "first" if sum(first) == k else "second")
