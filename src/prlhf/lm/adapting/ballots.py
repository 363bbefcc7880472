"""The votes of new users as a fit of their rows reads them: token ids, whose they are, and the run's loss of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prlhf.data.items import parted
from prlhf.data.mismatched import Unpaired, mismatched
from prlhf.errors import DataError
from prlhf.lm.layout import Layout
from prlhf.lm.logprobs import choose_layout
from prlhf.lm.template import Encoded
from prlhf.objectives import PairLogps, ThumbObjective, make_objective
from prlhf.types import Feedback, Thumb

if TYPE_CHECKING:
    from prlhf.config.objectives import ObjectiveConfig
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["Ballots", "learned_from"]


def learned_from(items: Sequence[Feedback], objective: ObjectiveConfig) -> list[Feedback]:
    """What the objective learns from of these votes, in their order: ties are left out where it has no loss for them.

    Raises:
        DataError: a vote without a user, of two equal responses, or a thumb where the objective takes comparisons only.
    """
    for item in items:
        if item.user is None:
            raise DataError(f"fold in: row {item.id or '?'} has no user, expected the id of who voted")
        if len(set(item.responses)) < len(item.responses):
            raise DataError(
                f"fold in: row {item.id or '?'} votes between two equal responses, which says nothing; leave it out"
            )
    if objective.learns_thumbs:
        return list(items)
    thumb = next((item for item in items if isinstance(item, Thumb)), None)
    if thumb is not None:
        raise DataError(
            f"fold in: row {thumb.id or '?'} is a thumb, and objective.type = {objective.type} of this model learns "
            "from comparisons; give comparisons, or a model that was trained with kto"
        )
    return [item for item in items if objective.learns_ties or not getattr(item, "tie", False)]


@dataclass(frozen=True)
class Ballots:
    """b comparisons or thumbs of n users. To an objective that learns from thumbs a comparison is two.

    Attributes:
        who: `[b]` of each its user, 0 to n - 1.
        vote: `[b]` which of the votes it is of; the two thumbs of a comparison are one.
        question: `[b]` which of its user's questions it answers, 0 upwards: votes on one pair answer the same.
        weight: `[b]`.
        flag: `[b]` whether it is a tie, or (thumbs) whether it is up.
        reference: `[b, 2]` log-probabilities.
        strange: of thumbs, each prompt with the response of another thumb of the same user, and `whose` `[m]` they are;
            `strange_reference` `[m]`.
    """

    n: int
    encoded: Sequence[Encoded]
    who: Tensor
    vote: Tensor
    question: Tensor
    weight: Tensor
    flag: Tensor
    reference: Tensor
    objective: Any
    layout: Layout
    strange: Sequence[Encoded]
    whose: Tensor
    strange_reference: Tensor

    @classmethod
    def of(
        cls,
        lm: PersonalizedLM,
        votes: Sequence[Feedback],
        names: Sequence[str],
        objective: ObjectiveConfig,
        *,
        layout: str = "auto",
        cache: Path | None = None,
    ) -> Ballots:
        """Of what is `learned_from`; `names` are the users."""
        place = {name: i for i, name in enumerate(names)}
        items, vote = _counted(votes, objective)
        who = torch.tensor([place[str(item.user)] for item in items], dtype=torch.long)
        encoded = list(lm.template.comparisons(items))
        chosen = choose_layout(lm, encoded, layout) if encoded else "plain"
        common: dict[str, Any] = {"layout": chosen, "cache": cache}
        strange, whose = _strangers(lm, items, encoded, who) if objective.learns_thumbs else ([], [])
        return cls(
            n=len(names),
            encoded=encoded,
            who=who,
            vote=vote,
            question=_questions(votes)[vote],
            weight=torch.tensor([item.weight for item in items], dtype=torch.float64),
            flag=torch.tensor([i.up if isinstance(i, Thumb) else i.tie for i in items], dtype=torch.bool),
            reference=torch.from_numpy(lm.reference_values(encoded, **common)),
            objective=make_objective(objective),
            layout=chosen,
            strange=strange,
            whose=torch.tensor(whose, dtype=torch.long),
            strange_reference=torch.from_numpy(lm.reference_values(strange, **common)[:, 0]),
        )

    def __len__(self) -> int:
        return len(self.encoded)

    @property
    def votes(self) -> Tensor:
        """How many of each user `[n]` count: those of weight 0 do not."""
        counted = torch.stack([self.who, self.vote])[:, self.weight > 0].unique(dim=1)
        return torch.bincount(counted[0], minlength=self.n)

    def copies(self, counting: Tensor) -> Ballots:
        """Of k times as many users: all of them, and all again, each time with the weights times `counting` `[k, b]`.
        They are for fits without the model, and have no `strange`."""
        k = len(counting)
        return replace(
            self,
            n=k * self.n,
            encoded=[*self.encoded] * k,
            who=(self.who + self.n * torch.arange(k)[:, None]).reshape(-1),
            vote=self.vote.repeat(k),
            question=self.question.repeat(k),
            weight=(self.weight * counting).reshape(-1),
            flag=self.flag.repeat(k),
            reference=self.reference.repeat(k, 1),
            strange=[],
            whose=self.whose[:0],
            strange_reference=self.strange_reference[:0],
        )

    @property
    def thumbs(self) -> bool:
        """Whether these are thumbs, so that there is no second response."""
        return isinstance(self.objective, ThumbObjective)

    def losses(self, values: Tensor, z0: Tensor) -> Tensor:
        """The objective's loss `[b]` of each vote, without its weight.

        Args:
            values: `[b, 2]` what the policy makes of both responses.
            z0: `[n]` of each user; thumbs are measured against it.
        """
        reference = self.reference.to(values)
        policy = PairLogps(*values.unbind(1), *self._tokens)
        before = PairLogps(*reference.unbind(1), *self._tokens)
        if self.thumbs:
            return self.objective(policy, before, self.flag, z0[self.who])
        return self.objective(policy, before, self.flag)

    @cached_property
    def _tokens(self) -> tuple[Tensor, ...]:
        """Of both responses, `[b]` each."""
        return torch.tensor([[len(e.chosen), len(e.rejected)] for e in self.encoded]).reshape(-1, 2).unbind(1)

    def total(self, losses: Tensor) -> Tensor:
        """Their weighted sum by user `[n]`."""
        return losses.new_zeros(self.n).index_add(0, self.who, losses * self.weight)

    def mean(self, losses: Tensor) -> Tensor:
        """Their weighted mean by user `[n]`; not a number for who has none."""
        return self.total(losses) / self.total(torch.ones_like(losses))


def _counted(votes: Sequence[Feedback], objective: ObjectiveConfig) -> tuple[Sequence[Feedback], Tensor]:
    """What the objective has a loss for, and of each which vote `[b]` it is of."""
    if not objective.learns_thumbs or not parted(votes)[0]:
        return votes, torch.arange(len(votes))
    copies = torch.tensor([1 if isinstance(vote, Thumb) else 2 for vote in votes], dtype=torch.long)
    return list(Unpaired(votes)), torch.arange(len(votes)).repeat_interleave(copies)


def _questions(votes: Sequence[Feedback]) -> Tensor:
    """Of each vote `[v]` the number of its pair among those of its user."""
    numbers: dict[str | None, dict[str, int]] = {}
    found = []
    for vote in votes:
        own = numbers.setdefault(vote.user, {})
        found.append(own.setdefault(vote.pair_key, len(own)))
    return torch.tensor(found, dtype=torch.long)


def _strangers(
    lm: PersonalizedLM, thumbs: Sequence[Feedback], encoded: Sequence[Encoded], who: Tensor
) -> tuple[list[Encoded], list[int]]:
    """Each prompt with the response of another thumb of its user, as training has it over a batch; nobody who has one
    thumb only has any."""
    found: list[Encoded] = []
    whose: list[int] = []
    for user in who.unique().tolist():
        own = torch.nonzero(who == user)[:, 0].tolist()
        if len(own) < 2:
            continue
        for i, j in zip(own, mismatched([thumbs[i] for i in own]), strict=True):
            found.append(lm.template.answered(encoded[i], encoded[own[j]].chosen))
            whose.append(user)
    return found, whose
