"""Which comparisons come from one ranking: their ids say so, and nothing else of a comparison does."""

from __future__ import annotations

import re

from prlhf.types import Feedback

__all__ = ["pair_id", "ranking_of", "row_of"]

_OF_A_RANKING = re.compile(r"(.*):\d+>\d+", re.DOTALL)


def pair_id(row: str, better: int, worse: int) -> str:
    """The id of one pair of the ranking in `row`; responses are counted from 0, in the id from 1: `7:1>3`."""
    return f"{row}:{better + 1}>{worse + 1}"


def ranking_of(item: Feedback) -> str | None:
    """The id of the row whose ranking the item is a pair of; None where it is a vote of its own."""
    return row_of(item.id)


def row_of(name: str) -> str | None:
    """The id of the row of a ranking that an item's id names; None where it is an id of its own."""
    found = _OF_A_RANKING.fullmatch(name)
    return found and found[1]
