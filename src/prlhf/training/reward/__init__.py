"""Training of reward models that take texts and not features."""

from prlhf.training.reward.soft_prompt import train_soft_prompt

__all__ = ["train_soft_prompt"]
