"""What a vote tells, averaged over an unsure margin: tables by the margin's mean and spread, since both are integrals.

With `p(z) = flips + (1 - 2 flips) sigmoid(z)` and `z ~ N(m, s²)`:

    information  H(E p(z)) - E H(p(z))                       mutual information of the vote and z, in nats
    fisher       E (p'(z)² / (p(z) (1 - p(z))))              expected Fisher information about z

The first is BALD (Houlsby et al., arXiv 1112.5745) for a logistic link with label noise.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates
from scipy.special import expit, xlogy

__all__ = ["Expectations", "expectations"]

Floats = npt.NDArray[np.float64]

_MOST = 50.0
"""Means and spreads above are taken for this."""
_PLACES = 128
"""Rows and columns of a table, linear in arsinh: close to each other near 0."""
_NODES = np.linspace(-6, 6, 161)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.exp(-(_NODES**2) / 2).sum()


class Expectations:
    """Tables for one share of flipped votes; every method takes means `[m]` and spreads `[m]` of margins."""

    def __init__(self, flips: float):
        self.flips = flips
        self._tables = self._made()

    def information(self, mean: Floats, spread: Floats) -> Floats:
        """Nats that a vote tells about its margin `[m]`, from 0 to log 2."""
        return _looked_up(self._tables[0], mean, spread)

    def fisher(self, mean: Floats, spread: Floats) -> Floats:
        """Expected Fisher information of a vote about its margin `[m]`, from 0 to 1/4."""
        return _looked_up(self._tables[1], mean, spread)

    def _made(self) -> tuple[Floats, Floats]:
        """Both by (mean, spread)."""
        steps = np.sinh(np.linspace(0, np.arcsinh(_MOST), _PLACES))
        information, fisher = np.empty((2, _PLACES, _PLACES))
        for column, spread in enumerate(steps):
            z = steps[:, None] + spread * _NODES
            sure = expit(z)
            p = self.flips + (1 - 2 * self.flips) * sure
            doubt = p * (1 - p)
            slope = (1 - 2 * self.flips) * sure * (1 - sure)
            information[:, column] = entropy(p @ _WEIGHTS) - entropy(p) @ _WEIGHTS
            fisher[:, column] = np.divide(slope**2, doubt, out=np.zeros_like(z), where=doubt > 0) @ _WEIGHTS
        return np.maximum(information, 0), fisher


@lru_cache(maxsize=8)
def expectations(flips: float) -> Expectations:
    """The tables for this share of flipped votes, made once."""
    return Expectations(flips)


def entropy(p: Floats) -> Floats:
    """Of a coin, in nats."""
    return np.asarray(-xlogy(p, p) - xlogy(1 - p, 1 - p))


def _looked_up(table: Floats, mean: Floats, spread: Floats) -> Floats:
    """All of it is even in the mean."""
    scale = (_PLACES - 1) / np.arcsinh(_MOST)
    where = np.arcsinh(np.stack([np.abs(mean), spread])) * scale
    return np.asarray(map_coordinates(table, where, order=1, mode="nearest"))
