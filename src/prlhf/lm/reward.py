"""RewardLM: a personalised LM with a scalar head, which says what a response is worth to a user (P-RM of P-RLHF)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from prlhf.config import ModelConfig, UserModelConfig
from prlhf.errors import CheckpointError
from prlhf.lm.checkpoint import HEAD, find, load, save
from prlhf.lm.layout import Rows
from prlhf.lm.logprobs import decoder_states
from prlhf.lm.personalized import PersonalizedLM
from prlhf.lm.placement import is_placed
from prlhf.lm.template import Encoded
from prlhf.users import Ids

__all__ = ["RewardLM"]

Pool = Literal["mean", "last"]


class RewardLM(PersonalizedLM):
    """`r(x, y, u) = <w + V' C (s_u - s_0), h>`: `h` is the last hidden state, after the user tokens of u and the prompt
    x, of the response: at its last token, the end of sequence (`last`), or the mean over its tokens (`mean`).

    `s_u` is the user's row and `s_0` the generic one; C `[k, s]` takes k tastes from it, V `[k, d]` says what of a
    state each of them likes. With k = 0 and `last` it is P-RLHF's soft prompt (arXiv 2402.05133, appendix F.2), and
    what k adds is its linear head.

    Rewards stand where a policy has log-probabilities, and 0 where it has those of the reference, so trainer, layouts
    and evaluation are the policy's. A bias would cancel in every comparison, so there is none.

    The generic user reads the prompt that `model.reference_user_text` says: with the user's text, or without.
    """

    answers: ClassVar[bool] = False

    def __init__(self, *parts: Any, pool: Pool = "last", tastes: int = 0, **options: Any):
        super().__init__(*parts, **options)
        self.pool = pool
        self.fitted: int | None = None
        """With how many tastes the head was fitted before training (`prlhf.training.fitted`): it then has less far to
        go. None: it was not."""
        states = 0 if self.user_model.table is None else self.user_model.table.embedding_dim
        self.reward_head = _Head(cast(Tensor, self.head.weight).shape[1], states, min(tastes, states))
        self.reward_head.to(torch.promote_types(torch.float32, self.dtype))
        if is_placed(self.causal_lm):
            self.reward_head.to(self.device)

    @classmethod
    def create(
        cls, config: ModelConfig, user_model: UserModelConfig, user_ids: Ids = (), seed: int = 0, **options: Any
    ) -> Self:
        """At step 0: the head is drawn from N(0, 1 / (d + 1)), as is usual (Stiennon et al., arXiv 2009.01325); a head
        of zeros would give the rest no gradient. `options`: `pool` and `tastes`, k."""
        lm = super().create(config, user_model, user_ids, seed, **options)
        lm.reward_head.draw(torch.Generator().manual_seed(seed))
        if lm.head.weight is not lm.embedding.weight:
            lm.head.requires_grad_(False)  # nothing is predicted
        return lm

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load what `save_pretrained` wrote: a model folder, or a run folder (its `model/`).

        Raises:
            CheckpointError: no such model, or one without a head.
        """
        parts, path = load(folder), find(folder) / HEAD
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            pool = cast(Pool, about.get("pool", "last"))
            lm = cls(*parts, pool=pool, tastes=len(values["directions"]) if "directions" in values else 0)
            lm.reward_head.load_state_dict(values)
        except (OSError, SafetensorError, RuntimeError) as e:
            raise CheckpointError(f"{path} is not the head of a reward model: {e}") from e
        return lm.eval()

    def save_pretrained(self, folder: str | Path, card: str = "") -> Path:
        """Write the checkpoint with its head aside, then rename it to `folder`."""
        return save(self, Path(folder), card, self._write_head)

    def _write_head(self, folder: Path) -> None:
        weights = {name: value.detach().cpu().contiguous() for name, value in self.reward_head.state_dict().items()}
        save_file(weights, folder / HEAD, metadata={"format": "pt", "pool": self.pool})
        card = _CARD.format(base=self.config.base, tokens=self.user_model.tokens)
        (folder / "README.md").write_text(card, encoding="utf8")

    def push_to_hub(self, *args: Any, **options: Any) -> str:
        """Not yet: a reward model is passed on as its folder."""
        raise CheckpointError("a reward model is not published by push_to_hub; upload its folder, which is safetensors")

    def response_values(self, rows: Rows) -> Tensor:
        """The reward of each response `[slots]`; 0 of a response that is not there."""
        slot, user = rows.ends[:, 2], rows.ends[:, 3]
        weight = self.reward_head.weight
        with torch.autocast(weight.device.type, enabled=False):  # two rounded rewards differ by rounding mostly
            rewards = self.reward_head(self.states(rows), self._offsets(user)).to(self.device)
        return rewards.new_zeros(rows.slots).index_add(0, slot, rewards)

    def states(self, rows: Rows) -> Tensor:
        """What the head reads of each of n responses `[n, d]`, in the order of `rows.ends`."""
        row, end, slot = rows.ends[:, :3].unbind(1)
        hidden = decoder_states(self, rows)
        row, end = row.to(hidden.device), end.to(hidden.device)
        if self.pool == "last":
            return hidden[row, end].to(self.reward_head.weight)
        lengths = torch.bincount(rows.slot, minlength=rows.slots)[slot].to(hidden.device)
        which = torch.arange(len(end), device=end.device).repeat_interleave(lengths)
        back = torch.arange(len(which), device=end.device) - (lengths.cumsum(0) - lengths)[which]
        each = hidden[row[which], end[which] - back].to(self.reward_head.weight)
        return each.new_zeros(len(end), each.shape[1]).index_add(0, which, each) / lengths[:, None]

    def _offsets(self, user: Tensor) -> Tensor | None:
        """`s_u - s_0` of the users of n responses `[n, s]`."""
        table = self.user_model.table
        if table is None or not self.reward_head.tastes:
            return None
        device = table.weight.device
        known = user.to(device).clamp(min=0)
        return (table(known) - table(torch.zeros_like(known))).to(self.reward_head.weight)

    def reference_values(self, comparisons: Sequence[Encoded], **options: Any) -> np.ndarray:
        """0 `[n, 2]`: a reward is measured against nothing."""
        return np.zeros((len(comparisons), 2))

    def new_parameters(self) -> list[nn.Parameter]:
        """The head, unless it was fitted."""
        return list(self.reward_head.parameters()) if self.fitted is None else []

    @property
    def row_step(self) -> float:
        """Rows that are fitted already, and that the head reads, go in small steps: what a row does to a head adds up
        over all its entries."""
        return 0.02 if self.fitted else super().row_step

    @property
    def one_prompt(self) -> bool:
        return self.config.reference_user_text

    def read_by(self, row: int, c: Encoded) -> Encoded:
        if self.one_prompt or row > 0 or c.reference_prompt == c.prompt:
            return c
        return replace(c, prompt=c.reference_prompt, cut=c.reference_cut)


class _Head(nn.Module):
    """`<w + V' C o, h>` of states `h` `[n, d]` and offsets of users `o` `[n, s]`; starts at 0."""

    def __init__(self, width: int, states: int, tastes: int):
        super().__init__()
        self.tastes = tastes
        self.weight = nn.Parameter(torch.zeros(1, width))
        if tastes:
            self.directions = nn.Parameter(torch.zeros(tastes, width))
            self.tasted = nn.Parameter(torch.zeros(tastes, states))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """`w` and V from N(0, 1 / (d + 1)), C from N(0, 1 / s)."""
        for p in self.parameters():
            n = p.shape[1] + (p is not getattr(self, "tasted", None))
            p.copy_(torch.empty(p.shape).normal_(std=n**-0.5, generator=generator))

    def forward(self, states: Tensor, offsets: Tensor | None = None) -> Tensor:
        rewards = states @ self.weight[0]
        if offsets is None:
            return rewards
        return rewards + ((offsets @ self.tasted.T) * (states @ self.directions.T)).sum(1)


_CARD = """---
library_name: prlhf
base_model: {base}
tags: [personalized-rlhf, reward-model]
---
# A personalised reward model

What a response is worth to each user: a language model with {tokens} user tokens, a LoRA and a scalar head
(`head.safetensors`) on the last hidden states. `prlhf.rewards.load_reward` reads the folder that this one is in.
"""
