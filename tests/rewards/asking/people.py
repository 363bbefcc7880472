"""A factor model of planted people and a pool of pairs of theirs, shared by the tests of asking."""

from __future__ import annotations

from functools import cache

import numpy as np
from planted_votes import Truth, planted, votes_of

from prlhf.config.rewards import Factor
from prlhf.rewards import Votes, fit_reward
from prlhf.rewards.asking import Pool

OPTIONS = {"personal": 1.5, "item_effects": "off", "nonlinear": "off", "rank": 2}
KNOWN = 60


@cache
def world(flips: float = 0.0):
    """A model that learned from `KNOWN` people, the truth, and votes of all."""
    votes, _, truth = planted(users=80, votes_each=40, items=80, rank=2, seed=4, personal=3.0)
    old = votes.take(votes.user < KNOWN).of_users(votes.names[:KNOWN])
    return fit_reward(Factor(**OPTIONS, flips=flips), old), votes, truth


def pairs(votes: Votes, count: int = 300, seed: int = 0) -> Votes:
    """Different pairs as votes of nobody, with hashes as texts have them."""
    rng = np.random.default_rng(seed)
    both = rng.permutation([(a, b) for a in range(len(votes.items)) for b in range(a)])[:count]
    return votes_of(votes.items, list(both[:, 0]), list(both[:, 1]), [-1] * count, ("x",))


def pool(count: int = 300, seed: int = 0) -> tuple[object, Pool, Truth]:
    model, votes, truth = world()
    return model, Pool.of_votes(model, pairs(votes, count, seed)), truth


def keys(made: Pool, places) -> list[str]:
    return [f"{made.votes.pair[place]:016x}" for place in places]
