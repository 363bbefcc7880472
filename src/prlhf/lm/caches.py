"""Keys and values of what prompts have in common at their beginning: computed once, copied to every row."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

__all__ = ["Beginnings", "keeps_rows", "pad_left", "window"]

Ids = tuple[int, ...]


def keeps_rows(model: Any) -> bool:
    """Whether each row of a batch has keys and values of its own, and no other state, so that rows can be taken out of
    the cache and put into it."""
    layers = DynamicCache(config=model.config).layers
    return bool(layers) and all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def window(model: Any) -> int | None:
    """How many positions the layers see that see fewest; None = all see everything."""
    lengths = [layer.get_max_length() for layer in DynamicCache(config=model.config).layers]
    return min((length for length in lengths if length > 0), default=None)


def pad_left(texts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and attention mask `[b, s]`, padded at the left."""
    longest = max(map(len, texts))
    ids = torch.tensor([[pad] * (longest - len(t)) + list(t) for t in texts], dtype=torch.long, device=device)
    mask = torch.tensor([[0] * (longest - len(t)) + [1] * len(t) for t in texts], dtype=torch.long, device=device)
    return ids, mask


class Beginnings:
    """Beginnings of prompts and their cache, kept from one batch to the next.

    Args:
        compute: ids and mask `[b, s]` to a cache that holds them.
    """

    def __init__(self, compute: Callable[[Tensor, Tensor], Any], pad: int, device: torch.device):
        self.compute = compute
        self.pad = pad
        self.device = device
        self.held: dict[Ids, int] = {}

    def __call__(self, wanted: Sequence[Ids]) -> tuple[Tensor, Tensor, Any]:
        """Ids and mask `[b, p]` of the beginning of each row, and a cache of its own that holds them."""
        if not self.held.keys() >= set(wanted):
            self.held = {ids: row for row, ids in enumerate(dict.fromkeys(wanted))}
            self.ids, self.mask = pad_left(list(self.held), self.pad, self.device)
            self.cache = self.compute(self.ids, self.mask)
        rows = torch.tensor([self.held[ids] for ids in wanted], device=self.device)
        cache = copy.deepcopy(self.cache)
        cache.batch_select_indices(rows)
        return self.ids[rows], self.mask[rows], cache
