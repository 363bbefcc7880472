"""What it costs to put the user tokens before BOS, where PEFT puts virtual tokens, and not after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from prlhf.lm.generate import respond
from prlhf.lm.requests import GenerationOptions, Request

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["prepending_gap"]

_PROMPTS = ("How do I sleep better?", "Write a short greeting.", "What should I read next?")
_LENGTH = 16


@torch.no_grad()
def prepending_gap(lm: PersonalizedLM, rows: Sequence[int], prompts: Sequence[str] = _PROMPTS) -> float:
    """Mean absolute difference in nats a token between the log-probabilities of an answer (the greedy one of each row
    to each prompt, at most 16 tokens) after `[BOS][user tokens][prompt]` and after `[user tokens][BOS][prompt]`."""
    wanted = [Request(prompt, row=row) for row in rows for prompt in prompts]
    gaps = []
    for request, answer in zip(wanted, respond(lm, wanted, GenerationOptions(_LENGTH)), strict=True):
        prompt = lm.template.prompt(request.prompt)
        user, tokens = lm.user_token_ids(request.row), answer.tokens or (lm.tokenizer.eos_token_id,)
        ours = [*prompt.ids[: prompt.cut], *user, *prompt.ids[prompt.cut :]]
        gaps.append(abs(_mean_logp(lm, ours, tokens) - _mean_logp(lm, [*user, *prompt.ids], tokens)))
    return sum(gaps) / len(gaps)


def _mean_logp(lm: PersonalizedLM, prompt: Sequence[int], answer: Sequence[int]) -> float:
    """Log-probability of an answer, divided by its tokens."""
    training = lm.training
    lm.eval()
    try:
        logits = lm(torch.tensor([[*prompt, *answer]], device=lm.device), use_cache=False).logits[0]
    finally:
        lm.train(training)
    logps = logits[len(prompt) - 1 : -1].float().log_softmax(-1)
    return float(logps.gather(1, torch.tensor(answer, device=logps.device)[:, None]).mean())
