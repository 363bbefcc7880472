"""A liked response beside a disliked one, drawn within groups: what makes thumbs comparable."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from prlhf.types import Thumb

__all__ = ["pairs_within"]

Group = tuple[bool | int | str, ...]


def pairs_within(thumbs: Sequence[Thumb], groups: Sequence[Group], seed: int = 0) -> list[tuple[int, int]]:
    """Indices (up, down) of pairs within each group, drawn by `seed`: of the kind that a group has more of every thumb
    is in one pair, of the other kind all are in equally many, but for one. Groups with one kind only have no pair."""
    sides: dict[Group, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for i, (thumb, group) in enumerate(zip(thumbs, groups, strict=True)):
        sides[group][not thumb.up].append(i)
    rng = np.random.default_rng(seed)
    found: list[tuple[int, int]] = []
    for group in sorted(sides):
        ups, downs = (rng.permutation(side) for side in sides[group])
        if len(ups) and len(downs):
            count = max(len(ups), len(downs))
            found += zip(np.resize(ups, count).tolist(), np.resize(downs, count).tolist(), strict=True)
    return found
