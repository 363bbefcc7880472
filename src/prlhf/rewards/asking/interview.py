"""An interview: the next question, an answer, what is believed now; and back again. Knows nothing of a terminal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal

import numpy as np

from prlhf.errors import ConfigError, DataError
from prlhf.rewards.asking.belief import Belief
from prlhf.rewards.asking.pool import Pool, can_choose
from prlhf.rewards.asking.rules import DEFAULT, Rule
from prlhf.rewards.asking.suggest import Suggestion, check_rule, suggest, why_not
from prlhf.rewards.base import RewardModel, VectorReward
from prlhf.rewards.states import States
from prlhf.rewards.votes import Votes
from prlhf.types import Comparison, Prompt

__all__ = ["Answer", "Interview", "Question", "check_interview"]

Answer = Literal["left", "right", "tie", "skip"]


@dataclass(frozen=True)
class Question:
    """Two responses side by side, in an order drawn for each question."""

    prompt: Prompt
    left: str
    right: str
    suggestion: Suggestion


@dataclass(frozen=True)
class _Given:
    """An answer; `vote` is None where the question was passed over."""

    place: int
    vote: Comparison | None


def check_interview(model: RewardModel, rule: str | None = None) -> None:
    """ConfigError where nobody can be asked with this model, or there is no such rule."""
    if not isinstance(model, VectorReward) or model.features is None or not can_choose(model):
        raise ConfigError(f"an interview: {why_not(model)}; ask with `prlhf suggest --rule random`")
    check_rule(model, rule or DEFAULT)


class Interview:
    """Questions to one person about pairs of a pool made of texts; each rests on all answers before it.

    A state rests on the votes `told` and on the answers, and on nothing else: what the model knew of the person counts
    only where those votes are told again.
    """

    def __init__(
        self,
        model: RewardModel,
        pool: Pool,
        user: str,
        told: Sequence[Comparison] = (),
        *,
        rule: Rule | None = None,
        seed: int = 0,
    ):
        """Raises:
        ConfigError: a model that does not say how sure it is of a person, or an unknown rule.
        DataError: a pool without texts.
        """
        check_interview(model, rule)
        assert isinstance(model, VectorReward) and model.features is not None
        if not pool.pairs:
            raise DataError("an interview needs a pool made of texts (Pool.of)")
        self.model, self.pool, self.user, self.rule, self.seed = model, pool, user, rule, seed
        self.told = [replace(vote, user=user) for vote in told]
        self._earlier = Votes.of(self.told, model.features, names=[user]) if told else None
        self._given: list[_Given] = []

    @property
    def answers(self) -> list[Comparison]:
        """The votes of this interview."""
        return [given.vote for given in self._given if given.vote is not None]

    @property
    def answered(self) -> int:
        """Questions of this interview that were answered or passed over."""
        return len(self._given)

    @property
    def votes(self) -> list[Comparison]:
        """All votes of the person, those told before first."""
        return [*self.told, *self.answers]

    @cached_property
    def state(self) -> States:
        """Of the person, one row; the generic one's before the first vote."""
        if not self.votes:
            return self.model.users.states.take(slice(0, 1))
        answered = self._answered()
        return self.model.states_of(answered if self._earlier is None else self._earlier.followed_by(answered))

    @cached_property
    def belief(self) -> Belief:
        """What is thought of the pool's margins."""
        return Belief.of(self.model, self.pool, self.state)

    @cached_property
    def generic(self) -> Belief:
        """The same of somebody unknown."""
        return Belief.of(self.model, self.pool, self.model.users.states.take(slice(0, 1)))

    @property
    def unknown(self) -> float:
        """The share of what was unknown of the person at first, as far as it matters in the pool, that still is."""
        return self.belief.doubt / max(self.generic.doubt, 1e-300)

    @property
    def asked(self) -> list[str]:
        """`pair_key` of what is not asked again: votes told before, answers, and questions passed over."""
        return [vote.pair_key for vote in self.told] + [self.pool.pairs[g.place].pair_key for g in self._given]

    @property
    def best(self) -> float:
        """What the most telling question that is left is expected to tell, whatever the rule, in nats."""
        left = np.ones(len(self.pool), bool)
        left[self.pool.places(self.asked)] = False
        return float(self.belief.information[left].max(initial=0))

    @cached_property
    def question(self) -> Question | None:
        """The next one; None where the pool is used up."""
        found = suggest(self.model, self.pool, self.state, 1, self.rule, self.asked, self.seed)
        if not found:
            return None
        pair = self.pool.pairs[found[0].place]
        digest = hashlib.sha256(self.user.encode("utf8", "surrogatepass")).digest()
        rng = np.random.default_rng([self.seed, int.from_bytes(digest[:8], "little"), len(self.asked)])
        left, right = (pair.chosen, pair.rejected) if rng.random() < 0.5 else (pair.rejected, pair.chosen)
        return Question(pair.prompt, left, right, found[0])

    def answer(self, answer: Answer) -> Comparison | None:
        """Take the answer to `question`; the vote that it is, None where it was passed over.

        Raises:
            DataError: there is no question.
        """
        q = self.question
        if q is None:
            raise DataError("an interview: nothing is left to be asked")
        vote = None
        if answer != "skip":
            best, worst = (q.right, q.left) if answer == "right" else (q.left, q.right)
            first: Literal["chosen", "rejected"] = "rejected" if answer == "right" else "chosen"
            now = datetime.now(UTC).replace(microsecond=0)
            tie = answer == "tie"
            vote = Comparison(q.prompt, best, worst, user=self.user, tie=tie, first_shown=first, timestamp=now)
        self._given.append(_Given(q.suggestion.place, vote))
        self._forget()
        return vote

    def undo(self) -> Comparison | None:
        """Take back the last answer, or question passed over, of this interview; the vote that it was.

        Raises:
            DataError: there is none.
        """
        if not self._given:
            raise DataError("an interview: there is no answer to take back")
        self._forget()
        return self._given.pop().vote

    def _forget(self) -> None:
        for name in ("state", "belief", "question"):
            self.__dict__.pop(name, None)

    def _answered(self) -> Votes:
        """The answers of this interview as votes on the pool's items, whose features are read already."""
        given = [(g.place, g.vote) for g in self._given if g.vote is not None]
        some = self.pool.votes.take(np.array([place for place, _ in given], np.int64))
        turned = np.array([vote.chosen != self.pool.pairs[place].chosen for place, vote in given], bool)
        return replace(
            some,
            chosen=np.where(turned, some.rejected, some.chosen),
            rejected=np.where(turned, some.chosen, some.rejected),
            user=np.zeros(len(given), np.int64),
            names=(self.user,),
            y=np.array([0.5 if vote.tie else 1.0 for _, vote in given]),
            first=np.array([1.0 if vote.first_shown == "chosen" else -1.0 for _, vote in given]),
        ).compact()
