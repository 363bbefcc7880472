"""The factor reward model: the crowd, and a few directions in which people differ."""

from prlhf.rewards.factor.model import FactorReward

__all__ = ["FactorReward"]
