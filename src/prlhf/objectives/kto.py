"""Kahneman-Tversky Optimization (Ethayarajh et al., arXiv 2402.01306, eq. 7): responses judged alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

__all__ = ["kto_loss"]


def kto_loss(
    r: Float[Tensor, "*b"],
    z0: Float[Tensor, "*b"],
    up: Bool[Tensor, "*b"],
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Float[Tensor, "*b"]:
    """`desirable_weight (1 - sigmoid(beta (r - z0)))` per response that is up, else
    `undesirable_weight (1 - sigmoid(beta (z0 - r)))`; the shapes broadcast.

    Args:
        r: `log pi(y) - log ref(y)` of the response.
        z0: the mean of `r` over responses to other prompts, at least 0: how far the policy is from the reference
            anyway. No gradient flows through it.
        up: whether the user liked the response.
    """
    gain = beta * (r - z0.detach())
    up, gain = torch.broadcast_tensors(up, gain)
    return torch.where(up, desirable_weight * torch.sigmoid(-gain), undesirable_weight * torch.sigmoid(gain))
