"""Options of `vpl`."""

from typing import Literal

from prlhf.config.rewards.base import AnyReward

__all__ = ["Vpl"]


class Vpl(AnyReward):
    """To be written."""

    type: Literal["vpl"] = "vpl"
