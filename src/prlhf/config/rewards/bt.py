"""Options of `bt`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from prlhf.config.rewards.base import AnyReward

__all__ = ["Bt"]


class Bt(AnyReward):
    """Bradley-Terry, the same for everybody: `P(a over b) = sigmoid(<w, x_a - x_b>)`, `w ~ N(0, 1 / ridge)`."""

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {
        "ridge": ("auto", 1.0, 10.0, 100.0, 1000.0),
        "item_effects": (False, True),
        "item_ridge": (1.0, 0.3, 3.0),
    }

    type: Literal["bt"] = "bt"
    ridge: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """Strength of the prior: one over the variance of a weight, where a feature's differences have root mean square 1.
    `auto`: the best of a grid by cross-validation over pairs."""
    item_effects: bool = False
    """Whether each response has a worth of its own, `v ~ N(0, 1 / item_ridge)`, beside what its features say; for data
    in which responses come again. A response that was not there in training has 0."""
    item_ridge: float = Field(1.0, gt=0)
    """Strength of that prior."""
