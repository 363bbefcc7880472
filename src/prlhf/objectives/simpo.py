"""SimPO (Meng et al., arXiv 2405.14734, eq. 6): mean log-probabilities of the policy alone, and a margin to win by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import logsigmoid

from prlhf.objectives.pair import PairLogps

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["mean_difference", "simpo_loss"]


def mean_difference(policy: PairLogps, reference: PairLogps) -> Float[Tensor, "*b"]:
    """`lp+ / |y+| - lp- / |y-|`, SimPO's reward difference before `beta`; the reference is not looked at."""
    mean = policy.per_token()
    return mean.chosen - mean.rejected


def simpo_loss(difference: Float[Tensor, "*b"], beta: float, gamma: float) -> Float[Tensor, "*b"]:
    """`-log sigmoid(beta difference - gamma)` per comparison."""
    return -logsigmoid(beta * difference - gamma)
