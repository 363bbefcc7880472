"""A batch in parts, one forward and backward pass each: the gradient of the whole in the memory of a part.

It can be cut anywhere, since the loss of an item depends on nothing else in its batch (what `kto` needs of the other
thumbs it is given beforehand).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from prlhf.config import TrainingConfig
from prlhf.lm.layout import slices

__all__ = ["most_tokens", "parts_of"]

_CPU = 4096
"""By default on a CPU: enough for its matrix products."""


def most_tokens(config: TrainingConfig, device: torch.device | str) -> int | None:
    """Tokens of a pass of training at most; None = as many as a batch has."""
    if config.tokens_at_once is not None:
        return config.tokens_at_once
    return _CPU if torch.device(device).type == "cpu" else None


def parts_of(batch: dict[str, Any], extents: Sequence[tuple[int, int]], most: int | None) -> list[dict[str, Any]]:
    """The batch in parts of at most `most` tokens, padding included; an item that has more is a part of its own.

    Args:
        batch: lists and tensors, one entry an item.
        extents: of each item, its rows in a pass and the tokens of the longest.
    """
    if most is None:
        return [batch]
    order = sorted(range(len(extents)), key=lambda i: extents[i][::-1])
    cuts = slices([extents[i] for i in order], len(order), most)
    return [batch] if len(cuts) < 2 else [_some(batch, order[cut]) for cut in cuts]


def _some(batch: dict[str, Any], at: Sequence[int]) -> dict[str, Any]:
    def picked(values: Any) -> Any:
        return values[list(at)] if isinstance(values, torch.Tensor) else [values[i] for i in at]

    return {name: picked(values) for name, values in batch.items()}
