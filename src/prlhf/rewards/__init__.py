"""Reward models: what a response is worth to each person."""

from prlhf.rewards.base import Reward, RewardModel, VectorReward
from prlhf.rewards.make import fit_reward, load_reward
from prlhf.rewards.states import States, UserTable
from prlhf.rewards.votes import Items, Votes

__all__ = [
    "Items",
    "Reward",
    "RewardModel",
    "States",
    "UserTable",
    "VectorReward",
    "Votes",
    "fit_reward",
    "load_reward",
]
