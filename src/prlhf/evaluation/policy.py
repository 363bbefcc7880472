"""Scores of a personalised LM on a log: its implicit rewards for the own row, the generic row and somebody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from prlhf.data.items import parted
from prlhf.evaluation.metrics import derangement
from prlhf.evaluation.scores import Scores
from prlhf.evaluation.thumbs import ThumbPair, thumb_pairs
from prlhf.lm import Encoded, PersonalizedLM, choose_layout, pair_scores, tokenise
from prlhf.lm.logprobs import Layout
from prlhf.objectives import PairLogps, margin
from prlhf.types import Comparison, Feedback

__all__ = ["EvaluationSet", "policy_logprobs", "score_policy", "scores_of"]

Progress = Callable[[Iterable[int], str], Iterable[int]]
Margin = Callable[[PairLogps, PairLogps], torch.Tensor]


@dataclass(frozen=True)
class EvaluationSet:
    """What is scored again and again: token ids, rows of the table, reference log-probabilities.

    `comparisons`: n comparisons, or n pairs of a liked and a disliked response where there are only thumbs; `slots`
    `[n, 2]`: which of the responses of the m `encoded` each of them has (the i-th has 2 i and 2 i + 1).
    `branches` `[m, 3]`: the own row, the generic row, the row of another user; the first two where `lm` has fewer than
    two users. `reference` `[n, 2]`.
    """

    comparisons: tuple[Comparison | ThumbPair, ...]
    encoded: Sequence[Encoded]
    slots: np.ndarray
    branches: np.ndarray
    reference: np.ndarray
    layout: Layout

    @classmethod
    def of(
        cls,
        lm: PersonalizedLM,
        items: Sequence[Feedback],
        *,
        cache: Path | None = None,
        layout: str = "auto",
        seed: int = 0,
        progress: Progress = lambda batches, _: batches,
    ) -> EvaluationSet:
        """Encode `items` for `lm` and look up their users; ids that `lm` does not know get the generic row.

        Where there are comparisons, thumbs beside them are left out: an accuracy of both would be one of neither.
        """
        comparisons, thumbs = parted(items)
        judged: Sequence[Comparison] | Sequence[ThumbPair] = comparisons
        slots = np.arange(2 * len(comparisons)).reshape(-1, 2)
        if not comparisons:
            pairs = thumb_pairs(thumbs, seed)
            judged = [ThumbPair(thumbs[up], thumbs[down]) for up, down in pairs]
            slots = 2 * np.array(pairs, dtype=np.int64).reshape(-1, 2)
        shown: Sequence[Feedback] = comparisons or thumbs
        encoded = tokenise(lm.template, shown)
        encoded.warn_cuts(lm.template)
        chosen = choose_layout(lm, encoded.telling(), layout) if len(encoded) else "plain"
        return cls(
            comparisons=tuple(judged),
            encoded=encoded,
            slots=slots,
            branches=_branches(lm, [c.user for c in shown], seed),
            reference=lm.reference_values(encoded, layout=chosen, cache=cache, progress=progress).reshape(-1)[slots],
            layout=chosen,
        )

    def __len__(self) -> int:
        return len(self.comparisons)

    def first(self, n: int) -> EvaluationSet:
        """The first `n` of the comparisons, with the responses of no others."""
        used, slots = np.unique(self.slots[:n] // 2, return_inverse=True)
        return replace(
            self,
            comparisons=self.comparisons[:n],
            encoded=tuple(self.encoded[i] for i in used),
            slots=2 * slots.reshape(-1, 2) + self.slots[:n] % 2,
            branches=self.branches[used],
            reference=self.reference[:n],
        )

    @property
    def tokens(self) -> np.ndarray:
        """Tokens of both responses `[n, 2]`."""
        lengths = np.array([[len(c.chosen), len(c.rejected)] for c in self.encoded], dtype=np.int64)
        return lengths.reshape(-1)[self.slots]

    @property
    def rows(self) -> np.ndarray:
        """The own rows `[n]`."""
        return self.branches[self.slots[:, 0] // 2, 0]


def _branches(lm: PersonalizedLM, users: Sequence[str | None], seed: int) -> np.ndarray:
    rows = np.array(lm.lookup(users), dtype=np.int64)
    branches = [rows, np.zeros_like(rows)]
    if len(lm.users) > 1:
        branches.append(derangement(rows, seed, population=np.arange(1, lm.user_model.n)))
    return np.stack(branches, 1)


def score_policy(
    lm: PersonalizedLM,
    data: EvaluationSet,
    *,
    margin: Margin = margin,
    progress: Progress = lambda batches, _: batches,
) -> Scores:
    """Margins `h` of every comparison, as an objective takes them (`margin_of`)."""
    return scores_of(data, policy_logprobs(lm, data, progress=progress), margin)


def policy_logprobs(
    lm: PersonalizedLM, data: EvaluationSet, *, progress: Progress = lambda batches, _: batches
) -> np.ndarray:
    """Summed log-probabilities `[n, k, 2]` of (chosen, rejected) under the k branches of `data`."""
    logps = pair_scores(lm, data.encoded, data.branches, layout=data.layout, progress=progress)
    return logps.swapaxes(1, 2).reshape(-1, logps.shape[1])[data.slots].swapaxes(1, 2)


def scores_of(data: EvaluationSet, logps: np.ndarray, margin: Margin = margin) -> Scores:
    """The margins that `policy_logprobs` make with the reference of `data`."""
    tokens = data.tokens[:, None, :]
    h = margin(_pairs(logps, tokens), _pairs(data.reference[:, None, :], tokens)).numpy()
    permuted = h[:, 2] if h.shape[1] > 2 else None
    return Scores.of(data.comparisons, seen=data.rows > 0, h_specific=h[:, 0], h_generic=h[:, 1], h_permuted=permuted)


def _pairs(logps: np.ndarray, tokens: np.ndarray) -> PairLogps:
    """Log-probabilities and token counts `[n, k, 2]` as the objectives take them."""
    return PairLogps(*(torch.from_numpy(x[..., side]) for x in (logps, tokens) for side in (0, 1)))
