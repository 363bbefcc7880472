"""`soft_prompt`: a personalised language model with a scalar head, on texts themselves (P-RM of P-RLHF)."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Self, cast

import numpy as np
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from prlhf.config.rewards.soft_prompt import SoftPrompt
from prlhf.errors import CheckpointError, DataError
from prlhf.lm import Encoded, RewardLM, choose_layout, is_checkpoint, pair_logprobs, pair_scores
from prlhf.lm.checkpoint import resume_command
from prlhf.lm.folders import new_folder
from prlhf.lm.layout import Layout, extent, slices
from prlhf.lm.logprobs import tokens_at_once
from prlhf.objectives import Objective, PairLogps, make_objective
from prlhf.rewards.base import Reward, RewardModel
from prlhf.rewards.folders import read_described
from prlhf.rewards.states import States, UserTable
from prlhf.types import Comparison, Prompt, Thumb
from prlhf.users.models import subset

__all__ = ["SoftPromptReward"]

PRIOR = "prior.safetensors"
_RATE = 0.2
"""Of Adam in a fold-in; what it moves has a prior of standard deviation 1."""
_PEOPLE = 2000
"""Trained rows that the prior is made of at most."""


class SoftPromptReward(RewardModel):
    """Rewards of a `RewardLM`, in log-odds; it does not say how unsure it is, so every variance is 0.

    A person's state is their row of the language model's user table, `row` `[n, s]`. `prlhf.training.reward` trains it.
    """

    Config = SoftPrompt

    def __init__(self, config: SoftPrompt, lm: RewardLM, prior: Tensor | None = None):
        """Of a trained language model.

        Args:
            prior: `B` `[r, s]` of `fold_in`; by default that of the rows that there are.
        """
        self.config = config
        self.lm = lm.eval()
        table = lm.user_model.table
        if prior is None and table is not None:
            prior = _directions(table.weight, config.fold_in_rank)
        self.prior = prior

    @property
    def users(self) -> UserTable:
        """The language model's own user table."""
        index, table = self.lm.users, self.lm.user_model.table
        rows = np.zeros((len(index) + 1, 0)) if table is None else table.weight.detach().cpu().numpy()
        return UserTable(index, States({"row": rows}, index.counts), index.versions)

    @users.setter
    @torch.no_grad()
    def users(self, table: UserTable) -> None:
        model = self.lm.user_model
        self.lm.users = table.index.noted(table.states.votes, table.versions)
        model.resize(len(table.states))
        if model.table is not None:
            model.table.weight.copy_(torch.from_numpy(table.states["row"]))

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str], users: Sequence[str | None]) -> Reward:
        if not len(prompts) == len(responses) == len(users):
            found = f"{len(prompts)} prompts, {len(responses)} responses and {len(users)} users"
            raise DataError(f"score: found {found}, expected one each")
        encoded = self._encoded([Thumb(p, r, True) for p, r in zip(prompts, responses, strict=True)])
        return _sure(self._values(encoded, users, "plain")[:, 0])

    def margin(self, comparisons: Sequence[Comparison], users: Sequence[str | None] | None = None) -> Reward:
        encoded = self._encoded(comparisons)
        who = [c.user for c in comparisons] if users is None else users
        values = self._values(encoded, who, self._layout(encoded))
        return _sure(values[:, 0] - values[:, 1])

    def _encoded(self, items: Sequence[Comparison | Thumb]) -> list[Encoded]:
        return list(self.lm.template.comparisons(items))

    def _layout(self, encoded: Sequence[Encoded]) -> Layout:
        return choose_layout(self.lm, encoded, self.config.training.layout) if encoded else "plain"

    def _values(self, encoded: Sequence[Encoded], users: Sequence[str | None], layout: Layout) -> np.ndarray:
        """Rewards of both responses `[b, 2]`."""
        rows = self.lm.users.rows(list(users))[:, None]
        found: np.ndarray = pair_scores(self.lm, encoded, rows, layout=layout)[:, 0]
        return found

    def fold_in(self, comparisons: Sequence[Comparison]) -> tuple[list[str], States]:
        """Meet the users of these votes: rows that explain them, under a prior learned from the trained rows.

        A row is that of the generic user plus `z B`, `z ~ N(0, 1)`: `B^T B` is the mean of the outer products of
        trained rows less the generic one, cut to `fold_in_rank` directions (who is met later changes it for nobody).
        Of `z` the mode is found by Adam; language model, LoRA, head and all other rows are frozen.

        Raises:
            DataError: a vote without a user.
        """
        nameless = [c for c in comparisons if c.user is None]
        if nameless:
            raise DataError(f"fold in: row {nameless[0].id or '?'} has no user, expected the id of who voted")
        names = sorted({c.user for c in comparisons if c.user is not None})
        place = {name: i for i, name in enumerate(names)}
        who = np.array([place[c.user] for c in comparisons if c.user is not None], np.int64)
        votes = np.bincount(who, minlength=len(names)).astype(np.int64)
        if self.prior is None or not names:
            return names, States({"row": np.zeros((len(names), self.users.states["row"].shape[1]))}, votes)
        ties = torch.tensor([c.tie for c in comparisons])
        weight = torch.tensor([c.weight for c in comparisons], dtype=torch.float64)
        if not self.config.objective.learns_ties:
            ties, weight = torch.zeros_like(ties), weight * ~ties
        guests = _Guests(self.lm, self.config, self._encoded(comparisons), torch.from_numpy(who + 1), ties, weight)
        rows = _fitted(guests, self.prior.to(guests.table), self.config.fold_in_steps)
        return names, States({"row": rows.detach().cpu().numpy()}, votes)

    def save(self, folder: str | Path) -> Path:
        """Write `config.json`, `prior.safetensors` of the fold-in, and `model/`: the language model as `prlhf train`
        has it, with `head.safetensors`.

        Raises:
            CheckpointError: something stands there already.
        """
        folder = Path(folder)
        with new_folder(folder) as place:
            self.lm.save_pretrained(place / "model")
            if self.prior is not None:
                save_file({"directions": self.prior.cpu().contiguous()}, place / PRIOR)
            text = json.dumps(self.config.described(), indent=2) + "\n"
            (place / "config.json").write_text(text, encoding="utf8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save`, or a run of `prlhf.training.reward.train_soft_prompt`, wrote.

        Raises:
            CheckpointError: no such folder, another format, or a run that is not finished.
        """
        folder = Path(folder)
        described = read_described(folder)
        if not is_checkpoint(folder / "model"):
            go_on = resume_command(folder, SoftPrompt.COMMAND)
            raise CheckpointError(f"{folder} is an unfinished run of a reward model; go on with: {go_on}")
        try:
            config = SoftPrompt.of_described(described)
        except ValidationError as e:
            raise CheckpointError(f"{folder / 'config.json'} does not describe a soft_prompt: {e}") from e
        held = folder / PRIOR  # a run has none: its rows are those that were trained
        prior = load_file(held)["directions"] if held.is_file() else None
        return cls(config, RewardLM.from_pretrained(folder / "model"), prior)


def _sure(mean: np.ndarray) -> Reward:
    return Reward(mean, np.zeros_like(mean))


class _Guests:
    """n new users of a reward model, whose rows are looked for.

    Args:
        encoded: their votes, b of them.
        rows: `[b]` of each vote, 1 to n.
        ties: `[b]`.
        weight: `[b]`.
    """

    def __init__(
        self, lm: RewardLM, config: SoftPrompt, encoded: Sequence[Encoded], rows: Tensor, ties: Tensor, weight: Tensor
    ):
        self.lm, self.encoded, self.rows, self.ties, self.weight = lm, encoded, rows, ties, weight
        self.objective = cast(Objective, make_objective(config.objective))
        self.layout = choose_layout(lm, encoded, config.training.layout)
        self.model = subset(lm.user_model, [0] * (int(rows.max()) + 1))
        order = sorted(range(len(encoded)), key=lambda i: encoded[i].length)
        extents = (extent(encoded[i], 1, lm.user_model.tokens, self.layout) for i in order)
        self.batches = [order[cut] for cut in slices(extents, len(order), tokens_at_once(lm.device))]

    @property
    def table(self) -> Tensor:
        """Their rows, after the generic one `[n + 1, s]`."""
        assert self.model.table is not None
        return self.model.table.weight

    def gradient(self) -> Tensor:
        """Of the sum of all losses in their rows `[n, s]`."""
        found = torch.zeros_like(self.table)
        with self.lm.seating(self.model), torch.enable_grad():
            for batch in self.batches:
                loss = self._losses(batch) @ self.weight[batch].to(found)
                (part,) = torch.autograd.grad(loss, [self.table])
                found += part.to_dense() if part.is_sparse else part
        return found[1:]

    def _losses(self, batch: list[int]) -> Tensor:
        branches = [[row] for row in self.rows[batch].tolist()]
        values = pair_logprobs(self.lm, [self.encoded[i] for i in batch], branches, self.layout)
        nothing = torch.zeros_like(values.chosen)
        reference = PairLogps(nothing, nothing, values.chosen_tokens, values.rejected_tokens)
        losses = self.objective(values, reference, self.ties[batch, None].to(nothing.device))
        return losses[:, 0].to(self.table)


@torch.no_grad()
def _fitted(guests: _Guests, directions: Tensor, steps: int) -> Tensor:
    """The rows `[n, s]` of guests at the mode of `z` under their votes and its prior, by Adam."""
    generic = guests.table[0].clone()
    z = generic.new_zeros(len(guests.table) - 1, len(directions))
    optimiser = torch.optim.Adam([z], lr=_RATE)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = _RATE * (1 + math.cos(math.pi * step / steps)) / 2
        z.grad = guests.gradient() @ directions.T + z
        optimiser.step()
        guests.table[1:] = generic + z @ directions
    return guests.table[1:]


@torch.no_grad()
def _directions(table: Tensor, rank: int) -> Tensor:
    """`B` `[r, s]`: `B^T B` is the mean of `o o^T` over users of offset o from the generic row, its largest parts."""
    people = table[1:][:: max((len(table) - 1) // _PEOPLE, 1)] - table[0]
    if not len(people):
        return people
    values, vectors = torch.linalg.eigh((people @ people.T).double())  # of users x users: rows are long
    kept = values.flip(0)[:rank] > 1e-10 * values[-1].clamp(min=1e-30)
    largest = vectors.flip(1)[:, :rank][:, kept]
    return (largest.T.to(people) @ people) / len(people) ** 0.5
