"""What an interview found, for a person to read: what moves up and down, how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from prlhf.rewards.asking.belief import Belief
from prlhf.rewards.asking.pool import Pool
from prlhf.rewards.base import Reward, VectorReward
from prlhf.rewards.states import States
from prlhf.types import Prompt

__all__ = ["Move", "moves", "predictable"]


@dataclass(frozen=True)
class Move:
    """A response that is worth more, or less, to a person than to the generic user."""

    prompt: Prompt
    response: str
    by: float
    """Log-odds, beside the mean of the pool's responses to the prompt."""
    sure: float
    """Probability of the direction, from 0.5 to 1."""


def moves(model: VectorReward, pool: Pool, state: States) -> list[Move]:
    """Of every response of the pool, from the one that rises most to the one that falls most; what is less sure counts
    less in this order."""
    assert model.gaussian is not None
    before, mean = (s[model.gaussian[0]][0] for s in (model.users.states, state))
    covariance = np.asarray(state[model.gaussian[1]][0], np.float64)
    texts = dict(_texts(pool))
    places = np.array(sorted(texts), np.int64)
    phi = model.loadings(pool.votes.items, places, None).phi
    prompts: dict[Prompt, int] = {}
    group = np.array([prompts.setdefault(texts[place][0], len(prompts)) for place in places.tolist()])
    centre = np.stack([np.bincount(group, column) for column in phi.T], 1) / np.bincount(group)[:, None]
    phi = phi - centre[group]
    by = phi @ (mean - before)
    spread = np.sqrt(np.maximum(np.einsum("mk,mk->m", phi @ covariance, phi), 1e-300))
    sure = norm.cdf(np.abs(by) / spread)
    found = [Move(*texts[p], float(b), float(s)) for p, b, s in zip(places.tolist(), by, sure, strict=True)]
    return sorted(found, key=lambda move: -move.by * (2 * move.sure - 1))


def _texts(pool: Pool) -> list[tuple[int, tuple[Prompt, str]]]:
    sides = zip(pool.pairs, pool.votes.chosen.tolist(), pool.votes.rejected.tolist(), strict=True)
    return [
        item for pair, a, b in sides for item in ((a, (pair.prompt, pair.chosen)), (b, (pair.prompt, pair.rejected)))
    ]


def predictable(model: VectorReward, belief: Belief) -> float:
    """The share of the person's choices in the pool that the model expects to predict."""
    p = model.probability_of(Reward(belief.margin, belief.personal + belief.shared))
    return float(np.maximum(p, 1 - p).mean())
