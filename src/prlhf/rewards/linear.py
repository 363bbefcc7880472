"""What members have in common that keep a weight for each feature and person: `r = <w_u, x>`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import numpy.typing as npt

from prlhf.config.rewards.base import AnyReward
from prlhf.rewards.base import Reward, VectorReward
from prlhf.rewards.scales import checked, row_products
from prlhf.rewards.states import States, UserTable
from prlhf.rewards.votes import Items, Votes

__all__ = ["LinearReward"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_NOBODY = UserTable.of(States({}, np.zeros(1, np.int64)), (), States({}, np.zeros(0, np.int64)))


class LinearReward(VectorReward):
    """A person's state is the array `weights` `[n, f]`, of features as they are given; there is no variance (0)."""

    @classmethod
    def _of(cls, config: AnyReward, parameters: dict[str, npt.NDArray[Any]], generic: Floats, votes: Votes) -> Self:
        """With the generic user's weights for scaled features `[f]`, and the states of `votes.names` by `states_of`."""
        model = cls(config, parameters, _NOBODY)
        nobody = model._states(generic[None], np.zeros(1, np.int64))
        model.users = UserTable.of(nobody, votes.names, model.states_of(votes))
        return model

    def _states(self, weights: npt.NDArray[np.floating], votes: Ints) -> States:
        """Of weights for scaled features."""
        return States({"weights": (weights / self.parameters["scale"]).astype(np.float32)}, votes)

    def reward(self, items: Items, a: Ints, b: Ints | None, states: States, who: Ints) -> Reward:
        weights = states["weights"]
        x = checked(items, weights.shape[1])
        mean = row_products(x, a, weights, who)
        if b is not None:
            mean -= row_products(x, b, weights, who)
        return Reward(mean, np.zeros(len(a)))
