"""Options of `soft_prompt`."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from prlhf.config.model import ModelConfig
from prlhf.config.objectives import Dpo
from prlhf.config.rewards.base import FORMAT, FORMAT_VERSION, AnyReward
from prlhf.config.run import RunConfig

__all__ = ["Logistic", "SoftPrompt"]


class Logistic(Dpo):
    """`-log sigmoid(r(chosen) - r(rejected))`: DPO's loss of rewards in the place of log-probabilities."""

    beta: float = Field(1.0, ge=1, le=1)
    """1: the scale of rewards is learned."""
    sft_weight: float = Field(0.0, ge=0, le=0)
    """0: a reward model keeps no language."""


class SoftPrompt(RunConfig, AnyReward):
    """`-alpha log sigmoid(r(x, y1, u) - r(x, y2, u)) - (1 - alpha) log sigmoid(r(x, y1, u_0) - r(x, y2, u_0))`: a
    language model with user tokens, a LoRA and a scalar head (P-RM of P-RLHF, arXiv 2402.05133, appendix F.2).

    The paper's soft prompt is `reads = "last", tastes = 0, start = "random"`; it learns much more slowly.

    It learns from texts and not from features, so its options are those of a run of `prlhf train`, and mean the same.
    """

    COMMAND: ClassVar[str] = "prlhf reward train --model soft_prompt"

    type: Literal["soft_prompt"] = "soft_prompt"
    objective: Logistic = Logistic()
    """The loss of a difference of rewards."""
    generic_text: Literal["keep", "drop"] = "keep"
    """What the generic user reads of texts about users. `keep`: what the user of the vote reads, as in P-DPO; `drop`:
    none, which is how the paper defines it for P-RM. (`model.reference_user_text` means nothing here.)"""
    reads: Literal["mean", "last"] = "mean"
    """The states that the head reads: the `mean` over the tokens of the response, or the `last` one (the paper's)."""
    tastes: int = Field(8, ge=0)
    """k, in how many directions the heads of people differ: the user's row is read by the head too. 0: one head for
    all, the paper's soft prompt. A fitted start uses as many of them as held-out training votes show."""
    start: Literal["fitted", "random"] = "fitted"
    """`fitted`: head and rows start at the factor model of a frozen language model's states; `random`: the head from
    N(0, 1 / (d + 1)), and rows as `user_model.start` says."""
    fold_in_rank: int = Field(32, ge=1)
    """Directions in which the row of a new user may leave the generic one: those in which trained rows do most."""
    fold_in_passes: int = Field(4, ge=1)
    """Passes through the model, forward and back, from the generic row to that of a new user."""

    @property
    def language_model(self) -> ModelConfig:
        """As the language model is made: the generic user reads what a reference would."""
        return self.model.model_copy(update={"reference_user_text": self.generic_text == "keep"})

    def described(self) -> dict[str, Any]:
        """As every folder of a reward model begins."""
        return {"format": FORMAT, "format_version": FORMAT_VERSION, "config": super().described()}

    @classmethod
    def options_in(cls, held: dict[str, Any]) -> dict[str, Any]:
        """What `described` has as `config`, or a recipe."""
        found: dict[str, Any] = held.get("config", held)
        return found
