"""What votes make of the rows that they are read with, and how that changes with the row: a pass through the model.

Every vote reads a row of its own (those of one user are equal), so one backward pass has the gradient of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prlhf.lm.layout import Layout, extent, slices
from prlhf.lm.logprobs import pair_logprobs, tokens_at_once
from prlhf.lm.template import Encoded
from prlhf.users.models import subset

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["values_and_slopes"]

_WITH_SLOPES = 8192
"""Tokens of a pass at most whose states have to be kept for the way back."""


def values_and_slopes(
    lm: PersonalizedLM, encoded: Sequence[Encoded], rows: Tensor, layout: Layout, directions: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """The model's values `[b, 2]` of both responses, and with `directions` `[r, s]` their slopes `[b, 2, r]`: how much
    they gain for a step of the row along each. In float64, on the CPU; everything but the rows is frozen.

    Args:
        rows: `[b, s]`, the state that each is read with.
    """
    values = torch.zeros(len(encoded), 2, dtype=torch.float64)
    slopes = None if directions is None else torch.zeros(len(encoded), 2, len(directions), dtype=torch.float64)
    order = sorted(range(len(encoded)), key=lambda i: encoded[i].length)
    extents = (extent(encoded[i], 1, lm.user_model.tokens, layout) for i in order)
    most = tokens_at_once(lm.device)
    for cut in slices(extents, len(order), most if slopes is None else min(most, _WITH_SLOPES)):
        part = order[cut]
        model = subset(lm.user_model, [0] * (len(part) + 1))
        assert model.table is not None
        with torch.no_grad():
            model.table.weight[1:] = rows[part].to(model.table.weight)
        with lm.seating(model), torch.set_grad_enabled(slopes is not None):
            branches = [[i + 1] for i in range(len(part))]
            found = pair_logprobs(lm, [encoded[i] for i in part], branches, layout)
            sides = [found.chosen[:, 0], found.rejected[:, 0]]
            values[part] = torch.stack(sides, 1).detach().double().cpu()
            if slopes is not None and directions is not None:
                two = any(encoded[i].rejected for i in part)
                slopes[part] = _along(sides if two else sides[:1], model.table.weight, directions)
    return values, slopes


def _along(sides: Sequence[Tensor], table: Tensor, directions: Tensor) -> Tensor:
    """The slopes `[b, 2, r]` of two values `[b]`, each of which depends on its own row of the table alone; those of a
    second one that is not given are 0."""
    along = torch.zeros(len(sides[0]), 2, len(directions), dtype=torch.float64)
    for k, side in enumerate(sides):
        (slope,) = torch.autograd.grad(side.sum(), [table], retain_graph=k + 1 < len(sides))
        slope = slope.to_dense() if slope.is_sparse else slope
        along[:, k] = (slope[1:] @ directions.to(slope).T).double().cpu()
    return along
