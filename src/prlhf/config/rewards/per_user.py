"""Options of `per_user`."""

from typing import Literal

from prlhf.config.rewards.base import AnyReward

__all__ = ["PerUser"]


class PerUser(AnyReward):
    """To be written."""

    type: Literal["per_user"] = "per_user"
