"""From log-probabilities to losses, of comparisons or of thumbs: the one place of the trainer that tells them apart.

A step is in two parts: `before_step` sees all of its micro-batches, the call for losses one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from prlhf.lm import Encoded
from prlhf.objectives import Objective, PairLogps, ThumbObjective

__all__ = ["Losses", "PairLosses", "ThumbLosses", "losses_of"]

Batch = dict[str, Any]
Logps = Callable[[Sequence[Encoded], Batch], PairLogps]
"""(encoded, the batch whose users look at them) -> the policy's log-probabilities `[b, k]` under the k branches."""
Add = Callable[[Tensor], Tensor]
"""A tensor -> its sum over the processes."""


class Losses(Protocol):
    """The losses of one kind of feedback under one objective."""

    least: int
    """How many of a global batch it takes to have a loss."""

    def before_step(self, batches: Sequence[Batch], logps: Logps, add: Add) -> None:
        """Put into each micro-batch what its losses need to know of the whole global batch."""

    def __call__(self, policy: PairLogps, batch: Batch) -> Tensor:
        """The loss `[b, k]` of each item under each branch."""


class PairLosses:
    """Comparisons: the loss of each depends on nothing else in its batch."""

    least = 1

    def __init__(self, objective: Objective):
        self.objective = objective

    def before_step(self, batches: Sequence[Batch], logps: Logps, add: Add) -> None:
        """Nothing to do."""

    def __call__(self, policy: PairLogps, batch: Batch) -> Tensor:
        """The objective's, ties by its loss of ties."""
        return self.objective(policy, _reference(batch, policy), batch["ties"][:, None])


class ThumbLosses:
    """Responses judged alone, against z0: how far the policy is from the reference on mismatched responses."""

    least = 2

    def __init__(self, objective: ThumbObjective):
        self.objective = objective

    @torch.no_grad()
    def before_step(self, batches: Sequence[Batch], logps: Logps, add: Add) -> None:
        """`z0` `[b, k]`, the same for all thumbs: `max(0, mean of log pi(y') - log ref(y'))` over those of the global
        batch and the responses y' that they are mismatched with."""
        if not batches:
            return
        ratios = torch.cat([self._ratios(batch, logps) for batch in batches])
        total = add(torch.cat([ratios.sum(0), ratios.new_tensor([len(ratios)])]))
        for batch in batches:
            batch["z0"] = (total[:-1] / total[-1]).clamp(min=0).expand(len(batch["rows"]), -1)

    def _ratios(self, batch: Batch, logps: Logps) -> Tensor:
        policy = logps(batch["mismatched"], batch).chosen.double()
        return (policy - batch["mismatched_reference"][:, None].to(policy))[batch["counts"]]

    def __call__(self, policy: PairLogps, batch: Batch) -> Tensor:
        """The objective's."""
        z0 = batch["z0"].to(policy.chosen)
        return self.objective(policy, _reference(batch, policy), batch["up"][:, None], z0)


def losses_of(objective: Objective | ThumbObjective) -> Losses:
    """The losses of what the objective is a function of."""
    return ThumbLosses(objective) if isinstance(objective, ThumbObjective) else PairLosses(objective)


def _reference(batch: Batch, policy: PairLogps) -> PairLogps:
    """The reference's log-probabilities of a batch `[b, 1]`, to be broadcast over the branches of `policy`."""
    chosen, rejected = batch["reference"][:, None, :].to(policy.chosen.dtype).unbind(-1)
    return PairLogps(chosen, rejected, policy.chosen_tokens, policy.rejected_tokens)
