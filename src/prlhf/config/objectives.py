"""The objectives: a union on `type`, each with its paper's defaults."""

from typing import Annotated, Literal

from pydantic import Field

from prlhf.config.base import Config

__all__ = ["Dpo", "Ipo", "ObjectiveConfig"]


class Dpo(Config):
    """`-log sigmoid(beta h)` (Rafailov et al., arXiv 2305.18290)."""

    type: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0)
    """How strongly the model is held to the reference; smaller = more freedom."""


class Ipo(Config):
    """`(h - 1/(2 beta))^2` (Azar et al., arXiv 2310.12036)."""

    type: Literal["ipo"] = "ipo"
    beta: float = Field(0.1, gt=0)
    """How strongly the model is held to the reference; smaller = more freedom."""
    average: bool = False
    """False: log-probabilities summed over the response, as in the paper; True: their mean per token, as in TRL."""


ObjectiveConfig = Annotated[Dpo | Ipo, Field(discriminator="type")]
