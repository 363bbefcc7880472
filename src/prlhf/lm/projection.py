"""Log-probabilities of given tokens from the decoder's states: without the logits of all of them at once.

The logits of a response are the largest tensor of a step: with 150,000 tokens of vocabulary each position has 600 kB of
them in fp32, and their softmax and gradient as much again. Where the output projection is frozen, its gradient to the
states is known as soon as the softmax is, so it is taken in the forward pass, some positions at a time, and nothing
else is kept. Of a trained projection the logits are kept, as autograd does.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["at_once", "keeps_logits", "projected_logprobs", "token_logprobs"]

LOGITS = 2**22
"""How many logits there are at a time: on a CPU they should fit into its caches."""
FEWEST = 512
"""Positions that are projected together, however large the vocabulary: a GPU is idle with fewer."""


def at_once(vocabulary: int) -> int:
    """How many positions are projected to the vocabulary at a time."""
    return max(LOGITS // vocabulary, FEWEST)


def keeps_logits(head: nn.Module) -> bool:
    """Whether a backward pass through the output projection needs all of its logits: where it is trained, or is more
    than one plain matrix on one device (quantised, sharded, with a bias or hooks)."""
    weight = getattr(head, "weight", None)
    plain = type(head) is nn.Linear and head.bias is None and type(weight) in (Tensor, nn.Parameter)
    hooked = hasattr(head, "_hf_hook") or bool(head._forward_hooks or head._forward_pre_hooks)
    return not plain or hooked or cast(Tensor, weight).requires_grad


def projected_logprobs(head: nn.Module, states: Tensor, target: Tensor) -> Tensor:
    """Log-probability `[m]` of each `target` `[m]` by the output projection of `states` `[m, d]`."""
    if not torch.is_grad_enabled():
        parts = at_once(cast(Tensor, head.weight).shape[0])
        pairs = zip(states.split(parts), target.split(parts), strict=True)
        return torch.cat([token_logprobs(head(part), wanted) for part, wanted in pairs])
    if keeps_logits(head):
        return token_logprobs(head(states), target)
    weight, kind = cast(Tensor, head.weight), states.device.type
    if torch.is_autocast_enabled(kind):
        weight, states = (x.to(torch.get_autocast_dtype(kind)) for x in (weight, states))
    return cast(Tensor, _Frozen.apply(states, weight, target.to(states.device)))


def token_logprobs(logits: Tensor, target: Tensor) -> Tensor:
    """Log-probability of each target, `[m]`, in at least 32 bits."""
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    # with a device map the last layers, and so the logits, may be on another device than the ids
    return -F.cross_entropy(logits, target.to(logits.device), reduction="none")


class _Frozen(torch.autograd.Function):
    """log softmax(states W^T)[target], with its gradient `W[target] - softmax W` taken on the way."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, target: Tensor) -> Tensor:
        gradient = torch.empty_like(states)
        found = []
        parts = at_once(len(weight))
        with torch.autocast(states.device.type, enabled=False):
            for i in range(0, len(states), parts):
                part, wanted = states[i : i + parts], target[i : i + parts, None]
                logits = F.linear(part, weight)
                logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
                logps = logits.log_softmax(1)
                found.append(logps.gather(1, wanted)[:, 0])
                softmax = logps.exp_()
                softmax.scatter_add_(1, wanted, softmax.new_full(wanted.shape, -1))
                gradient[i : i + parts] = softmax.neg_().to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outputs[0][:, None].to(gradient.dtype), None, None
