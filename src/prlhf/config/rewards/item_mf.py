"""Options of `item_mf`."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from prlhf.config.rewards.base import AnyReward

__all__ = ["ItemMf"]


class ItemMf(AnyReward):
    """`r_u(j) = c_j + p_u.q_j`: a value and a vector of each response, a vector of each user, and no features (Koren,
    Bell and Volinsky 2009, with the logistic loss of pairs of Rendle et al. 2009). A response without training votes
    has neither. For comparison, where responses repeat."""

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {
        "rank": (1, 2, 4, 8),
        "ridge": (1.5, 3.0, 5.0),
        "value_ridge": (1.0, 2.0, 4.0),
    }

    type: Literal["item_mf"] = "item_mf"
    rank: int = Field(2, ge=1)
    """Length of the vectors."""
    ridge: float = Field(3.0, gt=0)
    """Strength of the prior on every number of the vectors, of users and of responses."""
    value_ridge: float = Field(2.0, gt=0)
    """Strength of the prior on the values."""
    steps: int = Field(500, ge=1)
    """Of L-BFGS at most."""
