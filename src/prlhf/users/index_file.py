"""The user index on disk: `users.parquet`, mapped, sorted by id, in row groups small enough to be read for one user."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prlhf.errors import CheckpointError

__all__ = ["GROUP", "Columns", "IndexFile", "search"]

IntArray = npt.NDArray[np.int64]

GROUP = 8192
"""Users in a row group of the file: what a lookup of one of them reads."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The index in memory: `ids` sorted by their UTF-8 bytes and the row of each; counts and versions by row."""

    ids: pa.LargeBinaryArray
    rows: IntArray
    counts: IntArray
    versions: IntArray


@dataclass(frozen=True)
class IndexFile:
    """A mapped `users.parquet`; it stays what it is when another file takes its name."""

    path: Path
    mapped: pa.MemoryMappedFile
    footer: pq.FileMetaData

    @classmethod
    def open(cls, path: Path) -> IndexFile:
        """Map the file and read its footer.

        Raises:
            CheckpointError: no file, or no Parquet, or without the generic user's row.
        """
        try:
            mapped = pa.memory_map(str(path))
            footer = pq.read_metadata(mapped)
        except (OSError, pa.ArrowException) as e:
            raise _unreadable(path, e) from e
        if footer.num_rows < 1:
            raise CheckpointError(f"{path} has no row for the generic user; write it with UserIndex.save")
        return cls(path, mapped, footer)

    @property
    def groups(self) -> int:
        """Row groups in which single ids can be found; 0 where the file does not say which ids are where."""
        return len(self._last_ids)

    @cached_property
    def _last_ids(self) -> list[bytes]:
        """The last id of each row group, by the footer's statistics.

        Files of other writers may have none, and ids of several kilobytes have none either.
        """
        footer = self.footer
        places = [i for i in range(footer.num_columns) if footer.schema.column(i).path == "id"]
        found = [footer.row_group(g).column(i).statistics for i in places for g in range(footer.num_row_groups)]
        if not all(s is not None and s.has_min_max for s in found):
            return []
        last = [s.max if isinstance(s.max, bytes) else s.max.encode("utf8") for s in found]
        return last if all(a < b for a, b in pairwise(last)) else []

    def find(self, ids: pa.LargeBinaryArray) -> IntArray:
        """Row of each id, -1 where it is null or unknown; reads the row groups that can hold them, and no others.

        Raises:
            CheckpointError: such a group cannot be read or is not sorted.
        """
        values, last = ids.to_pylist(), self._last_ids
        places: dict[int, list[int]] = defaultdict(list)
        for i, value in enumerate(values):
            if value is not None and value <= last[-1]:
                places[bisect_left(last, value)].append(i)
        found = np.full(len(values), -1)
        for group, wanted in places.items():
            held, rows = self._group(group)
            for i in wanted:
                at = search(held, values[i])
                found[i] = rows[at] if at >= 0 else -1
        return found

    def _group(self, group: int) -> tuple[pa.LargeBinaryArray, IntArray]:
        """Ids and rows of a row group, without the generic user's."""
        try:
            table: Any = pq.ParquetFile(self.mapped, metadata=self.footer).read_row_group(group, ["id", "row"])
            ids, rows = (column.combine_chunks() for column in table.drop_null().columns)
            ids, order = ids.cast(pa.large_binary()), rows.to_numpy(zero_copy_only=False).astype(np.int64)
        except (OSError, pa.ArrowException, ValueError) as e:
            raise _unreadable(self.path, e) from e
        if order.min() < 1 or order.max() >= self.footer.num_rows or not _ascending(ids):
            raise CheckpointError(f"{self.path}: row group {group} is not sorted by id, or has rows of no user")
        return ids, order

    def read(self) -> Columns:
        """All of it, checked.

        Raises:
            CheckpointError: something that `UserIndex.save` does not write.
        """
        path = self.path
        try:
            table: Any = pq.read_table(self.mapped, columns=["id", "row", "n_comparisons", "version"])
            ids, rows, n, version = (column.combine_chunks() for column in table.columns)
            ids = ids.cast(pa.large_binary())
        except (OSError, pa.ArrowException, KeyError, ValueError) as e:
            raise _unreadable(path, e) from e
        order = rows.to_numpy(zero_copy_only=False).astype(np.int64)
        if order[0] != 0 or ids.null_count != 1 or ids[0].is_valid or not _permutation(order):
            last = len(ids) - 1
            raise CheckpointError(f"{path}: the rows are not 0 (null id) first and then each of 1 to {last} once")
        users = ids.slice(1)
        if not _ascending(users):
            raise CheckpointError(f"{path}: the ids are not sorted by their UTF-8 bytes, or one stands there twice")
        counts, versions = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
        counts[order], versions[order] = n.to_numpy(), version.to_numpy()
        return Columns(users, order[1:], counts, versions)


def search(ids: pa.LargeBinaryArray, value: bytes | None) -> int:
    """Place of `value` among sorted `ids` by binary search; -1 where it is null or not there."""
    if value is None:
        return -1
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if ids[middle].as_py() < value:
            low = middle + 1
        else:
            high = middle
    return low if low < len(ids) and ids[low].as_py() == value else -1


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(f"{path} cannot be read as a user index (Parquet): {error}")


def _ascending(ids: pa.LargeBinaryArray) -> bool:
    return len(ids) < 2 or bool(pc.all(pc.less(ids[:-1], ids[1:])).as_py())


def _permutation(rows: IntArray) -> bool:
    inside = rows.min() >= 0 and rows.max() < len(rows)
    return bool(inside and (np.bincount(rows, minlength=len(rows)) == 1).all())
