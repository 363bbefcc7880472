"""The linear algebra of votes on pairs: from coordinates of responses to differences, and back."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from prlhf.rewards.votes import Votes

__all__ = ["Pairs"]

Floats = npt.NDArray[np.float64]
_BLOCK = 1 << 22  # numbers of a block of differences that is made as it is needed
_KEPT = 1 << 26  # numbers that are kept instead


class Pairs:
    """b votes on m responses with coordinates `z` `[m, r]`, of n users; sorted by user.

    Where responses repeat sums go over responses, else over votes.
    """

    def __init__(self, z: npt.NDArray[np.float32], votes: Votes):
        known = np.flatnonzero(votes.user >= 0)
        order = known[np.argsort(votes.user[known], kind="stable")]
        order = np.concatenate([order, np.flatnonzero(votes.user < 0)])
        self.votes = votes.take(order)
        self.b, self.m, self.n = len(order), len(z), len(votes.names)
        self.z = z
        self.user = np.where(self.votes.user < 0, self.n, self.votes.user)
        """`[b]`; n: of nobody."""
        both = np.concatenate([self.votes.chosen, self.votes.rejected])
        signs = np.concatenate([np.ones(self.b), -np.ones(self.b)])
        self.sides = sp.csr_matrix((signs, (np.tile(np.arange(self.b), 2), both)), (self.b, self.m))
        """`[b, m]`: 1 at the chosen response, -1 at the rejected one."""
        self.by_user = sp.csr_matrix((np.ones(self.b), (self.user, np.arange(self.b))), (self.n + 1, self.b))
        """`[n + 1, b]`, sums votes by user; the last row is nobody's."""
        self._over_items = self.m < self.b

    @cached_property
    def back(self) -> sp.csr_matrix:
        """`[m, b]`, the transpose of `sides`."""
        return self.sides.T.tocsr()

    @cached_property
    def touched(self) -> sp.csr_matrix:
        """`[b, m]`, 1 at both responses."""
        return abs(self.sides)

    @cached_property
    def touching(self) -> sp.csr_matrix:
        """`[m, b]`, its transpose."""
        return abs(self.back)

    @property
    def differences(self) -> npt.NDArray[np.float32]:
        """`z(chosen) - z(rejected)` `[b, r]`."""
        return self.z[self.votes.chosen] - self.z[self.votes.rejected]

    @cached_property
    def _kept(self) -> npt.NDArray[np.float32] | None:
        return self.differences if self.b * self.z.shape[1] <= _KEPT or not self._over_items else None

    @cached_property
    def mean_square(self) -> float:
        """Mean squared length of the differences."""
        total = sum(float(np.vdot(d, d)) for _, d in self.blocks())
        return max(total / max(self.b, 1), 1e-12)

    def blocks(self) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """The differences, block by block of votes."""
        if self._kept is not None:
            yield slice(0, self.b), self._kept
            return
        step = max(1, _BLOCK // max(self.z.shape[1], 1))
        for start in range(0, self.b, step):
            some = slice(start, min(start + step, self.b))
            yield some, self.z[self.votes.chosen[some]] - self.z[self.votes.rejected[some]]

    def along(self, weights: Floats) -> Floats:
        """`d @ weights` `[b, q]` for weights `[r, q]`."""
        if self._over_items:
            return np.asarray(self.sides @ (self.z @ weights.astype(np.float32)).astype(np.float64))
        assert self._kept is not None
        return (self._kept @ weights.astype(np.float32)).astype(np.float64)

    def against(self, values: Floats) -> Floats:
        """`d.T @ values` `[r, q]` for values `[b, q]`."""
        if self._over_items:
            return (self.z.T @ np.asarray(self.back @ values, np.float32)).astype(np.float64)
        assert self._kept is not None
        return (self._kept.T @ values.astype(np.float32)).astype(np.float64)

    def squares_along(self, variances: Floats) -> Floats:
        """`d² @ variances` `[b, q]` for variances `[r, q]`."""
        found = np.empty((self.b, variances.shape[1]))
        for some, d in self.blocks():
            found[some] = (d * d) @ variances.astype(np.float32)
        return found

    def squares_against(self, values: Floats) -> Floats:
        """`d².T @ values` `[r, q]` for values `[b, q]`."""
        found = np.zeros((self.z.shape[1], values.shape[1]))
        for some, d in self.blocks():
            found += (d * d).T @ values[some].astype(np.float32)
        return found
