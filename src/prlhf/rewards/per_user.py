"""`per_user`: a ridge logistic regression for each person, drawn towards everybody's weights or towards zero."""

from __future__ import annotations

from typing import Self

import numpy as np

from prlhf.config.rewards.per_user import PerUser
from prlhf.rewards.base import Progress
from prlhf.rewards.bt import fit_pooled
from prlhf.rewards.linear import LinearReward
from prlhf.rewards.logistic import fit_around
from prlhf.rewards.scales import root_mean_square
from prlhf.rewards.states import States
from prlhf.rewards.votes import Votes

__all__ = ["PerUserReward"]


class PerUserReward(LinearReward):
    """`r = <w_u, x>`; a person without votes has the pooled weights."""

    Config = PerUser

    @classmethod
    def fit(
        cls,
        config: PerUser,
        votes: Votes,
        *,
        validation: Votes | None = None,
        seed: int = 0,
        progress: Progress = lambda steps: steps,
    ) -> Self:
        scale = root_mean_square(votes)
        pooled = fit_pooled(votes, scale, config.pooled_ridge, seed, progress)
        return cls._of(config, {"scale": scale, "pooled": pooled}, pooled, votes)

    def states_of(self, votes: Votes) -> States:
        scale, pooled = self.parameters["scale"], self.parameters["pooled"]
        centre = pooled if self.config.shrink_to == "pooled" else np.zeros_like(pooled)
        own = centre + fit_around(votes, scale, centre, self.config.ridge)
        return self._states(np.where(votes.counts[:, None] > 0, own, pooled), votes.counts)
