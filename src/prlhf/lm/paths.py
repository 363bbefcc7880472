"""Attention along the paths of packed rows, without the scores that their mask would throw away.

A row of a comparison with a prompt of p tokens, two branches and responses of r tokens has about p + 4 r tokens, and
one attention over it (p + 4 r)^2 scores, most of them hidden by the mask. Here each stretch of the row attends to what
stands before it on its own path alone. It is an attention of transformers (`AttentionInterface`) that is given `paths`
beside the mask, and without them is its `sdpa`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

__all__ = ["ATTENTION", "Paths", "attend", "paths_of", "pays", "take_paths"]

ATTENTION = "prlhf_paths"
"""Its name in transformers."""
LONG = 320
"""Tokens of a packed row on a CPU from which on attention by paths is faster than one with a mask."""


def pays(attention: str, device: torch.device | str, length: int) -> bool:
    """Whether packed rows of `length` tokens are attended to by paths, under the option `model.attention`."""
    return attention == "paths" or (attention == "auto" and torch.device(device).type == "cpu" and length >= LONG)


def take_paths(model: Any) -> None:
    """Let a causal LM whose attention is `sdpa` go along paths wherever it is given some."""
    if model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(ATTENTION)


@dataclass(frozen=True)
class Paths:
    """How one packed row is cut, and which cuts see which.

    `sizes`: lengths of the cuts along the row, which have all its tokens but the padding; `groups`: neighbouring cuts
    that are looked at together, and the cuts before them on their path.
    """

    sizes: tuple[int, ...]
    groups: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    _biases: dict[tuple[torch.dtype, torch.device], list[Tensor | None]] = field(default_factory=dict, compare=False)

    @property
    def length(self) -> int:
        """Tokens of the row, without padding."""
        return sum(self.sizes)

    def _tokens(self, cuts: Sequence[int]) -> int:
        return sum(self.sizes[i] for i in cuts)

    @property
    def positions(self) -> np.ndarray:
        """Of each token on its path `[length]`."""
        spans = [(self._tokens(before), self._tokens(before + own)) for own, before in self.groups]
        return np.concatenate([np.arange(start, end) for start, end in spans])

    def mask(self, longest: int) -> Tensor:
        """What each token of the row sees `[longest, longest]`; padding sees itself, so that no softmax is empty."""
        ends = np.cumsum([0, *self.sizes]).tolist()
        seen = torch.eye(longest, dtype=torch.bool)
        for own, before in self.groups:
            first, last = ends[own[0]], ends[own[-1] + 1]
            for i in before:
                seen[first:last, ends[i] : ends[i + 1]] = True
            seen[first:last, first:last] = True
        return seen.tril_()

    def biases(self, like: Tensor) -> list[Tensor | None]:
        """Of each group `[1, 1, own, before + own]`: 0 for all that is before and for what of its own is not later,
        else minus infinity: what `sdpa` would make of true and false, in each layer anew."""
        key = like.dtype, like.device
        if key not in self._biases:
            self._biases[key] = [self._bias(own, before, like) for own, before in self.groups]
        return self._biases[key]

    def _bias(self, own: Sequence[int], before: Sequence[int], like: Tensor) -> Tensor | None:
        n, p = self._tokens(own), self._tokens(before)
        return like.new_full((1, 1, n, p + n), -torch.inf).triu(p + 1) if p else None


def paths_of(trunk: int, heads: Sequence[int], chosen: int, rejected: int) -> Paths:
    """The cuts of a row as `packed_rows` writes it.

    Args:
        trunk: tokens of the prompt that all branches share.
        heads: of each branch, its user tokens and its own rest of the prompt.
        chosen: tokens of the one response.
        rejected: tokens of the other one; 0 = there is none.
    """
    sizes: list[int] = [trunk]
    groups: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for j, head in enumerate(heads):
        at = len(sizes)
        sizes += [head, chosen, rejected]
        # the first branch goes on where the trunk ends: one stretch, which needs no bias
        groups += [((at, at + 1), (0,)) if j else ((0, at, at + 1), ()), ((at + 2,), (0, at))]
    kept = [(tuple(i for i in own if sizes[i]), tuple(i for i in before if sizes[i])) for own, before in groups]
    return Paths(tuple(sizes), tuple((own, before) for own, before in kept if own))


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    paths: Sequence[Paths] | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """As `sdpa` of transformers: `[b, heads, s, d]` three times to `[b, s, heads, d]`; by paths, padding gets 0."""
    # a compiled layer would be compiled anew for each row, and a bias per position is cut nowhere
    if paths is None or torch.compiler.is_compiling() or kwargs.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    rows = [
        _row(module, q, k, v, path, kwargs)
        for q, k, v, path in zip(query.unbind(), key.unbind(), value.unbind(), paths, strict=True)
    ]
    longest = query.shape[2]
    return torch.stack([nn.functional.pad(row, (0, 0, 0, 0, 0, longest - len(row))) for row in rows]), None


def _row(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, path: Paths, kwargs: dict[str, Any]) -> Tensor:
    """One row `[heads, s, d]` three times to `[length, heads, d]`.

    Split and joined, not sliced: the gradient of each slice would be a tensor of the whole row's size.
    """
    sizes = [*path.sizes, query.shape[1] - path.length]
    queries, keys, values = (x.split(sizes, dim=1) for x in (query, key, value))
    found = []
    for (own, before), bias in zip(path.groups, path.biases(query), strict=True):
        seen = before + own
        q, k, v = (torch.cat([x[i] for i in some], 1) for x, some in ((queries, own), (keys, seen), (values, seen)))
        found.append(sdpa_attention_forward(module, q[None], k[None], v[None], bias, **kwargs)[0][0])
    return torch.cat(found)


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
