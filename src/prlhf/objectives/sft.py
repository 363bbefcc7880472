"""Supervised learning of the chosen response, beside a preference loss (Pang et al., arXiv 2404.19733, eq. 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prlhf.objectives.pair import PairLogps

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

__all__ = ["sft_loss"]


def sft_loss(policy: PairLogps) -> Float[Tensor, "*b"]:
    """`-log pi(y+) / |y+|` per comparison, the end of the response counted as a token."""
    return -policy.per_token().chosen
