"""How much of a user table is used: how far rows are from the generic one, in how many directions, by their votes.

A table can collapse without a trace in the loss: all rows stay where they started, or move together. Measured are the
user embeddings, what the language model sees of a row, whatever the user model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from prlhf.data.checks import Check

__all__ = ["TableUse", "VotesAndNorm", "check_table", "effective_rank"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NAME = "use of the user table"
_STILL = 1e-3  # distance from the generic row, relative to its norm, that is no distance
_TOGETHER = 0.99  # share of the squared distance that is the same for everybody
_USERS = 5
_PARTS = 4


@dataclass(frozen=True)
class VotesAndNorm:
    """Users with so many votes in training, and the median distance of their rows from the generic one."""

    fewest: int
    most: int
    users: int
    distance: float


@dataclass(frozen=True)
class TableUse:
    """Distances are norms of a user's embedding minus the generic one, relative to the norm of the generic one."""

    users: int
    distance: float
    """Median over users."""
    common: float
    """Share of the squared distances that is the mean offset: 1 where all rows moved to the same place."""
    rank: float
    """Effective rank of the offsets without their mean: in how many directions users differ."""
    most_rank: int
    """The largest that it could be."""
    by_votes: tuple[VotesAndNorm, ...]

    @classmethod
    def of(cls, rows: npt.ArrayLike, generic: npt.ArrayLike, votes: npt.ArrayLike | None = None) -> TableUse:
        """Of embeddings `rows` `[n, t * d]` and `generic` `[t * d]`; `votes` `[n]` in training, None = not known."""
        base = np.asarray(generic, dtype=np.float64)
        offsets = np.asarray(rows, dtype=np.float64) - base
        size = np.linalg.norm(base) or 1.0
        distances = np.linalg.norm(offsets, axis=1) / size
        mean = offsets.mean(0)
        total = float((distances**2).mean())
        return cls(
            users=len(offsets),
            distance=float(np.median(distances)),
            common=float((mean @ mean) / size**2 / total) if total else 1.0,
            rank=effective_rank(offsets - mean),
            most_rank=min(len(offsets) - 1, offsets.shape[1]),
            by_votes=() if votes is None else _by_votes(distances, np.asarray(votes, dtype=np.int64)),
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def effective_rank(table: Floats) -> float:
    """Exponential of the entropy of the shares of variance along the principal directions of `table` `[n, k]`: k' for
    k' directions of equal variance, 0 for a table of zeros."""
    values = np.linalg.svd(table, compute_uv=False) ** 2
    if not values.sum():
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _by_votes(distances: Floats, votes: Ints) -> tuple[VotesAndNorm, ...]:
    """Four parts of the users, from few votes to many; users with equally many are in the same part."""
    edges = np.unique(np.quantile(votes, np.arange(1, _PARTS) / _PARTS, method="lower"))
    part = np.searchsorted(edges, votes)
    found = []
    for k in np.unique(part):
        own = part == k
        few, most = int(votes[own].min()), int(votes[own].max())
        found.append(VotesAndNorm(few, most, int(own.sum()), float(np.median(distances[own]))))
    return tuple(found)


def check_table(use: TableUse) -> Check:
    """A finding where rows hardly left the generic one, or all went to the same place."""
    still = use.distance < _STILL
    together = use.users >= _USERS and use.common > _TOGETHER
    text = (
        f"{use.users:,} rows are at a distance of {use.distance:.3g} from the generic one (median, relative to its "
        f"norm), {use.common:.1%} of it squared the same for all; beside that they differ in {use.rank:.1f} directions "
        f"(effective rank, of at most {use.most_rank})."
    )
    if still:
        text = f"Rows have hardly left the generic one: everybody is answered alike. {text}"
    elif together:
        text = f"All rows went to the same place: they hold what is common, not what is personal. {text}"
    return Check.of(NAME, still or together, text, use.as_dict())
