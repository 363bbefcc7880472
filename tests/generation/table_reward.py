"""A reward model whose every number a test chooses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prlhf.rewards import Reward, RewardModel, States, UserTable


class TableReward(RewardModel):
    """`worth(text, user)`, with the users ann and bob, and the covariance `shares(text) . shares(other)`."""

    def __init__(self, worth: Callable[[str, str | None], float], shares: Callable[[str], list[float]] | None = None):
        self.worth = worth
        self.shares = shares or (lambda text: [0.0])
        self.calls = 0
        self.users = UserTable.of(_states(1), ["ann", "bob"], _states(2))

    def _who(self, users):
        known = self.users.rows(list(users)) > 0
        return [u if k else None for u, k in zip(users, known, strict=True)]

    def score(self, prompts, responses, users):
        self.calls += 1
        mean = [self.worth(r, u) for r, u in zip(responses, self._who(users), strict=True)]
        return Reward(np.array(mean), np.array([np.square(self.shares(r)).sum() for r in responses]))

    def margin(self, comparisons, users=None):
        who = self._who([c.user for c in comparisons] if users is None else users)
        mean = [self.worth(c.chosen, u) - self.worth(c.rejected, u) for c, u in zip(comparisons, who, strict=True)]
        apart = [np.subtract(self.shares(c.chosen), self.shares(c.rejected)) for c in comparisons]
        return Reward(np.array(mean), np.array([np.square(d).sum() for d in apart]))

    def fold_in(self, comparisons):
        raise NotImplementedError

    def save(self, folder):
        raise NotImplementedError

    @classmethod
    def load(cls, folder):
        raise NotImplementedError


def _states(n):
    return States({}, np.zeros(n, np.int64))
