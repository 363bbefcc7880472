"""Identity Preference Optimization (Azar et al., arXiv 2310.12036, eq. 17, whose tau is beta here)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["ipo_loss"]


def ipo_loss(h: Float[Tensor, "*b"], beta: float) -> Float[Tensor, "*b"]:
    """`(h - 1 / (2 beta))^2` per comparison: the margin is drawn to a finite target instead of to infinity."""
    return (h - 1 / (2 * beta)).square()
