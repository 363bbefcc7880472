"""The contract of reward models: what a response is worth to a person, how sure that is, and how a person is met."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.special import expit

from prlhf.config.rewards.base import AnyReward
from prlhf.errors import CheckpointError, DataError
from prlhf.lm.folders import new_folder
from prlhf.rewards.features import FeatureMap, load_features
from prlhf.rewards.folders import read_described, write_described
from prlhf.rewards.states import States, UserTable
from prlhf.rewards.votes import Items, Votes
from prlhf.types import Comparison, Prompt

if TYPE_CHECKING:
    from prlhf.rewards.asking import Pool, Rule, Suggestion

__all__ = ["Loadings", "Progress", "Reward", "RewardModel", "VectorReward"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Progress = Callable[[Iterable[Any]], Iterable[Any]]


class Reward(NamedTuple):
    """A reward, or the difference of two, in log-odds: `mean` `[b]`, and how unsure that is, `variance` `[b]` (0 where
    the model does not say)."""

    mean: Floats
    variance: Floats


class Loadings(NamedTuple):
    """How margins depend on who is asked: `r(a) - r(b) = common + phi . l` `[b]`, where l is Gaussian for each person.

    The variances say how unsure `common` and `phi` are by themselves, which no vote of one person changes.
    """

    common: Floats
    """`[b]`, the same for everybody."""
    common_variance: Floats
    phi: Floats
    """`[b, k]`."""
    phi_variance: Floats


class RewardModel(ABC):
    """Scores (prompt, response) for a person. Unknown people, and `None`, are the generic user.

    A score has no zero: only differences under one prompt and user mean anything.
    """

    users: UserTable

    @property
    def personal(self) -> bool:
        """Whether it answers people differently; where it does not, whoever asks gets what the crowd likes."""
        return True

    @abstractmethod
    def score(self, prompts: Sequence[Prompt], responses: Sequence[str], users: Sequence[str | None]) -> Reward:
        """The reward of each response `[n]`; the three have the same length.

        Raises:
            DataError: lengths that differ, or a text that there are no features for.
        """

    @abstractmethod
    def margin(self, comparisons: Sequence[Comparison], users: Sequence[str | None] | None = None) -> Reward:
        """`r(chosen) - r(rejected)` of each `[b]` for its user, or for `users`; the variance is that of the difference.

        Raises:
            DataError: a text that there are no features for.
        """

    @abstractmethod
    def fold_in(self, comparisons: Sequence[Comparison]) -> tuple[list[str], States]:
        """Meet the users of these votes: their ids, sorted, and a state each. All else is frozen, nothing is stored.

        Raises:
            DataError: a vote without a user, or a text that there are no features for.
        """

    @abstractmethod
    def save(self, folder: str | Path) -> Path:
        """Write the model aside, then rename it to `folder`, which must not exist."""

    @classmethod
    @abstractmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; `prlhf.rewards.load_reward` finds out of which kind it is.

        Raises:
            CheckpointError: no such folder, or another format.
        """

    def probability(self, comparisons: Sequence[Comparison], users: Sequence[str | None] | None = None) -> Floats:
        """How likely each user, or each of `users`, prefers `chosen` to `rejected` `[b]`."""
        return self.probability_of(self.margin(comparisons, users))

    def probability_of(self, margin: Reward) -> Floats:
        """The mean of `sigma(margin)` under its distribution (MacKay's approximation, 1992) `[b]`."""
        return np.asarray(expit(margin.mean / np.sqrt(1 + np.pi / 8 * margin.variance)))

    def commit(self, names: Sequence[str], states: States) -> None:
        """Keep the states under these ids; who is known already gets the next version. Nobody else's changes."""
        self.users = self.users.committed(names, states)

    def suggest(
        self,
        pool: Pool,
        user: str | States | None,
        n: int = 1,
        rule: Rule | None = None,
        asked: Iterable[str] = (),
        seed: int = 0,
    ) -> list[Suggestion]:
        """The questions that tell most about somebody; see `prlhf.rewards.asking.suggest`."""
        from prlhf.rewards.asking import suggest

        return suggest(self, pool, user, n, rule, asked, seed)

    @contextmanager
    def meeting(self, comparisons: Sequence[Comparison]) -> Iterator[None]:
        """Within it the model has met the users of these votes (`fold_in`, `commit`); afterwards it is as it was."""
        before = self.users
        if comparisons:
            self.commit(*self.fold_in(comparisons))
        try:
            yield
        finally:
            self.users = before


class VectorReward(RewardModel):
    """A reward model on feature vectors: shared arrays (`parameters`), a feature map, a state for each person.

    A member implements `fit`, `states_of` and `reward`; everything else is here.
    """

    Config: ClassVar[type[AnyReward]]
    stops_early: ClassVar[bool] = False
    """Whether `fit` looks at `validation`, and ends where those votes are told best."""
    ended: AnyReward | None = None
    """Where a `fit` ended by `validation`: the options with which one ends there by itself, so that it can be fitted to
    those votes too, as `prlhf reward compare` does."""

    def __init__(
        self,
        config: AnyReward,
        parameters: dict[str, npt.NDArray[Any]],
        users: UserTable,
        features: FeatureMap | None = None,
    ):
        self.config: Any = config
        self.parameters = parameters
        self.users = users
        self.features = features

    @property
    def gaussian(self) -> tuple[str, str] | None:
        """The arrays of a state that are the mean `[k]` and the covariance `[k, k]` of `loadings`' l, if there are
        such: only then can a model choose what to ask somebody."""
        return None

    # -- what a member says ------------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def fit(
        cls,
        config: Any,
        votes: Votes,
        *,
        validation: Votes | None = None,
        seed: int = 0,
        progress: Progress = lambda steps: steps,
    ) -> Self:
        """Learn from `votes`; its users become the table's, in this order, after the generic one.

        Args:
            validation: held-out votes of the same users, by which a model that is trained in steps may stop.
            progress: draws a bar over steps that take long.
        """

    @abstractmethod
    def states_of(self, votes: Votes) -> States:
        """The state of each of `votes.names` (n rows) from their votes; somebody without votes starts as the generic
        user, or where their text says."""

    @abstractmethod
    def reward(self, items: Items, a: Ints, b: Ints | None, states: States, who: Ints) -> Reward:
        """`r(a) - r(b)` `[k]` of places `a`, `b` `[k]` in `items`; of `r(a)` where `b` is None. Row `who` `[k]` of
        `states` is the person."""

    def loadings(self, items: Items, a: Ints, b: Ints | None) -> Loadings:
        """How `r(a) - r(b)` `[b]` (`r(a)` where `b` is None) depends on the person; for members with `gaussian`."""
        raise NotImplementedError(f"{type(self).__name__} has no Gaussian states")

    @property
    def flips(self) -> float:
        """The share of votes that are taken to be the wrong way round."""
        return 0.0

    # -- what follows from it ----------------------------------------------------------------------------------------

    def margins(self, votes: Votes, states: States | None = None) -> Reward:
        """`r(chosen) - r(rejected)` `[b]` of votes; the users of the table by their names, or `votes.names` have
        `states` (n rows, the generic user where -1)."""
        if states is None:
            who = np.array([*self.users.rows(votes.names), 0], np.int64)[votes.user]
            return self.reward(votes.items, votes.chosen, votes.rejected, self.users.states, who)
        whole = self.users.states.take(slice(0, 1)).followed_by(states)
        return self.reward(votes.items, votes.chosen, votes.rejected, whole, votes.user + 1)

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str], users: Sequence[str | None]) -> Reward:
        if not len(prompts) == len(responses) == len(users):
            found = f"{len(prompts)} prompts, {len(responses)} responses and {len(users)} users"
            raise DataError(f"score: found {found}, expected one each")
        asked = [Comparison(p, r, r, user=u) for p, r, u in zip(prompts, responses, users, strict=True)]
        votes = self._votes(asked)
        return self.reward(votes.items, votes.chosen, None, self.users.states, self.users.rows(list(users)))

    def margin(self, comparisons: Sequence[Comparison], users: Sequence[str | None] | None = None) -> Reward:
        votes = self._votes(comparisons)
        rows = self.users.rows([c.user for c in comparisons] if users is None else list(users))
        return self.reward(votes.items, votes.chosen, votes.rejected, self.users.states, rows)

    def fold_in(self, comparisons: Sequence[Comparison]) -> tuple[list[str], States]:
        nameless = [c for c in comparisons if c.user is None]
        if nameless:
            raise DataError(f"fold in: row {nameless[0].id or '?'} has no user, expected the id of who voted")
        votes = self._votes(comparisons)
        return list(votes.names), self.states_of(votes)

    def _votes(self, comparisons: Sequence[Comparison]) -> Votes:
        if self.features is None:
            raise DataError("this reward model was made without a feature map, so it takes Votes, not texts")
        return Votes.of(comparisons, self.features)

    def save(self, folder: str | Path) -> Path:
        """Write `config.json`, `model.safetensors`, `users.parquet` and `features/`.

        Raises:
            CheckpointError: something stands there already.
        """
        folder = Path(folder)
        with new_folder(folder) as place:
            write_described(place, self.config.model_dump(mode="json"))
            save_file(
                {name: np.ascontiguousarray(a) for name, a in self.parameters.items()}, place / "model.safetensors"
            )
            self.users.save(place / "users.parquet")
            if self.features is not None:
                self.features.save(place / "features")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        folder = Path(folder)
        described = read_described(folder)
        try:
            parameters = load_file(folder / "model.safetensors")
        except (OSError, SafetensorError) as e:
            raise CheckpointError(f"{folder / 'model.safetensors'} cannot be read: {e}") from e
        held = folder / "features"
        features = load_features(held) if held.is_dir() else None
        config = cls.Config.model_validate(described["config"])
        return cls(config, parameters, UserTable.load(folder / "users.parquet"), features)
