"""What a reward model knows about people: arrays with a row a person, and the table of users that they are kept in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from prlhf.errors import CheckpointError, DataError
from prlhf.users.index import UserIndex

__all__ = ["States", "UserTable"]

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class States:
    """Of n people: each array has n rows. Which arrays there are is the reward model's own business."""

    arrays: Mapping[str, Array]
    votes: npt.NDArray[np.int64]
    """`[n]`, how many votes each state rests on."""

    def __len__(self) -> int:
        return len(self.votes)

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def take(self, rows: npt.NDArray[np.int64] | slice) -> States:
        """Some of the people, in this order, perhaps repeatedly."""
        return States({name: array[rows] for name, array in self.arrays.items()}, self.votes[rows])

    def followed_by(self, other: States) -> States:
        """These people, then those."""
        arrays = {name: np.concatenate([array, other[name]]) for name, array in self.arrays.items()}
        return States(arrays, np.concatenate([self.votes, other.votes]))

    def replaced(self, rows: npt.NDArray[np.int64], other: States) -> States:
        """With the states of `other` in these rows."""
        arrays = {}
        for name, array in self.arrays.items():
            arrays[name] = array.copy()
            arrays[name][rows] = other[name]
        votes = self.votes.copy()
        votes[rows] = other.votes
        return States(arrays, votes)


@dataclass(frozen=True)
class UserTable:
    """User ids and their states; row 0 is the generic user, who answers for everybody unknown."""

    index: UserIndex
    states: States
    """One row more than the index has users."""
    versions: npt.NDArray[np.int64]
    """By row; a commit adds 1."""

    @classmethod
    def of(cls, generic: States, names: Sequence[str], states: States) -> UserTable:
        """The generic user, then `names`."""
        whole = generic.followed_by(states)
        return cls(UserIndex.from_ids(list(names)), whole, np.ones(len(whole), np.int64))

    def rows(self, users: Sequence[str | None]) -> npt.NDArray[np.int64]:
        """Row of each user; 0 where nobody is known by that id."""
        return self.index.rows(list(users))

    def committed(self, names: Sequence[str], states: States) -> UserTable:
        """A table where `names` have these states; new users are added, and no other row changes by a bit.

        Raises:
            DataError: the same user twice, or not one state each.
        """
        if len(set(names)) != len(names) or len(names) != len(states):
            raise DataError(
                f"commit: found {len(names)} names for {len(states)} states, expected one each, all different"
            )
        index, added = self.index.add(list(names))
        generic = self.states.take(np.zeros(len(added), np.int64))
        whole = self.states.followed_by(generic)
        versions = np.concatenate([self.versions, np.zeros(len(added), np.int64)])
        rows = index.rows(list(names))
        versions[rows] += 1
        return replace(self, index=index, states=whole.replaced(rows, states), versions=versions)

    def save(self, path: Path) -> None:
        """Write `users.parquet`: id (null for the generic user), version, votes, and a list column for each array."""
        columns: dict[str, pa.Array] = {
            "id": pa.array(self.index.ids(range(len(self.states))), pa.large_string()),
            "version": pa.array(self.versions),
            "votes": pa.array(self.states.votes),
        }
        for name, array in self.states.arrays.items():
            if not math.prod(array.shape[1:]):
                continue  # Arrow has no lists of nothing; the shape says it
            flat = pa.array(np.ascontiguousarray(array).reshape(-1))
            columns[f"state.{name}"] = pa.FixedSizeListArray.from_arrays(flat, math.prod(array.shape[1:]))
        shapes = {f"state.{name}": json.dumps(a.shape[1:]) for name, a in self.states.arrays.items()}
        pq.write_table(pa.table(columns).replace_schema_metadata(shapes), path)

    @classmethod
    def load(cls, path: Path) -> UserTable:
        """Read what `save` wrote.

        Raises:
            CheckpointError: no such file, or another kind of table.
        """
        try:
            table = pq.read_table(path)
            metadata = (table.schema.metadata or {}).items()
            shapes = {k.decode(): v.decode() for k, v in metadata if k.startswith(b"state.")}
            arrays = {}
            for column, text in shapes.items():
                shape = json.loads(text)
                values = np.zeros(0)
                if math.prod(shape):
                    values = table[column].combine_chunks().flatten().to_numpy(zero_copy_only=False)
                arrays[column.removeprefix("state.")] = values.reshape(len(table), *shape)
            ids = table["id"].to_pylist()
            states = States(arrays, table["votes"].to_numpy())
            return cls(UserIndex.from_ids(ids[1:]), states, table["version"].to_numpy())
        except (OSError, KeyError, ValueError, pa.ArrowException) as e:
            raise CheckpointError(f"{path}: no table of users of a reward model ({type(e).__name__}: {e})") from e
