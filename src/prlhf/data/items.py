"""Sequences of comparisons and thumbs that make them as they are asked for, so that a log need not be in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, overload

import numpy as np

from prlhf.data.facts import Facts
from prlhf.types import Comparison, Feedback, Thumb

__all__ = ["AskedFor", "Items", "Picked", "facts_of", "ids_of", "joined", "parted"]

_AT_ONCE = 1024
_T = TypeVar("_T")


class AskedFor(Sequence[_T], ABC):
    """Values of which each is made when it is asked for."""

    @abstractmethod
    def one(self, index: int) -> _T:
        """The value at a place, which is not negative."""

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> list[_T]: ...
    def __getitem__(self, index: int | slice) -> _T | list[_T]:
        places = range(len(self))[index]
        return self.one(places) if isinstance(places, int) else [self.one(i) for i in places]


class Items(Sequence[Feedback], ABC):
    """Comparisons and thumbs that are somewhere else."""

    @abstractmethod
    def at(self, places: np.ndarray) -> list[Feedback]:
        """Those at these places, which are not negative."""

    @abstractmethod
    def ids(self, places: np.ndarray) -> list[str]:
        """Their row ids alone."""

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """Of all of them."""

    @overload
    def __getitem__(self, index: int) -> Feedback: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Feedback]: ...
    def __getitem__(self, index: int | slice) -> Feedback | Sequence[Feedback]:
        if isinstance(index, slice):
            return Picked(self, np.arange(len(self))[index])
        return self.at(np.array([range(len(self))[index]]))[0]

    def __iter__(self) -> Iterator[Feedback]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self.at(np.arange(start, min(start + _AT_ONCE, len(self))))


class Picked(Items):
    """Some of `items`, in the order of `indices`."""

    def __init__(self, items: Sequence[Feedback], indices: Sequence[int] | np.ndarray, facts: Facts | None = None):
        self.items = items
        self.indices = np.asarray(indices, np.int64)
        self._facts = facts

    def __len__(self) -> int:
        return len(self.indices)

    def at(self, places: np.ndarray) -> list[Feedback]:
        wanted = self.indices[places]
        return self.items.at(wanted) if isinstance(self.items, Items) else [self.items[i] for i in wanted.tolist()]

    def ids(self, places: np.ndarray) -> list[str]:
        return ids_of(self.items, self.indices[places])

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            known = isinstance(self.items, Items)
            self._facts = facts_of(self.items).take(self.indices) if known else Facts.of(self)
        return self._facts


def facts_of(items: Sequence[Feedback]) -> Facts:
    """Those that a large log has beside its items, else those of every item."""
    return items.facts if isinstance(items, Items) else Facts.of(items)


def ids_of(items: Sequence[Feedback], places: Sequence[int] | np.ndarray) -> list[str]:
    """The row ids of some of `items`."""
    wanted = np.asarray(places, np.int64)
    return items.ids(wanted) if isinstance(items, Items) else [items[i].id for i in wanted.tolist()]


def joined(first: Sequence[Feedback], second: Sequence[Feedback]) -> Sequence[Feedback]:
    """One after the other."""
    if not first or not second:
        return first or second
    if isinstance(first, Picked) and isinstance(second, Picked) and first.items is second.items:
        return Picked(first.items, np.concatenate([first.indices, second.indices]))
    return (*first, *second)


def parted(items: Iterable[Feedback]) -> tuple[Sequence[Comparison], Sequence[Thumb]]:
    """The comparisons and the thumbs among `items`, each in their order."""
    if isinstance(items, Items):
        thumb = items.facts["thumb"]
        if not thumb.any():
            return items, ()  # type: ignore[return-value]
        return Picked(items, np.flatnonzero(~thumb)), Picked(items, np.flatnonzero(thumb))  # type: ignore[return-value]
    comparisons: list[Comparison] = []
    thumbs: list[Thumb] = []
    for item in items:
        if isinstance(item, Thumb):
            thumbs.append(item)
        else:
            comparisons.append(item)
    return tuple(comparisons), tuple(thumbs)
