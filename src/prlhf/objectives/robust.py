"""Robust DPO (Chowdhury et al., arXiv 2403.00409): an unbiased estimate of DPO's loss from flipped votes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from prlhf.objectives.dpo import dpo_loss

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["robust_loss"]


def robust_loss(h: Float[Tensor, "*b"], beta: float, epsilon: float) -> Float[Tensor, "*b"]:
    """`[-(1 - epsilon) log sigmoid(beta h) + epsilon log sigmoid(-beta h)] / (1 - 2 epsilon)` per comparison.

    In the mean over votes of which a share `epsilon < 1/2` is flipped, it is DPO's loss of the true votes. A single one
    can be negative.
    """
    return ((1 - epsilon) * dpo_loss(h, beta) - epsilon * dpo_loss(-h, beta)) / (1 - 2 * epsilon)
