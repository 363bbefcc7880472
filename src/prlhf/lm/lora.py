"""A fresh LoRA on a base model, through PEFT: which of its options may be given, and why not the others."""

from __future__ import annotations

import copy
import difflib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from peft import LoraConfig, get_peft_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from prlhf.config import Lora
from prlhf.errors import ConfigError, UnsupportedModelError

__all__ = ["PASSED", "add_lora", "lora_config", "quiet_peft"]

PASSED = (
    "use_dora",
    "use_rslora",
    "lora_bias",
    "init_lora_weights",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "target_parameters",
)
"""Options of PEFT that leave the base as it is, save into the adapter's two files and load from them."""
STARTS = (True, "gaussian", "orthogonal")
"""Ways to start a LoRA that touch neither the base nor, before the first step, its answers."""

_OURS = {
    "r": "model.tuning.r",
    "lora_alpha": "model.tuning.alpha",
    "lora_dropout": "model.tuning.dropout",
    "target_modules": "model.tuning.target_modules",
}
_SET_HERE = (
    "task_type",
    "peft_type",
    "peft_version",
    "auto_mapping",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "fan_in_fan_out",
)
_REFUSED = {
    "modules_to_save": "it trains copies of whole layers, while a checkpoint is a LoRA and a user model, which every "
    "server of LoRAs loads",
    "trainable_token_indices": "it changes rows of the token embeddings, which the reference shares and after which "
    "the ids of user tokens begin",
    "bias": "it trains biases of the base model, so that the base would no longer be the reference",
    "layer_replication": "it gives the model more layers than the base has, which is the reference",
    "alora_invocation_tokens": "such a LoRA acts from a token on only, which shared prompts (training.layout) do not "
    "know",
}


def lora_config(config: Lora) -> LoraConfig:
    """PEFT's configuration of `config`, with what `config.peft` adds.

    Raises:
        ConfigError: an option that PEFT does not have (the nearest is named); one that would break the checkpoint or
            the reference, with the reason; a value that PEFT does not take.
    """
    for name, value in config.peft.items():
        _check(name, value)
    try:
        return LoraConfig(
            r=config.r,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            target_modules=config.target_modules,
            task_type="CAUSAL_LM",
            **copy.deepcopy(config.peft),  # PEFT fills in patterns for mixtures of experts
        )
    except (ValueError, TypeError) as e:
        raise ConfigError(f"option model.tuning.peft: {e}") from e


def _check(name: str, value: Any) -> None:
    place = f"option model.tuning.peft.{name}"
    default = {f.name: f.default for f in fields(LoraConfig)}
    if name in _OURS:
        raise ConfigError(f"{place}: it is {_OURS[name]} here")
    if name in _SET_HERE:
        raise ConfigError(f"{place}: prlhf sets it itself; leave it out")
    if name in _REFUSED:
        raise ConfigError(f"{place} cannot be passed on: {_REFUSED[name]}")
    if name not in PASSED:
        near = difflib.get_close_matches(name, PASSED, n=1)
        hint = f"did you mean {near[0]}?" if near else f"those that are: {', '.join(PASSED)}"
        what = "is not passed on" if name in default else "is no option of PEFT's LoraConfig that is passed on"
        raise ConfigError(f"{place} {what}; {hint}")
    if name == "init_lora_weights" and value not in STARTS:
        raise ConfigError(
            f"{place}: found {value!r}, expected true, 'gaussian' or 'orthogonal'; others change the base model or "
            "do not start as no change, so that switching the LoRA off would not give what training started from"
        )
    if isinstance(default[name], bool) and name != "init_lora_weights" and not isinstance(value, bool):
        raise ConfigError(f"{place}: found {value!r}, expected true or false")


def add_lora(model: nn.Module, config: LoraConfig) -> nn.Module:
    """A fresh LoRA on `model`; it starts as no change at all.

    Raises:
        UnsupportedModelError: PEFT cannot put this LoRA on this model.
    """
    config.fan_in_fan_out = any(isinstance(m, Conv1D) for m in model.modules())  # GPT-2 stores its matrices transposed
    try:
        with quiet_peft():
            return get_peft_model(model, config)
    except ValueError as e:
        raise UnsupportedModelError(f"model.tuning: {e}") from e


@contextmanager
def quiet_peft() -> Iterator[None]:
    """Without two warnings of PEFT that nobody can act on: about its own question to transformers, by a name that is no
    longer the current one; and that the ranks of a mixture's experts fit no module, where they fit a parameter."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        for pattern in ("rank_pattern", "alpha_pattern"):
            words = rf"The following {pattern} keys did not match any targeted module and were ignored: \['\.\*"
            warnings.filterwarnings("ignore", words, RuntimeWarning)
        yield
