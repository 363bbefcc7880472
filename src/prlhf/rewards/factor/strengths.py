"""How far people differ, from held-out votes: a path from nobody differing to everybody for themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prlhf.rewards.factor.basis import Basis
from prlhf.rewards.factor.em import Crowd, Shared, Spread, fit_crowd, grow, improve, log_likelihood
from prlhf.rewards.factor.pairs import Pairs
from prlhf.rewards.votes import Votes

__all__ = ["STEPS", "Choice", "choose", "gain_is_real", "shared_responses"]

Floats = npt.NDArray[np.float64]

STEPS = 4
"""Steps of expectation-maximisation at each place of the path, each started from the one before."""
_WITH_ITEMS = ((0.15, 0.05), (0.3, 0.15), (0.5, 0.25), (0.5, 0.4), (0.5, 0.6), (0.8, 0.8), (1.2, 1.2))
_WITHOUT = ((0.1, 1.0), (0.2, 1.0), (0.35, 1.0), (0.5, 1.0), (0.8, 1.0), (1.2, 1.0), (2.0, 1.0))
_SURE = 2.0
"""Standard errors (over people) by which held-out votes must be better predicted for people to differ at all."""
_WORTH = 2e-4
"""And the least that they must gain, in nats a vote."""
_FOLDS = ((30_000, 1), (8_000, 2), (0, 4))
"""(votes, folds): of fewer votes more folds are looked at, since each says less."""


@dataclass(frozen=True)
class Choice:
    """What held-out votes say: whether smooth functions of the features help, and how far people differ (None: not)."""

    nonlinear: bool
    spread: Spread | None
    gain: float
    """Nats a held-out vote beyond the crowd, of the best place of the path."""
    error: float
    """Its standard error over people."""


def shared_responses(votes: Votes) -> bool:
    """Whether most votes are on two responses that at least three people have judged."""
    if not len(votes):
        return False
    user = np.tile(votes.user, 2)
    item = np.concatenate([votes.chosen, votes.rejected])
    judged = np.unique(np.stack([item, user], 1)[user >= 0], axis=0)
    people = np.bincount(judged[:, 0], minlength=len(votes.items))
    return bool(((people[votes.chosen] >= 3) & (people[votes.rejected] >= 3)).mean() > 0.5)


@dataclass
class _Fold:
    """One part of the votes held out; `train` and `held` share their users."""

    train: Pairs
    held: Pairs
    crowd: Crowd
    told: npt.NDArray[np.float32] | None
    model: Shared | None = None

    def crowd_alone(self) -> Floats:
        return log_likelihood(self.held, self.crowd)

    def at(self, spread: Spread, rank: int) -> Floats:
        """Log-likelihood of each held-out vote, a few steps on from the last place of the path."""
        if self.model is None:
            self.model = grow(self.train, self.crowd, rank, spread, self.told)
        for _ in range(STEPS):
            self.model = improve(self.train, self.model, spread)
        return log_likelihood(self.held, self.model)


def choose(
    votes: Votes, *, rank: int, items: bool, nonlinear: bool | None, flips: float | None, components: int
) -> Iterator[Choice]:
    """Look along the path; yields what is known so far after each place of it, for a bar, and at last the choice.

    `nonlinear` None: to be found out.
    """
    parts = list(_parts(votes))
    maps = (False, True) if nonlinear is None else (nonlinear,)
    best, gain, worse = Choice(maps[0], None, 0.0, 0.0), 0.0, 0
    if not parts:
        yield best
        return
    folds = [_fold(*part, maps[0], items, flips, components) for part in parts]
    base = np.concatenate([fold.crowd_alone() for fold in folds])
    for smooth in maps[1:]:
        others = [_fold(*part, smooth, items, flips, components) for part in parts]
        each = np.concatenate([fold.crowd_alone() for fold in others])
        if gain_is_real(each - base, _people(folds))[0]:
            best, folds, base = Choice(smooth, None, 0.0, 0.0), others, each
    people, weight = _people(folds), np.concatenate([fold.held.votes.weight for fold in folds])
    yield best
    if not rank:
        return
    for place in _WITH_ITEMS if items else _WITHOUT:
        spread = Spread(*place)
        gains = weight * (np.concatenate([fold.at(spread, rank) for fold in folds]) - base)
        real, error = gain_is_real(gains, people)
        if gains.mean() > gain:
            gain, worse = float(gains.mean()), 0
            best = Choice(best.nonlinear, spread if real else None, gain, error)
        else:
            worse += 1
        yield best
        if worse == 2:
            return


def gain_is_real(gains: Floats, people: npt.NDArray[np.int64]) -> tuple[bool, float]:
    """Whether the mean of `gains` `[b]` is beyond chance, and its standard error, with votes of one person together."""
    if not len(gains):
        return False, 0.0
    _, who = np.unique(people, return_inverse=True)
    sums, counts = np.bincount(who, gains), np.bincount(who)
    mean = gains.mean()
    error = float(np.sqrt(((sums - counts * mean) ** 2).sum()) / len(gains))
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
        if held.any() and not held.all():
            yield votes.take(~held), votes.take(held & (votes.y == 1))


def _fold(train: Votes, held: Votes, nonlinear: bool, items: bool, flips: float | None, components: int) -> _Fold:
    basis = Basis.of(train, components, nonlinear=nonlinear)
    z = basis(train.items.x)
    pairs = Pairs(z, train)
    return _Fold(pairs, Pairs(z, held), fit_crowd(pairs, items=items, flips=flips), train.told)
