"""Random choices that come out the same on every machine and Python version."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Draw"]

T = TypeVar("T")


class Draw:
    """A stream of choices named by `parts`; equal names give equal streams, different names independent ones.

    Built on `random.Random.random()` alone, the one method whose sequence Python promises to keep.
    """

    def __init__(self, *parts: object) -> None:
        self._random = random.Random("/".join(str(part) for part in ("planted", *parts)))

    def uniform(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()

    def below(self, n: int) -> int:
        """An integer in 0..n-1."""
        return int(self._random.random() * n)

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """`items` in random order."""
        result = list(items)
        for last in range(len(result) - 1, 0, -1):
            other = self.below(last + 1)
            result[last], result[other] = result[other], result[last]
        return result
