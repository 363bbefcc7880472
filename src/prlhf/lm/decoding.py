"""What happens to the scores between two tokens: penalties that do not see user tokens, sampling, stop strings.

The processors of transformers gather scores by input ids. User token ids lie past the vocabulary and padding is no
text, so ours get told which positions of the prompt do not count. Sampling draws one number a token from a generator
of each row's own, so that an answer does not depend on which others share its batch, and the global random state stays
as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, StoppingCriteria

__all__ = ["LEAVING", "Cancelled", "Done", "Draw", "NoRepeatNGram", "RepetitionPenalty", "StopTexts"]

LEAVING = 0.25
"""Rows leave a batch once this part of it is done: going on without them takes a new call and a copy of the cache."""


class RepetitionPenalty(LogitsProcessor):
    """Makes tokens of the prompt and of the answer so far less likely (CTRL, arXiv 1909.05858).

    Args:
        penalty: positive scores are divided by it, negative ones multiplied.
        hidden: `[b, s]`, the positions of the prompt that do not count (padding and user tokens).
    """

    def __init__(self, penalty: float, hidden: Tensor):
        self.penalty = penalty
        self.hidden = hidden

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        spare = scores.shape[1]  # one column more than there are tokens takes what does not count
        ids = input_ids.clamp(max=spare)
        ids[:, : self.hidden.shape[1]].masked_fill_(self.hidden, spare)
        seen = torch.zeros(len(ids), spare + 1, dtype=torch.bool, device=scores.device).scatter_(1, ids, True)
        punished = torch.where(scores < 0, scores * self.penalty, scores / self.penalty)
        return torch.where(seen[:, :spare], punished, scores)


class NoRepeatNGram(LogitsProcessor):
    """Forbids every token that would complete an n-gram of prompt and answer a second time.

    Args:
        n: length of the n-grams.
        ids: `[b, s]`, the prompts.
        hidden: `[b, s]`, their positions that do not count; the tokens on both sides of a user token are neighbours.
    """

    def __init__(self, n: int, ids: Tensor, hidden: Tensor):
        self.n = n
        order = (~hidden).to(torch.int8).argsort(dim=1, stable=True)  # what does not count moves to the left
        self.prompt = ids.masked_fill(hidden, -1).gather(1, order)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        text = torch.cat([self.prompt, input_ids[:, self.prompt.shape[1] :]], dim=1)
        if text.shape[1] < self.n:
            return scores
        windows = text.unfold(1, self.n, 1)
        begun = text[:, text.shape[1] - self.n + 1 :]
        repeats = (windows[..., :-1] == begun[:, None]).all(-1) & (windows >= 0).all(-1)
        spare = scores.shape[1]
        completed = torch.where(repeats, windows[..., -1], spare)
        banned = torch.zeros(len(text), spare + 1, dtype=torch.bool, device=scores.device).scatter_(1, completed, True)
        return scores.masked_fill(banned[:, :spare], -torch.inf)


class Draw(LogitsProcessor):
    """Samples: leaves one token possible, drawn by inverting the cumulative distribution at a number of the row's own.

    Args:
        seeds: one a row.
        start: tokens of the padded prompt, where the answers begin.
        length: the longest answer.
    """

    def __init__(self, seeds: Sequence[int], start: int, length: int, device: torch.device):
        own = [torch.Generator().manual_seed(seed) for seed in seeds]  # of the CPU, so the same on any device
        rows = [torch.rand(length, generator=g) for g in own]
        self.numbers = torch.stack(rows).to(device)
        self.start = start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        cumulative = scores.float().softmax(-1).cumsum(-1)
        at = self.numbers[:, input_ids.shape[1] - self.start, None] * cumulative[:, -1:]
        drawn = torch.searchsorted(cumulative, at, right=True)  # the first above it, so never a token of probability 0
        drawn = torch.where(drawn < scores.shape[1], drawn, scores.argmax(-1, keepdim=True))
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn, 0.0)


class StopTexts:
    """Looks for texts in the answers of rows.

    Unlike the criterion of transformers it does not look at the prompt, and needs no pass over the vocabulary.
    """

    def __init__(self, tokenizer: Any, texts: Sequence[str], start: int):
        self.tokenizer = tokenizer
        self.texts = texts
        self.start = start
        self.window = max(len(t.encode("utf8")) for t in texts) + 8  # a token is a byte at least; some have no text

    def __call__(self, ids: Tensor) -> bool:
        """Whether one of the texts stands at the end of a row `[s]`."""
        tail = self.tokenizer.decode(ids[max(self.start, len(ids) - self.window) :].tolist())
        return any(t in tail for t in self.texts)


class Done(StoppingCriteria):
    """Ends each row at a token that ends answers, at a stop text or at its own limit; and the call, for the others to
    go on without them, once enough rows are done.

    Args:
        ends: ids of tokens that end an answer.
        limits: the longest answer of each row, in tokens.
        start: tokens of the padded prompt, where the answers begin.
        leaving: whether the call may end before all rows are done.
    """

    def __init__(self, ends: set[int], limits: Sequence[int], start: int, stops: StopTexts | None, leaving: bool):
        self.ends = ends
        self.limits = limits
        self.start = start
        self.stops = stops
        self.enough = max(LEAVING * len(limits), 1) if leaving else len(limits)
        self.lengths: dict[int, int] = {}
        """Tokens of the answers of rows that are done, with the token or text that ended them."""
        self.ended: set[int] = set()
        """Those that came to an end; the others reached their limit."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        length = input_ids.shape[1] - self.start
        for i, last in enumerate(input_ids[:, -1].tolist()):
            if i in self.lengths:
                continue
            if last in self.ends or (self.stops is not None and self.stops(input_ids[i])):
                self.ended.add(i)
            elif length < self.limits[i]:
                continue
            self.lengths[i] = length
        over = len(self.lengths) >= self.enough
        return torch.tensor([over or i in self.lengths for i in range(len(self.limits))], device=input_ids.device)

    def stay(self) -> list[int]:
        """The rows that go on, where it was this that ended the call."""
        going = [i for i in range(len(self.limits)) if i not in self.lengths]
        return going if len(self.lengths) >= self.enough else []


class Cancelled(StoppingCriteria):
    """Ends every row once an event is set."""

    def __init__(self, event: Event):
        self.event = event

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)
