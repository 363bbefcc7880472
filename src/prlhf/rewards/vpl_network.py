"""VPL's network: votes to a latent's posterior, and a response with a latent to its reward."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from prlhf.config.rewards.vpl import Vpl

__all__ = ["Network", "divergence"]

SLOPE = 0.2
"""Of the leaky rectifier, the paper's."""


class Network(nn.Module):
    """The pair encoder with its attention, and the decoder."""

    def __init__(self, config: Vpl, width: int):
        super().__init__()
        h, d = config.hidden, config.latent
        self.clamp, self.counted, self.most = config.clamp, config.counted, config.context
        self.pair = nn.Sequential(
            nn.Linear(2 * width, h), *_bent(config), nn.Linear(h, h), *_bent(config), nn.Linear(h, h)
        )
        self.query, self.key, self.value = nn.Linear(h, h), nn.Linear(h, h), nn.Linear(h, h)
        self.mean = nn.Linear(h + self.counted, d)
        self.log_variance = nn.Linear(h + self.counted, d)
        self.response = nn.Linear(width, h)
        self.person = nn.Linear(d, h, bias=False)
        last = nn.Linear(h, 1)
        self.rest = nn.Sequential(*_bent(config), nn.Linear(h, h), *_bent(config), last)
        with torch.no_grad():
            last.weight *= 0.01

    def attended(
        self, chosen: Tensor, rejected: Tensor, y: Tensor, weight: Tensor, there: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The sum over a context of what attention makes of its votes `[e, h]`, and of their weights `[e]`.

        Args:
            chosen, rejected: `[t, f]`, of all votes of all contexts.
            y, weight: `[t]`; a tie is half a vote either way.
            there: `[e, c]`, which places of the contexts hold the votes, row after row; t are true.
        """
        seen = self.pair(torch.cat([chosen, rejected], dim=-1))
        if bool((y < 1).any()):
            turned = self.pair(torch.cat([rejected, chosen], dim=-1))
            seen = y[:, None] * seen + (1 - y[:, None]) * turned

        def placed(values: Tensor) -> Tensor:
            return values.new_zeros(*there.shape, *values.shape[1:]).index_put((there,), values)

        counted = placed(weight)
        asked = there[:, None, :] | ~there.any(dim=1)[:, None, None]  # nobody attends to nothing
        query, key, value = (placed(head(seen)) for head in (self.query, self.key, self.value))
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=asked)
        return (mixed * counted[..., None]).sum(dim=1), counted.sum(dim=1)

    def posterior(self, total: Tensor, weight: Tensor, votes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of `z` `[e, d]` from sums of `attended`; N(0, I) where there are no votes."""
        none = (weight <= 0)[:, None]
        pooled = total / torch.where(weight > 0, weight, 1)[:, None]
        if self.counted:
            count = torch.log1p(votes.clamp(max=self.most)) / math.log1p(self.most)
            pooled = torch.cat([pooled, count[:, None].to(pooled.dtype)], dim=1)
        mean, log_variance = (head(pooled).clamp(-self.clamp, self.clamp) for head in (self.mean, self.log_variance))
        return mean.masked_fill(none, 0), log_variance.masked_fill(none, 0)

    def decode(self, response: Tensor, z: Tensor) -> Tensor:
        """The reward `[...]` of responses of which `self.response` is `[..., h]`."""
        return self.rest(response + self.person(z)).squeeze(-1)  # type: ignore[no-any-return]


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """`KL(N(mean, e^log_variance) | N(0, 1)) = (mean^2 + e^log_variance - log_variance - 1) / 2` of each number."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)


def _bent(config: Vpl) -> list[nn.Module]:
    return [nn.LeakyReLU(SLOPE), *([nn.Dropout(config.dropout)] if config.dropout else [])]
