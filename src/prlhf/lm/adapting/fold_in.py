"""`fold_in`: what a few votes say of people that the model has never met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from prlhf.data.side_habit import side_habit
from prlhf.errors import ConfigError
from prlhf.lm.adapting.ballots import Ballots, learned_from
from prlhf.lm.adapting.fit import PASSES, Line, fitted, rows_at, solved
from prlhf.lm.adapting.prior import Prior
from prlhf.lm.adapting.slopes import values_and_slopes
from prlhf.lm.adapting.states import UserStates, model_key
from prlhf.lm.merging import folded
from prlhf.types import Comparison, Feedback

if TYPE_CHECKING:
    from prlhf.config.objectives import ObjectiveConfig
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["ENOUGH", "FoldIn", "fold_in"]

ENOUGH = 10
"""Votes of a user from which on some are held out to see what the others say of them."""
_FOLDS = 5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FoldIn:
    """The states, and of each user `[n]`: how far the row moved (in standard deviations of the prior), and the mean
    loss of the votes with the generic row (`before`) and their own (`after`).

    `held_out` is the loss of each vote with a row from the others, in five parts, which are fitted by the slopes at the
    own row; not a number with fewer than `ENOUGH` votes. `remarks`: what is odd about somebody's votes.
    """

    states: UserStates
    moved: Floats
    before: Floats
    after: Floats
    held_out: Floats
    remarks: tuple[str, ...] = ()


def fold_in(
    lm: PersonalizedLM,
    votes: Sequence[Feedback],
    prior: Prior,
    objective: ObjectiveConfig,
    *,
    weight: np.ndarray | None = None,
    passes: int = PASSES,
    layout: str = "auto",
    cache: Path | None = None,
) -> FoldIn:
    """Fit a row to the votes of each user in them, sorted by id; the model is frozen, and nothing is stored.

    Args:
        weight: `[b]`, times the votes' own (`prlhf.data.recency_weights`).
        passes: through the model, forward and back.
        cache: folder of the reference cache; None = keep nothing.

    Raises:
        DataError: a vote that says nothing, or of nobody, or that the objective does not take.
        ConfigError: a weight that is none.
    """
    learned = learned_from(_weighted(votes, weight), objective)
    names = sorted({str(v.user) for v in votes})
    training, frozen = lm.training, lm.eval()
    try:
        ballots = Ballots.of(frozen, learned, names, objective, layout=layout, cache=cache)
        with folded(lm, "auto", passes * len(ballots)), torch.no_grad():
            start, end = fitted(frozen, ballots, prior, passes)
            held_out = _held_out(frozen, ballots, prior, end)
    finally:
        lm.train(training)
    rows = rows_at(lm, prior.directions, end.z)
    count = torch.bincount(ballots.who, minlength=len(names)).numpy()
    states = UserStates(tuple(names), rows.float().cpu(), count, model_key(lm.user_model))
    return FoldIn(
        states=states,
        moved=end.z.norm(dim=1).numpy(),
        before=_mean_loss(ballots, start),
        after=_mean_loss(ballots, end),
        held_out=held_out,
        remarks=tuple(_remarks(votes, learned)),
    )


def _weighted(votes: Sequence[Feedback], weight: np.ndarray | None) -> list[Feedback]:
    """The votes with `weight` in their own."""
    factors = np.ones(len(votes)) if weight is None else np.asarray(weight, np.float64)
    own = factors * np.array([v.weight for v in votes])
    if factors.shape != (len(votes),) or not (np.isfinite(own) & (own >= 0)).all():
        raise ConfigError("fold in: expected a finite weight from 0 for each vote")
    return [replace(vote, weight=float(w)) for vote, w in zip(votes, own, strict=True)]


def _mean_loss(ballots: Ballots, line: Line) -> Floats:
    losses = ballots.total(ballots.losses(line.values, line.z0))
    return (losses / ballots.total(torch.ones(len(ballots)).double())).numpy()


def _held_out(lm: PersonalizedLM, ballots: Ballots, prior: Prior, end: Line) -> Floats:
    """See `FoldIn`: one more forward pass, in which each vote is read with the row that the other parts give."""
    enough = torch.bincount(ballots.who, minlength=ballots.n) >= ENOUGH
    if not enough.any():
        return np.full(ballots.n, np.nan)
    part = _places(ballots) % _FOLDS
    without = torch.stack([solved(ballots.weighted(part != k), prior, end) for k in range(_FOLDS)])
    rows = rows_at(lm, prior.directions, without[part, ballots.who])
    values, _ = values_and_slopes(lm, ballots.encoded, rows, ballots.layout)
    losses = ballots.total(ballots.losses(values, end.z0)) / ballots.total(torch.ones(len(ballots)).double())
    return torch.where(enough, losses, torch.nan).numpy()


def _places(ballots: Ballots) -> torch.Tensor:
    """Of each vote its number among those of its user `[b]`."""
    seen: Counter[int] = Counter()
    places = []
    for user in ballots.who.tolist():
        places.append(seen[user])
        seen[user] += 1
    return torch.tensor(places, dtype=torch.long)


def _remarks(votes: Sequence[Feedback], learned: Sequence[Feedback]) -> list[str]:
    """What is odd about somebody's votes. They are fitted anyway; the prior keeps such a row near the generic one."""
    found = []
    counted = Counter(v.user for v in learned)
    for name in sorted({str(v.user) for v in votes}):
        own = [v for v in votes if v.user == name and isinstance(v, Comparison) and not v.tie]
        if not counted[name]:
            found.append(f"{name}: no vote that this model learns from; the row is the generic one")
        ways: dict[str, set[str]] = {}
        for v in own:
            ways.setdefault(v.pair_key, set()).add(v.chosen)
        both = sum(len(chosen) > 1 for chosen in ways.values())
        if both:
            found.append(f"{name}: {both} of {len(ways)} pairs are answered both ways; such answers cancel")
        habit = side_habit(own)
        if habit is not None:
            many = f"{habit.of_side} of {habit.votes} votes"
            found.append(f"{name}: {many} are for what was shown {habit.side}: a habit, and perhaps no taste")
    return found
