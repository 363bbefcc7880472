"""What each process looks at of the comparisons of a step: together exactly those that one process would look at."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import Dataset, Sampler

from prlhf.training.dataset import LengthBuckets, PreferenceDataset

__all__ = ["Counted", "Shares"]


class Shares(Sampler[list[int]]):
    """The micro-batches of one process, by the numbers of their comparisons.

    The `sampler` gives the comparisons of one global batch after the other. Each is cut into micro-batches of about
    equal size, the same number for every process, which take them in turns: so processes that work at the same time
    have comparisons of about the same length. The last batch of an epoch is as short as that of one process, and none
    of its comparisons is repeated. Where there are fewer of them than micro-batches, the others get `~i`: comparison
    `i` again, to keep pace with, which counts nothing (see `Counted`).
    """

    def __init__(
        self, sampler: LengthBuckets, batch_size: int, accumulation: int = 1, processes: int = 1, process: int = 0
    ):
        self.sampler = sampler  # by this name its `set_epoch` is found
        self.batch_size = batch_size
        self.accumulation = accumulation
        self.processes = processes
        self.process = process

    @property
    def drop_last(self) -> bool:
        """Nothing is dropped here."""
        return False

    def __len__(self) -> int:
        full, rest = divmod(len(self.sampler), self.sampler.batch_size)
        return full * self.accumulation + self._rounds(rest)

    def __iter__(self) -> Iterator[list[int]]:
        order = iter(self.sampler)
        while batch := list(islice(order, self.sampler.batch_size)):
            parts = self._rounds(len(batch)) * self.processes
            for part in range(self.process, parts, self.processes):
                start, end = (len(batch) * edge // parts for edge in (part, part + 1))
                yield batch[start:end] or [~batch[0]]

    def _rounds(self, comparisons: int) -> int:
        """How many micro-batches each process has of so many comparisons."""
        return -(-comparisons // (self.batch_size * self.processes))


class Counted(Dataset[dict[str, Any]]):
    """The items of a data set with `counts`: False for item `~i`, which is item i without weight and prior."""

    def __init__(self, data: PreferenceDataset):
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, i: int) -> dict[str, Any]:
        if i >= 0:
            return {**self.data[i], "counts": True}
        item = self.data[~i]
        return {**item, "weight": 0 * item["weight"], "prior": 0 * item["prior"], "counts": False}
