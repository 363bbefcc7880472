"""Where the text about a person says they stand, before any vote: a ridge regression of people on their texts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["TextPrior"]

Floats = npt.NDArray[np.float64]
_MOST = 32
"""Principal components of the texts."""


@dataclass(frozen=True)
class TextPrior:
    """`E[l | text] = t A` for standardised components `t` of a text; 0 for somebody without one."""

    n: int
    told: Floats | None = None
    """`[n, g]`, components of the texts, zeros where there is none; the last row is nobody's."""
    centre: Floats | None = None
    """`[h]`, of the texts' features."""
    directions: Floats | None = None
    """`[h, g]`."""
    a: Floats | None = None
    """`[g, k]`."""

    @classmethod
    def of(cls, told: npt.NDArray[np.float32] | None, n: int) -> TextPrior:
        """Of the features of n - 1 people's texts `[n - 1, h]`, NaN where somebody has none."""
        if told is None:
            return cls(n)
        there = np.isfinite(told).all(1)
        if there.sum() < 3:
            return cls(n)
        x = told[there].astype(np.float64)
        centre = x.mean(0)
        _, sizes, across = np.linalg.svd(x - centre, full_matrices=False)
        keep = min(_MOST, max(1, int(there.sum()) // 4), int((sizes > 1e-6 * max(sizes[0], 1e-30)).sum()))
        if not keep:
            return cls(n)
        directions = across[:keep].T / (sizes[0] / np.sqrt(len(x)))  # the first component has spread 1
        t = np.zeros((n, keep))
        t[:-1][there] = (x - centre) @ directions
        return cls(n, t, centre, directions)

    def mean(self, k: int) -> Floats:
        """`[n, k]`."""
        if self.told is None or self.a is None:
            return np.zeros((self.n, k))
        return self.told @ self.a

    def learned(self, people: Floats, covariance: Floats) -> TextPrior:
        """With the regression of people `[n - 1, k]` on their texts, its ridge by generalised cross-validation."""
        if self.told is None:
            return self
        u, sizes, across = np.linalg.svd(self.told[:-1], full_matrices=False)
        keep = sizes > 1e-9
        u, sizes, across = u[:, keep], sizes[keep], across[keep]
        target, n = u.T @ people, len(people)
        noise = float(((people - u @ target) ** 2).sum() + 1e-12)
        best, found = np.inf, np.zeros_like(target)
        for ridge in np.logspace(-1, 4, 11):
            shrunk = sizes**2 / (sizes**2 + ridge)
            left = noise + (((1 - shrunk)[:, None] * target) ** 2).sum()
            score = left / (n - shrunk.sum()) ** 2
            if score < best:
                best, found = score, (shrunk / sizes)[:, None] * target
        return replace(self, a=across.T @ found)

    def turned(self, back: Floats) -> TextPrior:
        """For people whose coordinates are `back @ l` now."""
        return self if self.a is None else replace(self, a=self.a @ back.T)
