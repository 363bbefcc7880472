"""The pairs that somebody may be asked about, prepared once: features read, and how each margin depends on a person."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from prlhf.errors import DataError
from prlhf.rewards.asking.expectations import expectations
from prlhf.rewards.base import Loadings, RewardModel, VectorReward
from prlhf.rewards.features import FeatureMap
from prlhf.rewards.votes import Votes
from prlhf.types import Comparison, Prompt

__all__ = ["Pool"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """m different pairs as votes of nobody, of which `chosen` is only the first response, a, and `rejected` the other.

    It belongs to the model that it was made for, and to no person: one pool serves every interview.
    """

    votes: Votes
    loadings: Loadings | None
    """How margins depend on a person; None where the model does not say, or nobody differs."""
    spread: Floats
    """`[k, k]`, the mean of `phi phi'`: how much each direction matters in these pairs."""
    pairs: Sequence[Comparison] = ()
    """`[m]`; empty where the pool was made of arrays."""
    left_out: int = 0
    """Pairs that were there already, the other way round too, or of equal texts."""

    @classmethod
    def of(cls, model: RewardModel, pairs: Iterable[Comparison]) -> Pool:
        """Of pairs as they may be votes too; who voted which way is not looked at.

        Raises:
            DataError: no pair of two different texts, or a text that there are no features for.
        """
        given = [_plain(pair) for pair in pairs]
        different = list({c.pair_key: c for c in given if c.chosen != c.rejected}.values())
        if not different:
            raise DataError(f"pool: found {len(given)} pairs, none of two different texts; expected at least one")
        features = model.features if isinstance(model, VectorReward) and can_choose(model) else _NoFeatures()
        if features is None:
            raise DataError("this reward model was made without a feature map: make the pool with Pool.of_votes")
        made = cls.of_votes(model, Votes.of(different, features))
        return replace(made, pairs=tuple(different), left_out=len(given) - len(different))

    @classmethod
    def of_votes(cls, model: RewardModel, votes: Votes) -> Pool:
        """Of arrays: the pairs of `votes`, all different; their labels and users are not looked at."""
        if not isinstance(model, VectorReward) or not can_choose(model):
            return cls(votes, None, np.zeros((0, 0)))
        expectations(model.flips)  # its tables are made now, not when somebody waits for a question
        loadings = model.loadings(votes.items, votes.chosen, votes.rejected)
        return cls(votes, loadings, loadings.phi.T @ loadings.phi / max(len(votes), 1))

    def __len__(self) -> int:
        return len(self.votes)

    @cached_property
    def wordings(self) -> npt.NDArray[np.int64]:
        """The two responses of each pair `[m, 2]` as numbers, the same for texts that differ in case, blanks and
        punctuation alone."""
        if not self.pairs:
            return np.stack([self.votes.chosen, self.votes.rejected], 1)
        number: dict[tuple[Prompt, str], int] = {}
        both = [[(pair.prompt, _plainly(text)) for text in pair.responses] for pair in self.pairs]
        return np.array([[number.setdefault(side, len(number)) for side in sides] for sides in both], np.int64)

    def places(self, keys: Iterable[str]) -> npt.NDArray[np.int64]:
        """Where the pairs with these `pair_key`s are, for those that are there."""
        wanted = np.array([int(key, 16) for key in keys], np.uint64)
        return np.flatnonzero(np.isin(self.votes.pair, wanted)) if len(wanted) else np.zeros(0, np.int64)


def can_choose(model: RewardModel) -> bool:
    """Whether a model says what it does not know about a person."""
    if not isinstance(model, VectorReward) or model.gaussian is None:
        return False
    return bool(model.users.states[model.gaussian[0]].shape[1])


def _plainly(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold())) or text


def _plain(pair: Comparison) -> Comparison:
    """The pair alone, in an order that says nothing about a vote."""
    a, b = sorted((pair.chosen, pair.rejected))
    return Comparison(pair.prompt, a, b, id=pair.id)


class _NoFeatures(FeatureMap):
    """For models that choose by chance alone."""

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.zeros((len(responses), 0), np.float32)

    def texts(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.zeros((len(texts), 0), np.float32)

    def save(self, folder: object) -> None:
        raise NotImplementedError("nothing is to be saved")
