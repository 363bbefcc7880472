"""What is asked of best of n, and what comes back: the picked answer, the candidates, and the tokens it took."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from prlhf.errors import ConfigError
from prlhf.lm.requests import GenerationOptions
from prlhf.rewards import RewardModel, VectorReward

__all__ = ["SAMPLING", "By", "Candidate", "Pick", "Picking", "Spent", "check_new_texts", "total"]

By = Literal["mean", "lcb"]

SAMPLING = GenerationOptions(temperature=1.0)
"""As the model says: greedy answers would all be the same."""


@dataclass(frozen=True, slots=True)
class Picking:
    """How many answers are drawn, of whom, and which is taken.

    Raises:
        ConfigError: a value outside its range.
    """

    n: int = 16
    """Candidates for each prompt."""
    greedy: bool = True
    """One of the n whole answers is the greedy one, the best single answer of many trained models; beams have none."""
    by: By = "mean"
    """The best by `mean`, or by `lcb`: the mean less `k` standard deviations, both of what a candidate is worth above
    the average of all (`above_average`)."""
    k: float = 1.0
    as_user: bool = False
    """Draw from the user's own row of the language model instead of the generic user's."""
    beams: int = 0
    """0: whole answers. Else so many partial answers are kept every `chunk` tokens (`prlhf.generation.beams`)."""
    chunk: int = 8

    def __post_init__(self) -> None:
        if self.by not in ("mean", "lcb"):
            raise ConfigError(f"by: found {self.by!r}, expected 'mean' or 'lcb' (mean - k standard deviations)")
        if not 0 <= self.k < math.inf:
            raise ConfigError(f"k: found {self.k}, expected a number from 0 (standard deviations that lcb takes off)")
        if self.n < 1:
            raise ConfigError(f"n: found {self.n}, expected at least 1 answer to pick from")
        if self.beams and (self.beams < 0 or self.n % self.beams):
            raise ConfigError(f"beams: found {self.beams}, expected a number that divides n = {self.n}")
        if self.chunk < 1:
            raise ConfigError(f"chunk: found {self.chunk}, expected at least 1 token")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that was drawn."""

    text: str
    mean: float
    """What it is worth to the user above the average candidate, in log-odds; the average counts each text once."""
    sd: float
    """Standard deviation of that; 0 where the reward model does not say."""
    times: int
    """How often it came, drawn or greedy."""
    tokens: int
    finished: bool
    """False: cut at the limit."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens that an answer took."""

    generated: int
    """Written by the language model."""
    read: int
    """Of the prompt and of what beams go on from, read by the language model before; each beginning once."""
    scored: int
    """Of prompts and answers, in the language model's tokens, that the reward model was given to read. Whether that
    costs anything depends on its features: words are nearly free, hidden states are a pass of their model."""
    single: float
    """What one plain answer takes: its tokens, in the mean over the candidates."""

    @property
    def ratio(self) -> float:
        """Generated tokens by those of one plain answer."""
        return self.generated / max(self.single, 1.0)

    def as_dict(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in ("generated", "read", "scored")}
        return {**numbers, "ratio": round(self.ratio, 3)}


@dataclass(frozen=True, slots=True)
class Pick:
    """The answer that was picked for somebody, and what it was picked from."""

    user: str | None
    known: bool
    """False: the reward model does not know `user`, so that it was picked for the generic user."""
    candidates: tuple[Candidate, ...]
    """Different texts, the picked one first, the others as they follow it."""
    spent: Spent
    """What it takes by itself."""
    shared: bool = False
    """The candidates are those of an earlier pick of the same call, so that nothing was drawn for this one."""

    @property
    def text(self) -> str:
        """The answer."""
        return self.candidates[0].text

    @property
    def unsure(self) -> bool:
        """Somebody's pick that is worth less than its standard deviation above the average candidate: what is known of
        the person does not tell the candidates apart. (The best two of many seldom differ by more, so that says
        nothing.) Never of the generic user, nor where the reward model does not say how unsure it is."""
        best = self.candidates[0]
        return self.user is not None and self.known and best.mean < best.sd


def total(picks: Iterable[Pick]) -> Spent:
    """Tokens of a call altogether; what was drawn once for several users counts once."""
    own = [(p.spent, not p.shared) for p in picks]
    return Spent(
        sum(s.generated * first for s, first in own),
        sum(s.read * first for s, first in own),
        sum(s.scored for s, _ in own),
        sum(s.single for s, _ in own),
    )


def check_new_texts(reward: RewardModel) -> None:
    """Refuse a reward model that knows only texts which somebody has embedded before.

    Raises:
        ConfigError: says what to train instead.
    """
    config = getattr(reward.features, "config", None) if isinstance(reward, VectorReward) else None
    if getattr(config, "type", None) == "stored":
        raise ConfigError(
            "this reward model looks embeddings up in a file, which has none of answers that are written only now; "
            "train one that computes its features: prlhf reward train --features tfidf, hidden:MODEL or sentence:MODEL"
        )
