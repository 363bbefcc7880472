"""Beams: partial answers re-ranked by the reward every few tokens, so that bad beginnings are not written to their end.

Blockwise best-of-n (controlled decoding, Mudgal et al., arXiv 2310.17022). Every round goes on from w beams in n / w
ways each, `chunk` tokens further; the reward reads all of the partial answers, and the w best are the next beams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from prlhf.generation.picking import above_average, best_first, picked, prompt_tokens, written
from prlhf.generation.picks import Pick, Picking, Spent
from prlhf.lm.generate import Progress, respond
from prlhf.lm.requests import Generation, GenerationOptions, Request, Work
from prlhf.rewards import RewardModel

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["beam_picks"]

ROUNDS = 1 << 20
"""Random streams of one prompt are so many apart, a round's number comes on top."""


@dataclass
class _Search:
    """The beams of one prompt, and what they have taken so far."""

    request: Request
    prompt: int
    limit: int
    beams: list[Generation] = field(default_factory=list)
    generated: int = 0
    read: int = 0
    scored: int = 0

    @property
    def open(self) -> list[Generation]:
        """Beams that go on."""
        return [b for b in self.beams if not b.finished and len(b.tokens) < self.limit]

    def wanted(self, picking: Picking, at: int) -> list[Request]:
        """The continuations of a round: n of them, or fewer where beams are done."""
        left = min((self.limit - len(b.tokens) for b in self.open), default=self.limit)
        new, start = min(picking.chunk, left), self.request.number + ROUNDS * at
        if not at:
            self.read += self.prompt
            return [replace(self.request, number=start + i, max_new_tokens=new) for i in range(picking.n)]
        ways = picking.n // picking.beams
        self.read += sum(self.prompt + len(b.tokens) for b in self.open)
        begun = [b.tokens for b in self.open for _ in range(ways)]
        return [
            replace(self.request, number=start + i, max_new_tokens=new, begun=tokens) for i, tokens in enumerate(begun)
        ]

    def grown(self, found: Sequence[Generation]) -> None:
        """Take the continuations beside the beams that are done; of equal texts one."""
        stem = max((len(b.tokens) for b in self.open), default=0)  # all that go on are as long
        self.generated += sum(written(g) - stem for g in found)
        done = [b for b in self.beams if b not in self.open]
        self.beams = list({g.tokens: g for g in (*done, *found)}.values())
        self.scored += sum(self.prompt + len(b.tokens) for b in self.beams)


def beam_picks(
    lm: PersonalizedLM,
    reward: RewardModel,
    asked: Sequence[Request],
    picking: Picking,
    options: GenerationOptions,
    work: Work,
    progress: Progress,
) -> list[Pick]:
    """Pick for each request; all of them go forward together, a batch a round.

    `best_of` calls it, with requests whose random numbers are set.
    """
    searches = [_search(lm, r, r.max_new_tokens or options.max_new_tokens) for r in asked]
    most = max((s.limit for s in searches), default=0)
    for at in progress(range(-(-most // picking.chunk)), "beams"):
        going = [s for s in searches if not at or s.open]
        if not going:
            break
        wanted = [s.wanted(picking, at) for s in going]
        found = iter(respond(lm, [r for some in wanted for r in some], options, work))
        for search, some in zip(going, wanted, strict=True):
            search.grown([next(found) for _ in some])
        _keep(reward, going, picking)
    spent = [_spent(s) for s in searches]
    return picked(lm, reward, asked, [s.beams for s in searches], picking, spent)


def _search(lm: PersonalizedLM, request: Request, most: int) -> _Search:
    """Of one prompt; an answer ends where the model's context does."""
    prompt, context = prompt_tokens(lm, request, most), lm.template.context
    return _Search(request, prompt, most if context is None else max(min(most, context - prompt), 1))


def _keep(reward: RewardModel, searches: Sequence[_Search], picking: Picking) -> None:
    """The best of each search, by the text that they have so far."""
    texts = [list(dict.fromkeys(b.text for b in s.beams)) for s in searches]
    prompts, users = [s.request.prompt for s in searches], [s.request.user for s in searches]
    scores = above_average(reward, prompts, texts, users, spread=picking.by == "lcb")
    for search, text, score in zip(searches, texts, scores, strict=True):
        first = {b.text: b for b in reversed(search.beams)}
        order = best_first(score, picking.by, picking.k)
        search.beams = [first[text[j]] for j in order[: picking.beams]]


def _spent(search: _Search) -> Spent:
    single = sum(map(written, search.beams)) / len(search.beams)
    return Spent(search.generated, search.read, search.scored, single)
