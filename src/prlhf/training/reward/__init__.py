"""From votes to a reward model in a folder, and reward models compared with one another."""

from prlhf.training.reward.run import RewardResult, train_reward
from prlhf.training.reward.soft_prompt import train_soft_prompt

__all__ = ["RewardResult", "train_reward", "train_soft_prompt"]
