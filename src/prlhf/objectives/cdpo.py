"""Conservative DPO (Mitchell, "A note on DPO with noisy preferences", 2023): some votes are taken to be flipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from prlhf.objectives.dpo import dpo_loss

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["cdpo_loss"]


def cdpo_loss(h: Float[Tensor, "*b"], beta: float, epsilon: float) -> Float[Tensor, "*b"]:
    """`-(1 - epsilon) log sigmoid(beta h) - epsilon log sigmoid(-beta h)` per comparison.

    Least where `sigmoid(beta h) = 1 - epsilon`: the margin is finite, as it is not in DPO.
    """
    return (1 - epsilon) * dpo_loss(h, beta) + epsilon * dpo_loss(-h, beta)
