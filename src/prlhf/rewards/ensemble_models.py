"""An ensemble of reward models of any kind: only their contract is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from prlhf.errors import CheckpointError, DataError
from prlhf.lm.folders import new_folder
from prlhf.rewards.aggregate import How, aggregate, total_variance
from prlhf.rewards.base import Reward, RewardModel
from prlhf.rewards.folders import read_described, write_described
from prlhf.rewards.make import load_reward
from prlhf.rewards.states import States
from prlhf.types import Comparison, Message, Prompt

__all__ = ["ModelEnsemble"]

Floats = npt.NDArray[np.float64]

TYPE = "models"
"""Among the kinds of `prlhf.rewards.make`."""


class ModelEnsemble(RewardModel):
    """The aggregate of models' scores above their mean on `reference`; see `EnsembleReward.of`."""

    def __init__(
        self, models: Sequence[RewardModel], how: How, penalty: float, reference: Sequence[tuple[Prompt, str]]
    ):
        if not models:
            raise DataError("an ensemble: found no reward model, expected at least one")
        self.models, self.how, self.penalty, self.reference = list(models), how, penalty, list(reference)
        self.users = self.models[0].users

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str], users: Sequence[str | None]) -> Reward:
        zero = self._zero(users)
        found = [m.score(prompts, responses, users) for m in self.models]
        rewards = [r._replace(mean=r.mean - z) for r, z in zip(found, zero, strict=True)]
        return Reward(self._aggregate(rewards), total_variance(rewards))

    def margin(self, comparisons: Sequence[Comparison], users: Sequence[str | None] | None = None) -> Reward:
        of = [c.user for c in comparisons] if users is None else list(users)
        prompts = [c.prompt for c in comparisons]
        good, bad = (self.score(prompts, [c.responses[side] for c in comparisons], of).mean for side in (0, 1))
        return Reward(good - bad, total_variance([m.margin(comparisons, of) for m in self.models]))

    def fold_in(self, comparisons: Sequence[Comparison]) -> tuple[list[str], States]:
        found = [m.fold_in(comparisons) for m in self.models]
        arrays = {f"{i}.{name}": array for i, (_, s) in enumerate(found) for name, array in s.arrays.items()}
        return found[0][0], States(arrays, found[0][1].votes)

    @property
    def personal(self) -> bool:
        return any(m.personal for m in self.models)

    def commit(self, names: Sequence[str], states: States) -> None:
        for i, m in enumerate(self.models):
            own = {k.removeprefix(f"{i}."): a for k, a in states.arrays.items() if k.startswith(f"{i}.")}
            m.commit(names, States(own, states.votes))
        self.users = self.models[0].users

    @contextmanager
    def meeting(self, comparisons: Sequence[Comparison]) -> Iterator[None]:
        with ExitStack() as stack:
            for m in self.models:
                stack.enter_context(m.meeting(comparisons))
            self.users = self.models[0].users
            try:
                yield
            finally:
                stack.close()
                self.users = self.models[0].users

    def save(self, folder: str | Path) -> Path:
        folder = Path(folder)
        config = {"type": TYPE, "models": len(self.models), "aggregate": self.how, "penalty": self.penalty}
        reference = [[p if isinstance(p, str) else [asdict(m) for m in p], r] for p, r in self.reference]
        with new_folder(folder) as place:
            for i, m in enumerate(self.models):
                m.save(place / str(i))
            write_described(place, config, reference=reference)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote, each model by `load_reward`.

        Raises:
            CheckpointError: no such folder, or another format.
        """
        folder = Path(folder)
        described = read_described(folder, TYPE)
        config = described["config"]
        try:
            count, how, penalty = config["models"], config["aggregate"], config["penalty"]
            reference = [
                (p if isinstance(p, str) else tuple(Message(**m) for m in p), r) for p, r in described["reference"]
            ]
        except (KeyError, TypeError, ValueError) as e:
            raise CheckpointError(f"{folder / 'config.json'} does not describe an ensemble: {e!r}") from e
        return cls([load_reward(folder / str(i)) for i in range(count)], how, penalty, reference)

    def _aggregate(self, rewards: list[Reward]) -> Floats:
        return aggregate(np.stack([r.mean for r in rewards]), self.how, self.penalty)

    def _zero(self, users: Sequence[str | None]) -> list[Floats]:
        """Each model's mean score of the reference for each of `users` `[n]`."""
        if not self.reference:
            return [np.zeros(len(users)) for _ in self.models]
        different = list(dict.fromkeys(users))
        row = {user: i for i, user in enumerate(different)}
        of = [user for user in different for _ in self.reference]
        prompts = [prompt for prompt, _ in self.reference] * len(different)
        responses = [response for _, response in self.reference] * len(different)
        places = [row[user] for user in users]
        scores = [m.score(prompts, responses, of).mean for m in self.models]
        return [s.reshape(len(different), -1).mean(axis=1)[places] for s in scores]
