"""Preference objectives: pure functions of log-probabilities, one file a method."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from prlhf.config.objectives import Dpo, ObjectiveConfig
from prlhf.objectives.dpo import dpo_loss
from prlhf.objectives.ipo import ipo_loss
from prlhf.objectives.mix import mix
from prlhf.objectives.pair import PairLogps, margin
from prlhf.objectives.sft import sft_loss

__all__ = ["Objective", "PairLogps", "dpo_loss", "ipo_loss", "make_objective", "margin", "mix", "sft_loss"]

Objective = Callable[[PairLogps, PairLogps], Tensor]
"""(policy, reference) -> loss per comparison, in the shape that the two broadcast to."""


def make_objective(config: ObjectiveConfig) -> Objective:
    """The objective that `config` describes."""
    preference = _preference(config)
    if not config.sft_weight:
        return preference
    return lambda policy, reference: preference(policy, reference) + config.sft_weight * sft_loss(policy)


def _preference(config: ObjectiveConfig) -> Objective:
    if isinstance(config, Dpo):
        return lambda policy, reference: dpo_loss(margin(policy, reference), config.beta)
    if config.average:
        return lambda policy, reference: ipo_loss(margin(policy.per_token(), reference.per_token()), config.beta)
    return lambda policy, reference: ipo_loss(margin(policy, reference), config.beta)
