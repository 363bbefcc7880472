"""RewardLM: a personalised LM with a scalar head, which says what a response is worth to a user (P-RM of P-RLHF)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
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


class RewardLM(PersonalizedLM):
    """`r(x, y, u) = <w, h>`: `h` is the last hidden state at the last token of the response (its end of sequence) after
    the user tokens of u and the prompt x (P-RLHF, arXiv 2402.05133, appendix F.2, soft prompt).

    Rewards stand where a policy has log-probabilities, and 0 where it has those of the reference, so trainer, layouts
    and evaluation are the policy's. A bias would cancel in every comparison, so there is none.

    The generic user reads the prompt that `model.reference_user_text` says: with the user's text, or without.
    """

    answers: ClassVar[bool] = False

    def __init__(self, *parts: Any, **options: Any):
        super().__init__(*parts, **options)
        width = cast(Tensor, self.head.weight).shape[1]
        kind = torch.promote_types(torch.float32, self.dtype)
        self.reward_head = nn.Linear(width, 1, bias=False, dtype=kind)
        nn.init.zeros_(self.reward_head.weight)
        if is_placed(self.causal_lm):
            self.reward_head.to(self.device)

    @classmethod
    def create(cls, config: ModelConfig, user_model: UserModelConfig, user_ids: Ids = (), seed: int = 0) -> Self:
        """At step 0: the head is drawn from N(0, 1 / (d + 1)), as is usual (Stiennon et al., arXiv 2009.01325); a head
        of zeros would give the rest no gradient."""
        lm = super().create(config, user_model, user_ids, seed)
        width = lm.reward_head.in_features
        drawn = torch.empty(1, width).normal_(std=(width + 1) ** -0.5, generator=torch.Generator().manual_seed(seed))
        lm.reward_head.load_state_dict({"weight": drawn})
        if lm.head.weight is not lm.embedding.weight:
            lm.head.requires_grad_(False)  # nothing is predicted
        return lm

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load what `save_pretrained` wrote: a model folder, or a run folder (its `model/`).

        Raises:
            CheckpointError: no such model, or one without a head.
        """
        lm, path = cls(*load(folder)), find(folder) / HEAD
        try:
            lm.reward_head.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError) as e:
            raise CheckpointError(f"{path} is not the head of a reward model: {e}") from e
        return lm.eval()

    def save_pretrained(self, folder: str | Path, card: str = "") -> Path:
        """Write the checkpoint with its head aside, then rename it to `folder`."""
        return save(self, Path(folder), card, self._write_head)

    def _write_head(self, folder: Path) -> None:
        weights = {name: value.detach().cpu().contiguous() for name, value in self.reward_head.state_dict().items()}
        save_file(weights, folder / HEAD, metadata={"format": "pt"})
        card = _CARD.format(base=self.config.base, tokens=self.user_model.tokens)
        (folder / "README.md").write_text(card, encoding="utf8")

    def push_to_hub(self, *args: Any, **options: Any) -> str:
        """Not yet: a reward model is passed on as its folder."""
        raise CheckpointError("a reward model is not published by push_to_hub; upload its folder, which is safetensors")

    def response_values(self, rows: Rows) -> Tensor:
        """The reward of each response `[slots]`; 0 of a response that is not there."""
        row, end, slot = rows.ends.unbind(1)
        hidden = decoder_states(self, rows)
        weight = self.reward_head.weight
        with torch.autocast(weight.device.type, enabled=False):  # two rounded rewards differ by rounding mostly
            states = hidden[row.to(hidden.device), end.to(hidden.device)].to(weight)
            rewards = self.reward_head(states)[:, 0].to(self.device)
        return rewards.new_zeros(rows.slots).index_add(0, slot, rewards)

    def reference_values(self, comparisons: Sequence[Encoded], **options: Any) -> np.ndarray:
        """0 `[n, 2]`: a reward is measured against nothing."""
        return np.zeros((len(comparisons), 2))

    def new_parameters(self) -> list[nn.Parameter]:
        """The head."""
        return list(self.reward_head.parameters())

    @property
    def one_prompt(self) -> bool:
        return self.config.reference_user_text

    def read_by(self, row: int, c: Encoded) -> Encoded:
        if self.one_prompt or row > 0 or c.reference_prompt == c.prompt:
            return c
        return replace(c, prompt=c.reference_prompt, cut=c.reference_cut)


_CARD = """---
library_name: prlhf
base_model: {base}
tags: [personalized-rlhf, reward-model]
---
# A personalised reward model

What a response is worth to each user: a language model with {tokens} user tokens, a LoRA and a scalar head
(`head.safetensors`) on the last hidden state. `prlhf.rewards.load_reward` reads the folder that this one is in.
"""
