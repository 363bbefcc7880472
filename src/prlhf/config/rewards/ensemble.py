"""Options of `ensemble`."""

from typing import Literal

from prlhf.config.rewards.base import AnyReward

__all__ = ["Ensemble"]


class Ensemble(AnyReward):
    """To be written."""

    type: Literal["ensemble"] = "ensemble"
