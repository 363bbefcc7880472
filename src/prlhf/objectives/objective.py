"""What an objective is to the rest: the loss of each comparison or thumb."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prlhf.objectives.pair import PairLogps, margin
from prlhf.objectives.sft import sft_loss

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

__all__ = ["Objective", "ThumbObjective", "on_margin"]

OfPair = Callable[[PairLogps, PairLogps], Tensor]
"""(policy, reference) -> a number for each comparison, in the shape that the two broadcast to."""


@dataclass(frozen=True)
class Objective:
    """Call it for losses."""

    preference: OfPair
    tie: OfPair | None = None
    """Loss of a tie; None where ties cannot be learned from."""
    sft_weight: float = 0.0

    def __call__(
        self, policy: PairLogps, reference: PairLogps, ties: Bool[Tensor, "*b"] | None = None
    ) -> Float[Tensor, "*b"]:
        """Loss of each comparison; where `ties` says that it was one, neither response is the chosen one.

        Raises:
            ValueError: a tie, and an objective that has no loss for it.
        """
        losses = self.preference(policy, reference)
        if self.sft_weight:
            losses = losses + self.sft_weight * sft_loss(policy)
        if ties is None or not ties.any():
            return losses
        if self.tie is None:
            raise ValueError("this objective has no loss for ties")
        return torch.where(ties, self.tie(policy, reference), losses)


@dataclass(frozen=True)
class ThumbObjective:
    """An objective on responses judged alone: `chosen` of its log-probabilities is the response, `rejected` is none."""

    judged: Callable[[Tensor, Tensor, Tensor], Tensor]
    """(r, z0, up) -> loss, as `kto_loss`."""
    sft_weight: float = 0.0

    def __call__(
        self, policy: PairLogps, reference: PairLogps, up: Bool[Tensor, "*b"], z0: Float[Tensor, "*b"]
    ) -> Float[Tensor, "*b"]:
        """Loss of each thumb; only responses that are up are learned from by `sft_weight`."""
        losses = self.judged(policy.chosen - reference.chosen, z0, up)
        return losses + self.sft_weight * up * sft_loss(policy) if self.sft_weight else losses


def on_margin(
    loss: Callable[[Tensor], Tensor],
    margin: OfPair = margin,
    tie: Callable[[Tensor], Tensor] | None = None,
) -> Objective:
    """An objective whose loss is a function of a margin, whose sign says which response the model prefers."""

    def of(function: Callable[[Tensor], Tensor]) -> OfPair:
        return lambda policy, reference: function(margin(policy, reference))

    return Objective(of(loss), None if tie is None else of(tie))
