"""What the options of every reward model have in common."""

from typing import Any, ClassVar

from prlhf.config.base import Config

__all__ = ["FORMAT", "FORMAT_VERSION", "AnyReward"]

FORMAT = "prlhf-reward-model"
FORMAT_VERSION = 1


class AnyReward(Config):
    """Options of a reward model."""

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {}
    """Option -> the values that `prlhf reward compare` tries on validation; the defaults are always tried first."""
