"""Direct Preference Optimization (Rafailov et al., arXiv 2305.18290, eq. 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import logsigmoid

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["dpo_loss"]


def dpo_loss(h: Float[Tensor, "*b"], beta: float) -> Float[Tensor, "*b"]:
    """`-log sigmoid(beta * h)` per comparison; ln 2 at `h = 0`."""
    return -logsigmoid(beta * h)
