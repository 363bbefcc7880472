"""Options of `bt`."""

from typing import Literal

from prlhf.config.rewards.base import AnyReward

__all__ = ["Bt"]


class Bt(AnyReward):
    """To be written."""

    type: Literal["bt"] = "bt"
