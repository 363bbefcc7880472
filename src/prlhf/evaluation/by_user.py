"""The metrics of each user, and the two functions that score one comparison."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.evaluation.bootstrap import UserSums
from prlhf.evaluation.scores import Scores, write_parquet

__all__ = ["PerUser", "credit", "log_loss", "per_user"]

Floats = npt.NDArray[np.float64]


def credit(h: Floats) -> Floats:
    """1 where the vote is predicted (`h > 0`), 0 where it is not, one half where the model is indifferent."""
    return (np.sign(h) + 1) / 2


def log_loss(h: Floats, beta: float) -> Floats:
    """`-log sigma(beta h)`, without overflow."""
    return np.logaddexp(0.0, -beta * h)


@dataclass(frozen=True, eq=False)
class PerUser:
    """One entry a named user, sorted by id; `accuracy`, `log_loss` and `margin` are under the row that answers them.

    `group` is None where the comparisons of a user name no group or several. `accuracy_permuted` is NaN for unseen
    users and where it was not computed.
    """

    user: npt.NDArray[np.object_]
    group: npt.NDArray[np.object_]
    seen: npt.NDArray[np.bool_]
    comparisons: npt.NDArray[np.int64]
    accuracy: Floats
    accuracy_generic: Floats
    accuracy_permuted: Floats
    log_loss: Floats
    margin: Floats

    def __len__(self) -> int:
        return len(self.user)

    def columns(self) -> dict[str, list[Any]]:
        """Plain lists by column name; NaN becomes None."""
        plain = {f.name: getattr(self, f.name).tolist() for f in fields(self)}
        return {name: [None if x != x else x for x in values] for name, values in plain.items()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one Parquet file, one row a user."""
        import pyarrow as pa

        text = {"user": pa.string(), "group": pa.string()}
        columns = self.columns().items()
        write_parquet(pa.table({name: pa.array(x, text.get(name, _arrow(name))) for name, x in columns}), path)


def _arrow(name: str) -> Any:
    import pyarrow as pa

    return {"seen": pa.bool_(), "comparisons": pa.int64()}.get(name, pa.float64())


def per_user(scores: Scores, beta: float) -> PerUser:
    """The metrics of each named user. `DataError` if a user is marked as seen in some rows and as unseen in others."""
    named = scores.select(np.array([u is not None for u in scores.user], dtype=bool) & (scores.weight > 0))
    columns = {
        "accuracy": credit(named.h),
        "accuracy_generic": credit(named.h_generic),
        "log_loss": log_loss(named.h, beta),
        "margin": named.h,
    }
    if named.h_permuted is not None:
        columns["accuracy_permuted"] = credit(named.h_permuted)
    rows = UserSums.of(named.user, named.weight, columns)
    mean = {name: total / rows.weight for name, total in rows.columns.items()}
    count = np.bincount(rows.codes, minlength=rows.people)
    seen_rows = np.bincount(rows.codes, named.seen, minlength=rows.people)
    users = np.array(sorted(set(named.user)), dtype=object)
    mixed = (seen_rows > 0) & (seen_rows < count)
    if mixed.any():
        raise DataError(
            f"scores: user {users[mixed][0]!r} is seen in some rows and unseen in others; expected one of the two"
        )
    permuted = mean.get("accuracy_permuted", np.full(rows.people, math.nan))
    return PerUser(
        user=users,
        group=_groups(named, rows),
        seen=seen_rows > 0,
        comparisons=count,
        accuracy=mean["accuracy"],
        accuracy_generic=mean["accuracy_generic"],
        accuracy_permuted=np.where(seen_rows > 0, permuted, math.nan),
        log_loss=mean["log_loss"],
        margin=mean["margin"],
    )


def _groups(named: Scores, rows: UserSums) -> npt.NDArray[np.object_]:
    """The one group of each user, or None."""
    found: list[set[str | None]] = [set() for _ in range(rows.people)]
    for code, group in zip(rows.codes.tolist(), named.group, strict=True):
        found[code].add(group)
    groups = np.empty(rows.people, dtype=object)
    groups[:] = [next(iter(names)) if len(names) == 1 else None for names in found]
    return groups
