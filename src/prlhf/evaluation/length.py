"""What length alone predicts: the baseline that a model of preferences has to beat."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.evaluation.metrics import derangement
from prlhf.evaluation.scores import Scores
from prlhf.types import Comparison

__all__ = ["LengthBaseline", "length_scores"]

Floats = npt.NDArray[np.float64]


def _longer(comparison: Comparison) -> int:
    """1 if the chosen response is the longer one in characters, -1 if the shorter, 0 if both are equally long."""
    a, b = len(comparison.chosen), len(comparison.rejected)
    return (a > b) - (a < b)


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))


@dataclass(frozen=True)
class LengthBaseline:
    """How often the longer response is chosen: by everybody (`pooled`) and by each user with training votes (`users`).

    Both are log-odds, so `sigma(h)` is the predicted probability of a vote and the log-loss belongs to beta = 1.
    """

    pooled: float
    users: dict[str, float]

    @classmethod
    def fit(cls, train: Sequence[Comparison], prior_votes: float = 4.0) -> LengthBaseline:
        """Count longer and shorter choices in `train` (ties and equal lengths say nothing).

        The pooled share has one imagined vote for each side. A user's share is shrunk towards it as if the user had
        also cast `prior_votes` votes like everybody's: (longer_u + prior · pooled) / (votes_u + prior).
        """
        if prior_votes <= 0:
            raise DataError(f"length baseline: found prior_votes = {prior_votes}, expected more than 0")
        longer: defaultdict[str | None, float] = defaultdict(float)
        votes: defaultdict[str | None, float] = defaultdict(float)
        for comparison in train:
            direction = _longer(comparison)
            if direction and not comparison.tie:
                longer[comparison.user] += comparison.weight * (direction > 0)
                votes[comparison.user] += comparison.weight
        share = (sum(longer.values()) + 1) / (sum(votes.values()) + 2)
        users = {
            user: _log_odds((longer[user] + prior_votes * share) / (n + prior_votes))
            for user, n in votes.items()
            if user is not None
        }
        return cls(_log_odds(share), users)

    def scores(self, comparisons: Sequence[Comparison], seed: int = 0) -> Scores:
        """Margins of `comparisons`: the log-odds in favour of the chosen response, 0 where both are equally long.

        Users without training votes are unseen and get the pooled direction. `h_permuted` uses another user's.
        """
        direction = np.array([_longer(c) for c in comparisons], dtype=np.float64)
        names = sorted(self.users)
        place = {name: i + 1 for i, name in enumerate(names)}
        table = np.array([self.pooled, *(self.users[name] for name in names)])
        rows = np.array([0 if c.user is None else place.get(c.user, 0) for c in comparisons], dtype=np.int64)
        partners = derangement(rows, seed, population=np.arange(len(table)))
        return Scores.of(
            comparisons,
            seen=rows > 0,
            h_specific=direction * table[rows],
            h_generic=direction * self.pooled,
            h_permuted=direction * table[partners] if len(names) > 1 else None,
        )


def length_scores(train: Sequence[Comparison], test: Sequence[Comparison], prior_votes: float = 4.0) -> Scores:
    """The length baseline learned on `train`, applied to `test`."""
    return LengthBaseline.fit(train, prior_votes).scores(test)
