"""Simulated preferences about length: workers in order of their work, and the published draw of who likes it short."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

__all__ = ["STREAM", "busiest", "length_groups"]

STREAM = 3456
"""The published seed."""


def busiest(workers: Iterable[str]) -> list[str]:
    """The worker of every comparison -> each worker once, who has most comparisons first; equals by their ids."""
    counts = Counter(workers)
    return sorted(counts, key=lambda worker: (-counts[worker], worker))


def length_groups(workers: Sequence[str]) -> dict[str, str]:
    """Worker -> majority (prefers the longer text) or minority (the shorter), by the published draw.

    P(majority) = 0.7, one draw a worker in their order; whoever comes later does not change the draws before.
    """
    draws = np.random.RandomState(STREAM).choice(2, size=len(workers), p=[0.7, 0.3])
    return {worker: ("majority", "minority")[draw] for worker, draw in zip(workers, draws, strict=True)}
