"""The user index: opaque string ids to rows of the user table, without a Python object per user."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prlhf.errors import CheckpointError, DataError

__all__ = ["Ids", "UserIndex"]

Ids: TypeAlias = Sequence[str | None] | pa.Array | pa.ChunkedArray
IntArray = npt.NDArray[np.int64]

_BULK = 32
"""Above one id in so many users, one hash table over all users is cheaper than a binary search for each id."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """The index in memory: `ids` sorted by their UTF-8 bytes and the row of each; counts and versions by row."""

    ids: pa.LargeBinaryArray
    rows: IntArray
    counts: IntArray
    versions: IntArray


class UserIndex:
    """Which row of the user table belongs to which user; row 0 is the generic user. Immutable.

    Ids are opaque: any string (also the empty one) is an id of its own, and `None` is the generic user. They are held
    as one sorted Arrow array beside NumPy row numbers, so that a million users cost about 30 bytes each plus their ids.
    """

    def __init__(self, source: _Columns | Path) -> None:
        """Use `from_ids` or `load`."""
        self._source = source

    @classmethod
    def from_ids(cls, ids: Ids, counts: Sequence[int] | IntArray | None = None) -> UserIndex:
        """Give the distinct `ids` the rows 1, 2, … in order of first appearance; `None` is skipped (it is row 0).

        Args:
            ids: user ids, repetitions allowed where no `counts` are given.
            counts: number of comparisons of each user, aligned with `ids`; by default 0.

        Raises:
            DataError: an id that is not a string, or `counts` that do not fit.
        """
        encoded = _encode(ids)
        distinct = pc.unique(encoded).drop_null()
        by_row = np.zeros(len(distinct) + 1, np.int64)
        if counts is not None:
            if not len(counts) == len(encoded) == len(distinct):
                found = f"{len(counts)} counts for {len(encoded)} ids of which {len(distinct)} differ"
                raise DataError(f"counts need one number for each of the ids, without repetition; found {found}")
            by_row[1:] = counts
        rows = np.arange(1, len(distinct) + 1, dtype=np.int64)
        return cls(_sorted(distinct, rows, by_row, np.ones_like(by_row)))

    @classmethod
    def load(cls, path: str | Path) -> UserIndex:
        """The index in a `users.parquet`. Only the footer is read now, the table itself at the first lookup.

        Raises:
            CheckpointError: no file, or not a user index; also at the first lookup, where the content is checked.
        """
        index = cls(Path(path))
        len(index)  # reads the footer, and complains now if there is none
        return index

    def save(self, path: str | Path, rows: Sequence[int] | IntArray | None = None) -> None:
        """Write the columns id, row, n_comparisons and version, sorted by id; the generic user has a null id.

        With `rows`, of these alone: a table to look up in elsewhere, which is no index that `load` takes.
        """
        c = self._columns
        order = np.concatenate([[0], c.rows]).astype(np.int64)
        ids = pa.concat_arrays([pa.nulls(1, pa.large_binary()), c.ids])
        with suppress(pa.ArrowInvalid):  # lone surrogates are no UTF-8; such a column stays binary
            ids = ids.cast(pa.large_string())
        names = ["id", "row", "n_comparisons", "version"]
        table = pa.table([ids, order, c.counts[order], c.versions[order]], names=names)
        if rows is not None:
            table = table.filter(pa.array(np.isin(order, np.asarray(rows, np.int64))))
        aside = Path(path).with_name(Path(path).name + ".tmp")  # never over a file that an index still has to read
        pq.write_table(table, aside)
        os.replace(aside, path)

    @cached_property
    def _columns(self) -> _Columns:
        return self._source if isinstance(self._source, _Columns) else _read(self._source)

    @cached_property
    def _length(self) -> int:
        if isinstance(self._source, _Columns):
            return len(self._source.ids)
        try:
            n = pq.read_metadata(self._source).num_rows
        except (OSError, pa.ArrowException) as e:
            raise CheckpointError(f"{self._source} cannot be read as a user index (Parquet): {e}") from e
        if n < 1:
            raise CheckpointError(f"{self._source} has no row for the generic user; write it with UserIndex.save")
        return n - 1

    def __len__(self) -> int:
        """Number of users, the generic one not counted."""
        return self._length

    def __repr__(self) -> str:
        return f"UserIndex({len(self)} users)"

    def rows(self, ids: Ids) -> IntArray:
        """Row of each id, `[b]`; 0, the generic user's, where the id is `None` or unknown (see `known`)."""
        found = self._find(_encode(ids))
        return np.where(found < 0, 0, self._columns.rows[found]) if len(self) else np.zeros(len(found), np.int64)

    def known(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """False where an id is given that the index does not have; `None` is the generic user and known, `[b]`."""
        encoded = _encode(ids)
        return (self._find(encoded) >= 0) | encoded.is_null().to_numpy(zero_copy_only=False)

    def ids(self, rows: Sequence[int] | IntArray | None = None) -> list[str | None]:
        """Ids of the given rows (`None` for row 0); without an argument, of all users in the order of their rows.

        Raises:
            DataError: a row that is not in the index.
        """
        wanted = np.arange(1, len(self) + 1) if rows is None else np.asarray(rows, np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() > len(self)):
            bad = wanted[(wanted < 0) | (wanted > len(self))][0]
            raise DataError(f"row {bad} is not in the user index, whose rows are 0 to {len(self)}")
        if not len(self):
            return [None] * len(wanted)
        taken = self._columns.ids.take(pa.array(self._position[wanted]))
        pairs = zip(wanted, taken, strict=True)
        return [value.as_py().decode("utf8", "surrogatepass") if row else None for row, value in pairs]

    @cached_property
    def _position(self) -> IntArray:
        """Place of each row among the sorted ids, `[n]`; 0 for the generic row, which has none."""
        position = np.zeros(len(self) + 1, np.int64)
        position[self._columns.rows] = np.arange(len(self))
        return position

    @property
    def counts(self) -> IntArray:
        """Number of comparisons by row, `[n]`, the generic user's first."""
        return self._columns.counts

    @property
    def versions(self) -> IntArray:
        """Version by row, `[n]`; 1 at the start."""
        return self._columns.versions

    def counted(self, ids: Ids) -> UserIndex:
        """The same index with counts = how often each user occurs in `ids` (unknown ids count for the generic row)."""
        counts = np.bincount(self.rows(ids), minlength=len(self) + 1).astype(np.int64)
        return UserIndex(replace(self._columns, counts=counts))

    def add(self, ids: Ids) -> tuple[UserIndex, IntArray]:
        """An index that has `ids` too, and the rows of those that are new; the rows of all others stay as they are."""
        distinct = pc.unique(_encode(ids)).drop_null()
        new = distinct.filter(pa.array(self._find(distinct) < 0))
        rows = np.arange(len(self) + 1, len(self) + 1 + len(new), dtype=np.int64)
        c = self._columns
        columns = _sorted(
            pa.concat_arrays([c.ids, new]),
            np.concatenate([c.rows, rows]),
            np.concatenate([c.counts, np.zeros_like(rows)]),
            np.concatenate([c.versions, np.ones_like(rows)]),
        )
        return UserIndex(columns), rows

    def _find(self, encoded: pa.LargeBinaryArray) -> IntArray:
        """Place of each id among the sorted ids, -1 where it is null or unknown."""
        ids = self._columns.ids
        if len(encoded) * _BULK < len(ids):
            return np.array([_search(ids, value.as_py()) for value in encoded], np.int64)
        found = pc.index_in(encoded, value_set=ids, skip_nulls=True)
        return np.asarray(found.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)


def _encode(ids: Ids) -> pa.LargeBinaryArray:
    """The ids' UTF-8 bytes as an Arrow array."""
    if isinstance(ids, str):
        raise DataError(f"expected a sequence of user ids, found the single string {ids!r}; write [{ids!r}]")
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    try:
        array = ids if isinstance(ids, pa.Array) else pa.array(ids, type=pa.large_string(), from_pandas=False)
        return array.cast(pa.large_binary())
    except UnicodeEncodeError:  # lone surrogates, as they come out of broken JSON, are ids like any other
        return pa.array([None if i is None else i.encode("utf8", "surrogatepass") for i in ids], pa.large_binary())
    except (pa.ArrowTypeError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
        raise DataError(f"user ids are strings (or None, the generic user): {e}") from e


def _sorted(ids: pa.LargeBinaryArray, rows: IntArray, counts: IntArray, versions: IntArray) -> _Columns:
    order = pc.sort_indices(ids)
    return _Columns(ids.take(order), rows[order.to_numpy()], counts, versions)


def _search(ids: pa.LargeBinaryArray, value: bytes | None) -> int:
    """Binary search; -1 where the value is null or not there."""
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


def _read(path: Path) -> _Columns:
    try:
        table: Any = pq.read_table(path, columns=["id", "row", "n_comparisons", "version"])
        ids, rows, n, version = (column.combine_chunks() for column in table.columns)
        ids = ids.cast(pa.large_binary())
    except (OSError, pa.ArrowException, KeyError, ValueError) as e:
        raise CheckpointError(f"{path} cannot be read as a user index (Parquet): {e}") from e
    order = rows.to_numpy(zero_copy_only=False).astype(np.int64)
    if order[0] != 0 or ids.null_count != 1 or ids[0].is_valid or not _permutation(order):
        raise CheckpointError(f"{path}: the rows are not 0 (null id) first and then each of 1 to {len(ids) - 1} once")
    users = ids.slice(1)
    if len(users) > 1 and not pc.all(pc.less(users[:-1], users[1:])).as_py():
        raise CheckpointError(f"{path}: the ids are not sorted by their UTF-8 bytes, or one stands there twice")
    counts, versions = np.zeros(len(order), np.int64), np.zeros(len(order), np.int64)
    counts[order], versions[order] = n.to_numpy(), version.to_numpy()
    return _Columns(users, order[1:], counts, versions)


def _permutation(rows: IntArray) -> bool:
    inside = rows.min() >= 0 and rows.max() < len(rows)
    return bool(inside and (np.bincount(rows, minlength=len(rows)) == 1).all())
