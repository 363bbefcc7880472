"""Token-level guidance by a reward, which `best_of.py` measures beside what the library has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from prlhf.generation.picking import above_average
from prlhf.generation.picks import Candidate, Pick, Spent
from prlhf.lm import PersonalizedLM
from prlhf.lm.batching import Batch
from prlhf.lm.decoder import Decoder
from prlhf.lm.generate import answer_text, encode
from prlhf.lm.requests import GenerationOptions, requests
from prlhf.rewards import RewardModel

__all__ = ["guided"]

AT_ONCE = 64


class _Writer:
    """Answers that grow by a token at a time."""

    def __init__(self, lm: PersonalizedLM, prompts: Sequence[str], most: int):
        self.lm = lm
        self.heads = [encode(lm, r, most)[0] for r in requests(lm, prompts)]
        self.tokens: list[list[int]] = [[] for _ in prompts]
        self.ended = [False] * len(prompts)
        self.ends = self._decoder(self.heads).ends

    def _decoder(self, prompts: Sequence[Sequence[int]]) -> Decoder:
        return Decoder(self.lm, GenerationOptions(), prompts, [1] * len(prompts), [0] * len(prompts))

    @property
    def open(self) -> list[int]:
        return [i for i, done in enumerate(self.ended) if not done]

    def likeliest(self, rows: Sequence[int], top: int) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities and ids `[b, top]` of the next tokens."""
        texts = [[*self.heads[i], *self.tokens[i]] for i in rows]
        parts = [texts[k : k + AT_ONCE] for k in range(0, len(texts), AT_ONCE)]
        logits = torch.cat([self._decoder(part).logits(Batch(tuple(range(len(part))))) for part in parts])
        values, ids = logits.float().log_softmax(-1).topk(top)
        return values.numpy(), ids.numpy()

    def text(self, i: int, token: int | None = None) -> str:
        more = [] if token is None or token in self.ends else [token]
        return answer_text(self.lm, [*self.tokens[i], *more], ()) or " "

    def add(self, i: int, token: int) -> None:
        self.ended[i] = token in self.ends
        self.tokens[i] += [] if self.ended[i] else [token]


@torch.no_grad()
def guided(
    lm: PersonalizedLM,
    reward: RewardModel,
    prompts: Sequence[str],
    users: Sequence[str],
    *,
    weight: float,
    top: int,
    most: int,
) -> list[Pick]:
    """Answers written greedily: of the `top` likeliest next tokens the one with the largest log-probability + `weight`
    x reward of the text so far (ARGS, Khanov et al., arXiv 2402.01694)."""
    writer = _Writer(lm, prompts, most)
    scored = [0] * len(prompts)
    for _ in range(most):
        going = writer.open
        if not going:
            break
        values, ids = writer.likeliest(going, top)
        texts = [[writer.text(i, token) for token in row] for i, row in zip(going, ids.tolist(), strict=True)]
        groups = [list(dict.fromkeys(some)) for some in texts]
        found = above_average(reward, [prompts[i] for i in going], groups, [users[i] for i in going], spread=False)
        for k, i in enumerate(going):
            worth = dict(zip(groups[k], found[k].mean, strict=True))
            best = np.argmax(values[k] + weight * np.array([worth[text] for text in texts[k]]))
            scored[i] += len(groups[k]) * (len(writer.heads[i]) + len(writer.tokens[i]) + 1)
            writer.add(i, int(ids[k, best]))
    out = []
    for i, user in enumerate(users):
        made = len(writer.tokens[i]) + writer.ended[i]
        candidate = Candidate(writer.text(i), 0.0, 0.0, 1, made, writer.ended[i])
        out.append(Pick(user, True, (candidate,), Spent(made, len(writer.heads[i]), scored[i], made)))
    return out
