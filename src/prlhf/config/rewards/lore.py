"""Options of `lore`."""

from typing import Literal

from prlhf.config.rewards.base import AnyReward

__all__ = ["Lore"]


class Lore(AnyReward):
    """To be written."""

    type: Literal["lore"] = "lore"
