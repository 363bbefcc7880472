"""Numbers and names in the sentences that people read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = ["counted", "did_you_mean", "some"]


def counted(number: int, noun: str) -> str:
    """`1 vote`, `1,234 votes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def did_you_mean(found: str, names: Iterable[str]) -> str:
    """The end of a sentence that expected one of `names`: the nearest of them; empty where none is near."""
    near = difflib.get_close_matches(found, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def some(names: Sequence[object], most: int = 5) -> str:
    """The first of them; where there are more, `…` stands for the rest."""
    return ", ".join(map(str, names[:most])) + ", …" * (len(names) > most)
