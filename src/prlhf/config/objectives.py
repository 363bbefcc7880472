"""The objectives: a union on `type`, each with its paper's defaults."""

from typing import Annotated, Literal

from pydantic import Field

from prlhf.config.base import Config

__all__ = ["Dpo", "Ipo", "ObjectiveConfig"]


class PairObjective(Config):
    """What every objective on pairs can add to its own loss."""

    sft_weight: float = Field(0.0, ge=0)
    """Weight of the chosen response's negative log-probability per token, which keeps the language while a small `beta`
    sharpens the preference (arXiv 2404.19733, eq. 2; TRL: `loss_type=["sigmoid", "sft"]`)."""


class Dpo(PairObjective):
    """`-log sigmoid(beta h)` (Rafailov et al., arXiv 2305.18290)."""

    type: Literal["dpo"] = "dpo"
    beta: float = Field(0.1, gt=0)
    """How strongly the model is held to the reference; smaller = more freedom."""


class Ipo(PairObjective):
    """`(h - 1/(2 beta))^2` (Azar et al., arXiv 2310.12036)."""

    type: Literal["ipo"] = "ipo"
    beta: float = Field(0.1, gt=0)
    """How strongly the model is held to the reference; smaller = more freedom."""
    average: bool = False
    """False: log-probabilities summed over the response, as in the paper; True: their mean per token, as in TRL."""


ObjectiveConfig = Annotated[Dpo | Ipo, Field(discriminator="type")]
