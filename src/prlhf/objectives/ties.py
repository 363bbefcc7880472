"""DPO with ties (Rao and Kupper 1967, for DPO Chen et al., arXiv 2409.17431).

Rao-Kupper rather than Davidson: it is the Bradley-Terry model with a threshold below which a difference is not noticed,
so that every outcome is a logistic function of the margin and DPO is its limit without ties.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import logsigmoid

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["decided_loss", "tie_loss"]


def _nu(ties: float) -> float:
    """Rao and Kupper's parameter, from the probability of a tie between equals, `(nu - 1) / (nu + 1)`."""
    return (1 + ties) / (1 - ties)


def decided_loss(h: Float[Tensor, "*b"], beta: float, ties: float) -> Float[Tensor, "*b"]:
    """`-log sigmoid(beta h - log nu)`: the chosen response won, and by enough to be noticed."""
    return -logsigmoid(beta * h - math.log(_nu(ties)))


def tie_loss(h: Float[Tensor, "*b"], beta: float, ties: float) -> Float[Tensor, "*b"]:
    """`-log (nu^2 - 1) - log sigmoid(beta h - log nu) - log sigmoid(-beta h - log nu)`: least at `h = 0`.

    Args:
        h: margin of the two responses, in either order.
        ties: probability of a tie at `h = 0`.
    """
    won = decided_loss(h, beta, ties) + decided_loss(-h, beta, ties)
    return won - math.log(_nu(ties) ** 2 - 1)
