"""Base models: from a folder, the hub or the package, with the reasons why some cannot carry user tokens."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoTokenizer,
)

from prlhf.config import ModelConfig
from prlhf.data.paths import mistyped
from prlhf.errors import CheckpointError, PrlhfError, UnsupportedModelError
from prlhf.lm.causal import check_causal, check_still
from prlhf.lm.folders import read_object
from prlhf.lm.lora import quiet_peft
from prlhf.lm.placement import first_line, load_placed

__all__ = [
    "BUNDLED",
    "context_length",
    "fingerprint",
    "hash_tensors",
    "load_base",
    "load_tokenizer",
    "refuse",
    "resolve",
    "same_base",
]

logger = logging.getLogger(__name__)

BUNDLED = {"planted": Path(__file__).parent / "bundled" / "planted"}
"""Models inside the package, by the name that `model.base` gives them."""

_LETTERS = 10
"""A tokenizer of fewer tokens can write nothing."""

VOLATILE = frozenset(
    [
        "name_or_path",
        "transformers_version",
        "dtype",
        "torch_dtype",
        "architectures",
        "use_cache",
        "return_dict",
        "output_attentions",
        "output_hidden_states",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "id2label",
        "label2id",
        "problem_type",
        "chunk_size_feed_forward",
        "is_encoder_decoder",
        "quantization_config",
    ]
)
"""Keys of a model's config that say nothing about its log-probabilities, or nothing that its weights do not."""


_NOISE = re.compile("drop|jitter")
_MEDIA = re.compile("vision|image|audio|speech|vq")


def resolve(base: str) -> str:
    """The folder or hub id behind a `model.base`: names of bundled models become their folder."""
    if base in BUNDLED:
        return str(BUNDLED[base])
    path = Path(base).expanduser()
    if path.is_dir():
        return str(path)
    hint = "" if path.exists() else mistyped(base, bare=True)
    if hint is None:
        return base
    meant = hint or f"; give a folder, a hub id or one of {', '.join(BUNDLED)}"
    raise CheckpointError(f"model.base: no folder {base}{meant}")


def refuse(config: Any) -> None:
    """Raise UnsupportedModelError, with the reason, for an architecture that user tokens cannot work with."""
    name = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(
            f"{name} is an encoder-decoder model; prlhf personalises decoder-only language models"
        )
    media = [part for part in config.sub_configs if _MEDIA.search(part)]
    if media or type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise UnsupportedModelError(
            f"{name} is a multimodal model (it takes more than text), and prlhf personalises language models; save its "
            "text model on its own, and give that"
        )
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UnsupportedModelError(f"{name} is no causal language model: transformers has none of this type")
    text = config.get_text_config()
    if getattr(text, "hidden_size_per_layer_input", 0):
        raise UnsupportedModelError(
            f"{name} looks every token up again in each layer (per-layer embeddings); user tokens have no entry there"
        )


def load_base(config: ModelConfig) -> nn.Module:
    """The base model, with `config.adapter` (an SFT run's) merged into it: what the reference is. It has no dropout.

    Raises:
        CheckpointError: the model or adapter is not there, or cannot be fetched.
        ConfigError: this machine cannot hold it as `config.device_map` and `config.quantization` say.
        UnsupportedModelError: it cannot carry user tokens.
    """
    source = resolve(config.base)
    local = Path(source).is_dir()
    if local:
        _refuse_folder(Path(source), config.base)
        if not (Path(source) / "config.json").is_file():
            raise CheckpointError(f"model.base: cannot load {config.base!r}: the folder has no config.json")
    else:  # without a network its client tries for half a minute
        logger.info("no folder %s here; looking for it on the Hugging Face hub", config.base)
    try:
        stored = AutoConfig.from_pretrained(source)
        refuse(stored)
        model = load_placed(source, config, stored)
    except OSError as e:
        where = "" if local else "there is no folder of that name, and the hub says: "
        raise CheckpointError(f"model.base: cannot load {config.base!r}: {where}{first_line(e)}") from e
    except ValueError as e:
        if isinstance(e, PrlhfError):
            raise
        words = f"model.base: {config.base!r} is no causal language model: {first_line(e)}"
        raise UnsupportedModelError(words) from e
    if config.tuning.type == "full" and getattr(model, "is_quantized", False):
        raise UnsupportedModelError(
            f"model.base: {config.base!r} has quantised weights, which cannot be trained; take model.tuning.type=lora"
        )
    if config.adapter is not None:
        model = _merge(model, config.adapter)
    _no_dropout(model)
    check_causal(model)
    check_still(model)
    return model


def _refuse_folder(folder: Path, given: str) -> None:
    """Say of a run, its model, or an adapter alone, what to give instead of it."""
    if not (folder / "config.json").is_file():
        model, below = read_object(folder / "prlhf.json").get("model"), read_object(folder / "adapter_config.json")
        if model is None and below:
            base = below.get("base_model_name_or_path") or "BASE"
            raise CheckpointError(
                f"model.base: {given!r} is an adapter (PEFT), no base model; "
                f"give both: --model {base} --adapter {given}"
            )
        kind, lora = "the model of a run of `prlhf train`", given
    else:
        model = read_object(folder / "config.json").get("model")
        kind, lora = "a run of `prlhf train`", f"{given.rstrip('/')}/model"
    try:
        trained = ModelConfig.model_validate(model)
    except ValueError:
        return
    words = f"model.base: {given!r} is {kind}, no base model; give the one it was trained on: --model {trained.base}"
    if trained.adapter is not None:
        words += f" --adapter {trained.adapter}"
    elif trained.tuning.type == "lora":
        words += f" (and --adapter {lora} to start from its LoRA, without its users)"
    raise CheckpointError(words)


def _merge(model: nn.Module, adapter: str) -> nn.Module:
    folder = Path(adapter).expanduser()
    hint = None if folder.is_dir() else mistyped(adapter)
    if hint is not None:
        raise CheckpointError(f"model.adapter: no folder {adapter}{hint or '; give a folder or a hub id'}")
    try:
        with quiet_peft():
            found = PeftModel.from_pretrained(model, str(folder) if folder.is_dir() else adapter)
        return found.merge_and_unload()
    except (OSError, ValueError) as e:
        raise CheckpointError(f"model.adapter: cannot load {adapter!r}: {first_line(e)}") from e
    except (RuntimeError, KeyError) as e:  # tensors of another shape
        raise CheckpointError(f"model.adapter: {adapter!r} does not fit this base model: {first_line(e)}") from e


def _no_dropout(model: nn.Module) -> None:
    """Switch off the base model's own dropout: the reference has none, and h = 0 at the start needs the same policy.

    Most is a module; some models keep a probability beside (OPT's `dropout`, BLOOM's `hidden_dropout`) or shake the
    input of their router (`jitter_noise`). `check_still` sees what is left.
    """
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and _NOISE.search(name):
                setattr(module, name, 0.0)


def load_tokenizer(config: ModelConfig) -> Any:
    """The base model's tokenizer."""
    try:
        found = AutoTokenizer.from_pretrained(resolve(config.base))
    except (OSError, ValueError) as e:
        raise CheckpointError(f"model.base: no tokenizer with {config.base!r}: {first_line(e)}") from e
    if len(found) < _LETTERS:  # of some architectures transformers makes up an empty one where there are no files
        raise CheckpointError(
            f"model.base: no tokenizer with {config.base!r}: it has {len(found)} tokens, so transformers made it up; "
            "save the model's own one there (tokenizer.json and tokenizer_config.json)"
        )
    return found


def context_length(model: Any) -> int | None:
    """Positions that a model of transformers has; None where its config names no limit."""
    found = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def fingerprint(model: nn.Module) -> str:
    """Tells whether it is the same base: a hash of all parameters (names, shapes, values) and one of the
    config (what the weights do not say, as the base of rotary positions), without names and versions.
    """
    config: Any = getattr(model, "config", None)
    described = config.to_dict() if hasattr(config, "to_dict") else {}
    kept = {k: v for k, v in described.items() if k not in VOLATILE and not k.startswith("_")}
    text = json.dumps(kept, sort_keys=True, default=str)
    return f"{_weights(model)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def same_base(model: nn.Module, identity: str) -> bool:
    """Whether `identity` is a model's `fingerprint`; those of earlier checkpoints are of the weights alone."""
    found = fingerprint(model)
    return identity in (found, found.partition("-")[0])


def _weights(model: nn.Module) -> str:
    kept = model.state_dict()
    buffers = {name for name, _ in model.named_buffers()}  # those that are saved may be learned too, as a router's bias
    held = {name: value for name, value in kept.items() if name in buffers} | dict(model.named_parameters())
    if getattr(model, "is_quantized", False):  # the scales of quantised weights are no parameters
        held = {**kept, **held}
    base = ((name, p) for name, p in held.items() if "lora_" not in name)
    named = ((name.removeprefix("base_model.model.").replace(".base_layer", ""), p) for name, p in base)
    return hash_tensors(named)[:16]


def hash_tensors(named: Iterable[tuple[str, torch.Tensor]]) -> str:
    """A hash of names, shapes, types and every value, in the order of the names; about a second a gigabyte."""
    h = hashlib.blake2b(digest_size=16)
    for name, p in sorted(named, key=lambda pair: pair[0]):
        h.update(f"{name}{tuple(p.shape)}{p.dtype}".encode())
        h.update(p.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return h.hexdigest()
