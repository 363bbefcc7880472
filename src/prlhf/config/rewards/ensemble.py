"""Options of `ensemble`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from prlhf.config.rewards.base import AnyReward
from prlhf.config.rewards.bt import Bt
from prlhf.config.rewards.factor import Factor
from prlhf.config.rewards.linear_head import LinearHead
from prlhf.config.rewards.lore import Lore
from prlhf.config.rewards.per_user import PerUser
from prlhf.config.rewards.pref import Pref
from prlhf.config.rewards.vpl import Vpl

__all__ = ["Ensemble", "MemberConfig"]

MemberConfig = Annotated[Bt | PerUser | LinearHead | Lore | Pref | Vpl | Factor, Field(discriminator="type")]


class Ensemble(AnyReward):
    """Several reward models as one (arXiv 2401.16635; worst case and uncertainty-weighted: arXiv 2310.02743). Of `bt`,
    the default, they are linear heads on the same features."""

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {"aggregate": ("mean", "lcb"), "copies": (3, 8)}

    type: Literal["ensemble"] = "ensemble"
    members: tuple[MemberConfig, ...] = (Bt(),)
    """The reward models, each a table of its own options with its `type`."""
    copies: int = Field(3, ge=1)
    """k, how often each is trained, with other seeds and other votes. The paper's is 3."""
    bootstrap: bool = True
    """Whether each copy learns from votes that are drawn anew, with replacement, from each user's; false: from all, so
    that copies without randomness of their own are the same."""
    aggregate: Literal["mean", "lcb", "worst", "uwo"] = "mean"
    """Of the members' scores of a response: `mean`; `lcb`, mean - `penalty` standard deviations; `worst`, the smallest;
    `uwo`, mean - `penalty` variances."""
    penalty: float = Field(1.0, ge=0)
    """Of `lcb` and `uwo`. Neither is a default of the papers, which try several."""
    reference: int = Field(128, ge=1)
    """So many responses of the training votes, at random, have the mean score 0 for every member and user: a score has
    no zero, so that without one nobody could say whose is the worst."""

    @field_validator("members")
    @classmethod
    def _at_least_one(cls, members: tuple[MemberConfig, ...]) -> tuple[MemberConfig, ...]:
        if not members:
            raise ValueError("found none, expected at least one reward model")
        return members
