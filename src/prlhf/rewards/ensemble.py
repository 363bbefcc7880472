"""Ensembles (arXiv 2401.16635, 2310.02743): where reward models disagree nobody should be too sure of a response."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from prlhf.config.rewards.base import AnyReward
from prlhf.config.rewards.ensemble import Ensemble
from prlhf.rewards.aggregate import How, aggregate, total_variance
from prlhf.rewards.base import Progress, Reward, RewardModel, VectorReward
from prlhf.rewards.ensemble_models import ModelEnsemble
from prlhf.rewards.make import fit_reward, vector_member
from prlhf.rewards.states import States, UserTable
from prlhf.rewards.votes import Items, Votes
from prlhf.types import Prompt

__all__ = ["EnsembleReward"]

logger = logging.getLogger(__name__)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ZERO = "zero"
"""Of a member's state: the mean score of the reference for the person."""
REFERENCE, KEYS = "reference", "reference.keys"
ROWS = 1 << 18
"""Scores of the reference that are computed at a time."""


class EnsembleReward(VectorReward):
    """The aggregate of members' scores, of which each is 0 for everybody on the mean of the same reference responses.

    A margin is the difference of two aggregates, so that swapping a pair negates it. Arrays and states of member i have
    the prefix `i.`.
    """

    Config: ClassVar[type[AnyReward]] = Ensemble
    stops_early: ClassVar[bool] = True

    @classmethod
    def of(
        cls,
        models: Sequence[RewardModel],
        aggregate: How = "mean",
        penalty: float = 1.0,
        reference: Sequence[tuple[Prompt, str]] = (),
    ) -> ModelEnsemble:
        """An ensemble of reward models of any kind that are there already, such as saved language models with adapters.

        Args:
            reference: prompts and responses on which the mean score of every model is 0 for everybody; without them the
                scores are taken as they are, which is right where the models themselves have the same zero.

        Raises:
            DataError: no model.
        """
        return ModelEnsemble(models, aggregate, penalty, reference)

    @classmethod
    def fit(
        cls,
        config: Ensemble,
        votes: Votes,
        *,
        validation: Votes | None = None,
        seed: int = 0,
        progress: Progress = lambda steps: steps,
    ) -> Self:
        if all(m.type == "bt" for m in config.members):
            logger.info(
                "ensemble: every member is bt, so nothing in it is personal; with --set "
                "'model.members=[{type = \"factor\"}]' each of them tells people apart"
            )
        every = [m for m in config.members for _ in range(config.copies)]
        seeds = np.random.SeedSequence(seed).generate_state(len(every) + 1)
        found = []
        for options, own in zip(every, seeds[:-1].tolist(), strict=True):
            mine = votes.take(_drawn(votes, np.random.default_rng(own))) if config.bootstrap else votes
            found.append(fit_reward(options, mine, validation=validation, seed=own, progress=progress))
        parameters = {f"{i}.{name}": array for i, m in enumerate(found) for name, array in m.parameters.items()}
        places = np.random.default_rng(seeds[-1]).permutation(len(votes.items))[: config.reference]
        parameters[REFERENCE] = votes.items.x[np.sort(places)]
        parameters[KEYS] = votes.items.keys[np.sort(places)]
        generic = _joined([m.users.states.take(slice(0, 1)) for m in found])
        model = cls(config, parameters, UserTable.of(generic, [], generic.take(slice(0, 0))))
        model.users = UserTable.of(model._zeroed(generic), votes.names, model.states_of(votes))
        if any(m.ended for m in found):
            ended = tuple(m.ended or options for m, options in zip(found, every, strict=True))
            model.ended = config.model_copy(update={"members": ended, "copies": 1})
        return model

    def states_of(self, votes: Votes) -> States:
        return self._zeroed(_joined([m.states_of(votes) for m in self.models]))

    def reward(self, items: Items, a: Ints, b: Ints | None, states: States, who: Ints) -> Reward:
        own = _parted(states, len(self.models))
        good, bad = self._scores(items, a, own, who), None if b is None else self._scores(items, b, own, who)
        rewards = [m.reward(items, a, b, s, who) for m, s in zip(self.models, own, strict=True)]
        how, penalty = self.config.aggregate, self.config.penalty
        mean = aggregate(good, how, penalty) - (0 if bad is None else aggregate(bad, how, penalty))
        if b is None:
            rewards = [r._replace(mean=score) for r, score in zip(rewards, good, strict=True)]
        return Reward(mean, total_variance(rewards))

    @property
    def personal(self) -> bool:
        return any(m.personal for m in self.models)

    @cached_property
    def models(self) -> list[VectorReward]:
        """The members; their generic users are this model's."""
        kinds = [m for m in self.config.members for _ in range(self.config.copies)]
        generic = _parted(self.users.states.take(slice(0, 1)), len(kinds))
        found = []
        for i, (options, states) in enumerate(zip(kinds, generic, strict=True)):
            parameters = _under(self.parameters, f"{i}.")
            table = UserTable.of(states, [], states.take(slice(0, 0)))
            found.append(vector_member(options.type)(options, parameters, table))
        return found

    def _scores(self, items: Items, places: Ints, own: list[States], who: Ints) -> Floats:
        """Every member's score above its own zero `[k, n]`."""
        scores = [
            m.reward(items, places, None, s, who).mean - s[ZERO][who] for m, s in zip(self.models, own, strict=True)
        ]
        return np.stack(scores)

    def _zeroed(self, states: States) -> States:
        """With every member's mean score of the reference for each person."""
        x = self.parameters[REFERENCE]
        items = Items(self.parameters[KEYS], x)
        arrays = dict(states.arrays)
        at_once = max(1, ROWS // len(x))
        for i, (m, own) in enumerate(zip(self.models, _parted(states, len(self.models)), strict=True)):
            zero = np.empty(len(states))
            for start in range(0, len(states), at_once):
                people = np.arange(start, min(start + at_once, len(states)))
                places = np.tile(np.arange(len(x)), len(people))
                scores = m.reward(items, places, None, own, np.repeat(people, len(x))).mean
                zero[people] = scores.reshape(len(people), len(x)).mean(axis=1)
            arrays[f"{i}.{ZERO}"] = zero
        return States(arrays, states.votes)


def _drawn(votes: Votes, rng: np.random.Generator) -> Ints:
    """As many votes of each user as there are, drawn with replacement from theirs."""
    order = np.argsort(votes.user, kind="stable")
    _, first, count = np.unique(votes.user[order], return_index=True, return_counts=True)
    start, many = np.repeat(first, count), np.repeat(count, count)
    return np.asarray(np.sort(order[start + (rng.random(len(order)) * many).astype(np.int64)]))


def _joined(states: Sequence[States]) -> States:
    arrays = {f"{i}.{name}": array for i, s in enumerate(states) for name, array in s.arrays.items()}
    return States(arrays, states[0].votes)


def _parted(states: States, k: int) -> list[States]:
    return [States(_under(states.arrays, f"{i}."), states.votes) for i in range(k)]


def _under(arrays: Any, prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
