"""`item_mf`: matrix factorisation of pairwise votes by user and response, without features."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import expit

from prlhf.config.rewards.item_mf import ItemMf
from prlhf.rewards.base import Loadings, Progress, Reward, VectorReward
from prlhf.rewards.newton import fit_many
from prlhf.rewards.states import States, UserTable
from prlhf.rewards.votes import Items, Votes

__all__ = ["ItemMfReward"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_START = 0.1
"""Standard deviation of the vectors at the start: at 0 their gradient is 0."""


class ItemMfReward(VectorReward):
    """`c_j + p_u.q_j`; the variance is Laplace's for `p_u` given all else. The generic user is `p = 0`, its prior mean:
    what all users have in common is in the values `c`."""

    Config = ItemMf

    @classmethod
    def fit(
        cls,
        config: ItemMf,
        votes: Votes,
        *,
        validation: Votes | None = None,
        seed: int = 0,
        progress: Progress = lambda steps: steps,
    ) -> Self:
        used = np.unique(np.concatenate([votes.chosen, votes.rejected]))
        vectors, values = _factorise(config, votes, used, seed)
        parameters = {"keys": votes.items.keys[used], "vectors": vectors, "values": values}
        generic = States({"p": np.zeros((1, config.rank)), "covariance": _prior(config)[None]}, np.zeros(1, np.int64))
        nobody = UserTable.of(generic, (), generic.take(slice(0, 0)))
        made = cls(config, parameters, nobody)
        made.users = UserTable.of(generic, votes.names, made.states_of(votes))
        return made

    @property
    def gaussian(self) -> tuple[str, str]:
        return "p", "covariance"

    def states_of(self, votes: Votes) -> States:
        values, vectors = self._of(votes.items)
        z = vectors[votes.chosen] - vectors[votes.rejected]
        offset = values[votes.chosen] - values[votes.rejected]
        rank, n = self.config.rank, len(votes.names)
        precision = self.config.ridge * np.eye(rank)
        p, covariance = fit_many(z, offset, votes.y, votes.weight, votes.user, n, np.zeros(rank), precision)
        return States({"p": np.asarray(p), "covariance": np.asarray(covariance)}, votes.counts)

    def reward(self, items: Items, a: Ints, b: Ints | None, states: States, who: Ints) -> Reward:
        value, _, z, _ = self.loadings(items, a, b)
        mean = value + np.einsum("kr,kr->k", z, states["p"][who])
        return Reward(mean, np.einsum("kr,krs,ks->k", z, states["covariance"][who], z))

    def loadings(self, items: Items, a: Ints, b: Ints | None) -> Loadings:
        values, vectors = self._of(items)
        value, z = values[a], vectors[a]
        if b is not None:
            value, z = value - values[b], z - vectors[b]
        return Loadings(value, np.zeros(len(a)), z, np.zeros_like(z))

    def _of(self, items: Items) -> tuple[Floats, Floats]:
        """Value `[m]` and vector `[m, r]` of each; 0 where there were no votes on it."""
        place, known = items.places_in(self.parameters["keys"])
        return self.parameters["values"][place] * known, self.parameters["vectors"][place] * known[:, None]


def _prior(config: ItemMf) -> Floats:
    return np.eye(config.rank) / config.ridge


def _factorise(config: ItemMf, votes: Votes, used: Ints, seed: int) -> tuple[Floats, Floats]:
    """The vectors `[m, r]` and values `[m]` of the `used` items, by L-BFGS over all numbers at once."""
    m, n, b, r = len(used), len(votes.names), len(votes), config.rank
    rows = np.arange(b)
    places = np.searchsorted(used, np.concatenate([votes.chosen, votes.rejected]))
    signs = np.repeat([1.0, -1.0], b)
    pairs = csr_array((signs, (np.tile(rows, 2), places)), shape=(b, m))
    named = votes.user >= 0
    people = csr_array((np.ones(named.sum()), (rows[named], votes.user[named])), shape=(b, n))
    cuts = np.cumsum([m, m * r])

    def loss(theta: Floats) -> tuple[float, Floats]:
        c, q, p = theta[: cuts[0]], theta[cuts[0] : cuts[1]].reshape(m, r), theta[cuts[1] :].reshape(n, r)
        apart, own = pairs @ q, people @ p
        s = pairs @ c + (apart * own).sum(1)
        g = votes.weight * (expit(s) - votes.y)
        prior = config.ridge * ((q**2).sum() + (p**2).sum()) + config.value_ridge * (c**2).sum()
        slope = [
            pairs.T @ g + config.value_ridge * c,
            (pairs.T @ (g[:, None] * own) + config.ridge * q).reshape(-1),
            (people.T @ (g[:, None] * apart) + config.ridge * p).reshape(-1),
        ]
        return float(votes.weight @ (np.logaddexp(0, s) - votes.y * s) + prior / 2), np.concatenate(slope)

    start = np.random.default_rng(seed).normal(0, _START, m + (m + n) * r)
    start[:m] = 0
    theta = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": config.steps}).x
    return theta[cuts[0] : cuts[1]].reshape(m, r), theta[:m]
