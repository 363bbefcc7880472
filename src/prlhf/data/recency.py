"""Older comparisons count less: tastes change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prlhf.errors import ConfigError, DataError
from prlhf.types import Feedback

__all__ = ["recency_weights"]


def recency_weights(items: Sequence[Feedback], half_life_days: float) -> np.ndarray:
    """Factors `0.5 ** (age / half_life)`, where age counts from the newest of these items, which has factor 1.

    The factors multiply their `weight`; they do not contain it.

    Returns:
        float64 [b], in (0, 1].

    Raises:
        DataError: an item without a timestamp.
        ConfigError: a half-life that is not positive.
    """
    if not half_life_days > 0:
        raise ConfigError(f"half_life_days: found {half_life_days}, expected a positive number of days")
    undated = [c for c in items if c.timestamp is None]
    if undated:
        raise DataError(
            f"a half-life needs the time of every vote; {len(undated):,} of {len(items):,} "
            f"have no timestamp, the first is row {undated[0].id or '?'}"
        )
    seconds = np.array([c.timestamp.timestamp() for c in items if c.timestamp is not None], dtype=np.float64)
    if not len(seconds):
        return seconds
    return 0.5 ** ((seconds.max() - seconds) / (86400.0 * half_life_days))
