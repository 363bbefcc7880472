"""From votes to a reward model in a folder, and reward models compared with one another.

Names load on first use: a model on features needs nothing of what one that reads texts is trained with."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prlhf.training.reward.run import RewardResult, train_reward
    from prlhf.training.reward.soft_prompt import soft_prompt_result, train_soft_prompt

_PUBLIC = {
    "RewardResult": "prlhf.training.reward.run",
    "soft_prompt_result": "prlhf.training.reward.soft_prompt",
    "train_reward": "prlhf.training.reward.run",
    "train_soft_prompt": "prlhf.training.reward.soft_prompt",
}

__all__ = ["RewardResult", "soft_prompt_result", "train_reward", "train_soft_prompt"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'prlhf.training.reward' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
