"""The user models (P-RLHF, arXiv 2402.05133; `low_rank` is ours): a union on `type`."""

from typing import Annotated, Literal

from pydantic import Field

from prlhf.config.base import Config

__all__ = ["Cluster", "Individual", "LowRank", "Uniform", "UserModelConfig"]

Start = Literal["generic", "vocabulary"]


class _UserModel(Config):
    tokens: int = Field(10, ge=0)
    """T_u, the number of user tokens; 0 = none. The paper's is 10."""


class Uniform(_UserModel):
    """The same user tokens for everybody; with `tokens = 0` plain DPO."""

    type: Literal["uniform"] = "uniform"
    tokens: int = Field(0, ge=0)
    """Shared by everybody; 0 = none."""


class Individual(_UserModel):
    """`e_i = e_0 + o_i` with the common part, `e_i = o_i` without."""

    type: Literal["individual"] = "individual"
    common: bool = True
    """Whether there is a part `e_0` that all users share."""
    start: Start = "generic"
    """`generic`: every user starts as the generic one; `vocabulary`: random vocabulary embeddings, as in the paper."""


class Cluster(_UserModel):
    """`e_i = sum_k softmax(w_i)_k V_k`; the generic user is row 0 of `w`."""

    type: Literal["cluster"] = "cluster"
    clusters: int = Field(5, ge=1)
    """K, the number of centres."""
    start: Start = "generic"
    """`generic`: equal weights for everybody; `vocabulary`: weights from N(0, 1), as in the paper."""


class LowRank(_UserModel):
    """`e_i = e_0 + sum_k l_ik V_k` with signed factors `l`, zero for the generic user."""

    type: Literal["low_rank"] = "low_rank"
    rank: int = Field(8, ge=1)
    """K, the number of directions."""
    start: Start = "generic"
    """`generic`: factors zero, directions random; `vocabulary`: directions from the vocabulary, factors N(0, 1)."""


UserModelConfig = Annotated[Uniform | Individual | Cluster | LowRank, Field(discriminator="type")]
