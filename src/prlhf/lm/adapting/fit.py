"""The rows of new users a few steps towards the mode of their votes' loss and the prior, everything else frozen.

The row of user u is `s_0 + z_u B`, and what is minimised is

    strength_u * sum over the votes c of u of w_c l_c(z_u)  +  |z_u|^2 / 2

with the loss l of the run's own objective. A pass through the model gives the values of both responses and their slopes
in z (`values_and_slopes`); with the values taken as linear in z the minimum is found without the model, by Adam; there
the next pass is made (Gauss-Newton, for a loss that need not be a square). Where a step makes it worse for somebody the
next one of theirs starts where they were, and is held back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prlhf.lm.adapting.ballots import Ballots
from prlhf.lm.adapting.prior import Prior
from prlhf.lm.adapting.slopes import values_and_slopes

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["PASSES", "Line", "fitted", "line_at", "solved"]

PASSES = 4
"""How often the model is looked at with its slopes."""
_STEPS, _RATE = 100, 0.3
"""Of Adam, without the model; what it moves has a prior of standard deviation 1."""


@dataclass(frozen=True)
class Line:
    """The votes of n users as linear in z around `z` `[n, r]`: values `[b, 2]`, slopes `[b, 2, r]`, and z0 `[n]`."""

    z: Tensor
    values: Tensor
    slopes: Tensor
    z0: Tensor

    def at(self, z: Tensor, who: Tensor) -> Tensor:
        """The values `[b, 2]` of the votes at `z` `[b, r]`, a place for each."""
        return self.values + torch.einsum("bkr,br->bk", self.slopes, z - self.z[who])

    def copies(self, count: int) -> Line:
        """Of `count` times as many users: all of them, and all again."""
        values, slopes = self.values.repeat(count, 1), self.slopes.repeat(count, 1, 1)
        return Line(self.z.repeat(count, 1), values, slopes, self.z0.repeat(count))

    def taken(self, other: Line, users: Tensor, who: Tensor) -> Line:
        """This one with `other` for some users `[n]`."""
        votes = users[who]
        return Line(
            torch.where(users[:, None], other.z, self.z),
            torch.where(votes[:, None], other.values, self.values),
            torch.where(votes[:, None, None], other.slopes, self.slopes),
            torch.where(users, other.z0, self.z0),
        )


def line_at(lm: PersonalizedLM, ballots: Ballots, directions: Tensor, z: Tensor, *, slopes: bool = True) -> Line:
    """A pass: the votes at `z` `[n, r]`; without `slopes` these are 0."""
    rows = rows_at(lm, directions, z)
    along = directions if slopes else None
    values, found = values_and_slopes(lm, ballots.encoded, rows[ballots.who], ballots.layout, along)
    if found is None:
        found = torch.zeros(*values.shape, len(directions), dtype=torch.float64)
    return Line(z, values, found, _z0(lm, ballots, rows))


def rows_at(lm: PersonalizedLM, directions: Tensor, z: Tensor) -> Tensor:
    """The rows `[n, s]` of `z` `[n, r]`."""
    assert lm.user_model.table is not None
    generic = lm.user_model.table.weight[0].detach()
    return generic + (z.to(directions) @ directions).to(generic)


def _z0(lm: PersonalizedLM, ballots: Ballots, rows: Tensor) -> Tensor:
    """How far each user's policy is from the reference anyway `[n]`, as in training: the mean over responses to other
    prompts, at least 0."""
    found = torch.zeros(ballots.n, dtype=torch.float64)
    if ballots.strange:
        values, _ = values_and_slopes(lm, ballots.strange, rows[ballots.whose], ballots.layout)
        total = found.index_add(0, ballots.whose, values[:, 0] - ballots.strange_reference)
        found = (total / torch.bincount(ballots.whose, minlength=ballots.n).clamp(min=1)).clamp(min=0)
    return found


@torch.no_grad()
def fitted(
    lm: PersonalizedLM,
    ballots: Ballots,
    prior: Prior,
    passes: int = PASSES,
    start: Line | None = None,
    own_strength: Callable[[Line], Tensor] | None = None,
) -> tuple[Line, Line, Tensor]:
    """The votes at the start, which is the generic row or `start`; after some steps towards the mode; and how strongly
    they counted `[n]`.

    A pass with slopes is made at the start, and after every step but the last, whose slopes are those before it.

    Args:
        own_strength: asked half-way, at the place that is reached by then.
    """
    if start is None:
        nowhere = torch.zeros(ballots.n, len(prior.directions), dtype=torch.float64)
        start = line_at(lm, ballots, prior.directions, nowhere)
    strength = torch.full((ballots.n,), prior.strength, dtype=torch.float64)
    best, least = start, cost(ballots, strength, start)
    held = torch.zeros(ballots.n, dtype=torch.float64)
    for step in range(passes):
        if own_strength is not None and step == passes // 2:
            strength = own_strength(best)
            least = cost(ballots, strength, best)
        last = step + 1 == passes
        line = line_at(lm, ballots, prior.directions, solved(ballots, strength, best, held), slopes=not last)
        line = replace(line, slopes=best.slopes) if last else line
        now = cost(ballots, strength, line)
        better = now <= least
        best, least = best.taken(line, better, ballots.who), torch.where(better, now, least)
        held = torch.where(better, held / 4, 4 * held + 1)
    return start, best, strength


def cost(ballots: Ballots, strength: Tensor, line: Line) -> Tensor:
    """What is minimised, of each user `[n]`."""
    losses = ballots.losses(line.values, line.z0)
    return strength * ballots.total(losses) + line.z.square().sum(1) / 2


def solved(ballots: Ballots, strength: Tensor, line: Line, held: Tensor | None = None) -> Tensor:
    """`z` `[n, r]` at the minimum where the votes are linear in it.

    Args:
        held: `[n]`, a quadratic cost of leaving `line.z`.
    """
    held = torch.zeros(ballots.n).double() if held is None else held
    with torch.enable_grad():
        z = line.z.clone().requires_grad_()
        optimiser = torch.optim.Adam([z], lr=_RATE, betas=(0.8, 0.99))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
        for _ in range(_STEPS):
            optimiser.zero_grad()
            losses = ballots.losses(line.at(z[ballots.who], ballots.who), line.z0)
            away = (z - line.z).square().sum(1) / 2
            (strength * ballots.total(losses) + z.square().sum(1) / 2 + held * away).sum().backward()
            optimiser.step()
            schedule.step()
    return z.detach()
