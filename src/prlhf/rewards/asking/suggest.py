"""Which pairs to ask somebody about, and what that is expected to tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from prlhf.errors import ConfigError
from prlhf.rewards.asking.belief import Belief
from prlhf.rewards.asking.pool import Pool, can_choose
from prlhf.rewards.asking.rules import DEFAULT, RULES, Rule
from prlhf.rewards.base import RewardModel, VectorReward
from prlhf.rewards.states import States
from prlhf.types import Comparison
from prlhf.words import did_you_mean

__all__ = ["Suggestion", "check_rule", "state_of", "suggest", "why_not"]

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Suggestion:
    """A pair to ask about: `place` in the pool, the pair itself where the pool was made of texts."""

    place: int
    pair: Comparison | None
    probability: float | None
    """That `pair.chosen` is preferred, as the model sees it now; None where the pool says nothing about people."""
    margin: float | None
    """Expected `r(chosen) - r(rejected)`, in log-odds."""
    spread: float | None
    """Standard deviation of the margin that is due to what is unknown about the person."""
    nats: float | None
    """Expected information about the person, in nats; an answer has at most log 2."""
    share: float | None
    """Expected share of what is unknown about the person, as far as it matters in the pool (`Belief.doubt`), that the
    answer takes away. In a batch nats and share are those beside the earlier questions."""


def suggest(
    model: RewardModel,
    pool: Pool,
    user: str | States | None,
    n: int = 1,
    rule: Rule | None = None,
    asked: Iterable[str] = (),
    seed: int = 0,
) -> list[Suggestion]:
    """The `n` pairs of `pool` to ask `user` next; fewer where there are no more.

    Batches are greedy: after each pick the covariance is what an answer is expected to leave. A batch has no response
    twice, nor one that differs in case, blanks and punctuation alone, so that nothing is asked in two guises.

    Args:
        user: an id (unknown ones are generic), or a state of one row, as of `fold_in`.
        rule: one of `RULES`, or `random`; by default `rules.DEFAULT`.
        asked: `Comparison.pair_key` of what is not to be asked (again).
        seed: of `random`.

    Raises:
        ConfigError: an unknown rule, or one that needs doubt about a person where the model has none.
    """
    rule = DEFAULT if rule is None else rule
    check_rule(model, rule)
    free = np.ones(len(pool), bool)
    free[pool.places(asked)] = False
    belief = None
    if pool.loadings is not None and isinstance(model, VectorReward):
        belief = Belief.of(model, pool, state_of(model, user))
    found = []
    for place, now in _picks(belief, pool, free, rule, n, seed):
        pair = pool.pairs[place] if pool.pairs else None
        found.append(_told(model, place, pair, now))
    return found


def _told(model: RewardModel, place: int, pair: Comparison | None, belief: Belief | None) -> Suggestion:
    if belief is None:
        return Suggestion(place, pair, None, None, None, None, None)
    return Suggestion(
        place=place,
        pair=pair,
        probability=float(model.probability_of(belief.reward(place))[0]),
        margin=float(belief.margin[place]),
        spread=float(belief.personal[place] ** 0.5),
        nats=float(belief.information[place]),
        share=float(belief.relief[place] / max(belief.doubt, 1e-300)),
    )


def state_of(model: RewardModel, user: str | States | None) -> States:
    """The state of a user of the table, one row; a state is its own."""
    return user if isinstance(user, States) else model.users.states.take(model.users.rows([user]))


def check_rule(model: RewardModel, rule: str) -> None:
    """ConfigError where there is no such rule, or it cannot be used with this model."""
    names = [*RULES, "random"]
    if rule not in names:
        raise ConfigError(f"rule: found {rule!r}, expected one of {', '.join(names)}{did_you_mean(rule, names)}")
    if rule != "random" and not can_choose(model):
        raise ConfigError(f"rule {rule}: {why_not(model)}; only the rule random is left")


def why_not(model: RewardModel) -> str:
    """Why nothing can be chosen by what it would tell."""
    kind = getattr(getattr(model, "config", None), "type", type(model).__name__)
    if isinstance(model, VectorReward) and model.gaussian is not None:
        return f"this {kind} found no direction in which people differ, so there is nothing to learn about anybody"
    return f"{kind} does not say how sure it is of a person, as factor, item_mf and (with a prior) pref do"


def _picks(
    belief: Belief | None, pool: Pool, free: Bools, rule: str, n: int, seed: int
) -> Iterator[tuple[int, Belief | None]]:
    """Greedily: places, each with the belief at that moment."""
    drawn = np.random.default_rng(seed).random(len(pool))
    for i in range(n):
        if not free.any():
            return
        score = drawn if rule == "random" or belief is None else RULES[rule](belief)
        place = int(np.argmax(np.where(free, score, -np.inf)))
        yield place, belief
        if i + 1 == n:
            return
        free = free & ~_shares_a_response(pool, place)
        belief = None if belief is None else belief.after(place)


def _shares_a_response(pool: Pool, place: int) -> Bools:
    return np.asarray(np.isin(pool.wordings, pool.wordings[place]).any(1))
