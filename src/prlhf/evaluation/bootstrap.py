"""Means with intervals, by resampling users: votes of one person are not independent, so people are drawn, not rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["COVERAGE", "Estimate", "UserSums", "clusters", "lowest", "macro", "resample_lowest", "resample_sums"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

COVERAGE = 0.95
"""Every interval of this package is the central 95 % of the resampled values (percentile bootstrap)."""

# Cells of the (resamples, users) table of counts that are held at once: 32 MB.
_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, its interval over users, and what it rests on.

    `value` is NaN where there is nothing to average. `low`, `high` and `standard_error` are NaN with fewer than two
    users (one person says nothing about how people differ) and without resampling.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    standard_error: float = math.nan
    users: int = 0
    comparisons: int = 0

    @classmethod
    def of(
        cls,
        value: float,
        resampled: Floats,
        *,
        users: int,
        comparisons: int,
        standard_error: float | None = None,
    ) -> Estimate:
        """`value` with the interval of its `resampled` copies; their spread is the standard error if none is given."""
        low = high = math.nan
        error = math.nan if standard_error is None else standard_error
        if users >= 2 and len(resampled):
            tail = (1 - COVERAGE) / 2
            low, high = (float(q) for q in np.quantile(resampled, [tail, 1 - tail]))
            if standard_error is None:
                error = float(resampled.std())
        return cls(float(value), low, high, error, users, comparisons)

    @property
    def exists(self) -> bool:
        """Whether there was anything to average."""
        return not math.isnan(self.value)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN becomes null."""
        numbers = {name: getattr(self, name) for name in ("value", "low", "high", "standard_error")}
        return {
            **{name: None if math.isnan(x) else x for name, x in numbers.items()},
            "users": self.users,
            "comparisons": self.comparisons,
        }

    def __str__(self) -> str:
        if not self.exists:
            return "–"
        if math.isnan(self.low):
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def clusters(users: Sequence[str | None] | npt.NDArray[np.object_]) -> tuple[Ints, list[str | None]]:
    """Number the people behind rows: `codes [n]` and the id of each code (named users sorted, then the nameless).

    A row without a user is a person of its own: nobody knows that two of them came from the same one.
    """
    names = sorted({u for u in users if u is not None})
    place = {name: i for i, name in enumerate(names)}
    codes = np.empty(len(users), np.int64)
    following = len(names)
    for i, user in enumerate(users):
        if user is None:
            codes[i], following = following, following + 1
        else:
            codes[i] = place[user]
    return codes, [*names, *[None] * (following - len(names))]


def _draws(users: int, resamples: int, seed: int) -> Iterator[Ints]:
    """Indices of drawn users `[some, users]`, in blocks that fit in memory, `resamples` rows altogether."""
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // max(users, 1))
    for start in range(0, resamples, block):
        yield rng.integers(0, users, (min(block, resamples - start), users))


def resample_sums(table: Floats, resamples: int, seed: int) -> Floats:
    """Column sums of `table [users, k]` over `resamples` draws of users with replacement: `[resamples, k]`.

    All columns see the same draws, so ratios and differences of columns keep their pairing.
    """
    users = len(table)
    if users < 2 or not resamples:
        return np.empty((0, table.shape[1]))
    blocks = []
    for drawn in _draws(users, resamples, seed):
        some = len(drawn)
        drawn += np.arange(some)[:, None] * users
        counts = np.bincount(drawn.ravel(), minlength=some * users).reshape(some, users)
        blocks.append(counts.astype(np.float64) @ table)
    return np.concatenate(blocks)


def lowest(values: Floats, share: float) -> Floats:
    """Mean of the lowest `share` of the last axis, at least one of them (rounded down)."""
    count = max(1, math.floor(values.shape[-1] * share + 1e-9))
    if count == 1:
        return np.asarray(values.min(-1))
    return np.asarray(np.partition(values, count - 1, -1)[..., :count].mean(-1))


def resample_lowest(values: Floats, share: float, resamples: int, seed: int) -> Floats:
    """The mean of the lowest `share` of `values [users]` in each of `resamples` draws of users: `[resamples]`."""
    if len(values) < 2 or not resamples:
        return np.empty(0)
    return np.concatenate([lowest(values[drawn], share) for drawn in _draws(len(values), resamples, seed)])


def macro(values: Floats, comparisons: int, resamples: int, seed: int) -> Estimate:
    """Mean over users of `values [users]`, each user counting once; the standard error is sd / sqrt(users)."""
    users = len(values)
    if not users:
        return Estimate(math.nan)
    error = float(values.std(ddof=1) / math.sqrt(users)) if users > 1 else math.nan
    resampled = resample_sums(values[:, None], resamples, seed)[:, 0] / users
    return Estimate.of(float(values.mean()), resampled, users=users, comparisons=comparisons, standard_error=error)


@dataclass(frozen=True)
class UserSums:
    """Comparisons summed by user, for means over rows: `[users]` sums of weight and of weighted columns."""

    columns: dict[str, Floats]
    codes: npt.NDArray[np.int64]
    people: int
    weight: Floats
    comparisons: int

    @classmethod
    def of(cls, users: npt.NDArray[np.object_], weight: Floats, columns: dict[str, Floats]) -> UserSums:
        codes, names = clusters(users)

        def sums(x: Floats) -> Floats:
            return np.bincount(codes, x, minlength=len(names)).astype(np.float64)

        weighted = {name: sums(weight * x) for name, x in columns.items()}
        return cls(weighted, codes, len(names), sums(weight), len(users))

    def means(self, resamples: int, seed: int) -> dict[str, Estimate]:
        """The weighted mean of each column over all rows, with intervals from draws of users."""
        if not self.people:
            return {name: Estimate(math.nan) for name in self.columns}
        table = np.stack([self.weight, *self.columns.values()], axis=1)
        drawn = resample_sums(table, resamples, seed)
        drawn = drawn[:, 1:] / drawn[:, :1]
        total = table.sum(0)
        return {
            name: Estimate.of(total[k + 1] / total[0], drawn[:, k], users=self.people, comparisons=self.comparisons)
            for k, name in enumerate(self.columns)
        }
