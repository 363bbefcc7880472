"""`evaluate_reward`: a reward model on comparisons, of people it knows and of people it meets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from prlhf.data.checks import Check
from prlhf.data.log import Log, decided
from prlhf.errors import DataError
from prlhf.evaluation.checks import check_permuted
from prlhf.evaluation.metrics import summarise
from prlhf.evaluation.reward.checks import check_flipped
from prlhf.evaluation.reward.result import RewardEvaluation
from prlhf.evaluation.reward.scores import few_shot, reward_scores
from prlhf.evaluation.scores import Scores
from prlhf.types import Comparison

if TYPE_CHECKING:
    from prlhf.rewards import RewardModel

__all__ = ["evaluate_reward", "flipped"]


def evaluate_reward(
    model: RewardModel,
    data: Log | Sequence[Comparison],
    *,
    votes: int | Sequence[Comparison] = 0,
    context: Sequence[Comparison] = (),
    bootstrap: int = 1000,
    seed: int = 0,
) -> RewardEvaluation:
    """Measure `model` on all decided comparisons of `data`; ties, equal texts and thumbs are left out and counted.

    Args:
        votes: of users whom the model does not know, so many are folded in first: those of `context` where they have
            some there, else of `data`, in an order by content. They are measured on their votes on other pairs. Or the
            votes themselves, all of which are folded in, of whomever: who has some there counts as new, and is answered
            by these alone.
        context: what is known about new users, and is no test.
        bootstrap: draws of users behind each interval; 0 leaves the intervals out.
        seed: of the order of votes, of who is exchanged with whom, and of the draws.

    Raises:
        DataError: nothing to measure on, or a text that there are no features for.
    """
    given = list(data.comparisons) if isinstance(data, Log) else list(data)
    rows = [c for c in given if decided(c)]
    if not rows:
        raise DataError(
            f"reward evaluation: found {len(given):,} comparisons of which none has a winner, expected some"
        )
    parts = _parted(model, rows, votes, context, seed)
    if not parts.seen and not parts.rest:
        raise DataError(
            f"reward evaluation: all votes were folded in (votes = {parts.votes}), none is left to measure on"
        )
    seen = reward_scores(model, parts.seen, seed) if parts.seen else None
    with model.meeting(parts.told):
        unseen = reward_scores(model, parts.rest, seed) if parts.rest else None
    found = RewardEvaluation(
        model=getattr(getattr(model, "config", None), "type", type(model).__name__),
        seen=seen,
        unseen=unseen,
        votes=parts.votes,
        told=len({c.user for c in parts.told}),
        left_out=_left_out(data, given) | {"folded_in": len(rows) - len(parts.seen) - len(parts.rest)},
        bootstrap=bootstrap,
        seed=seed,
    )
    if isinstance(data, Log):
        found = replace(found, source=data.source, fingerprint=data.fingerprint, attribution=data.attribution)
    return replace(found, checks=_checks(model, found, parts.told, parts.rest))


class _Parts(NamedTuple):
    """Votes of people whom the model knows, votes by which it meets others, and what these are measured on."""

    seen: Sequence[Comparison]
    told: Sequence[Comparison]
    rest: Sequence[Comparison]
    votes: int
    """So many of `told` are of one user, at most."""


def _parted(
    model: RewardModel,
    rows: Sequence[Comparison],
    votes: int | Sequence[Comparison],
    context: Sequence[Comparison],
    seed: int,
) -> _Parts:
    first = () if isinstance(votes, int) else [c for c in votes if c.user is not None and decided(c)]
    met = {c.user for c in first}
    known = [
        row > 0 and c.user not in met for c, row in zip(rows, model.users.rows([c.user for c in rows]), strict=True)
    ]
    seen = [c for c, there in zip(rows, known, strict=True) if there]
    new = [c for c, there in zip(rows, known, strict=True) if not there]
    if isinstance(votes, int):
        return _Parts(seen, *_told(new, context, votes, seed), votes)
    return _Parts(seen, first, _apart(new, first), max(Counter(c.user for c in first).values(), default=0))


def _left_out(data: Log | Sequence[Comparison], given: Sequence[Comparison]) -> dict[str, int]:
    return {
        "ties": sum(c.tie for c in given),
        "equal": sum(c.chosen == c.rejected and not c.tie for c in given),
        "thumbs": len(data.thumbs) if isinstance(data, Log) else 0,
    }


def _told(
    new: Sequence[Comparison], context: Sequence[Comparison], votes: int, seed: int
) -> tuple[list[Comparison], list[Comparison]]:
    """What is folded in of new users, and what they are measured on."""
    if not votes:
        return [], list(new)
    users = {c.user for c in new if c.user is not None}
    apart = [c for c in context if c.user in users and decided(c)]
    told, _ = few_shot(apart, votes, seed)
    elsewhere = {c.user for c in apart}
    inside = [c for c in new if c.user is not None and c.user not in elsewhere]
    more, rest = few_shot(inside, votes, seed)
    others = [c for c in new if c.user is None or c.user in elsewhere]
    return told + more, _apart(others, told) + rest


def _apart(rows: Sequence[Comparison], told: Sequence[Comparison]) -> list[Comparison]:
    """Those that no vote of `told` is about: another user, or another pair."""
    known = {(c.user, c.pair_key) for c in told}
    return [c for c in rows if (c.user, c.pair_key) not in known]


def flipped(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same votes the other way round."""
    shown = {"chosen": "rejected", "rejected": "chosen", None: None}
    return [
        replace(c, chosen=c.rejected, rejected=c.chosen, first_shown=shown[c.first_shown])  # type: ignore[arg-type]
        for c in comparisons
    ]


def _checks(
    model: RewardModel, found: RewardEvaluation, told: Sequence[Comparison], rest: Sequence[Comparison]
) -> tuple[Check, ...]:
    """The controls as sentences: states of seen users exchanged, votes of new users flipped; none of a model that
    answers everybody alike, and says so."""
    if not model.personal:
        return ()
    checks = []
    if found.seen is not None:
        checks.append(check_permuted(summarise(found.seen, 1.0, found.bootstrap, found.seed)))
    if told and found.unseen is not None:
        with model.meeting(flipped(told)):
            other = reward_scores(model, rest, found.seed)
        some = found.unseen.seen
        checks.append(_flipped(found.unseen, other, some, found))
    return tuple(checks)


def _flipped(told: Scores, other: Scores, some: np.ndarray, found: RewardEvaluation) -> Check:
    return check_flipped(told.select(some), other.select(some), bootstrap=found.bootstrap, seed=found.seed)
