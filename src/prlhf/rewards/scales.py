"""What members do with features: check them, bring them to one scale, multiply them in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.rewards.votes import Items, Votes

__all__ = ["checked", "inverse_scales", "products", "root_mean_square", "row_products", "scaled", "slices", "spread"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_ROUNDING = 1e-6
"""A feature that differs by less, beside its size, only does by rounding."""
NUMBERS = 1 << 22
"""So many numbers are worked on at a time, in 64 bits."""


def checked(items: Items, width: int | None = None) -> npt.NDArray[np.float32]:
    """The features of items `[m, f]`.

    Raises:
        DataError: features that are not finite, or not `width` of them.
    """
    if width is not None and items.width != width:
        found = f"found {items.width} numbers a response, expected {width} as in training"
        raise DataError(f"features: {found}; use the same feature map")
    if not np.isfinite(items.x.sum()):  # a sum is finite where all of it is, or overflows
        wrong = np.argwhere(~np.isfinite(items.x))
        if len(wrong):
            row, column = wrong[0]
            found = f"{items.x[row, column]} in column {column} of the response with key {items.keys[row]:016x}"
            raise DataError(f"features: found {found}, expected finite numbers; leave the response out or mend the map")
    return items.x


def root_mean_square(votes: Votes) -> Floats:
    """Of the differences between chosen and rejected, feature by feature `[f]`; 1 where a feature never differs.

    Differences have no centre to take away: which of two came first is arbitrary.

    Raises:
        DataError: features that are not finite, or no vote.
    """
    found = spread(votes)
    return np.where(found > 0, found, 1.0)


def inverse_scales(votes: Votes) -> Floats:
    """1 / `root_mean_square`, but 0 where a feature never differs `[f]`: a network, unlike a linear model with a ridge,
    would give it random weights, and be moved by it where later responses differ in it.

    Raises:
        DataError: features that are not finite, or no vote.
    """
    found = spread(votes)
    return np.divide(1, found, out=np.zeros_like(found), where=found > 0)


def scaled(items: Items, inverse: Floats) -> npt.NDArray[np.float32]:
    """The features of items times `inverse` `[m, f]`.

    Raises:
        DataError: features that are not finite, or not as many as in training.
    """
    return checked(items, len(inverse)) * inverse.astype(np.float32)


def products(x: npt.NDArray[np.float32], weights: Floats) -> Floats:
    """`x @ weights` in 64 bits, whatever the size: `[m, f]` and `[f, k]` give `[m, k]`."""
    parts = [x[rows].astype(np.float64) @ weights for rows in slices(len(x), x.shape[1])]
    return np.concatenate(parts) if parts else np.zeros((0, *weights.shape[1:]))


def row_products(x: npt.NDArray[np.float32], places: Ints, weights: npt.NDArray[np.floating], who: Ints) -> Floats:
    """`<x[places], weights[who]>` `[k]`, of `[m, f]` and `[n, f]`."""
    found = np.empty(len(places))
    for rows in slices(len(places), x.shape[1]):
        found[rows] = np.einsum("kf,kf->k", x[places[rows]].astype(np.float64), weights[who[rows]])
    return found


def slices(length: int, width: int) -> Iterator[slice]:
    """Of rows of so many numbers: all of them, a bounded number of numbers at a time."""
    step = max(1, NUMBERS // max(width, 1))
    return (slice(i, i + step) for i in range(0, length, step))


def spread(votes: Votes) -> Floats:
    """The root mean square of each feature's differences `[f]`; 0 where it never differs, but by rounding.

    Raises:
        DataError: features that are not finite, or no vote.
    """
    x = checked(votes.items)
    votes.needed()
    total, largest = np.zeros(votes.items.width), np.zeros(votes.items.width)
    for rows in slices(len(votes), votes.items.width):
        chosen = x[votes.chosen[rows]]
        difference = chosen - x[votes.rejected[rows]]
        total += np.einsum("bf,bf->f", difference, difference, dtype=np.float64)
        largest = np.maximum(largest, np.maximum(chosen.max(axis=0), -chosen.min(axis=0)))
    found = np.sqrt(total / len(votes))
    return np.where(found > _ROUNDING * largest, found, 0.0)
