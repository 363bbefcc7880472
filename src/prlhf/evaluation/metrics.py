"""Accuracies, margins and losses of a table of scores: overall, by group, and user by user."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.evaluation.bootstrap import Estimate, UserSums, lowest, macro, resample_lowest
from prlhf.evaluation.by_user import PerUser, credit, log_loss, per_user
from prlhf.evaluation.scores import Scores

__all__ = ["Figures", "Metrics", "PerUser", "credit", "derangement", "log_loss", "per_user", "summarise"]

Floats = npt.NDArray[np.float64]

WORST = 0.1
"""The share of users whose mean accuracy is reported as that of the worst."""


def derangement(rows: npt.ArrayLike, seed: int = 0, population: npt.ArrayLike | None = None) -> npt.NDArray[np.int64]:
    """Somebody else's row for each of `rows` (any shape): one random cycle through `population`.

    `population` is the rows to exchange among (default: those that occur in `rows`); give all rows of the table to make
    a user's partner independent of who else is in the data. The same row always gets the same partner, no two rows
    share one, and none is its own, except where there is only one. Row 0, the generic user, stays row 0.
    """
    given = np.asarray(rows, dtype=np.int64)
    pool = given if population is None else np.asarray(population, dtype=np.int64)
    present = np.zeros(int(max(pool.max(initial=0), given.max(initial=0))) + 1, dtype=bool)
    present[pool] = True
    strangers = np.unique(given[~present[given] & (given != 0)])
    if len(strangers):
        raise DataError(
            f"derangement: rows {strangers[:5].tolist()} are not in the population; expected all of them there"
        )
    present[0] = False
    cycle = np.random.default_rng(seed).permutation(np.flatnonzero(present))  # not np.unique: minutes for 10⁷ rows
    partner = np.zeros(len(present), dtype=np.int64)
    partner[cycle] = np.roll(cycle, -1)
    return partner[given]


@dataclass(frozen=True, slots=True)
class Figures:
    """The estimates over one set of comparisons. The paper's names, and exact definitions: docs/evaluation.md."""

    accuracy_seen: Estimate
    """Own row, comparisons of seen users (Accuracy-top)."""
    accuracy_per_user: Estimate
    """Own row, mean over seen users, each counting once; its standard error is the paper's (Accuracy-average)."""
    accuracy_worst_tenth: Estimate
    """Own row, mean over the worst tenth of seen users (at least one)."""
    accuracy_generic: Estimate
    """Generic row, all comparisons."""
    accuracy_generic_seen: Estimate
    """Generic row, comparisons of seen users."""
    accuracy_generic_unseen: Estimate
    """Generic row, comparisons of unseen users and of nobody (Accuracy-generic)."""
    accuracy_permuted: Estimate
    """Somebody else's row, comparisons of seen users."""
    personal_gain: Estimate
    """`accuracy_seen - accuracy_generic_seen`, paired."""
    permutation_drop: Estimate
    """`accuracy_seen - accuracy_permuted`, paired."""
    margin_seen: Estimate
    margin_generic: Estimate
    margin_permuted: Estimate
    log_loss_seen: Estimate
    log_loss_generic: Estimate
    log_loss_permuted: Estimate
    ties_seen: Estimate
    """Share of the comparisons of seen users with `h = 0` under the own row (each counts one half as accuracy)."""
    ties_generic: Estimate

    def as_dict(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name).as_dict() for f in fields(self)}

    def values(self) -> dict[str, float]:
        """Name -> plain value, without those that do not exist here."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: e.value for name, e in found.items() if e.exists}


@dataclass(frozen=True, slots=True)
class Metrics:
    """`overall` and `groups[name]`: the same `Figures` over all comparisons and over those of one group."""

    overall: Figures
    groups: dict[str, Figures]
    comparisons: int
    users: int
    seen_users: int
    unseen_users: int
    nameless: int
    """Comparisons without a user."""
    beta: float
    resamples: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with stable names; what does not exist is null."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("overall", "groups")}
        groups = {name: figures.as_dict() for name, figures in self.groups.items()}
        return {**plain, "overall": self.overall.as_dict(), "groups": groups}

    def values(self) -> dict[str, float]:
        """One flat table for logs: `accuracy_seen`, …, and `minority/accuracy_seen`, … for each group."""
        flat = self.overall.values()
        for name, figures in self.groups.items():
            flat.update({f"{name}/{key}": value for key, value in figures.values().items()})
        return flat


def summarise(scores: Scores, beta: float, bootstrap: int = 1000, seed: int = 0) -> Metrics:
    """All metrics of `scores`; `beta` is the objective's temperature (for the log-loss only).

    `bootstrap` is the number of draws of users behind each interval; 0 leaves the intervals out, which is what a
    training loop wants. Comparisons of weight 0 count nowhere. `DataError` for an empty table.
    """
    scores = _counted(scores)
    users = per_user(scores, beta)
    groups = sorted({g for g in scores.group if g is not None})
    return Metrics(
        overall=_figures(scores, beta, bootstrap, seed),
        groups={g: _figures(scores.select(scores.group == g), beta, bootstrap, seed) for g in groups},
        comparisons=len(scores),
        users=len(users),
        seen_users=int(users.seen.sum()),
        unseen_users=int((~users.seen).sum()),
        nameless=sum(u is None for u in scores.user),
        beta=beta,
        resamples=bootstrap,
        seed=seed,
    )


def _counted(scores: Scores) -> Scores:
    """Without comparisons of weight 0; an error if nothing is left."""
    if not len(scores) or not scores.weight.any():
        raise DataError(
            f"scores: nothing to evaluate, found {len(scores)} comparisons of total weight 0, expected some"
        )
    return scores if scores.weight.all() else scores.select(scores.weight > 0)


def _columns(scores: Scores, beta: float) -> dict[str, Floats]:
    """Everything that is averaged over the comparisons of seen users."""
    own, generic = credit(scores.h_specific), credit(scores.h_generic)
    columns = {
        "accuracy_seen": own,
        "accuracy_generic_seen": generic,
        "personal_gain": own - generic,
        "margin_seen": scores.h_specific,
        "log_loss_seen": log_loss(scores.h_specific, beta),
        "ties_seen": (scores.h_specific == 0).astype(np.float64),
    }
    if scores.h_permuted is not None:
        permuted = credit(scores.h_permuted)
        columns |= {
            "accuracy_permuted": permuted,
            "permutation_drop": own - permuted,
            "margin_permuted": scores.h_permuted,
            "log_loss_permuted": log_loss(scores.h_permuted, beta),
        }
    return columns


def _generic_columns(scores: Scores, beta: float) -> dict[str, Floats]:
    """Everything that is averaged over all comparisons."""
    return {
        "accuracy_generic": credit(scores.h_generic),
        "margin_generic": scores.h_generic,
        "log_loss_generic": log_loss(scores.h_generic, beta),
        "ties_generic": (scores.h_generic == 0).astype(np.float64),
    }


def _figures(scores: Scores, beta: float, resamples: int, seed: int) -> Figures:
    seen, unseen = scores.select(scores.seen), scores.select(~scores.seen)
    rows = UserSums.of(seen.user, seen.weight, _columns(seen, beta))
    found = rows.means(resamples, seed)
    found |= UserSums.of(scores.user, scores.weight, _generic_columns(scores, beta)).means(resamples, seed)
    found |= UserSums.of(unseen.user, unseen.weight, {"accuracy_generic_unseen": credit(unseen.h_generic)}).means(
        resamples, seed
    )
    each = rows.columns["accuracy_seen"] / rows.weight
    found["accuracy_per_user"] = macro(each, len(seen), resamples, seed)
    found["accuracy_worst_tenth"] = _worst(each, len(seen), resamples, seed)
    nothing = Estimate(math.nan)
    return Figures(**{f.name: found.get(f.name, nothing) for f in fields(Figures)})


def _worst(accuracies: Floats, comparisons: int, resamples: int, seed: int) -> Estimate:
    if not len(accuracies):
        return Estimate(math.nan)
    drawn = resample_lowest(accuracies, WORST, resamples, seed)
    return Estimate.of(float(lowest(accuracies, WORST)), drawn, users=len(accuracies), comparisons=comparisons)
