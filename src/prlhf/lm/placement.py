"""Where a base model's weights go and in how many bits they are held: `device_map` and `quantization`."""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.utils.quantization_config import QuantizationMethod

from prlhf.config import ModelConfig
from prlhf.errors import ConfigError
from prlhf.lm.paths import take_paths

__all__ = ["check_quantization", "first_line", "is_placed", "load_placed"]


def is_placed(model: nn.Module) -> bool:
    """Whether a model is where it belongs since it was loaded (by a device map, or by bitsandbytes), and not moved."""
    by_bits = getattr(model, "quantization_method", None) == QuantizationMethod.BITS_AND_BYTES
    return by_bits or getattr(model, "hf_device_map", None) is not None


def first_line(error: Exception) -> str:
    """What an error of another library says first; some say nothing but their name."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def load_placed(source: str, config: ModelConfig, stored: Any) -> nn.Module:
    """The causal LM at `source` in the type, bits and place, and with the attention, that `config` names.

    Args:
        stored: its configuration of transformers, for the type that its weights are stored in.

    Raises:
        ConfigError: this machine cannot hold it so.
    """
    dtype = config.dtype if config.dtype == "auto" else getattr(torch, config.dtype)
    asked: dict[str, Any] = {}
    if config.device_map is not None:
        asked["device_map"] = config.device_map
    if config.attention != "auto":
        asked["attn_implementation"] = "sdpa" if config.attention == "paths" else config.attention
    if config.quantization != "none":
        asked["quantization_config"] = _bits(config.quantization, stored.dtype if dtype == "auto" else dtype)
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **asked)
    except (OSError, MemoryError):
        raise
    except Exception as e:
        if not asked:
            raise
        raise ConfigError(f"{_named(config)}: the base cannot be loaded so on this machine: {first_line(e)}") from e
    if any(p.is_meta for p in model.parameters()):
        raise ConfigError(
            f"{_named(config)}: a part of the base would stay in main memory or on disk and be fetched at every step, "
            "which prlhf does not do; take fewer bits (model.quantization), more devices, or a smaller base"
        )
    if config.attention == "paths":
        take_paths(model)
    return model


def check_quantization(config: ModelConfig) -> None:
    """ConfigError where the base is to be quantised and what that takes is not installed."""
    if config.quantization != "none":
        _bits(config.quantization, None)


def _bits(quantization: str, dtype: torch.dtype | None) -> BitsAndBytesConfig:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"option model.quantization: {quantization} needs the package bitsandbytes, which is not installed here; "
            "pip install bitsandbytes, or take model.quantization=none"
        )
    if quantization == "8bit":
        # at every call of a layer it warns that it computes in float16
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype or torch.float32
    )


def _named(config: ModelConfig) -> str:
    """The options that ask for something of this machine, as they were given."""
    device_map = None if config.device_map is None else f"model.device_map={config.device_map}"
    bits = None if config.quantization == "none" else f"model.quantization={config.quantization}"
    attention = None if config.attention == "auto" else f"model.attention={config.attention}"
    return ", ".join(filter(None, [device_map, bits, attention]))
