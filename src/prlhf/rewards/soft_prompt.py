"""`soft_prompt`: a personalised language model with a scalar head, on texts themselves (P-RM of P-RLHF)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor

from prlhf.config.rewards.soft_prompt import SoftPrompt
from prlhf.errors import CheckpointError, DataError
from prlhf.lm import Encoded, RewardLM, choose_layout, is_checkpoint, pair_scores
from prlhf.lm.adapting.fold_in import fold_in
from prlhf.lm.adapting.prior import Prior, directions_of
from prlhf.lm.checkpoint import resume_command
from prlhf.lm.folders import new_folder
from prlhf.lm.layout import Layout
from prlhf.rewards.base import Reward, RewardModel
from prlhf.rewards.folders import read_described
from prlhf.rewards.states import States, UserTable
from prlhf.types import Comparison, Prompt, Thumb

__all__ = ["SoftPromptReward"]

PRIOR = "prior.safetensors"


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
            prior = directions_of(table.weight, config.fold_in_rank)
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
        """Meet the users of these votes: rows that explain them, under a prior learned from the trained rows
        (`prlhf.lm.adapting`); who is met later changes it for nobody.

        Raises:
            DataError: a vote without a user, or on two equal responses.
        """
        nameless = [c for c in comparisons if c.user is None]
        if nameless:
            raise DataError(f"fold in: row {nameless[0].id or '?'} has no user, expected the id of who voted")
        names = sorted({str(c.user) for c in comparisons})
        if self.prior is None or not names:
            votes = np.zeros(len(names), np.int64)
            return names, States({"row": np.zeros((len(names), self.users.states["row"].shape[1]))}, votes)
        prior, passes = Prior(self.prior), self.config.fold_in_passes
        layout = self.config.training.layout
        found = fold_in(self.lm, comparisons, prior, self.config.objective, passes=passes, layout=layout).states
        return list(found.names), States({"row": found.rows.numpy()}, found.votes)

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
