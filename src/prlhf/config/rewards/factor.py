"""Options of `factor`."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from prlhf.config.rewards.base import AnyReward

__all__ = ["Factor"]


class Factor(AnyReward):
    """`r_u(j) = w.x_j + c_j + l_u.(V'x_j + b_j)`: what the crowd likes, and `rank` directions in which people differ.

    How strong each part is follows from the votes themselves, down to nothing personal (ours; docs/rewards.md).
    """

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {"rank": (8, 4, 16), "nonlinear": ("auto", "off")}

    type: Literal["factor"] = "factor"
    rank: int = Field(8, ge=0)
    """At most so many directions in which people differ; 0: everybody is the crowd."""
    personal: float | None = Field(None, gt=0)
    """Spread (in log-odds, over people) of what the features say about a pair; by default found on held-out votes, or
    `personal_items` where only that is given."""
    personal_items: float | None = Field(None, gt=0)
    """The same of a response by itself, where responses repeat; by default found on held-out votes, or `personal` where
    only that is given."""
    item_effects: Literal["auto", "on", "off"] = "auto"
    """Whether a response has effects beyond its features. `auto`: where a fifth of the responses in the votes, or
    more, have been judged by several people."""
    nonlinear: Literal["auto", "on", "off"] = "auto"
    """Whether smooth functions of the features (a Nystroem map of a Gaussian kernel) stand beside them. `auto`: where
    held-out votes say so, and responses have no effects of their own."""
    components: int = Field(1024, ge=1)
    """At most so many principal directions of the features are kept."""
    flips: float | None = Field(None, ge=0, lt=0.5)
    """Share of the votes that are the wrong way round; by default found on held-out votes, and 0 where those do not
    clearly show any."""
    iterations: int = Field(30, ge=1)
    """Steps of expectation-maximisation at the end; those that look for strengths are four each."""
