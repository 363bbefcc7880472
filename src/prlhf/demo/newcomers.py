"""People who come when training is over: ten votes each, a row of their own, and everything else as it was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from prlhf.data.planted import PlantedUser, World
from prlhf.evaluation import Scores, WinRate
from prlhf.evaluation.judge import judge_policies, policy_of
from prlhf.evaluation.policy import EvaluationSet, score_policy
from prlhf.lm import PersonalizedLM

__all__ = ["Newcomers", "meet", "newcomers_of"]

VOTES = 10


@dataclass(frozen=True)
class Newcomers:
    """People met by `VOTES` votes each, as a stranger to the model and afterwards.

    Attributes:
        scores: of their held-out pairs, with their own rows and the generic one.
        wins: of sampled answers with their own rows against those with the generic one.
        shown: the one whose answers stand side by side: the one who gained most.
        before, after: greedy answers to `question` for them.
        seconds: of the fit, for each person.
    """

    users: tuple[PlantedUser, ...]
    scores: Scores
    wins: WinRate
    shown: PlantedUser
    question: str
    before: str
    after: str
    seconds: float

    @property
    def accuracy(self) -> tuple[float, float]:
        """Of held-out pairs, as strangers and afterwards."""
        right = [np.where(h == 0, 0.5, h > 0).mean() for h in (self.scores.h_generic, self.scores.h_specific)]
        return float(right[0]), float(right[1])


def newcomers_of(world: World, count: int) -> tuple[PlantedUser, ...]:
    """People of the same kinds who are none of the world's users."""
    others = World(users=max(count, 6), seed=world.seed + 1).users[:count]
    return tuple(replace(user, id=f"new-{i:02}") for i, user in enumerate(others, 1))


def meet(world: World, lm: PersonalizedLM, users: Sequence[PlantedUser], questions: int) -> Newcomers:
    """Fold the first votes of each in, keep their rows in `lm` (not on disk), and measure what that changes."""
    votes = [vote for user in users for vote in world.votes_of(user)[:VOTES]]
    begin = time.perf_counter()
    lm.commit(lm.fold_in(votes))
    seconds = (time.perf_counter() - begin) / len(users)
    scores = score_policy(lm, EvaluationSet.of(lm, [test for user in users for test in world.tests_of(user)]))
    policies = {
        "before": policy_of(lm, "before", generic=True, text_of=world.text_of),
        "after": policy_of(lm, "after", text_of=world.text_of),
    }
    judged = judge_policies(
        world, policies, prompts_per_user=questions, pairs=[("after", "before")], users=users, seed=world.seed
    )
    shown, question = _most_gained(users, scores), world.test_prompts[0]
    before, after = lm.generate([question] * 2, [None, shown.id], max_new_tokens=64)
    return Newcomers(
        tuple(users), scores, judged.verdicts["after", "before"].rate, shown, question, before, after, seconds
    )


def _most_gained(users: Sequence[PlantedUser], scores: Scores) -> PlantedUser:
    """By accuracy; of equals the first."""
    gain = (scores.h_specific > 0).astype(float) - (scores.h_generic > 0)
    return max(users, key=lambda user: float(gain[scores.user == user.id].mean()))
