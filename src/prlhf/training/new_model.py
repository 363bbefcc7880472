"""A small causal language model from an architecture's config, with random weights."""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM

from prlhf.config.sft import NewModel
from prlhf.errors import ConfigError

__all__ = ["new_model"]


def new_model(config: NewModel, tokenizer: Any) -> Any:
    """Make the model of `config` in float32 for `tokenizer` (its length, its BOS, EOS and padding).

    Raises:
        ConfigError: an architecture that transformers does not know, an option its config does not have, or values
            that do not fit together.
    """
    try:
        blank = AutoConfig.for_model(config.architecture)
    except ValueError as e:
        raise ConfigError(
            f"option new.architecture: {config.architecture!r} is no model_type of transformers; try llama or qwen3"
        ) from e
    unknown = [name for name in config.options if not hasattr(blank, name)]
    if unknown:
        raise ConfigError(f"option new.options.{unknown[0]}: {type(blank).__name__} has no such option")
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    try:
        full = AutoConfig.for_model(config.architecture, **config.options, vocab_size=len(tokenizer), **ids)
        return AutoModelForCausalLM.from_config(full, dtype=torch.float32)
    except (ValueError, TypeError, RuntimeError, StrictDataclassError) as e:
        reason = e.__cause__ if isinstance(e, StrictDataclassError) and e.__cause__ else e
        raise ConfigError(f"new.options do not make a {config.architecture} model: {reason}") from e
