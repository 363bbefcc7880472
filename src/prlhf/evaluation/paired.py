"""Two models on the same comparisons: the difference in accuracy, with an interval over users."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.evaluation.bootstrap import Estimate, clusters, macro, resample_sums
from prlhf.evaluation.metrics import credit
from prlhf.evaluation.scores import Scores

__all__ = ["Difference", "PairedDifference", "paired_difference", "shown_rows"]

Floats = npt.NDArray[np.float64]
Which = Literal["all", "seen"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Accuracy of a minus accuracy of b: over comparisons, and as a mean over named users, each counting once; as text
    the former. `rows` says of whom: `seen`, the users whom a has seen, or `all`."""

    accuracy: Estimate
    per_user: Estimate
    users_better: int
    users_equal: int
    users_worse: int
    rows: Which = "all"

    def __str__(self) -> str:
        return str(self.accuracy) if self.rows == "seen" else f"{self.accuracy} (all)"

    def as_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "accuracy": self.accuracy.as_dict(),
            "per_user": self.per_user.as_dict(),
            "users_better": self.users_better,
            "users_equal": self.users_equal,
            "users_worse": self.users_worse,
        }


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """The `Difference` overall and in each group."""

    overall: Difference
    groups: dict[str, Difference]

    def as_dict(self) -> dict[str, Any]:
        groups = {name: difference.as_dict() for name, difference in self.groups.items()}
        return {"overall": self.overall.as_dict(), "groups": groups}


def paired_difference(
    scores_a: Scores,
    scores_b: Scores,
    *,
    rows: Which = "all",
    bootstrap: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """Accuracy of a minus that of b on the same comparisons, matched by id; each under the row that answers the user.

    `rows="seen"` keeps the comparisons whose users a has seen. Weights and groups are those of a. `DataError` if an id
    occurs twice, is missing on one side, or stands for another user's comparison.
    """
    b = _matched(scores_a, scores_b)
    difference = credit(scores_a.h) - credit(b.h)
    keep = scores_a.weight > 0
    if rows == "seen":
        keep &= scores_a.seen
    if not keep.any():
        raise DataError(f"paired difference: no comparison is left of {len(scores_a)} (rows = {rows!r}), expected some")
    groups = sorted({g for g in scores_a.group[keep] if g is not None})

    def over(some: npt.NDArray[np.bool_]) -> Difference:
        return replace(_difference(scores_a.select(some), difference[some], bootstrap, seed), rows=rows)

    return PairedDifference(over(keep), {g: over(keep & (scores_a.group == g)) for g in groups})


def shown_rows(scores: Scores) -> Which:
    """What a difference is over that is shown beside accuracies of seen users: theirs; all, where none is seen."""
    return "seen" if (scores.seen & (scores.weight > 0)).any() else "all"


def _difference(scores: Scores, difference: Floats, resamples: int, seed: int) -> Difference:
    codes, names = clusters(scores.user)
    weight = np.bincount(codes, scores.weight, minlength=len(names))
    total = np.bincount(codes, scores.weight * difference, minlength=len(names))
    drawn = resample_sums(np.stack([total, weight], axis=1), resamples, seed)
    each = (total / weight)[[name is not None for name in names]]
    named = sum(user is not None for user in scores.user)
    return Difference(
        accuracy=Estimate.of(
            total.sum() / weight.sum(), drawn[:, 0] / drawn[:, 1], users=len(names), comparisons=len(scores)
        ),
        per_user=macro(each, named, resamples, seed) if len(each) else Estimate(math.nan),
        users_better=int((each > 0).sum()),
        users_equal=int((each == 0).sum()),
        users_worse=int((each < 0).sum()),
    )


def _matched(a: Scores, b: Scores) -> Scores:
    """b in the order of a."""
    place_a, place_b = _places(a, "a"), _places(b, "b")
    only_a, only_b = place_a.keys() - place_b.keys(), place_b.keys() - place_a.keys()
    if only_a or only_b:
        raise DataError(
            f"paired difference: the two sides score different comparisons, {len(only_a)} are only in a{_some(only_a)} "
            f"and {len(only_b)} only in b{_some(only_b)}; expected the same ids, evaluate both on one split"
        )
    ordered = b.select([place_b[i] for i in a.ids])
    other = np.flatnonzero(ordered.user != a.user)
    if len(other):
        row = other[0]
        raise DataError(
            f"paired difference: id {a.ids[row]!r} is a comparison of {a.user[row]!r} in a and of "
            f"{ordered.user[row]!r} in b ({len(other)} such rows); expected the same log on both sides"
        )
    return ordered


def _places(scores: Scores, side: str) -> dict[str, int]:
    places = {str(name): i for i, name in enumerate(scores.ids)}
    if len(places) < len(scores):
        twice = len(scores) - len(places)
        raise DataError(f"paired difference: {twice} ids occur more than once in {side}; expected one id a comparison")
    return places


def _some(ids: Iterable[str]) -> str:
    names = sorted(ids)
    return f" ({', '.join(repr(i) for i in names[:3])}{', …' if len(names) > 3 else ''})" if names else ""
