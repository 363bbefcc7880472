"""What the trainer iterates over: encoded feedback with its rows, weights and reference log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from prlhf.data.items import AskedFor, ids_of
from prlhf.lm import Encoded, Template, TokenIds
from prlhf.lm.logprobs import Layout
from prlhf.types import Feedback

MAX_CHUNK = 16
__all__ = ["LengthBuckets", "PairDataset", "PreferenceDataset", "ThumbDataset", "collate"]


@dataclass(frozen=True, kw_only=True)
class PreferenceDataset(Dataset[dict[str, Any]]):
    """Aligned arrays over the n comparisons or thumbs of training.

    `rows` `[n]`; `weight` `[n]`, mean 1; `prior` `[n]` = 1 / votes of the user; `reference` `[n, 2]`.
    """

    encoded: Sequence[Encoded]
    rows: np.ndarray
    weight: np.ndarray
    prior: np.ndarray
    reference: np.ndarray
    ids: Sequence[str]
    layout: Layout = "plain"
    """In which both the reference was computed and the policy will be."""

    def __len__(self) -> int:
        return len(self.encoded)

    @property
    def lengths(self) -> np.ndarray:
        """What batches are bucketed by `[n]`."""
        if isinstance(self.encoded, TokenIds):
            return self.encoded.lengths
        return np.array([e.length for e in self.encoded], np.int64)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {f.name: getattr(self, f.name)[i] for f in fields(self) if f.name != "layout"}


@dataclass(frozen=True, kw_only=True)
class PairDataset(PreferenceDataset):
    """Comparisons; `ties` `[n]`."""

    ties: np.ndarray


@dataclass(frozen=True, kw_only=True)
class ThumbDataset(PreferenceDataset):
    """Thumbs, each also with the response of another one after its prompt, and the reference's log-probability of that;
    `up` and `mismatched_reference` `[n]`."""

    up: np.ndarray
    mismatched: Sequence[Encoded]
    mismatched_reference: np.ndarray


class Ids(AskedFor[str]):
    """The row ids of `items`, which are asked for only to name them."""

    def __init__(self, items: Sequence[Feedback]):
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def one(self, i: int) -> str:
        """That of item i."""
        return ids_of(self.items, [i])[0]


class Mismatched(AskedFor[Encoded]):
    """Each thumb's prompt with the response of another one, `others[i]`."""

    def __init__(self, template: Template, encoded: Sequence[Encoded], others: Sequence[int]):
        self.template = template
        self.encoded = encoded
        self.others = np.asarray(others)

    def __len__(self) -> int:
        return len(self.others)

    def one(self, i: int) -> Encoded:
        """That of thumb i."""
        return self.template.answered(self.encoded[i], self.encoded[int(self.others[i])].chosen)


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A `PreferenceBatch`: lists of token ids and of ids, tensors `[b]` and `[b, 2]` of everything else."""
    columns = {name: [item[name] for item in items] for name in items[0]}
    return {
        name: values if isinstance(values[0], Encoded | str) else torch.from_numpy(np.stack(values))
        for name, values in columns.items()
    }


class LengthBuckets(Sampler[int]):
    """A shuffled order in which neighbours have about the same length; the same for the same seed and epoch.

    The comparisons are shuffled, cut into chunks of up to MAX_CHUNK batches, each chunk sorted by length and cut into
    batches, and the batches shuffled: batches stay random, and padding small. A batch here is that of one step; its
    micro-batches are slices of it, with about equal lengths of their own. A last batch of fewer than `least` is left
    out: other comparisons in every epoch.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, batch_size: int, seed: int = 0, least: int = 1):
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.least = least
        # at least eight chunks, or the same comparisons would meet in every epoch
        self.chunk = min(max(len(lengths) // batch_size // 8, 1), MAX_CHUNK)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another order for each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        rest = len(self.lengths) % self.batch_size
        return len(self.lengths) - (rest if rest < self.least else 0)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self.lengths))
        width = self.batch_size * self.chunk
        batches: list[np.ndarray] = []
        for start in range(0, len(order), width):
            part = order[start : start + width]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        short = [b for b in batches if self.least <= len(b) < self.batch_size]  # a last one, and it has to stay last
        full = [b for b in batches if len(b) == self.batch_size]
        for i in rng.permutation(len(full)):
            yield from full[i].tolist()
        for b in short:
            yield from b.tolist()
