"""Options of `linear_head`."""

from typing import Literal

from prlhf.config.rewards.base import AnyReward

__all__ = ["LinearHead"]


class LinearHead(AnyReward):
    """To be written."""

    type: Literal["linear_head"] = "linear_head"
