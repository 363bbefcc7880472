"""Few-vote rows in training: some users of a step are met anew, so that the language model learns to be steered by it.

For a share of the users of each step a row is fitted to a few of their other votes, as `adapt` would, under the prior
of other users' rows. The step's votes of theirs are read with it: the language model learns from them, their own row
does not. (Episodes as in matching networks, Vinyals et al., arXiv 1606.04080; the inner fits are frozen, as in
first-order MAML, Finn et al., arXiv 1703.03400.)
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prlhf.config import RunConfig
from prlhf.errors import ConfigError
from prlhf.lm import PersonalizedLM
from prlhf.lm.adapting.ballots import Ballots
from prlhf.lm.adapting.fit import fitted, rows_at
from prlhf.lm.adapting.prior import RANK, Prior, directions_of
from prlhf.objectives import Objective, ThumbObjective, make_objective
from prlhf.training.dataset import PairDataset, PreferenceDataset, ThumbDataset

__all__ = ["Episodes"]

_FROM = 1 / 3
"""Of all steps: before that rows say too little of how people differ."""
_STRENGTH, _PASSES = 2.0, 2
_PEOPLE = 64
"""Other users whose rows the prior of a step is made of."""


@dataclass
class Episodes:
    """Which users of a step are met anew, and their rows while it lasts.

    What is drawn depends on seed, step, user and the items of the step alone, so a resumed run draws the same, and so
    does one with other micro-batches or processes.
    """

    lm: PersonalizedLM
    dataset: PreferenceDataset
    objective: Objective | ThumbObjective
    share: float
    votes: int
    seed: int
    _own: tuple[Tensor, Tensor] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._order = np.argsort(self.dataset.rows, kind="stable")
        self._ends = np.searchsorted(self.dataset.rows[self._order], np.arange(self.lm.user_model.n + 1))

    @classmethod
    def of(cls, config: RunConfig, lm: PersonalizedLM, dataset: PreferenceDataset, *, spread: bool) -> Episodes | None:
        """Those of a run; None where it has none.

        Raises:
            ConfigError: a run that they mean nothing to, or that cannot have them.
        """
        t = config.training
        if not t.few_vote_users:
            return None
        if lm.user_model.table is None or config.alpha == 0:
            raise ConfigError(
                f"training.few_vote_users = {t.few_vote_users}: with user_model.type = {config.user_model.type} and "
                f"alpha = {config.alpha} no user has a row that learns; expected 0"
            )
        if spread:
            raise ConfigError("training.few_vote_users does not go with spread weights (FSDP); expected 0")
        return cls(lm, dataset, make_objective(config.objective), t.few_vote_users, t.few_votes, config.seed)

    def begin(self, users: Collection[int], items: Collection[str], step: int, steps: int) -> list[int]:
        """Put the rows of the users who are drawn in the place of their own; who they are.

        Args:
            users: rows of the table that the step looks at.
            items: ids of the votes that it looks at, in all processes; they are not among the few.
            step: of `steps`, from 0.
        """
        if step < _FROM * steps:
            return []
        chosen = [row for row in sorted(set(users)) if row and self._draw(step, row).random() < self.share]
        few = {row: own for row in chosen if (own := self._few(row, items, step))}
        if few:
            table = self._table
            rows = torch.tensor(list(few), device=table.device)
            found = self._fitted(list(few), list(few.values()), step)
            self._own = rows, table[rows].clone()
            table[rows] = found.to(table)
        return list(few)

    def end(self) -> None:
        """Everybody has their own row again."""
        if self._own is not None:
            rows, own = self._own
            self._table[rows] = own
            self._own = None

    @property
    def _table(self) -> Tensor:
        assert self.lm.user_model.table is not None
        return self.lm.user_model.table.weight.detach()

    def _draw(self, step: int, row: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, step, row])

    def _few(self, row: int, items: Collection[str], step: int) -> list[int]:
        """Places of some votes of a user: half of theirs at most, and none of the step's."""
        own = self._order[self._ends[row] : self._ends[row + 1]]
        drawn = self._draw(step, row).permutation(own).tolist()
        rest = (i for i in drawn if self.dataset.ids[i] not in items)
        return [i for i, _ in zip(rest, range(min(self.votes, len(own) // 2)), strict=False)]

    def _fitted(self, rows: list[int], few: Sequence[Sequence[int]], step: int) -> Tensor:
        """`[n, s]`."""
        others = np.setdiff1d(np.arange(1, self.lm.user_model.n), rows)
        some = self._draw(step, 0).permutation(others)[:_PEOPLE]
        directions = directions_of(self._table, RANK, np.sort(some).tolist())
        training = self.lm.training
        self.lm.eval()
        try:
            _, end, _ = fitted(self.lm, self._ballots(few), Prior(directions, _STRENGTH), _PASSES)
        finally:
            self.lm.train(training)
        return rows_at(self.lm, directions, end.z)

    def _ballots(self, few: Sequence[Sequence[int]]) -> Ballots:
        data = self.dataset
        places = np.concatenate([np.asarray(own, np.int64) for own in few])
        who = torch.arange(len(few)).repeat_interleave(torch.tensor([len(own) for own in few]))
        each = torch.arange(len(places))
        strange: dict[str, Any] = {"strange": [], "whose": who[:0], "strange_reference": torch.zeros(0)}
        if isinstance(data, ThumbDataset):
            strange = {
                "strange": [data.mismatched[i] for i in places.tolist()],
                "whose": who,
                "strange_reference": torch.from_numpy(data.mismatched_reference[places]),
            }
        assert isinstance(data, PairDataset | ThumbDataset)
        return Ballots(
            n=len(few),
            encoded=[data.encoded[i] for i in places.tolist()],
            who=who,
            vote=each,
            question=each,
            weight=torch.from_numpy(data.weight[places]).double(),
            flag=torch.from_numpy((data.up if isinstance(data, ThumbDataset) else data.ties)[places]),
            reference=torch.from_numpy(data.reference[places]),
            objective=self.objective,
            layout=data.layout,
            **strange,
        )
