"""A base model without its weights: its config, an empty model of its shape, and how many parameters a run trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from prlhf.config import ModelConfig, RunConfig
from prlhf.errors import CheckpointError
from prlhf.lm.loading import refuse, resolve
from prlhf.lm.lora import add_lora, lora_config
from prlhf.lm.placement import first_line
from prlhf.users import UserModel, new_user_model

__all__ = ["Parameters", "Skeleton", "described", "skeleton"]


@dataclass(frozen=True)
class Parameters:
    """Counts of parameters: of the base, of what is trained in it (the paper's N_l), of the user model (N_u)."""

    base: int
    trained: int
    users: int


@dataclass(frozen=True)
class Skeleton:
    """The language model with its LoRA and the user model, both on the meta device: shapes without values."""

    model: nn.Module
    user_model: UserModel

    @property
    def parameters(self) -> Parameters:
        """How many there are."""
        named = list(self.model.named_parameters())
        return Parameters(
            base=sum(p.numel() for name, p in named if "lora_" not in name),
            trained=sum(p.numel() for _, p in named if p.requires_grad),
            users=self.user_model.trained,
        )


def described(config: ModelConfig, remarks: list[str]) -> Any | None:
    """The config of the base model; None, with a remark, where it is on the hub and that does not give it.

    Raises:
        CheckpointError: it is a folder whose config.json cannot be read.
        UnsupportedModelError: an architecture that cannot carry user tokens.
    """
    source = resolve(config.base)
    try:
        found = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as e:
        if Path(source).is_dir():
            raise CheckpointError(f"model.base: cannot load {config.base!r}: {first_line(e)}") from e
        remarks.append(
            f"no folder {config.base} is here, and the hub does not give its config, so its parameters and memory are "
            "not known; a folder with the model's config.json, without weights, is enough for a dry run: "
            f"--set model.base=FOLDER (the hub says: {first_line(e)})"
        )
        return None
    refuse(found)
    return found


def skeleton(base: Any, config: RunConfig, users: int) -> Skeleton:
    """What a run of `config` would train, without values: nothing is allocated, and nothing drawn.

    Args:
        base: the config of the base model (of transformers).
        users: how many there are; the generic user comes on top.
    """
    dtype = base.dtype if config.model.dtype == "auto" else getattr(torch, config.model.dtype)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(base, dtype=dtype or torch.float32)
        tuning = config.model.tuning
        model = add_lora(model, lora_config(tuning)) if tuning.type == "lora" else model
        return Skeleton(model, new_user_model(config.user_model, users + 1, base.get_text_config().hidden_size))
