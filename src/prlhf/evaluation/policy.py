"""Scores of a personalised LM on a log: its implicit rewards for the own row, the generic row and somebody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from prlhf.evaluation.metrics import derangement
from prlhf.evaluation.scores import Scores
from prlhf.lm import Encoded, PersonalizedLM, choose_layout, pair_scores, reference_logprobs
from prlhf.lm.logprobs import Layout
from prlhf.objectives import PairLogps, margin
from prlhf.types import Comparison

__all__ = ["EvaluationSet", "policy_logprobs", "score_policy", "scores_of"]

Progress = Callable[[Iterable[int], str], Iterable[int]]
Margin = Callable[[PairLogps, PairLogps], torch.Tensor]


@dataclass(frozen=True)
class EvaluationSet:
    """Comparisons, ready to be scored again and again: token ids, rows of the table, reference log-probabilities.

    `branches` `[n, 3]`: the own row, the generic row, the row of another user; the first two where `lm` has fewer than
    two users. `reference` `[n, 2]`.
    """

    comparisons: tuple[Comparison, ...]
    encoded: tuple[Encoded, ...]
    branches: np.ndarray
    reference: np.ndarray
    layout: Layout

    @classmethod
    def of(
        cls,
        lm: PersonalizedLM,
        comparisons: Sequence[Comparison],
        *,
        cache: Path | None = None,
        layout: str = "auto",
        seed: int = 0,
        progress: Progress = lambda batches, _: batches,
    ) -> EvaluationSet:
        """Encode `comparisons` for `lm` and look up their users; ids that `lm` does not know get the generic row."""
        encoded = tuple(lm.template.comparison(c) for c in comparisons)
        lm.template.warn_cuts(encoded)
        rows = np.array(lm.lookup([c.user for c in comparisons]), dtype=np.int64)
        branches = [rows, np.zeros_like(rows)]
        if len(lm.users) > 1:
            other = np.arange(lm.user_model.n)
            other[1:] = derangement(other[1:], seed)
            branches.append(other[rows])
        chosen = choose_layout(lm, encoded, layout) if encoded else "plain"
        return cls(
            comparisons=tuple(comparisons),
            encoded=encoded,
            branches=np.stack(branches, 1),
            reference=reference_logprobs(lm, encoded, layout=chosen, cache=cache, progress=progress),
            layout=chosen,
        )


def score_policy(
    lm: PersonalizedLM,
    data: EvaluationSet,
    *,
    margin: Margin = margin,
    progress: Progress = lambda batches, _: batches,
) -> Scores:
    """Margins `h` of every comparison, as an objective takes them (`Objective.margin`)."""
    return scores_of(data, policy_logprobs(lm, data, progress=progress), margin)


def policy_logprobs(
    lm: PersonalizedLM, data: EvaluationSet, *, progress: Progress = lambda batches, _: batches
) -> np.ndarray:
    """Summed log-probabilities `[n, k, 2]` of (chosen, rejected) under the k branches of `data`."""
    return pair_scores(lm, data.encoded, data.branches, layout=data.layout, progress=progress)


def scores_of(data: EvaluationSet, logps: np.ndarray, margin: Margin = margin) -> Scores:
    """The margins that `policy_logprobs` make with the reference of `data`."""
    tokens = np.array([[len(c.chosen), len(c.rejected)] for c in data.encoded]).reshape(-1, 1, 2)
    h = margin(_pairs(logps, tokens), _pairs(data.reference[:, None, :], tokens)).numpy()
    permuted = h[:, 2] if h.shape[1] > 2 else None
    seen = data.branches[:, 0] > 0
    return Scores.of(data.comparisons, seen=seen, h_specific=h[:, 0], h_generic=h[:, 1], h_permuted=permuted)


def _pairs(logps: np.ndarray, tokens: np.ndarray) -> PairLogps:
    """Log-probabilities and token counts `[n, k, 2]` as the objectives take them."""
    return PairLogps(*(torch.from_numpy(x[..., side]) for x in (logps, tokens) for side in (0, 1)))
