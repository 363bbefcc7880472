"""The alpha mix of P-RLHF: each comparison teaches its user and the generic user (arXiv 2402.05133)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["mix"]


def mix(specific: Float[Tensor, "*b"] | None, generic: Float[Tensor, "*b"] | None, alpha: float) -> Float[Tensor, "*b"]:
    """`alpha * specific + (1 - alpha) * generic` per comparison.

    A branch of weight zero is not looked at and may be None, so that its work can be left out.

    Raises:
        ValueError: `alpha` outside [0, 1], or a branch of positive weight that is None.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is a share between 0 and 1, found {alpha}")
    if (alpha > 0 and specific is None) or (alpha < 1 and generic is None):
        raise ValueError(f"alpha = {alpha} needs the branch that is None")
    if alpha == 1 or generic is None:
        assert specific is not None
        return specific
    if alpha == 0 or specific is None:
        return generic
    return alpha * specific + (1 - alpha) * generic
