"""How much few votes are to be trusted: learned on trained users who are met anew, left out of the prior meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from prlhf.lm.adapting.ballots import Ballots, learned_from
from prlhf.lm.adapting.fit import fitted, line_at
from prlhf.lm.adapting.prior import RANK, Prior, directions_of
from prlhf.lm.merging import folded
from prlhf.types import Feedback

if TYPE_CHECKING:
    from prlhf.config.objectives import ObjectiveConfig
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["tuned"]

STRENGTHS = (0.5, 1.0, 2.0, 4.0)
_USERS, _VOTES, _PASSES = 24, 10, 2
"""So many trained users at most, met by so many votes each, and measured on as many others."""
_FOLDS = 2


def tuned(
    lm: PersonalizedLM,
    trained: Sequence[Feedback],
    objective: ObjectiveConfig,
    *,
    prior: Prior | None = None,
    seed: int = 0,
    cache: Path | None = None,
    progress: Callable[[Iterable[int], str], Iterable[int]] = lambda steps, _: steps,
) -> Prior:
    """The prior of the trained rows, with the strength that serves new users best.

    Two folds of trained users: the rows of one fold are fitted from ten votes of theirs under the prior of the other
    users' rows, at each strength, and the loss of ten other votes is measured. Where nobody has enough votes the
    strength is 1.

    Args:
        trained: votes that the model was trained on.
        prior: whose directions are kept; by default those of all rows that there are.
    """
    prior = prior or Prior.of(lm.user_model)
    asked, tests, names = _sample(lm, trained, objective, seed)
    if len(names) < 2 * _FOLDS:
        return prior
    losses = np.zeros(len(STRENGTHS))
    for k in progress(range(_FOLDS), "strength of votes"):
        some = names[k::_FOLDS]
        losses += _losses(lm, _without(lm, some), [asked, tests], some, objective, cache)
    return replace(prior, strength=_least(losses), users=len(names))


def _least(losses: np.ndarray) -> float:
    """The strength of the least loss, by a parabola through all of them: each alone is mostly noise."""
    x = np.log2(STRENGTHS)
    fine = np.linspace(x[0], x[-1], 61)
    return float(2 ** fine[np.polyval(np.polyfit(x, losses, 2), fine).argmin()])


def _sample(
    lm: PersonalizedLM, trained: Sequence[Feedback], objective: ObjectiveConfig, seed: int
) -> tuple[list[Feedback], list[Feedback], list[str]]:
    """Votes to fit by and to measure on, and whose they are."""
    rng = np.random.default_rng(seed)
    by_user: dict[str, list[Feedback]] = {}
    for vote in trained:
        if vote.user is not None and len(set(vote.responses)) == len(vote.responses):
            by_user.setdefault(vote.user, []).append(vote)
    of = {name: learned_from(own, objective) for name, own in sorted(by_user.items())}
    able = [name for name, own in of.items() if len(own) >= 2 * _VOTES and bool(lm.users.known([name])[0])]
    names = sorted(able[i] for i in rng.permutation(len(able))[:_USERS])
    asked: list[Feedback] = []
    tests: list[Feedback] = []
    for name in names:
        own = [of[name][i] for i in rng.permutation(len(of[name]))[: 2 * _VOTES]]
        asked += own[:_VOTES]
        tests += own[_VOTES:]
    return asked, tests, names


def _without(lm: PersonalizedLM, names: Sequence[str]) -> Tensor:
    """The directions of the rows of everybody but these."""
    assert lm.user_model.table is not None
    others = np.setdiff1d(np.arange(1, lm.user_model.n), lm.users.rows(list(names)))
    return directions_of(lm.user_model.table.weight, RANK, others.tolist())


def _losses(
    lm: PersonalizedLM,
    directions: Tensor,
    votes: Sequence[Sequence[Feedback]],
    names: Sequence[str],
    objective: ObjectiveConfig,
    cache: Path | None,
) -> np.ndarray:
    """The loss of the second of `votes` with rows fitted to the first, at each strength: from weak to strong, each from
    where the one before it ended."""
    mine = [[v for v in some if v.user in set(names)] for some in votes]
    asked, tests = (Ballots.of(lm, some, names, objective, cache=cache) for some in mine)
    found, line = [], None
    with torch.no_grad(), folded(lm, "auto", _PASSES * len(asked)):
        for strength in STRENGTHS:
            _, line, _ = fitted(lm, asked, Prior(directions, strength), _PASSES, start=line)
            at = line_at(lm, tests, directions, line.z, slopes=False)
            found.append(float(tests.losses(at.values, at.z0).sum()))
    return np.array(found)
