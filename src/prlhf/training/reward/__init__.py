"""From votes to a reward model in a folder, and reward models compared with one another."""

from prlhf.training.reward.run import RewardResult, train_reward
from prlhf.training.reward.soft_prompt import soft_prompt_result, train_soft_prompt

__all__ = ["RewardResult", "soft_prompt_result", "train_reward", "train_soft_prompt"]
