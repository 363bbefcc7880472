"""The scale of each feature, by the differences that people voted on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.rewards.votes import Items, Votes

__all__ = ["inverse_scales", "products", "scaled"]

Floats = npt.NDArray[np.float64]

NUMBERS = 1 << 22
"""So many numbers are worked on at a time, in 64 bits."""


def inverse_scales(votes: Votes) -> Floats:
    """1 / root mean square of each feature's differences `[f]`; 0 where a feature tells no two responses apart.

    Raises:
        DataError: features that are not finite, or no votes.
    """
    _check(votes.items, votes.items.width)
    if not len(votes):
        raise DataError("votes: found none, expected at least one to learn from")
    x, total = votes.items.x, np.zeros(votes.items.width)
    for rows in _slices(len(votes), votes.items.width):
        total += np.square(x[votes.chosen[rows]] - x[votes.rejected[rows]], dtype=np.float64).sum(axis=0)
    scale = np.sqrt(total / len(votes))
    tiny = 1e-6 * np.maximum(x.max(axis=0, initial=0), -x.min(axis=0, initial=0))
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale > tiny)


def scaled(items: Items, inverse: Floats) -> npt.NDArray[np.float32]:
    """The items' features times `inverse` `[m, f]`, for training.

    Raises:
        DataError: features that are not finite, or not as many as in training.
    """
    _check(items, len(inverse))
    return items.x * inverse.astype(np.float32)


def products(items: Items, inverse: Floats, weights: Floats) -> Floats:
    """The items' features times `inverse`, times `weights` `[f, k]`: `[m, k]`, in 64 bits and bounded memory.

    Raises:
        DataError: features that are not finite, or not as many as in training.
    """
    _check(items, len(inverse))
    both = inverse[:, None] * weights
    found = np.empty((len(items), weights.shape[1]))
    for rows in _slices(len(items), items.width):
        found[rows] = items.x[rows].astype(np.float64) @ both
    return found


def _slices(length: int, width: int) -> Iterator[slice]:
    step = max(1, NUMBERS // max(width, 1))
    return (slice(i, i + step) for i in range(0, length, step))


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
