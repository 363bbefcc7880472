"""Options of `linear_head`."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from prlhf.config.rewards.base import AnyReward

__all__ = ["LinearHead"]


class LinearHead(AnyReward):
    """P-RM with a linear head (arXiv 2402.05133, App. F.2): `r = <e_0 + o_u, h(x, y)>`, trained on
    `alpha l(u) + (1 - alpha) l(u_0)` of every comparison, `l` the logistic loss."""

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {
        "alpha": (0.5, 0.9),
        "user_l2": (100.0, 10.0, 30.0, 300.0, 1000.0),
        "common_l2": (10.0, 1.0, 100.0),
    }

    type: Literal["linear_head"] = "linear_head"
    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the specific branch; the paper's is 0.5."""
    user_l2: float = Field(100.0, gt=0)
    """Strength of the prior on a person's offset `o_u`: one over the variance of a weight, where a feature's
    differences have root mean square 1. The paper has none, which would leave a person with few votes anywhere."""
    common_l2: float = Field(10.0, gt=0)
    """Strength of the prior on the common part `e_0`."""
