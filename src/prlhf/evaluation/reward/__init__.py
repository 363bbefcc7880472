"""How right a reward model is about people: figures with intervals, few-shot, controls, checks."""

from prlhf.evaluation.reward.evaluate import evaluate_reward
from prlhf.evaluation.reward.figures import RewardFigures, SideFigures
from prlhf.evaluation.reward.result import RewardEvaluation

__all__ = ["RewardEvaluation", "RewardFigures", "SideFigures", "evaluate_reward"]
