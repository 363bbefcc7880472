"""The hinge loss of SLiC-HF (Zhao et al., arXiv 2305.10425), on DPO's margin to a reference, as in TRL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["hinge_loss"]


def hinge_loss(h: Float[Tensor, "*b"], beta: float) -> Float[Tensor, "*b"]:
    """`max(0, 1 - beta h)` per comparison: nothing more is asked of a margin beyond `1 / beta`."""
    return (1 - beta * h).clamp(min=0)
