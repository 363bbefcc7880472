"""Options of `pref`."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from prlhf.config.rewards.base import AnyReward

__all__ = ["Pref"]


class Pref(AnyReward):
    """`r_u(x, y) = <l_u, phi(x, y)>` with J factors (PReF, arXiv 2503.06358): logistic factorisation of the votes, from
    a singular value decomposition of the label matrix."""

    SEARCH: ClassVar[dict[str, tuple[Any, ...]]] = {
        "factors": (5, 2),
        "l2": (0.02, 1.0),
        "l2_features": (0.0, 10.0, 100.0),
        "prior": ("none", "trained"),
    }

    type: Literal["pref"] = "pref"
    factors: int = Field(5, ge=1)
    """J. The paper's is 5; its curve is flat from about 6."""
    hidden: int = Field(0, ge=0)
    """Width of a hidden layer (tanh) between the features and the factors; 0: the factors are linear in them."""
    init: Literal["auto", "svd", "votes", "random"] = "auto"
    """Where the factors start. `svd`: the label matrix, pairs by users, as in the paper, which needs pairs that several
    users voted on; `votes`: each user's least squares on the features, which needs none; `auto`: `svd` where at least
    half of the votes are on such pairs, else `votes`; `random`: N(0, 1), the paper's ablation."""
    centre: bool = True
    """Whether 1/2 is taken from the labels before their decomposition; false, as released, spends a factor on it."""
    rounds: int = Field(10, ge=1)
    """How often missing labels are filled in from the decomposition, and it is computed again."""
    l2: float = Field(0.02, ge=0)
    """beta in `(beta / 2) sum_u |l_u|^2`."""
    l2_features: float = Field(0.0, ge=0)
    """The same for the weights of phi; without it the factors can grow while the `l_u` shrink, so that `l2` costs
    nothing. The paper has none; its code knows a penalty on both."""
    steps: int = Field(100, ge=1)
    """At most so many iterations of L-BFGS over all votes; fewer where held-out votes say so."""
    prior: Literal["none", "trained", "standard"] = "none"
    """What is known of a user's `l` before their votes, with phi held. `none`: nothing, as in the paper (a precision of
    0.001 keeps it finite); `trained`: N(mean, covariance) of the `l` that were learned; `standard`: N(mean, 1 /
    `strength`)."""
    strength: float = Field(1.0, gt=0)
    """Precision of the prior `standard`."""
