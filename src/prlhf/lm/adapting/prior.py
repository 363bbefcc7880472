"""What is known of a new user before the first vote: how the rows of the trained users lie around the generic one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from prlhf.errors import CheckpointError, ConfigError
from prlhf.lm.folders import aside_name
from prlhf.users import UserModel

__all__ = ["FILE", "RANK", "Prior", "directions_of"]

FILE = "prior.safetensors"
"""Beside the user model: the prior of the users that were trained, which those who came later do not change."""
RANK = 32
"""Directions at most."""
_PEOPLE = 2000
"""Trained rows that the prior is made of at most."""


@dataclass(frozen=True)
class Prior:
    """A row is `generic + z B` with `z ~ N(0, 1)`.

    Attributes:
        directions: B `[r, s]`, the largest first.
        strength: what the losses of the votes are multiplied by before the prior is added; 1 takes a loss for a
            negative log-likelihood, which that of DPO is.
        users: of how many trained users it was chosen; 0 = it was not.
    """

    directions: Tensor
    strength: float = 1.0
    users: int = 0

    @classmethod
    def of(cls, user_model: UserModel, rank: int = RANK) -> Prior:
        """Of the rows that there are.

        Raises:
            ConfigError: users have no rows in this model, or all have the same.
        """
        if user_model.table is None:
            raise ConfigError(
                f"user_model.type = {user_model.config.type} with {user_model.tokens} user tokens has nothing "
                "personal: everybody is answered alike, so there is no row to fit; train with individual, cluster or "
                "low_rank"
            )
        found = directions_of(user_model.table.weight, rank)
        if not len(found):
            raise ConfigError(
                f"the rows of all {user_model.n - 1:,} users are that of the generic user, so nothing says how people "
                "differ; train on votes with user ids first"
            )
        return cls(found)

    def save(self, folder: Path) -> None:
        """Write it into the folder of the user model."""
        about = {"format": "pt", "strength": repr(self.strength), "users": str(self.users)}
        aside = folder / aside_name(FILE)
        save_file({"directions": self.directions.detach().cpu().contiguous()}, aside, metadata=about)
        os.replace(aside, folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Prior | None:
        """What `save` wrote there; None where nothing is.

        Raises:
            CheckpointError: a file that is damaged.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                return cls(file.get_tensor("directions"), float(about["strength"]), int(about["users"]))
        except (OSError, SafetensorError, KeyError, ValueError) as e:
            raise CheckpointError(f"{path} is not a prior of users: {e}; without the file it is made again") from e


@torch.no_grad()
def directions_of(table: Tensor, rank: int = RANK, rows: Sequence[int] | None = None) -> Tensor:
    """`B` `[r, s]`: `B^T B` is the mean of `o o^T` over users of offset o from the generic row (row 0 of the table),
    its largest parts; of `rows` alone where they are given."""
    people = table[1:] if rows is None else table[torch.tensor(rows, dtype=torch.long)]
    people = people[:: max(-(-len(people) // _PEOPLE), 1)] - table[0]
    if not len(people):
        return people
    exact = people.double()
    values, vectors = torch.linalg.eigh(exact @ exact.T)  # of users x users: rows are long
    kept = values.flip(0)[:rank] > 1e-10 * values[-1].clamp(min=1e-30)
    largest = vectors.flip(1)[:, :rank][:, kept]
    return (largest.T @ exact).to(people) / len(people) ** 0.5
