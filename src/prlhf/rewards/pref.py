"""PReF (Shenfeld et al., arXiv 2503.06358): a person is a few weights of reward factors that everybody shares."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from prlhf.config.rewards.base import AnyReward
from prlhf.config.rewards.pref import Pref
from prlhf.rewards.base import Loadings, Progress, Reward, VectorReward
from prlhf.rewards.newton import fit_many
from prlhf.rewards.scales import checked, inverse_scales, products, scaled
from prlhf.rewards.states import States, UserTable
from prlhf.rewards.votes import Items, Votes

__all__ = ["PrefReward"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NOTHING = 1e-3
"""Precision of a prior that says nothing: the `eps I` of the paper's confidence set."""


class PrefReward(VectorReward):
    """`r_u(x, y) = <l_u, phi(x, y)>`; a state is the mode of `l_u` and Laplace's covariance there."""

    Config: ClassVar[type[AnyReward]] = Pref
    stops_early: ClassVar[bool] = True

    @classmethod
    def fit(
        cls,
        config: Pref,
        votes: Votes,
        *,
        validation: Votes | None = None,
        seed: int = 0,
        progress: Progress = lambda steps: steps,
    ) -> Self:
        from prlhf.rewards.pref_training import factorise

        inverse = inverse_scales(votes)
        x = scaled(votes.items, inverse)
        held_out = (
            (validation, scaled(validation.items, inverse)) if validation is not None and len(validation) else None
        )
        phi, people, steps = factorise(config, votes, x, held_out, seed, progress)
        mean = people.mean(axis=0)
        spread = (people - mean).T @ (people - mean) / len(people)
        parameters = {"inverse_scale": inverse, "mean": mean, "covariance": spread}
        parameters |= {f"phi.{i}": w for i, w in enumerate(phi)}
        generic = States({"weights": mean[None], "covariance": spread[None]}, np.zeros(1, np.int64))
        model = cls(config, parameters, UserTable.of(generic, [], generic.take(slice(0, 0))))
        model.users = UserTable.of(generic, votes.names, model.states_of(votes))
        model.ended = None if held_out is None else config.model_copy(update={"steps": steps})
        return model

    @property
    def gaussian(self) -> tuple[str, str] | None:
        """None without a prior: a first vote would make everything unknown that a stranger's spread knows."""
        return None if self.config.prior == "none" else ("weights", "covariance")

    def states_of(self, votes: Votes) -> States:
        phi = self._phi(votes.items)
        z = phi[votes.chosen] - phi[votes.rejected]
        n, offset = len(votes.names), np.zeros(len(votes))
        mean, precision = self.parameters["mean"], self._precision()
        weights, covariance = fit_many(z, offset, votes.y, votes.weight, votes.user, n, mean, precision)
        covariance[votes.counts == 0] = self.parameters["covariance"]
        return States({"weights": weights, "covariance": covariance}, votes.counts)

    def reward(self, items: Items, a: Ints, b: Ints | None, states: States, who: Ints) -> Reward:
        phi = self._phi(items)
        z = phi[a] if b is None else phi[a] - phi[b]
        mean = np.einsum("kj,kj->k", z, states["weights"][who])
        return Reward(mean, np.einsum("ki,kij,kj->k", z, states["covariance"][who], z))

    def loadings(self, items: Items, a: Ints, b: Ints | None) -> Loadings:
        phi = self._phi(items)
        z = phi[a] if b is None else phi[a] - phi[b]
        return Loadings(np.zeros(len(a)), np.zeros(len(a)), z, np.zeros_like(z))

    def _phi(self, items: Items) -> Floats:
        """The factors of each item `[m, J]`."""
        inverse = self.parameters["inverse_scale"]
        found = products(checked(items, len(inverse)), inverse[:, None] * self.parameters["phi.0"])
        if "phi.1" in self.parameters:
            found = np.tanh(found) @ self.parameters["phi.1"]
        return found

    def _precision(self) -> Floats:
        """Of the prior of a person's weights `[J, J]`."""
        spread: npt.NDArray[Any] = self.parameters["covariance"]
        one = np.eye(len(spread))
        if self.config.prior == "none":
            return NOTHING * one
        if self.config.prior == "standard":
            return self.config.strength * one
        return np.asarray(np.linalg.inv(spread + 1e-6 * (1 + np.trace(spread)) * one))
