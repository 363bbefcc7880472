"""How far people differ, from held-out votes: a path from nobody differing to everybody for themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from prlhf.rewards.base import Progress
from prlhf.rewards.factor.basis import Bases
from prlhf.rewards.factor.em import (
    Crowd,
    Shared,
    Spread,
    as_strangers,
    chances,
    fit_crowd,
    grow,
    improve,
    log_likelihood,
)
from prlhf.rewards.factor.pairs import Pairs
from prlhf.rewards.votes import Votes

__all__ = ["STEPS", "Choice", "choose", "gain_is_real", "shared_responses"]

Floats = npt.NDArray[np.float64]

STEPS = 4
"""Steps of expectation-maximisation at each place of the path, each started from the one before."""
_WITH_ITEMS = ((0.3, 0.2), (0.5, 0.4), (0.6, 0.7), (0.8, 1.0), (0.8, 1.5), (1.0, 2.2))
_WITHOUT = ((0.1, 1.0), (0.2, 1.0), (0.35, 1.0), (0.5, 1.0), (0.8, 1.0), (1.2, 1.0), (2.0, 1.0), (3.0, 1.0))
_AT_LEAST = 3
"""The last place of the path that is looked at in any case."""
_FEW = 2
"""Directions with which the path is walked."""
_SHARED = 0.2
"""Share of the votes' responses that several people must have judged for responses to have effects of their own."""
_PRECISIONS = ("w_precision", "c_precision")
_FACTOR = 3.0
"""Between two precisions of the crowd that are tried."""
_LEAST, _MOST = 1e-2, 1e7
"""Of such a precision."""
_WIDE = np.log(_FACTOR)
"""Standard deviation of the logarithm of a precision around what the evidence says."""
_BETTER = 1e-5
"""Nats a vote by which another must tell held-out votes better."""
_SURE = 1.645
"""Standard errors (over people) by which held-out votes must be better predicted for people to differ at all."""
_WORTH = 2e-4
"""And the least that they must gain, in nats a vote."""
_DOUBTS = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
_FLIPS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3)
_CLEAR = 0.5
"""Nats in all that each further share of flipped votes must bring."""
_FOLDS = ((30_000, 1), (8_000, 2), (0, 4))
"""(votes, folds): of fewer votes more folds are looked at, since each says less."""


@dataclass(frozen=True)
class Choice:
    """What held-out votes say: whether smooth functions of the features help, and how far people differ (None: not)."""

    nonlinear: bool
    spread: Spread | None = None
    gain: float = 0.0
    """Nats a held-out vote beyond the crowd, of the best place of the path."""
    error: float = 0.0
    """Its standard error over people."""
    flips: float = 0.0
    """The share of votes that are the wrong way round there."""
    crowd: tuple[float, float] | None = None
    """Precisions of the crowd's weights and of responses' own effects; None: by evidence."""
    rank: int = 0
    """Directions, where people differ."""
    doubt: float = 1.0
    """How much of a margin's variance counts in the probability of a vote."""


def shared_responses(votes: Votes) -> bool:
    """Whether a good part of the votes is on responses that several people have judged.

    (Where each person judges their own, an effect of a response is only another name for that person's vote.)
    """
    user = np.tile(votes.user, 2)
    item = np.concatenate([votes.chosen, votes.rejected])
    judged = np.unique(np.stack([item, user], 1)[user >= 0], axis=0)
    people = np.bincount(judged[:, 0], minlength=len(votes.items))
    return bool(len(item) and (people[item] >= 2).mean() > _SHARED)


@dataclass
class _Fold:
    """One part of the votes held out; `train` and `held` share their users."""

    train: Pairs
    held: Pairs
    crowd: Crowd
    told: npt.NDArray[np.float32] | None

    def with_strengths(self, strengths: tuple[float, float]) -> _Fold:
        """With a crowd of these precisions."""
        items, flips = self.crowd.with_items, self.crowd.flips
        return replace(self, crowd=fit_crowd(self.train, items=items, flips=flips, strengths=strengths, steps=8))

    def crowd_alone(self) -> Floats:
        """Log-likelihood of each held-out vote, times its weight."""
        return self._told(self.crowd, self.crowd.flips)

    def at(self, place: _Place, rank: int, before: Shared | None) -> tuple[Shared, Floats]:
        """A model a few steps on from that of the place `before`; log-likelihoods as `crowd_alone` has them."""
        model = before or grow(self.train, self.crowd, rank, place.spread, self.told)
        model = replace(model, crowd=replace(model.crowd, flips=place.flips))
        for _ in range(STEPS if before else 2 * STEPS):
            model = improve(self.train, model, place.spread)
        return model, self._told(model, place.flips)

    def doubts(self, model: Shared, flips: float) -> Floats:
        """Log-likelihood of all held-out votes under each of `_DOUBTS`, of people as they are known and as if nobody
        knew them."""
        return np.array(
            [
                sum(self._told(people, flips, doubt).sum() for people in (model, as_strangers(model)))
                for doubt in _DOUBTS
            ]
        )

    def _told(self, model: Shared | Crowd, flips: float, doubt: float = 1.0) -> Floats:
        return self.held.votes.weight * log_likelihood(chances(self.held, model, doubt), flips)


class _Place(NamedTuple):
    """Of the path."""

    spread: Spread
    flips: float


@dataclass
class _Walk:
    """Along the path, with one model a fold; it goes on from the best place so far."""

    folds: Sequence[_Fold]
    rank: int
    base: Floats
    """`crowd_alone` of all folds; the crowd has the precisions `crowd`."""
    crowd: tuple[float, float]
    best: _Place | None = None
    gains: Floats | None = None
    """Of each held-out vote, at the best place."""
    models: Sequence[Shared | None] = ()
    """At the best place; `latest` at the last one."""
    latest: Sequence[Shared | None] = ()

    @property
    def gain(self) -> float:
        """At the best place, in nats over all held-out votes."""
        return 0.0 if self.gains is None else float(self.gains.sum())

    def go(self, place: _Place, least: float | None = None) -> bool:
        """Whether held-out votes are better told here than anywhere before, or than by `least` nats."""
        before = self.latest or [None] * len(self.folds)
        found = [fold.at(place, self.rank, model) for fold, model in zip(self.folds, before, strict=True)]
        self.latest = [model for model, _ in found]
        gains = np.concatenate([each for _, each in found]) - self.base
        if gains.sum() <= (self.gain if least is None else least):
            return False
        self.best, self.gains, self.models = place, gains, self.latest
        return True

    def with_rank(self, rank: int) -> _Walk:
        """A walk with more directions, that begins."""
        return _Walk(self.folds, rank, self.base, self.crowd)

    def take(self, other: _Walk) -> None:
        """Go on as the other."""
        self.rank, self.best, self.gains = other.rank, other.best, other.gains
        self.models = self.latest = other.models

    def back(self) -> None:
        """To the best place."""
        self.latest = self.models

    def choice(self, nonlinear: bool, flips: float, spread: Spread | None) -> Choice:
        """`spread`, or of the best place, if people differ beyond chance there; with a rank of 0 they do not."""
        if self.best is None or self.gains is None:
            return Choice(nonlinear, spread, flips=flips, crowd=self.crowd, rank=self.rank)
        real, error = gain_is_real(self.gains, _people(self.folds))
        gain = float(self.gains.mean())
        if not real and spread is None:
            return Choice(nonlinear, None, gain, error, flips, self.crowd)
        spread = spread or self.best.spread
        return Choice(nonlinear, spread, gain, error, self.best.flips, self.crowd, self.rank, self.doubt(self.best))

    def doubt(self, place: _Place) -> float:
        """By the held-out votes: the bound that is learned by makes margins too small where people are far apart, and
        their whole variance would make probabilities timid twice."""
        models = zip(self.folds, self.models, strict=True)
        likelihood = sum(fold.doubts(model, place.flips) for fold, model in models if model is not None)
        return _DOUBTS[int(np.argmax(likelihood))]


def choose(
    votes: Votes,
    bases: Bases,
    *,
    rank: int,
    items: bool,
    spread: Spread | None,
    nonlinear: bool | None,
    flips: float | None,
    progress: Progress = lambda steps: steps,
) -> Choice:
    """Look along the path.

    `spread`, `nonlinear` and `flips` None: to be found out; with a `spread` there are `rank` directions. `progress`
    draws a bar over the places.
    """
    parts, given = list(_parts(votes)), flips or 0.0
    if not parts:
        return Choice(bool(nonlinear), spread if rank else None, flips=given, rank=rank)
    smooth, folds = _folds(parts, bases, items, given, nonlinear)
    strengths = _crowd_strengths(folds)
    walk = _Walk(folds, min(rank, _FEW) if spread is None else rank, _likelihoods(folds), strengths)
    for _ in progress(_places(walk, rank, spread, flips)):
        pass
    return walk.choice(smooth, given, spread if rank else None)


def _folds(
    parts: Sequence[tuple[Votes, Votes]], bases: Bases, items: bool, flips: float, nonlinear: bool | None
) -> tuple[bool, list[_Fold]]:
    """With smooth functions of the features, or without; where that is not given, as held-out votes say."""
    z = bases.first(bool(nonlinear))
    folds = [_fold(*part, z, items, flips) for part in parts]
    if nonlinear is not None:
        return nonlinear, folds
    z = bases.first(True)
    others = [_fold(*part, z, items, flips) for part in parts]
    better, _ = gain_is_real(_likelihoods(others) - _likelihoods(folds), _people(folds))
    return better, others if better else folds


def _places(walk: _Walk, rank: int, spread: Spread | None, flips: float | None) -> Iterator[None]:
    """Walk; yields after each place."""
    if not rank:
        return
    if spread is None:
        yield from _look(walk, rank, flips)
        return
    walk.go(_Place(spread, flips or 0.0), -np.inf)
    yield
    if flips is None:
        yield from _flips(walk, [])


def _look(walk: _Walk, rank: int, flips: float | None) -> Iterator[None]:
    """Strengths with few directions, then more directions, then votes that are the wrong way round."""
    items = walk.folds[0].crowd.with_items
    path = [_Place(Spread(*strength), flips or 0.0) for strength in (_WITH_ITEMS if items else _WITHOUT)]
    yield from _along(walk, path)
    if items and walk.best is not None:
        features, own = walk.best.spread
        for times in (0.25, 4.0):
            walk.back()
            walk.go(_Place(Spread(features * times, own), walk.best.flips))
            yield
    while walk.best is not None and walk.rank < rank:
        more = walk.with_rank(min(2 * walk.rank, rank))
        better = more.go(walk.best, walk.gain)
        yield
        if not better:
            break
        walk.take(more)
    if flips is None and walk.best is not None:
        yield from _flips(walk, path)


def _along(walk: _Walk, path: Sequence[_Place]) -> Iterator[None]:
    """The first places in any case, and then until it has become worse twice."""
    worse = 0
    for number, place in enumerate(path):
        worse += not walk.go(place)
        yield
        if worse >= 2 and number >= _AT_LEAST:
            return


def _flips(walk: _Walk, path: Sequence[_Place]) -> Iterator[None]:
    """More and more votes taken to be flipped, as long as held-out votes are better told; and then the strengths
    again, since margins grow with it. (From the votes that were learned from it would be far too low: a model comes to
    believe them.)"""
    assert walk.best is not None
    walk.back()
    spread = walk.best.spread
    for flips in _FLIPS:
        better = walk.go(_Place(spread, flips), walk.gain + _CLEAR)
        yield
        if not better:
            break
    if walk.best.flips:
        walk.back()
        yield from _along(walk, [place._replace(flips=walk.best.flips) for place in path if place.spread > spread])


def _likelihoods(folds: Sequence[_Fold]) -> Floats:
    """Of each held-out vote, under the crowd alone, times its weight."""
    return np.concatenate([fold.crowd_alone() for fold in folds])


def _crowd_strengths(folds: Sequence[_Fold]) -> tuple[float, float]:
    """Precisions of the crowd's weights and of responses' effects: from those by evidence on to what tells held-out
    votes best, one after the other. The folds get such crowds."""
    weights, effects = (float(np.exp(np.mean(np.log([getattr(f.crowd, n) for f in folds])))) for n in _PRECISIONS)
    best = first = weights, effects
    likelihood = float(_likelihoods(folds).sum())
    order = (1, 0) if folds[0].crowd.with_items else (0,)
    for which, factor in ((which, factor) for which in order for factor in (1 / _FACTOR, _FACTOR)):
        for tried in _multiples(best, which, factor):
            crowds = [fold.with_strengths(tried) for fold in folds]
            found = float(_likelihoods(crowds).sum()) - _far(tried, first)
            if found <= likelihood + _BETTER * sum(fold.held.b for fold in folds):
                break
            best, likelihood = tried, found
            for fold, new in zip(folds, crowds, strict=True):
                fold.crowd = new.crowd
    return best


def _far(precisions: tuple[float, float], first: tuple[float, float]) -> float:
    """How unlikely such precisions are beside the first, in nats: by chance a few votes are told best by hardly any."""
    steps = [np.log(now / then) for now, then in zip(precisions, first, strict=True) if np.isfinite(then)]
    return float(np.square(steps).sum() / 2 / _WIDE**2)


def _multiples(of: tuple[float, float], which: int, factor: float) -> Iterator[tuple[float, float]]:
    """Precisions with one of them `factor` times as large, again and again, within reason."""
    while _LEAST < of[which] * factor < _MOST:
        of = (of[0] * factor, of[1]) if which == 0 else (of[0], of[1] * factor)
        yield of


def gain_is_real(gains: Floats, people: npt.NDArray[np.int64]) -> tuple[bool, float]:
    """Whether the mean of `gains` `[b]` is beyond chance, and its standard error: with votes of one person together, or
    each by itself if that is more, as it is where there are hardly any people."""
    if not len(gains):
        return False, 0.0
    _, who = np.unique(people, return_inverse=True)
    sums, counts = np.bincount(who, gains), np.bincount(who)
    mean = gains.mean()
    together, alone = ((sums - counts * mean) ** 2).sum(), ((gains - mean) ** 2).sum()
    error = float(np.sqrt(max(together, alone)) / len(gains))
    return bool(mean > max(_SURE * error, _WORTH)), error


def _people(folds: Sequence[_Fold]) -> npt.NDArray[np.int64]:
    """Who cast each held-out vote; a nameless one is a person of its own."""
    users = np.concatenate([np.where(f.held.votes.user < 0, -1, f.held.votes.user) for f in folds])
    return np.where(users < 0, users.max(initial=0) + 1 + np.arange(len(users)), users)


def _parts(votes: Votes) -> Iterator[tuple[Votes, Votes]]:
    """Training and held-out parts that share no pair, by content."""
    count = next(folds for least, folds in _FOLDS if len(votes) >= least)
    shares = max(count, 6)
    for fold in range(count):
        held = votes.pair % np.uint64(shares) == fold
        decided = held & (votes.y == 1)
        if decided.any() and not held.all():
            yield votes.take(~held), votes.take(decided)


def _fold(train: Votes, held: Votes, z: npt.NDArray[np.float32], items: bool, flips: float) -> _Fold:
    pairs = Pairs(z, train)
    return _Fold(pairs, Pairs(z, held), fit_crowd(pairs, items=items, flips=flips), train.told)
