"""From a reward model and comparisons to a table of log-odds; which votes of somebody new are told first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from prlhf.data.facts import content, hashed
from prlhf.evaluation.metrics import derangement
from prlhf.evaluation.scores import Scores
from prlhf.rewards.base import Reward, RewardModel, VectorReward
from prlhf.rewards.votes import Votes
from prlhf.types import Comparison

__all__ = ["few_shot", "log_odds", "places_in_order", "reward_scores"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CERTAIN = 1e-9
"""Beyond this, a probability in double precision no longer says how sure the model was."""


def log_odds(model: RewardModel, margin: Reward) -> Floats:
    """What the model states as probability, as log-odds `[b]`: `sigma` of it is `model.probability_of(margin)`.

    A probability that rounds to 0 or 1 would make a log-loss of infinity or hide its size; there it is the margin
    itself, moderated by its variance.
    """
    p = model.probability_of(margin)
    told = (p > _CERTAIN) & (p < 1 - _CERTAIN)
    inside = np.where(told, p, 0.5)
    moderated = margin.mean / np.sqrt(1 + np.pi / 8 * margin.variance)
    return np.asarray(np.where(told, np.log(inside) - np.log1p(-inside), moderated))


def reward_scores(model: RewardModel, comparisons: Sequence[Comparison], seed: int = 0) -> Scores:
    """The table of `comparisons`: each under the state of its user, the generic one, and somebody else's.

    `seen` says who has a state; somebody else is one of those who have one and occur here. Margins are log-odds, so
    that the temperature `beta` of a log-loss on the table is 1.
    """
    users = [c.user for c in comparisons]
    rows = model.users.rows(users)
    margin = _margins(model, comparisons)
    people = len(np.unique(rows[rows > 0]))
    partners = model.users.index.ids(derangement(rows, seed)) if people > 1 else None
    return Scores.of(
        comparisons,
        seen=rows > 0,
        h_specific=log_odds(model, margin(users)),
        h_generic=log_odds(model, margin([None] * len(users))),
        h_permuted=None if partners is None else log_odds(model, margin(partners)),
    )


def _margins(model: RewardModel, comparisons: Sequence[Comparison]) -> Callable[[Sequence[str | None]], Reward]:
    """The margins of `comparisons` for any users, their features taken once."""
    if not isinstance(model, VectorReward) or model.features is None:
        return lambda users: model.margin(comparisons, users)
    votes = Votes.of(comparisons, model.features)

    def margins(users: Sequence[str | None]) -> Reward:
        rows = model.users.rows(users)
        return model.reward(votes.items, votes.chosen, votes.rejected, model.users.states, rows)

    return margins


def places_in_order(comparisons: Sequence[Comparison], seed: int = 0) -> Ints:
    """Where each vote stands among those of its user `[b]`, from 0, in an order by content alone: the first five are
    among the first ten, whatever the order of the rows."""
    keys = [(hashed(f"{seed}\0{c.user}\0{c.pair_key}"), content(c)) for c in comparisons]
    found, counts = np.zeros(len(keys), np.int64), defaultdict[str | None, int](int)
    for i in sorted(range(len(keys)), key=keys.__getitem__):
        user = comparisons[i].user
        found[i] = counts[user]
        counts[user] += 1
    return found


def few_shot(comparisons: Sequence[Comparison], votes: int, seed: int = 0) -> tuple[list[Comparison], list[Comparison]]:
    """The first `votes` of each user (`places_in_order`), and what can be measured then: the votes on other pairs."""
    first = places_in_order(comparisons, seed) < votes
    told = [c for c, early in zip(comparisons, first, strict=True) if early]
    known = {(c.user, c.pair_key) for c in told}
    return told, [c for c in comparisons if (c.user, c.pair_key) not in known]
