"""Options of `pref`."""

from typing import Literal

from prlhf.config.rewards.base import AnyReward

__all__ = ["Pref"]


class Pref(AnyReward):
    """To be written."""

    type: Literal["pref"] = "pref"
