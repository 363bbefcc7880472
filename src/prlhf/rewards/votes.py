"""Votes as arrays: what every reward model on features learns from. Texts stay outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.types import Comparison, Prompt

if TYPE_CHECKING:
    from prlhf.rewards.features import FeatureMap

__all__ = ["Items", "Votes"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Items:
    """m different (prompt, response): `keys` `[m]` by content (`Comparison.response_keys`), features `x` `[m, f]`."""

    keys: npt.NDArray[np.uint64]
    x: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def width(self) -> int:
        """f."""
        return int(self.x.shape[1])

    def places_in(self, keys: npt.NDArray[np.uint64]) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """Place of each item in `keys` `[m]`, 0 where it is not there, and whether it is."""
        if not len(keys):
            return np.zeros(len(self), np.int64), np.zeros(len(self), np.bool_)
        order = np.arange(len(keys)) if (keys[1:] > keys[:-1]).all() else np.argsort(keys)  # stored ones are sorted
        place = order[np.minimum(np.searchsorted(keys, self.keys, sorter=order), len(keys) - 1)]
        known = keys[place] == self.keys
        return np.where(known, place, 0), known


@dataclass(frozen=True)
class Votes:
    """b votes on pairs of `items`, of the users `names` `[n]`."""

    items: Items
    chosen: Ints
    """`[b]`, place in `items`."""
    rejected: Ints
    user: Ints
    """`[b]`, place in `names`; -1 is the generic user."""
    names: tuple[str, ...]
    y: Floats
    """`[b]`: 1, or 0.5 where it was a tie."""
    weight: Floats
    """`[b]`."""
    first: Floats
    """`[b]`: 1 where the chosen response was shown first, -1 where the rejected one was, 0 where nobody knows."""
    pair: npt.NDArray[np.uint64]
    """`[b]`, content hash of the unordered pair."""
    told: npt.NDArray[np.float32] | None = None
    """`[n, g]`, features of the users' texts; a row of NaN where a user has none. None: nobody has one."""

    @classmethod
    def of(
        cls,
        comparisons: Sequence[Comparison],
        features: FeatureMap,
        *,
        names: Sequence[str] | None = None,
        weight: Floats | None = None,
    ) -> Votes:
        """Of comparisons whose texts `features` has features for.

        Args:
            names: the users, where their order matters; by default sorted. Anybody else is generic.
            weight: `[b]`, times the comparisons' own (`prlhf.data.recency_weights`).

        Raises:
            DataError: a text that there are no features for, or features that are not finite.
        """
        places: dict[tuple[Prompt, str], int] = {}
        both = [[places.setdefault((c.prompt, t), len(places)) for t in c.responses] for c in comparisons]
        sides = np.array(both, np.int64).reshape(-1, 2)
        keys = np.zeros(len(places), np.uint64)
        keys[sides.reshape(-1)] = [int(key, 16) for c in comparisons for key in c.response_keys]
        found = sorted({c.user for c in comparisons if c.user is not None}) if names is None else list(names)
        row: dict[str | None, int] = {name: i for i, name in enumerate(found)}  # type: ignore[assignment]
        shown = {None: 0.0, "chosen": 1.0, "rejected": -1.0}
        own = np.array([c.weight for c in comparisons], np.float64)
        return cls(
            items=Items(keys, features([p for p, _ in places], [text for _, text in places])),
            chosen=sides[:, 0],
            rejected=sides[:, 1],
            user=np.array([row.get(c.user, -1) for c in comparisons], np.int64),
            names=tuple(found),
            y=np.array([0.5 if c.tie else 1.0 for c in comparisons]),
            weight=own if weight is None else own * weight,
            first=np.array([shown[c.first_shown] for c in comparisons]),
            pair=np.array([int(c.pair_key, 16) for c in comparisons], np.uint64),
            told=_told(comparisons, row, features),
        )

    def __len__(self) -> int:
        return len(self.chosen)

    def __post_init__(self) -> None:
        """DataError where a weight is none."""
        if np.isfinite(self.weight.sum()) and not (self.weight < 0).any():
            return
        bad = np.flatnonzero(~(np.isfinite(self.weight) & (self.weight >= 0)))
        if len(bad):
            raise DataError(
                f"votes: {len(bad):,} weights cannot be used, the first of them that of vote {bad[0]} (from 0): found "
                f"{self.weight[bad[0]]}, expected a finite number from 0"
            )

    def needed(self) -> None:
        """DataError where there are none to learn from."""
        if not len(self):
            raise DataError("votes: found none, expected at least one to learn from")
        if not self.weight.any():
            raise DataError("votes: all weights are 0, so that there is nothing to learn from")

    @cached_property
    def differences(self) -> npt.NDArray[np.float32]:
        """`x(chosen) - x(rejected)` `[b, f]`."""
        return self.items.x[self.chosen] - self.items.x[self.rejected]

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Votes:
        """Some of the votes, in this order; items and users stay as they are."""
        columns = {name: getattr(self, name)[rows] for name in _COLUMNS}
        return replace(self, **columns)

    def of_users(self, names: Sequence[str]) -> Votes:
        """With the users `names` instead of its own; votes of anybody else are the generic user's."""
        place = {name: i for i, name in enumerate(names)}
        new = np.array([*(place.get(name, -1) for name in self.names), -1], np.int64)
        told = None
        if self.told is not None:
            told = np.full((len(names), self.told.shape[1]), np.nan, np.float32)
            told[new[:-1][new[:-1] >= 0]] = self.told[new[:-1] >= 0]
        return replace(self, user=new[self.user], names=tuple(names), told=told)

    def followed_by(self, other: Votes) -> Votes:
        """These votes, then those of the same `names` on items of their own; texts about users stay these ones'."""
        items = Items(
            np.concatenate([self.items.keys, other.items.keys]), np.concatenate([self.items.x, other.items.x])
        )
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in _COLUMNS
        }
        columns["chosen"][len(self) :] += len(self.items)
        columns["rejected"][len(self) :] += len(self.items)
        return replace(self, items=items, **columns)

    def compact(self) -> Votes:
        """Without the items that no vote is on."""
        used, places = np.unique(np.concatenate([self.chosen, self.rejected]), return_inverse=True)
        chosen, rejected = places.reshape(2, -1)
        return replace(self, items=Items(self.items.keys[used], self.items.x[used]), chosen=chosen, rejected=rejected)

    @property
    def counts(self) -> Ints:
        """Votes by user `[n]`."""
        return np.bincount(self.user[self.user >= 0], minlength=len(self.names)).astype(np.int64)


_COLUMNS = ("chosen", "rejected", "user", "y", "weight", "first", "pair")


def _told(
    comparisons: Sequence[Comparison], row: dict[str | None, int], features: FeatureMap
) -> npt.NDArray[np.float32] | None:
    """The features of each user's last text; None where nobody has one, or the map has none of them."""
    texts = {row[c.user]: c.user_text for c in comparisons if c.user_text and row.get(c.user, -1) >= 0}
    if not texts:
        return None
    x = features.texts(list(texts.values()))
    if not x.shape[1]:
        return None
    found = np.full((len([name for name in row if name is not None]), x.shape[1]), np.nan, np.float32)
    found[list(texts)] = x
    return found
