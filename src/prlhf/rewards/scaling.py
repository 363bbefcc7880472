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
        DataError: no votes.
    """
    if not len(votes):
        raise DataError("fit: found no votes, expected at least one")
    scale = np.sqrt(np.mean(np.square(votes.differences, dtype=np.float64), axis=0))
    tiny = 1e-7 * np.abs(votes.items.x).max(axis=0, initial=0)
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale > tiny)


def scaled(items: Items, inverse: Floats) -> Floats:
    """The items' features times `inverse` `[m, f]`.

    Raises:
        DataError: another number of features.
    """
    if items.width != len(inverse):
        raise DataError(
            f"found {items.width} features of a response, expected the {len(inverse)} that the reward model learned "
            "from; use the feature map that it was trained with"
        )
    return items.x * inverse
