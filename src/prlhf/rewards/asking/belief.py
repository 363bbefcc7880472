"""What is thought of a person's margins in a pool, and what an answer would change about it."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.rewards.asking.expectations import expectations
from prlhf.rewards.asking.pool import Pool
from prlhf.rewards.base import Loadings, Reward, VectorReward
from prlhf.rewards.states import States

__all__ = ["Belief"]

Floats = npt.NDArray[np.float64]


class Belief:
    """Margins of all pairs of a pool for a person at N(`mean`, `covariance`) `[k]`, `[k, k]`.

    Only `personal` goes away as the person answers; `shared`, what is unsure about the model itself, makes an answer
    say less: the vote is on `z kappa`, `kappa² = 1 / (1 + pi shared / 8)`, the logistic averaged over it (MacKay 1992).
    """

    def __init__(self, pool: Pool, mean: Floats, covariance: Floats, flips: float = 0.0):
        """Raises: DataError: a pool without loadings."""
        self.pool, self.mean, self.covariance = pool, mean, np.asarray(covariance, np.float64)
        self.expected = expectations(flips)

    @classmethod
    def of(cls, model: VectorReward, pool: Pool, states: States) -> Belief:
        """Of the first of `states`, which are `model`'s."""
        if model.gaussian is None:
            raise DataError(f"{type(model).__name__} does not say how sure it is of a person")
        mean, covariance = (states[name][0].astype(np.float64) for name in model.gaussian)
        return cls(pool, mean, covariance, model.flips)

    @property
    def loadings(self) -> Loadings:
        """The pool's."""
        if self.pool.loadings is None:
            raise DataError("this pool says nothing about people: its model cannot choose what to ask")
        return self.pool.loadings

    @cached_property
    def margin(self) -> Floats:
        """Expected `r(a) - r(b)` `[m]`."""
        return np.asarray(self.loadings.common + self.loadings.phi @ self.mean)

    @cached_property
    def personal(self) -> Floats:
        """The variance of margins that the person's answers take away `[m]`."""
        return self.squares(self.covariance)

    @cached_property
    def shared(self) -> Floats:
        """The variance that they do not `[m]`."""
        second = self.mean**2 + self.covariance.diagonal()
        return np.asarray(self.loadings.common_variance + self.loadings.phi_variance @ second)

    def reward(self, place: int) -> Reward:
        """The margin of one pair `[1]`, with all its variance."""
        one = slice(place, place + 1)
        return Reward(self.margin[one], self.personal[one] + self.shared[one])

    @cached_property
    def _kappa(self) -> Floats:
        return np.asarray(1 / np.sqrt(1 + np.pi / 8 * self.shared))

    @cached_property
    def information(self) -> Floats:
        """Mutual information of an answer and the person's state, in nats `[m]`."""
        return self.expected.information(self.margin * self._kappa, np.sqrt(self.personal) * self._kappa)

    @cached_property
    def fisher(self) -> Floats:
        """Expected Fisher information of an answer about its personal margin `[m]`."""
        found = self.expected.fisher(self.margin * self._kappa, np.sqrt(self.personal) * self._kappa)
        return np.asarray(found * self._kappa**2)

    @property
    def doubt(self) -> float:
        """The mean of `personal` over the pool."""
        return float((self.covariance * self.pool.spread).sum())

    @cached_property
    def relief(self) -> Floats:
        """How much an answer is expected to take off `doubt` `[m]`."""
        turned = self.covariance @ self.pool.spread @ self.covariance
        return np.asarray(self.fisher * self.squares(turned) / (1 + self.fisher * self.personal))

    def after(self, place: int) -> Belief:
        """The belief with the covariance that an answer to this pair is expected to leave; the mean stays."""
        along = self.covariance @ self.loadings.phi[place]
        less = self.fisher[place] / (1 + self.fisher[place] * self.personal[place])
        left = self.covariance - less * np.outer(along, along)
        found = Belief(self.pool, self.mean, left, self.expected.flips)
        found.margin = self.margin
        found.personal = np.maximum(self.personal - less * (self.loadings.phi @ along) ** 2, 0)
        return found

    def squares(self, matrix: Floats) -> Floats:
        """`phi' matrix phi` of every pair `[m]`."""
        phi = self.loadings.phi
        return np.asarray(np.maximum(np.einsum("mk,mk->m", phi @ matrix, phi), 0))
