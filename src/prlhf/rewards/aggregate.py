"""Several models' scores as one."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from prlhf.rewards.base import Reward

__all__ = ["How", "aggregate", "total_variance"]

Floats = npt.NDArray[np.float64]
How = Literal["mean", "lcb", "worst", "uwo"]


def aggregate(scores: Floats, how: How, penalty: float) -> Floats:
    """`mean`, `mean - penalty std`, `min` or `mean - penalty variance` `[n]` over models `[k, n]` whose scores have the
    same zero (arXiv 2401.16635; the last two 2310.02743)."""
    if how == "worst":
        return np.asarray(scores.min(axis=0))
    mean = scores.mean(axis=0)
    if how == "lcb":
        mean = mean - penalty * scores.std(axis=0)
    if how == "uwo":
        mean = mean - penalty * scores.var(axis=0)
    return np.asarray(mean)


def total_variance(rewards: list[Reward]) -> Floats:
    """What a mixture of the models has: the mean of their variances and the variance of their means `[n]`."""
    within = np.mean([r.variance for r in rewards], axis=0)
    return np.asarray(within + np.var([r.mean for r in rewards], axis=0))
