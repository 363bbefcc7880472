"""From votes to a reward model in a folder, and reward models compared with one another."""

from prlhf.training.reward.run import RewardResult, train_reward

__all__ = ["RewardResult", "train_reward"]
