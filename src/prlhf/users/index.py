"""The user index: opaque string ids to rows of the user table, without a Python object per user."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prlhf.errors import DataError
from prlhf.users.index_file import GROUP, Columns, IndexFile, search

__all__ = ["Ids", "UserIndex"]

Ids: TypeAlias = Sequence[str | None] | pa.Array | pa.ChunkedArray
IntArray = npt.NDArray[np.int64]

_BULK = 32
"""Above one id in so many users, one hash table over all users is cheaper than a binary search for each id."""


class UserIndex:
    """Which row of the user table belongs to which user; row 0 is the generic user. Immutable.

    Ids are opaque: any string (also the empty one) is an id of its own, and `None` is the generic user. They are held
    as one sorted Arrow array beside NumPy row numbers, so that a million users cost about 30 bytes each plus their ids.
    A large index that was loaded stays on disk for as long as few ids are asked for.
    """

    def __init__(self, source: Columns | IndexFile) -> None:
        """Use `from_ids` or `load`."""
        self._source = source
        self._asked = 0

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
        """The index in a `users.parquet`. Only the footer is read now; a lookup of a few ids among very many then reads
        the row groups that they are in, and anything else the whole.

        Raises:
            CheckpointError: no file, or not a user index; also at a lookup, where the content is checked.
        """
        return cls(IndexFile.open(Path(path)))

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
        pq.write_table(table, aside, row_group_size=GROUP, use_dictionary=["n_comparisons", "version"])
        os.replace(aside, path)

    @cached_property
    def _columns(self) -> Columns:
        return self._source if isinstance(self._source, Columns) else self._source.read()

    def __len__(self) -> int:
        """Number of users, the generic one not counted."""
        return len(self._source.ids) if isinstance(self._source, Columns) else self._source.footer.num_rows - 1

    @property
    def nbytes(self) -> int:
        """Bytes that ids, rows, counts and versions take in memory; 0 while they are on disk."""
        if isinstance(self._source, IndexFile) and "_columns" not in self.__dict__:
            return 0
        c = self._columns
        return int(c.ids.nbytes + c.rows.nbytes + c.counts.nbytes + c.versions.nbytes)

    def __repr__(self) -> str:
        return f"UserIndex({len(self)} users)"

    def rows(self, ids: Ids) -> IntArray:
        """Row of each id, `[b]`; 0, the generic user's, where the id is `None` or unknown (see `known`)."""
        return np.maximum(self._find(_encode(ids)), 0)

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

    def noted(self, counts: IntArray, versions: IntArray) -> UserIndex:
        """The same index with these counts and versions by row, `[n]`, the generic user's first."""
        return UserIndex(replace(self._columns, counts=counts, versions=versions))

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
        """Row of each id, -1 where it is null or unknown."""
        if isinstance(self._source, IndexFile) and "_columns" not in self.__dict__:
            self._asked += len(encoded)
            if self._asked < self._source.groups:  # after that reading all of it once costs less
                return self._source.find(encoded)
        c = self._columns
        if len(encoded) * _BULK < len(c.ids):
            found = np.array([search(c.ids, value.as_py()) for value in encoded], np.int64)
        else:
            among = pc.index_in(encoded, value_set=c.ids, skip_nulls=True)
            found = np.asarray(among.fill_null(-1).to_numpy(zero_copy_only=False), np.int64)
        return np.where(found < 0, -1, c.rows[found]) if len(c.rows) else np.full(len(found), -1)


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


def _sorted(ids: pa.LargeBinaryArray, rows: IntArray, counts: IntArray, versions: IntArray) -> Columns:
    order = pc.sort_indices(ids)
    return Columns(ids.take(order), rows[order.to_numpy()], counts, versions)
