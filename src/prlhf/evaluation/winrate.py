"""How often the answers of one model are preferred to those of another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.evaluation.bootstrap import Estimate, clusters, macro, resample_sums

__all__ = ["WinRate", "judged", "outcomes_of_utilities", "win_rate", "win_rate_of_utilities"]

Ints = npt.NDArray[np.int64]
_WORDS = {"win": 1, "tie": 0, "loss": -1}


@dataclass(frozen=True, slots=True)
class WinRate:
    """Wins, ties and losses of a against b. A tie is half a win: the rates of a over b and of b over a add up to 1."""

    wins: int
    ties: int
    losses: int
    rate: Estimate
    """Over all judged answers."""
    per_user: Estimate
    """Mean over named users, each counting once, ± its standard error."""
    users: dict[str, WinRate] = field(default_factory=dict)
    groups: dict[str, WinRate] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def ties_share(self) -> float:
        """Share of ties: how much of the rate is halves."""
        return self.ties / self.count

    def as_dict(self) -> dict[str, Any]:
        """JSON-able. Users carry their counts and rate, groups the full set."""
        users = {
            name: {"wins": w.wins, "ties": w.ties, "losses": w.losses, "rate": w.rate.value}
            for name, w in self.users.items()
        }
        return {
            "wins": self.wins,
            "ties": self.ties,
            "losses": self.losses,
            "ties_share": self.ties_share,
            "rate": self.rate.as_dict(),
            "per_user": self.per_user.as_dict(),
            "users": users,
            "groups": {name: group.as_dict() for name, group in self.groups.items()},
        }

    def __str__(self) -> str:
        return f"{self.rate} ({self.wins} wins, {self.ties} ties, {self.losses} losses)"


def outcomes_of_utilities(a: npt.ArrayLike, b: npt.ArrayLike, tolerance: float = 0.0) -> Ints:
    """1 where the answer of a is worth more, -1 where that of b is, 0 where they differ by no more than `tolerance`."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise DataError(f"win rate: found utilities of shapes {x.shape} and {y.shape}, expected two equally long lists")
    bad = np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))
    if len(bad):
        raise DataError(
            f"win rate: found a utility that is not finite in row {bad[0]} ({x[bad[0]]}, {y[bad[0]]}), expected numbers"
        )
    return np.where(np.abs(x - y) <= tolerance, 0, np.sign(x - y)).astype(np.int64)


def judged(outcomes: Sequence[str]) -> Ints:
    """A judge's words `win`, `tie`, `loss` as 1, 0, -1."""
    for row, word in enumerate(outcomes):
        if word not in _WORDS:
            raise DataError(f"win rate: found the outcome {word!r} in row {row}, expected one of {', '.join(_WORDS)}")
    return np.array([_WORDS[word] for word in outcomes], dtype=np.int64)


def win_rate(
    outcomes: npt.ArrayLike,
    users: Sequence[str | None],
    groups: Sequence[str | None] | None = None,
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> WinRate:
    """Count `outcomes` (1 win, 0 tie, -1 loss, one a judged answer) overall, by user and by group.

    Intervals are over users. `DataError` for other numbers, unequal lengths or nothing to count.
    """
    found = np.asarray(outcomes)
    if found.ndim != 1 or len(found) != len(users) or (groups is not None and len(groups) != len(users)):
        lengths = f"{found.shape}, {len(users)} users" + ("" if groups is None else f", {len(groups)} groups")
        raise DataError(
            f"win rate: found outcomes of shape {lengths}, expected one user (and group) an outcome, and some"
        )
    if not len(found):
        raise DataError("win rate: found no outcomes, expected at least one")
    if not np.isin(found, (-1, 0, 1)).all():
        raise DataError(f"win rate: found the outcome {found[~np.isin(found, (-1, 0, 1))][0]}, expected 1, 0 or -1")
    codes, names = clusters(users)
    each = {name: _count(found[codes == i]) for i, name in enumerate(names) if name is not None}
    by_group: dict[str, WinRate] = {}
    for group in sorted({g for g in groups or () if g is not None}):
        rows = np.array([g == group for g in groups or ()])
        members, ids = clusters([u for u, inside in zip(users, rows, strict=True) if inside])
        by_group[group] = _count(found[rows], members, ids, bootstrap, seed)
    return _count(found, codes, names, bootstrap, seed, users=each, groups=by_group)


def win_rate_of_utilities(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    users: Sequence[str | None],
    groups: Sequence[str | None] | None = None,
    *,
    tolerance: float = 0.0,
    bootstrap: int = 1000,
    seed: int = 0,
) -> WinRate:
    """`win_rate` where each user's utility of both answers is known."""
    return win_rate(outcomes_of_utilities(a, b, tolerance), users, groups, bootstrap=bootstrap, seed=seed)


def _count(
    outcomes: npt.NDArray[Any],
    codes: Ints | None = None,
    names: Sequence[str | None] = ("",),
    resamples: int = 0,
    seed: int = 0,
    **parts: dict[str, WinRate],
) -> WinRate:
    """Counts and rates of some outcomes; without codes they are all of one user."""
    codes = np.zeros(len(outcomes), np.int64) if codes is None else codes
    total = np.bincount(codes, (outcomes + 1) / 2, minlength=len(names))
    count = np.bincount(codes, minlength=len(names)).astype(np.float64)
    drawn = resample_sums(np.stack([total, count], axis=1), resamples, seed)
    rates = (total / count)[[name is not None for name in names]]
    named = int(count[[name is not None for name in names]].sum())
    return WinRate(
        wins=int((outcomes > 0).sum()),
        ties=int((outcomes == 0).sum()),
        losses=int((outcomes < 0).sum()),
        rate=Estimate.of(
            total.sum() / count.sum(), drawn[:, 0] / drawn[:, 1], users=len(names), comparisons=len(outcomes)
        ),
        per_user=macro(rates, named, resamples, seed) if len(rates) else Estimate(math.nan),
        **parts,
    )
