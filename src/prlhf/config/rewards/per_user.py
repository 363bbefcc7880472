"""Options of `per_user`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from prlhf.config.rewards.base import AnyReward

__all__ = ["PerUser"]


class PerUser(AnyReward):
    """A ridge logistic regression for each person: `P(a over b | u) = sigmoid(<w_u, x_a - x_b>)`,
    `w_u ~ N(w_0, 1 / ridge)`; the generic user is `bt`."""

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {
        "ridge": (100.0, 10.0, 30.0, 300.0, 1000.0),
        "shrink_to": ("pooled", "zero"),
    }

    type: Literal["per_user"] = "per_user"
    ridge: float = Field(100.0, gt=0)
    """Strength of the prior: one over the variance of a weight, where a feature's differences have root mean square
    1."""
    shrink_to: Literal["pooled", "zero"] = "pooled"
    """`w_0`: `pooled`, the weights of everybody together; `zero`, as such baselines are usually built: each person
    alone."""
    pooled_ridge: Literal["auto"] | Annotated[float, Field(gt=0)] = "auto"
    """The `ridge` of the pooled weights, as that of `bt`."""
