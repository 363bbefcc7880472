"""The scale of each feature, by the differences that people voted on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.rewards.votes import Items, Votes

__all__ = ["inverse_scales", "scaled"]

Floats = npt.NDArray[np.float64]


def inverse_scales(votes: Votes) -> Floats:
    """1 / root mean square of each feature's differences `[f]`; 0 where a feature tells no two responses apart.

    Raises:
        DataError: features that are not finite, or no votes.
    """
    _check(votes.items, votes.items.width)
    if not len(votes):
        raise DataError("votes: found none, expected at least one to learn from")
    scale = np.sqrt(np.mean(np.square(votes.differences, dtype=np.float64), axis=0))
    tiny = 1e-6 * np.abs(votes.items.x).max(axis=0, initial=0)
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale > tiny)


def scaled(items: Items, inverse: Floats) -> Floats:
    """The items' features times `inverse` `[m, f]`.

    Raises:
        DataError: features that are not finite, or not as many as in training.
    """
    _check(items, len(inverse))
    return items.x * inverse


def _check(items: Items, width: int) -> None:
    if items.width != width:
        found = f"found {items.width} numbers a response, expected {width} as in training"
        raise DataError(f"features: {found}; use the same feature map")
    if not np.isfinite(items.x.sum()):  # of float32, which may overflow where every number is finite
        wrong = np.argwhere(~np.isfinite(items.x))
        if len(wrong):
            row, column = wrong[0]
            found = f"{items.x[row, column]} in column {column} of the response with key {items.keys[row]:016x}"
            raise DataError(f"features: found {found}, expected finite numbers; leave the response out or mend the map")
