"""The four figures of a reward model, each with its interval over users, and its controls beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from prlhf.evaluation.bootstrap import Estimate, UserSums, clusters, macro, resample_sums
from prlhf.evaluation.by_user import credit, log_loss
from prlhf.evaluation.scores import Scores

__all__ = ["BINS", "Reliability", "RewardFigures", "SideFigures", "reliability", "reward_figures", "side_figures"]

Floats = npt.NDArray[np.float64]

BINS = 10
"""Of confidence, from 0.5 to 1, all of one width."""


@dataclass(frozen=True, slots=True)
class RewardFigures:
    """Of one way to answer a set of comparisons. Weights count, and ties are not among the comparisons."""

    accuracy: Estimate
    """Share of votes whose chosen response has the higher reward; one half where both have the same."""
    accuracy_per_user: Estimate
    """The same by user, then the mean over users, each counting once."""
    log_loss: Estimate
    """Mean of `-log p(chosen > rejected)`; 0.693 for somebody who knows nothing."""
    calibration_error: Estimate
    """Expected calibration error: comparisons in ten bins by confidence `max(p, 1 - p)`, then the mean over
    comparisons of the distance between a bin's mean confidence and the share of it that was right. This is that of the
    probability of either side in twenty bins from 0 to 1, every comparison counted from both of its sides, so it does
    not depend on which side the data name first."""

    def as_dict(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name).as_dict() for f in fields(self)}


@dataclass(frozen=True, slots=True)
class SideFigures:
    """Of some users: as they are answered (`own`: under their own state where they have one), as everybody is, and,
    where two of them have states, as if they were somebody else."""

    own: RewardFigures
    generic: RewardFigures
    permuted: RewardFigures | None
    personal_gain: Estimate
    """Accuracy, own minus generic, paired."""
    permutation_drop: Estimate
    """Accuracy, own minus permuted, paired."""
    log_loss_gain: Estimate
    """Log-loss, generic minus own, paired."""

    def as_dict(self) -> dict[str, Any]:
        """The own figures at the top, the controls below."""
        permuted = None if self.permuted is None else self.permuted.as_dict()
        gains = {name: getattr(self, name).as_dict() for name in ("personal_gain", "permutation_drop", "log_loss_gain")}
        return {**self.own.as_dict(), "generic": self.generic.as_dict(), "permuted": permuted, **gains}


def side_figures(scores: Scores, bootstrap: int = 1000, seed: int = 0) -> SideFigures:
    """The figures of a table of log-odds; its permuted margins count for those who have a state."""
    own, generic = credit(scores.h), credit(scores.h_generic)
    gains = {
        "personal_gain": own - generic,
        "log_loss_gain": log_loss(scores.h_generic, 1.0) - log_loss(scores.h, 1.0),
    }
    found = UserSums.of(scores.user, scores.weight, gains).means(bootstrap, seed)
    permuted, drop = None, Estimate(math.nan)
    if scores.h_permuted is not None:
        known = scores.select(scores.seen)
        assert known.h_permuted is not None
        permuted = reward_figures(known, known.h_permuted, bootstrap, seed)
        lost = {"drop": credit(known.h) - credit(known.h_permuted)}
        drop = UserSums.of(known.user, known.weight, lost).means(bootstrap, seed)["drop"]
    return SideFigures(
        own=reward_figures(scores, scores.h, bootstrap, seed),
        generic=reward_figures(scores, scores.h_generic, bootstrap, seed),
        permuted=permuted,
        permutation_drop=drop,
        **found,
    )


def reward_figures(scores: Scores, h: Floats, bootstrap: int = 1000, seed: int = 0) -> RewardFigures:
    """The figures of the log-odds `h` `[b]` on the comparisons of `scores`."""
    nothing = Estimate(math.nan)
    if not len(scores):
        return RewardFigures(nothing, nothing, nothing, nothing)
    right = credit(h)
    rows = UserSums.of(scores.user, scores.weight, {"accuracy": right, "log_loss": log_loss(h, 1.0)})
    found = rows.means(bootstrap, seed)
    named = np.array([user is not None for user in scores.user], bool)
    each = UserSums.of(scores.user[named], scores.weight[named], {"accuracy": right[named]})
    return RewardFigures(
        accuracy=found["accuracy"],
        accuracy_per_user=macro(each.columns["accuracy"] / each.weight, int(named.sum()), bootstrap, seed),
        log_loss=found["log_loss"],
        calibration_error=_calibration_error(scores, h, bootstrap, seed),
    )


def _confidence(h: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """`max(p, 1 - p)` and its bin `[b]`."""
    confidence = 1 / (1 + np.exp(-np.abs(h)))
    return confidence, np.minimum((2 * confidence - 1) * BINS, BINS - 1).astype(np.int64)


def _calibration_error(scores: Scores, h: Floats, bootstrap: int, seed: int) -> Estimate:
    """Draws of users leave a bin's gap to chance once more, so the interval lies a little high where gaps are small."""
    confidence, bins = _confidence(h)
    codes, names = clusters(scores.user)
    table = np.zeros((len(names), BINS + 1))
    np.add.at(table, (codes, bins), scores.weight * (credit(h) - confidence))
    table[:, BINS] = np.bincount(codes, scores.weight, minlength=len(names))
    drawn = resample_sums(table, bootstrap, seed)

    def error(sums: Floats) -> Floats:
        return np.asarray(np.abs(sums[..., :BINS]).sum(-1) / sums[..., BINS])

    return Estimate.of(float(error(table.sum(0))), error(drawn), users=len(names), comparisons=len(scores))


@dataclass(frozen=True)
class Reliability:
    """Of each bin of confidence that has comparisons: mean confidence, share that was right, weight."""

    confidence: Floats
    right: Floats
    weight: Floats


def reliability(scores: Scores, h: Floats) -> Reliability:
    """What a reliability diagram shows."""
    confidence, bins = _confidence(h)

    def sums(x: Floats) -> Floats:
        return np.bincount(bins, scores.weight * x, minlength=BINS).astype(np.float64)

    weight = sums(np.ones(len(h)))
    held = weight > 0
    return Reliability(sums(confidence)[held] / weight[held], sums(credit(h))[held] / weight[held], weight[held])
