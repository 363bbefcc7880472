"""Implicit rewards of a log: how much more than the reference the policy prefers the chosen response."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from prlhf.lm.layout import extent, slices
from prlhf.lm.logprobs import Layout, pair_logprobs, tokens_at_once
from prlhf.lm.template import Encoded

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["SCORING_BATCH", "pair_scores"]

SCORING_BATCH = 64
"""Comparisons that are scored at a time: fewer where they are long."""


@torch.no_grad()
def pair_scores(
    lm: PersonalizedLM,
    comparisons: Sequence[Encoded],
    branches: np.ndarray,
    *,
    layout: Layout = "plain",
    batch_size: int = SCORING_BATCH,
    progress: Callable[[Iterable[int], str], Iterable[int]] = lambda batches, _: batches,
) -> np.ndarray:
    """Summed log-probabilities `[n, k, 2]` of (chosen, rejected) under the policy.

    Args:
        branches: `[n, k]` rows of the user table for each comparison (-1 = no user tokens).
    """
    out = np.zeros((*branches.shape, 2))
    order = sorted(range(len(comparisons)), key=lambda i: comparisons[i].length)
    training = lm.training
    lm.eval()
    sizes = [extent(comparisons[i], branches.shape[1], lm.user_model.tokens, layout) for i in order]
    batches = slices(sizes, batch_size, tokens_at_once(lm.device))
    for i in progress(range(len(batches)), "scoring"):
        part = order[batches[i]]
        logps = pair_logprobs(lm, [comparisons[i] for i in part], branches[part].tolist(), layout)
        out[part] = torch.stack([logps.chosen, logps.rejected], -1).double().cpu().numpy()
    lm.train(training)
    return out
