"""What a user's own votes say of their fit: each part of them is predicted by a row from the other parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prlhf.lm.adapting.ballots import Ballots
from prlhf.lm.adapting.fit import Line, rows_at, solved
from prlhf.lm.adapting.slopes import values_and_slopes

if TYPE_CHECKING:
    from prlhf.lm.adapting.prior import Prior
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["ENOUGH", "held_out_losses", "own_strengths"]

ENOUGH = 10
"""Votes of a user from which on some are held out to see what the others say of them."""
_FOLDS = 5
_OCTAVES = torch.arange(-3.0, 4.0, dtype=torch.float64)
"""Strengths of a user that are looked at: the common one times 2 to the power of these, of which 0 is likely and the
others as by a normal distribution with a standard deviation of one."""


def own_strengths(ballots: Ballots, prior: Prior, line: Line) -> Tensor:
    """How strongly the votes of each user are to count `[n]`, without the model: the common strength, moved by how well
    their held-out votes are predicted at half and double of it and so on.

    A held-out loss is taken for a negative log-likelihood; the octaves' posterior mean is what is returned. Users with
    fewer than `ENOUGH` votes have the common strength.
    """
    enough = ballots.votes >= ENOUGH
    if not enough.any():
        return torch.full((ballots.n,), prior.strength, dtype=torch.float64)
    strengths = prior.strength * 2**_OCTAVES
    losses = torch.stack([_linear_losses(ballots, torch.full((ballots.n,), s).double(), line) for s in strengths])
    posterior = torch.softmax(-losses - _OCTAVES[:, None].square() / 2, dim=0)
    octaves = (posterior * _OCTAVES[:, None]).sum(0)
    return prior.strength * 2 ** torch.where(enough, octaves, 0.0)


def held_out_losses(lm: PersonalizedLM, ballots: Ballots, prior: Prior, strength: Tensor, line: Line) -> Tensor:
    """The mean loss of each user's votes `[n]`, each with the row of the other parts: one more forward pass. Not a
    number with fewer than `ENOUGH` votes."""
    enough = ballots.votes >= ENOUGH
    if not enough.any():
        return torch.full((ballots.n,), torch.nan, dtype=torch.float64)
    rows = rows_at(lm, prior.directions, _without(ballots, strength, line)[_parts(ballots), ballots.who])
    values, _ = values_and_slopes(lm, ballots.encoded, rows, ballots.layout)
    return torch.where(enough, ballots.mean(ballots.losses(values, line.z0)), torch.nan)


def _linear_losses(ballots: Ballots, strength: Tensor, line: Line) -> Tensor:
    """The sum of each user's held-out losses `[n]`, with the votes as linear in z."""
    z = _without(ballots, strength, line)[_parts(ballots), ballots.who]
    return ballots.total(ballots.losses(line.at(z, ballots.who), line.z0))


def _without(ballots: Ballots, strength: Tensor, line: Line) -> Tensor:
    """`z` of each user without each of the parts `[parts, n, r]`, all in one fit."""
    counting = (_parts(ballots) != torch.arange(_FOLDS)[:, None]).double()
    z = solved(ballots.copies(counting), strength.repeat(_FOLDS), line.copies(_FOLDS))
    return z.view(_FOLDS, ballots.n, -1)


def _parts(ballots: Ballots) -> Tensor:
    """`[b]`: what answers one question, both thumbs of a comparison too, is in one part."""
    return ballots.question % _FOLDS
