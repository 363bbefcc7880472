"""A small causal language model from an architecture's config, with random weights."""

from __future__ import annotations

import logging
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModelForCausalLM

from prlhf.config.sft import NewModel
from prlhf.errors import ConfigError

__all__ = ["SIZES", "new_model"]

logger = logging.getLogger(__name__)

SIZES: dict[str, Any] = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
}
"""Sizes where `new.options` says nothing: the architectures' own are those of models with billions of parameters."""
LARGE = 500_000_000


def new_model(config: NewModel, tokenizer: Any) -> Any:
    """Make the model of `config` in float32 for `tokenizer` (its length, its BOS, EOS and padding).

    How many parameters it has is logged before any of them is made.

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
    options = {**_sized(blank, config.options), "vocab_size": len(tokenizer), **ids}
    try:
        full = AutoConfig.for_model(config.architecture, **options)
        _tell_size(full)
        return AutoModelForCausalLM.from_config(full, dtype=torch.float32)
    except (ValueError, TypeError, RuntimeError, StrictDataclassError) as e:
        reason = e.__cause__ if isinstance(e, StrictDataclassError) and e.__cause__ else e
        raise ConfigError(f"new.options do not make a {config.architecture} model: {reason}") from e


def _sized(blank: Any, given: dict[str, Any]) -> dict[str, Any]:
    """The options `given`, and small sizes for all others, both under the names of the architecture's own config.

    What follows from other sizes does so unless it is given: as many heads for keys and values as for queries, and
    heads that make up the width (some architectures have a fixed width of a head).
    """
    names = blank.attribute_map
    sizes = {names.get(name, name): value for name, value in SIZES.items() if hasattr(blank, name)}
    sizes |= {names.get(name, name): value for name, value in given.items()}
    width, heads = (sizes.get(names.get(name, name)) for name in ("hidden_size", "num_attention_heads"))
    follows: dict[str, Any] = {}
    if isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads == 0:
        of_head = dict.fromkeys(("head_dim", "query_pre_attn_scalar", "rotary_dim"), width // heads)
        follows = {"num_key_value_heads": heads, **of_head}
    computed = {name for name in follows if isinstance(getattr(type(blank), name, None), property)}
    follows = {names.get(n, n): value for n, value in follows.items() if hasattr(blank, n) and n not in computed}
    return {**follows, **sizes}


def _tell_size(full: Any) -> None:
    with torch.random.fork_rng(devices=[]), torch.device("meta"):  # nothing is allocated, and nothing drawn
        count = AutoModelForCausalLM.from_config(full).num_parameters()
    logger.info("a new %s model of %s parameters", full.model_type, f"{count:,}")
    if count > LARGE:
        logger.warning(
            "that is a large model to train from nothing; for a smaller one set new.options (%s)", ", ".join(SIZES)
        )
