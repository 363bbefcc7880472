"""What is odd about one person's votes: a side that wins, pairs answered both ways, answers in circles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from prlhf.types import Comparison, Feedback

__all__ = ["LEVEL", "SideHabit", "oddities", "oddities_by_user", "side_habit"]

LEVEL = 0.01
"""Two-sided probability of so lopsided answers by chance, below which they are a habit: 8 of 8, 11 of 12, 13 of 15."""


def oddities(votes: Sequence[Comparison]) -> list[str]:
    """What is odd about somebody's votes, words for each; none where nothing is."""
    return [words for words in (_one_side(votes), _both_ways(votes), _circles(votes)) if words]


def oddities_by_user(votes: Iterable[Feedback]) -> list[str]:
    """Of the comparisons of everybody among them, each with the name before it."""
    own: dict[str, list[Comparison]] = defaultdict(list)
    for vote in votes:
        if isinstance(vote, Comparison) and vote.user is not None:
            own[vote.user].append(vote)
    return [f"{name}: {words}" for name in sorted(own) for words in oddities(own[name])]


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


def _one_side(votes: Sequence[Comparison]) -> str:
    habit = side_habit(votes)
    if habit is None:
        return ""
    return f"{habit.of_side} of {habit.votes} votes are for what was shown {habit.side}: a habit, and perhaps no taste"


def _both_ways(votes: Sequence[Comparison]) -> str:
    won: dict[str, set[str]] = defaultdict(set)
    for vote in votes:
        if not vote.tie:
            won[vote.pair_key].add(vote.chosen)
    both = sum(len(texts) > 1 for texts in won.values())
    return f"{both} of {len(won)} pairs are answered both ways; such answers cancel" if both else ""


def _circles(votes: Sequence[Comparison]) -> str:
    """Answers within strongly connected responses cannot all come from one order; pairs answered both ways are told
    apart."""
    number: dict[str, int] = {}
    edges = {tuple(number.setdefault(k, len(number)) for k in v.response_keys) for v in votes if not v.tie}
    edges = {edge for edge in edges if edge[::-1] not in edges}
    if not edges:
        return ""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = np.array(sorted(edges)).T
    graph = coo_array((np.ones(len(a)), (a, b)), shape=(len(number), len(number)))
    _, part = connected_components(graph, connection="strong")
    inside = int((part[a] == part[b]).sum())
    if not inside:
        return ""
    return f"{inside} answers go round in circles (a over b, b over c, c over a), so that no order explains them all"
