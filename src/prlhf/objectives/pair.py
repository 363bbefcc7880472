"""What every objective is a function of: the log-probabilities of two responses, under policy and reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["PairLogps", "margin", "mean_margin"]


@dataclass(frozen=True, slots=True)
class PairLogps:
    """Log-probabilities of chosen and rejected, summed over the response, and their token counts; any shape `[*b]`."""

    chosen: Tensor
    rejected: Tensor
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    def per_token(self) -> PairLogps:
        """The same with means per token instead of sums (an empty response has the mean 0)."""
        chosen = self.chosen / self.chosen_tokens.clamp(min=1)
        rejected = self.rejected / self.rejected_tokens.clamp(min=1)
        return PairLogps(chosen, rejected, self.chosen_tokens, self.rejected_tokens)


def margin(policy: PairLogps, reference: PairLogps) -> Float[Tensor, "*b"]:
    """`h = [log pi(y+) - log ref(y+)] - [log pi(y-) - log ref(y-)]` (arXiv 2402.05133).

    The implicit reward of the pair is `beta * h`; `h > 0` ranks it as the user did. Shapes of the two broadcast.
    """
    return (policy.chosen - reference.chosen) - (policy.rejected - reference.rejected)


def mean_margin(policy: PairLogps, reference: PairLogps) -> Float[Tensor, "*b"]:
    """`h` of mean log-probabilities per token instead of sums."""
    return margin(policy.per_token(), reference.per_token())
