"""Numbers and names in the sentences that people read."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["counted", "some"]


def counted(number: int, noun: str) -> str:
    """`1 vote`, `1,234 votes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(names: Sequence[object], most: int = 5) -> str:
    """The first of them; where there are more, `…` stands for the rest."""
    return ", ".join(map(str, names[:most])) + ", …" * (len(names) > most)
