"""What all reward models of a comparison are fitted to, tuned by and measured on, under one seed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prlhf.config.data import SplitConfig
from prlhf.config.rewards.compare import RewardCompare
from prlhf.data import Log, Split, decided, split
from prlhf.data.checks import Check, check_split
from prlhf.data.items import Picked, parted
from prlhf.errors import DataError
from prlhf.evaluation.reward.checks import check_features
from prlhf.evaluation.reward.scores import places_in_order
from prlhf.rewards import Votes
from prlhf.types import Comparison

if TYPE_CHECKING:
    from prlhf.rewards.features import FeatureMap

__all__ = ["Common", "Measured", "Met", "Tuning", "kept", "swapped"]

logger = logging.getLogger(__name__)
Ints = npt.NDArray[np.int64]

TOLD = 10
"""Votes by which the held-out users of tuning are met."""
_FEWEST = 10
"""Unseen users with enough votes for every count; below, all are measured with what they have."""


@dataclass(frozen=True)
class Measured:
    """Votes to measure on, and the comparisons that they are, in the same order."""

    votes: Votes
    rows: Sequence[Comparison]


@dataclass(frozen=True)
class Met:
    """New users: what they are measured on, and what is known of them, with the place of each such vote among those of
    its user. Both `Votes` have the same names."""

    measured: Measured
    context: Votes
    place: Ints

    def told(self, votes: int) -> Votes:
        """The first so many votes of each."""
        return self.context.take(self.place < votes).compact()


@dataclass(frozen=True)
class Tuning:
    """A part of the training side to fit to, and two to choose by: votes of the same users, and new users.

    `rest` and `early` are all of the training side, parted in what is learned from and what a model that stops early
    may look at.
    """

    train: Votes
    seen: Votes
    new: Met | None
    rest: Votes
    early: Votes


@dataclass(frozen=True)
class Common:
    """One seed's votes: `train`, the test votes of the same users, unseen users, and how to tune on `train` alone."""

    train: Votes
    seen: Measured
    unseen: Met
    tuning: Tuning
    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    sizes: dict[str, int]

    @classmethod
    def of(cls, log: Log, config: RewardCompare, seed: int, features: FeatureMap | None = None) -> Common:
        """Split `log` (of `kept`), and make features from the training side unless they are given."""
        sides = split(log, _options(config, seed), thumbs=False)
        rows = {name: parted(log.pick(indices))[0] for name, indices in sides.sides().items()}
        if features is None:
            from prlhf.rewards.features import make_features

            features = make_features(config.features, rows["train"])
        whole = _Whole.of(rows, features)
        train = whole.votes("train")
        unseen, notes = _unseen(whole, rows, max(config.votes), seed)
        common = cls(
            train=train,
            seen=Measured(whole.votes("test", train.names), rows["test"]),
            unseen=unseen,
            tuning=_tuning(_training(log, sides), train, config, seed),
            checks=(*check_split(log, sides, config.split), check_features(train)),
            notes=notes,
            sizes={name: len(found) for name, found in rows.items()}
            | {"users": len(train.names), "unseen users": len(unseen.context.names)},
        )
        logger.info("seed %d: %s", seed, ", ".join(f"{name} {count:,}" for name, count in common.sizes.items()))
        return common


def kept(log: Log, config: RewardCompare) -> Log:
    """The comparisons of users with enough votes that have a winner; those of nobody only where everybody is enough."""
    rows = [c for c in log.comparisons if decided(c)]
    counts = Counter(c.user for c in rows)
    some = [c for c in rows if (config.min_votes == 1 if c.user is None else counts[c.user] >= config.min_votes)]
    users = {c.user for c in some} - {None}
    if len(users) < 4:
        raise DataError(
            f"{log.source}: {len(users)} users have at least {config.min_votes} votes, expected at least 4; lower "
            "min_votes"
        )
    return Log(tuple(some), log.source, attribution=log.attribution, notes=log.notes)


def _options(config: RewardCompare, seed: int) -> SplitConfig:
    return SplitConfig(by=config.split, test=config.test, users=config.unseen, seed=seed)


@dataclass(frozen=True)
class _Whole:
    """All sides as votes on the same items, since features take longest."""

    all: Votes
    place: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, rows: dict[str, Sequence[Comparison]], features: FeatureMap) -> _Whole:
        together = [c for part in rows.values() for c in part]
        ends = np.cumsum([len(part) for part in rows.values()]).tolist()
        starts = [0, *ends[:-1]]
        return cls(Votes.of(together, features), dict(zip(rows, zip(starts, ends, strict=True), strict=True)))

    def votes(self, side: str, names: Sequence[str] | None = None) -> Votes:
        """One side, on the items that it has votes on; by default with the users that it has."""
        some = self.all.take(np.arange(*self.place.get(side, (0, 0))))
        if names is None:
            names = [some.names[i] for i in np.flatnonzero(some.counts)]
        return some.of_users(names).compact()


def _unseen(whole: _Whole, rows: dict[str, Sequence[Comparison]], most: int, seed: int) -> tuple[Met, tuple[str, ...]]:
    """The unseen users who have votes to be met by, as many as the largest count, and votes to be measured on."""
    told, asked = rows.get("context", ()), rows["unseen"]
    counts, measured = Counter(c.user for c in told), {c.user for c in asked}
    names = sorted(u for u in counts if u is not None and u in measured and counts[u] >= most)
    enough = len(names)
    if enough < _FEWEST:
        names = sorted({c.user for c in asked if c.user is not None})
    held: set[str | None] = set(names)
    keep = np.array([c.user in held for c in asked], bool)
    votes = whole.votes("unseen", names).take(keep)
    context = whole.votes("context", names)
    found = Met(Measured(votes, [c for c in asked if c.user in held]), context, places_in_order(told, seed))
    what = f"{enough:,} of {len(measured):,} unseen users have {most} votes apart from those they are measured on"
    if enough < _FEWEST:
        return found, (f"seed {seed}: only {what}, so all are measured, with the votes they have.",)
    left = f"; only they are measured, at every count ({len(asked) - len(found.measured.rows):,} votes of others not)"
    return found, (f"seed {seed}: {what}{left if enough < len(measured) else ''}.",)


def _training(log: Log, sides: Split) -> Log:
    """The training side as a log of its own, with nobody who is held out among its users."""
    place = np.array(sides.train, np.int64)
    rows = Picked(log.items, place, log.facts.take(place).compact())
    return Log(parted(rows)[0], log.source)


def _tuning(log: Log, train: Votes, config: RewardCompare, seed: int) -> Tuning:
    """The training side split once more. Its pairs are apart as those of the test are; users are held out too, where
    there are enough."""
    options = SplitConfig(by=config.split, test=config.validation, users=config.validation, seed=seed)
    try:
        sides = split(log, options)
    except DataError:
        sides = split(log, options.model_copy(update={"users": 0.0}))
    place = {side: np.array(indices, np.int64) for side, indices in sides.sides().items()}
    known = train.take(place["train"])
    names = [train.names[i] for i in np.flatnonzero(known.counts)]
    held = np.concatenate([place["test"], place.get("unseen", np.zeros(0, np.int64))])
    rest = np.setdiff1d(np.arange(len(train)), held)
    return Tuning(
        train=known.of_users(names).compact(),
        seen=train.take(place["test"]).of_users(names),
        new=_new(log, train, place, seed),
        rest=train.take(rest).compact(),
        early=train.take(held),
    )


def _new(log: Log, train: Votes, place: dict[str, Ints], seed: int) -> Met | None:
    """The held-out users of tuning; None where there are none."""
    if "unseen" not in place or "context" not in place:
        return None
    asked, told = train.take(place["unseen"]), train.take(place["context"])
    names = [train.names[i] for i in np.flatnonzero(asked.counts)]
    rows = [log.comparisons[i] for i in place["context"].tolist()]
    measured = Measured(asked.of_users(names), [log.comparisons[i] for i in place["unseen"].tolist()])
    return Met(measured, told.of_users(names), places_in_order(rows, seed))


def swapped(votes: Votes) -> Votes:
    """The same votes the other way round."""
    return replace(votes, chosen=votes.rejected, rejected=votes.chosen, first=-votes.first)
