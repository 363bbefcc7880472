"""What the trainer iterates over: encoded comparisons with their rows, weights and reference log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from prlhf.lm import Encoded
from prlhf.lm.logprobs import Layout

MAX_CHUNK = 16
__all__ = ["LengthBuckets", "PreferenceDataset", "collate"]


@dataclass(frozen=True)
class PreferenceDataset(Dataset[dict[str, Any]]):
    """Aligned arrays over n training comparisons.

    `rows` and `ties` `[n]`; `weight` `[n]`, mean 1; `prior` `[n]` = 1 / comparisons of the user; `reference` `[n, 2]`.
    """

    encoded: Sequence[Encoded]
    rows: np.ndarray
    weight: np.ndarray
    prior: np.ndarray
    reference: np.ndarray
    ties: np.ndarray
    ids: Sequence[str]
    layout: Layout = "plain"
    """In which both the reference was computed and the policy will be."""

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {
            "encoded": self.encoded[i],
            "row": int(self.rows[i]),
            "weight": float(self.weight[i]),
            "prior": float(self.prior[i]),
            "reference": self.reference[i],
            "tie": bool(self.ties[i]),
            "id": self.ids[i],
        }


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A `PreferenceBatch`: lists where the model wants lists, tensors `[b]` and `[b, 2]` elsewhere."""
    return {
        "encoded": [item["encoded"] for item in items],
        "ids": [item["id"] for item in items],
        "rows": torch.tensor([item["row"] for item in items]),
        "weight": torch.tensor([item["weight"] for item in items], dtype=torch.float64),
        "prior": torch.tensor([item["prior"] for item in items], dtype=torch.float64),
        "reference": torch.from_numpy(np.stack([item["reference"] for item in items])),
        "ties": torch.tensor([item["tie"] for item in items]),
    }


class LengthBuckets(Sampler[int]):
    """A shuffled order in which neighbours have about the same length; the same for the same seed and epoch.

    The comparisons are shuffled, cut into chunks of up to MAX_CHUNK batches, each chunk sorted by length and cut into
    batches, and the batches shuffled: batches stay random, and padding small. A batch here is that of one step; its
    micro-batches are slices of it, with about equal lengths of their own.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int = 0):
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        # at least eight chunks, or the same comparisons would meet in every epoch
        self.chunk = min(max(len(lengths) // batch_size // 8, 1), MAX_CHUNK)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another order for each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self.lengths))
        width = self.batch_size * self.chunk
        batches: list[np.ndarray] = []
        for start in range(0, len(order), width):
            part = order[start : start + width]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        short = [b for b in batches if len(b) < self.batch_size]  # only a last one, and it has to stay last
        full = [b for b in batches if len(b) == self.batch_size]
        for i in rng.permutation(len(full)):
            yield from full[i].tolist()
        for b in short:
            yield from b.tolist()
