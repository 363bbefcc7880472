"""`fold_in`: what a few votes say of people that the model has never met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from prlhf.data.oddities import oddities_by_user
from prlhf.errors import ConfigError, DataError
from prlhf.lm.adapting.ballots import Ballots, learned_from
from prlhf.lm.adapting.fit import PASSES, Line, fitted, rows_at
from prlhf.lm.adapting.held_out import held_out_losses, own_strengths
from prlhf.lm.adapting.prior import Prior
from prlhf.lm.adapting.states import UserStates, model_key
from prlhf.lm.merging import folded
from prlhf.types import Comparison, Feedback, Thumb

if TYPE_CHECKING:
    from prlhf.config.objectives import ObjectiveConfig
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["FoldIn", "fold_in"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FoldIn:
    """The states, and of each user `[n]`: how far the row moved (in standard deviations of the prior), and the mean
    loss of the votes with the generic row (`before`) and their own (`after`).

    `strength` is what the votes counted by: that of the prior, or from `ENOUGH` votes on their own (`own_strengths`).
    `held_out` is then the loss of each vote with a row from the others, in five parts, which are fitted by the slopes
    before the last step; else not a number. `remarks`: what is odd about somebody's votes.
    """

    states: UserStates
    moved: Floats
    before: Floats
    after: Floats
    held_out: Floats
    strength: Floats
    remarks: tuple[str, ...] = ()


def fold_in(
    lm: PersonalizedLM,
    votes: Sequence[Feedback],
    prior: Prior,
    objective: ObjectiveConfig,
    *,
    weight: np.ndarray | None = None,
    passes: int = PASSES,
    own_strength: bool = True,
    layout: str = "auto",
    cache: Path | None = None,
) -> FoldIn:
    """Fit a row to the votes of each user in them, sorted by id; the model is frozen, and nothing is stored.

    Args:
        weight: `[b]`, times the votes' own (`prlhf.data.recency_weights`).
        passes: through the model, forward and back.
        own_strength: whether somebody with enough votes has a strength of their own (`own_strengths`).
        cache: folder of the reference cache; None = keep nothing.

    Raises:
        DataError: no votes; a vote that says nothing, or of nobody, or that the objective does not take.
        ConfigError: a weight that is none.
    """
    _check_votes(votes)
    learned = learned_from(_weighted(votes, weight), objective)
    names = sorted({str(v.user) for v in votes})
    training, frozen = lm.training, lm.eval()
    try:
        ballots = Ballots.of(frozen, learned, names, objective, layout=layout, cache=cache)
        with folded(lm, "auto", passes * len(ballots)), torch.no_grad():
            own = partial(own_strengths, ballots, prior) if own_strength else None
            start, end, strength = fitted(frozen, ballots, prior, passes, own_strength=own)
            held_out = held_out_losses(frozen, ballots, prior, strength, end)
    finally:
        lm.train(training)
    rows = rows_at(lm, prior.directions, end.z)
    states = UserStates(tuple(names), rows.float().cpu(), ballots.votes.numpy(), model_key(lm.user_model))
    return FoldIn(
        states=states,
        moved=end.z.norm(dim=1).numpy(),
        before=_mean_loss(ballots, start),
        after=_mean_loss(ballots, end),
        held_out=held_out.numpy(),
        strength=strength.numpy(),
        remarks=tuple(_remarks(votes, learned)),
    )


def _check_votes(votes: object) -> None:
    if isinstance(votes, str) or not isinstance(votes, Iterable):
        odd = [votes]
    else:
        odd = [v for v in votes if not isinstance(v, Comparison | Thumb)]
    if odd:
        found = type(odd[0]).__name__
        raise DataError(
            f"fold in: found {found}, expected comparisons or thumbs, as load_comparisons(…).items has them"
        )


def _weighted(votes: Sequence[Feedback], weight: np.ndarray | None) -> list[Feedback]:
    """The votes with `weight` in their own."""
    factors = np.ones(len(votes)) if weight is None else np.asarray(weight, np.float64)
    own = factors * np.array([v.weight for v in votes])
    if factors.shape != (len(votes),) or not (np.isfinite(own) & (own >= 0)).all():
        raise ConfigError("fold in: expected a finite weight from 0 for each vote")
    return [replace(vote, weight=float(w)) for vote, w in zip(votes, own, strict=True)]


def _mean_loss(ballots: Ballots, line: Line) -> Floats:
    return ballots.mean(ballots.losses(line.values, line.z0)).numpy()


def _remarks(votes: Sequence[Feedback], learned: Sequence[Feedback]) -> list[str]:
    """What is odd about somebody's votes. They are fitted anyway; the prior keeps such a row near the generic one."""
    found = oddities_by_user(votes)
    given, counted = (Counter(str(v.user) for v in some) for some in (votes, learned))
    for name, count in given.items():
        if not counted[name]:
            found.append(f"{name}: no vote that this model learns from; the row is the generic one")
        elif counted[name] < count:
            found.append(f"{name}: {count - counted[name]} of {count} votes are ties, which this model has no loss for")
    return sorted(found)
