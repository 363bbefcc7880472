"""Options of `factor`."""

from typing import Literal

from prlhf.config.rewards.base import AnyReward

__all__ = ["Factor"]


class Factor(AnyReward):
    """To be written."""

    type: Literal["factor"] = "factor"
