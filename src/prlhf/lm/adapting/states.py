"""States of new users: computed, not stored; as a file of their own, or committed to a model."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from prlhf.errors import CheckpointError, ConfigError
from prlhf.lm.folders import aside_name
from prlhf.users import UserIndex, UserModel

__all__ = ["UserStates", "committed_to", "model_key"]


@dataclass(frozen=True)
class UserStates:
    """Rows of n users that belong to one model, and how many votes each rests on.

    Attributes:
        rows: `[n, s]`, float32.
        model: which model they belong to (`model_key`).
    """

    names: tuple[str, ...]
    rows: Tensor
    votes: npt.NDArray[np.int64]
    model: str

    def __len__(self) -> int:
        return len(self.names)

    def of(self, users: npt.NDArray[np.bool_]) -> Self:
        """Those of some users `[n]`."""
        names = tuple(name for name, there in zip(self.names, users, strict=True) if there)
        return type(self)(names, self.rows[torch.from_numpy(users)], self.votes[users], self.model)

    def save(self, path: str | Path) -> Path:
        """Write a Parquet file with the columns id, votes and row, aside and renamed."""
        path = Path(path)
        flat = pa.array(self.rows.detach().cpu().numpy().reshape(-1))
        rows = pa.FixedSizeListArray.from_arrays(flat, self.rows.shape[1])
        table = pa.table({"id": pa.array(self.names, pa.large_string()), "votes": self.votes, "row": rows})
        aside = path.with_name(aside_name(path.name))
        pq.write_table(table.replace_schema_metadata({"prlhf.user_states": self.model}), aside)
        os.replace(aside, path)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """What `save` wrote.

        Raises:
            CheckpointError: no such file, or another kind of file.
        """
        try:
            table = pq.read_table(path)
            model = (table.schema.metadata or {})[b"prlhf.user_states"].decode()
            column = table["row"].combine_chunks()
            flat = column.flatten().to_numpy(zero_copy_only=False)
            rows = np.array(flat, np.float32).reshape(len(table), column.type.list_size)
            votes = table["votes"].to_numpy().astype(np.int64)
            return cls(tuple(table["id"].to_pylist()), torch.from_numpy(rows), votes, model)
        except (OSError, KeyError, ValueError, pa.ArrowException) as e:
            raise CheckpointError(f"{path} holds no user states, as `prlhf adapt --output` writes them: {e}") from e


def model_key(user_model: UserModel) -> str:
    """What states belong to: the generic row and all that users share of the user model, which training moves."""
    digest = hashlib.sha256(user_model.config.model_dump_json().encode())
    for name, value in sorted(user_model.state_dict().items()):
        kept = value[:1] if name == "table.weight" else value
        digest.update(name.encode() + kept.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


@torch.no_grad()
def committed_to(table: UserModel, users: UserIndex, states: UserStates) -> tuple[UserIndex, list[str]]:
    """Put the states into a user table: new users after all others, a known one's row replaced. Returns the index with
    them, where these have the next version, and the known ones.

    Raises:
        ConfigError: states of another model, or not one each.
    """
    _check(table, states)
    names = list(states.names)
    known = [name for name, old in zip(names, users.known(names), strict=True) if old]
    index, new = users.add(names)
    table.add(len(new))
    rows = index.rows(names)
    counts, versions = index.counts.copy(), index.versions.copy()
    counts[rows] = states.votes
    versions[index.rows(known)] += 1
    if table.table is not None:
        table.table.weight[torch.from_numpy(rows)] = states.rows.to(table.table.weight)
    return index.noted(counts, versions), known


def _check(table: UserModel, states: UserStates) -> None:
    if states.model != model_key(table):
        raise ConfigError("these user states were fitted for another model; fit the votes again for this one")
    if len(set(states.names)) != len(states.names) or not len(states.names) == len(states.rows) == len(states.votes):
        found = f"{len(states.rows)} rows for {len(set(states.names))} users"
        raise ConfigError(f"user states: found {found}, expected one each")
