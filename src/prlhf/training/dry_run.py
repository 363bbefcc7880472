"""What a run would be, without training it: its data, steps, parameters and memory, and two steps on a tiny model."""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from prlhf.config import ModelConfig, RunConfig
from prlhf.config.sft import NewModel
from prlhf.data import Log, Split, load_comparisons, subsample
from prlhf.errors import CheckpointError
from prlhf.lm import Encoded
from prlhf.lm.loading import load_tokenizer, refuse, resolve
from prlhf.lm.lora import add_lora, lora_config
from prlhf.lm.placement import check_quantization, first_line
from prlhf.lm.template import Template
from prlhf.objectives import make_objective
from prlhf.training.memory import Memory, estimate_memory
from prlhf.training.new_model import new_model
from prlhf.training.run import settled
from prlhf.training.sides import check_batch, check_log, distinct, sides_of, trained_on
from prlhf.training.train import train
from prlhf.types import Feedback
from prlhf.users import UserModel, new_user_model, oversize

__all__ = ["DryRun", "Parameters", "dry_run"]

logger = logging.getLogger(__name__)
_SAMPLE = 2000
"""Comparisons whose tokens are counted."""
_TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_REHEARSED = 16
"""Comparisons of the rehearsal, on either side."""


@dataclass(frozen=True)
class Parameters:
    """Counts of parameters: of the base, of what is trained in it (the paper's N_l), of the user model (N_u)."""

    base: int
    trained: int
    users: int


@dataclass(frozen=True)
class DryRun:
    """What `dry_run` found; `parameters` and `memory` are None where the base model's config cannot be read here."""

    log: Log
    sides: Split
    users: int
    steps: int
    longest: int
    """Tokens of the longest comparison, prompt and both responses, of a sample of the training side."""
    parameters: Parameters | None
    memory: Memory | None
    loss: float
    """Of the first of two steps on a tiny model."""
    rehearsed_on: str
    remarks: tuple[str, ...]


def dry_run(config: RunConfig, *, log: Log | None = None) -> DryRun:
    """Resolve everything that a run needs, count it, and take two steps on a tiny model of the same architecture.

    No weight of the base model is read: its parameters are counted from its config alone.

    Raises:
        ConfigError, DataError, CheckpointError, UnsupportedModelError: what would stop the run.
    """
    config = settled(config)
    make_objective(config.objective)
    log = log if log is not None else load_comparisons(config.data)
    check_quantization(config.model)
    check_log(log, config)
    check_batch(config)
    sides = sides_of(log, config)
    training = trained_on(log, sides, config)
    users = len(distinct([c.user for c in training]))
    remarks: list[str] = []
    described, tokenizer = _described(config.model, remarks), _tokenizer(config.model, remarks)
    encoded = _encoded(training, config, tokenizer)
    parameters = memory = None
    if described is not None:
        model, user_model = _skeleton(described, config, users)
        parameters = _count(model, user_model)
        memory = _memory(model, user_model, encoded, config)
        remark = oversize(config.user_model, users + 1, user_model.width, trained=parameters.trained)
        remarks += [] if remark is None else [remark]
        if config.model.quantization != "none":
            remarks.append("memory is counted without quantization: the base's matrices take less")
    with tempfile.TemporaryDirectory() as place:
        small = _small(config, described, tokenizer, Path(place) / "tiny", remarks)
        loss = _rehearse(small, log, Path(place) / "run")
    return DryRun(
        log=log,
        sides=sides,
        users=users,
        steps=_steps(len(training), config),
        longest=max((c.length for c in encoded), default=0),
        parameters=parameters,
        memory=memory,
        loss=loss,
        rehearsed_on="planted" if described is None else described.model_type,
        remarks=tuple(remarks),
    )


def _steps(comparisons: int, config: RunConfig) -> int:
    t = config.training
    whole, rest = divmod(comparisons, t.batch_size * t.gradient_accumulation_steps)
    each = whole + (rest > config.objective.learns_thumbs)  # a last batch of one thumb is left out
    return t.max_steps if t.max_steps > 0 else math.ceil(each * t.epochs)


def _described(config: ModelConfig, remarks: list[str]) -> Any | None:
    """The config of the base model; None, with a remark, where it is on the hub and that cannot be reached."""
    source = resolve(config.base)
    try:
        described = AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as e:
        if Path(source).is_dir():
            raise CheckpointError(f"model.base: cannot load {config.base!r}: {first_line(e)}") from e
        remarks.append(
            f"{config.base} is not here and its config cannot be fetched, so its parameters and memory are not known"
        )
        return None
    refuse(described)
    return described


def _tokenizer(config: ModelConfig, remarks: list[str]) -> Any:
    """The base model's tokenizer, else the bundled model's."""
    try:
        return load_tokenizer(config)
    except CheckpointError:
        remarks.append(f"the tokenizer of {config.base} is not here; tokens are counted with that of the bundled model")
        return load_tokenizer(ModelConfig())


def _encoded(training: Sequence[Feedback], config: RunConfig, tokenizer: Any) -> list[Encoded]:
    """Some of the training side as token ids."""
    template = Template(tokenizer, config.model, user_tokens=config.user_model.tokens)
    return [template.comparison(training[i]) for i in subsample(range(len(training)), _SAMPLE, config.seed)]


def _skeleton(described: Any, config: RunConfig, users: int) -> tuple[nn.Module, UserModel]:
    """The language model with its LoRA and the user model, without values: nothing is allocated."""
    dtype = described.dtype if config.model.dtype == "auto" else getattr(torch, config.model.dtype)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(described, dtype=dtype or torch.float32)
        tuning = config.model.tuning
        model = add_lora(model, lora_config(tuning)) if tuning.type == "lora" else model
        return model, new_user_model(config.user_model, users + 1, described.get_text_config().hidden_size)


def _count(model: nn.Module, user_model: UserModel) -> Parameters:
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    base = sum(p.numel() for name, p in model.named_parameters() if "lora_" not in name)
    return Parameters(base, trained, sum(p.numel() for p in user_model.parameters()))


def _memory(model: nn.Module, user_model: UserModel, encoded: Sequence[Encoded], config: RunConfig) -> Memory:
    """Of a batch of the longest comparisons, packed."""
    t, branches = config.training, 1 if config.alpha in (0, 1) else 2
    longest = max(encoded, key=lambda c: c.length)
    responses = branches * (len(longest.chosen) + len(longest.rejected))
    heads = branches * (config.user_model.tokens + len(longest.prompt) - longest.cut)
    return estimate_memory(
        model,
        user_model,
        tokens=t.batch_size * (longest.cut + heads + responses),
        responses=t.batch_size * responses,
        checkpointing=t.gradient_checkpointing,
        bf16=t.bf16,
    )


def _small(config: RunConfig, described: Any | None, tokenizer: Any, folder: Path, remarks: list[str]) -> RunConfig:
    """The configuration of the rehearsal: a tiny model of the base's architecture, two steps, a few comparisons."""
    model: dict[str, Any] = {
        "adapter": None, "dtype": "float32", "base": "planted", "quantization": "none", "device_map": None,
    }  # fmt: skip
    if described is not None:
        blank = type(described)()  # `described` may carry names that its architecture does not know
        sizes = {name: size for name, size in _TINY.items() if hasattr(blank, name)}
        tiny = new_model(NewModel(architecture=described.model_type, options=sizes), tokenizer)
        tiny.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        model["base"] = str(folder)
    elif config.model.tuning.type == "lora" and config.model.tuning.target_modules != "all-linear":
        remarks.append("the two steps were taken with target_modules = all-linear, since the base is not here")
        model["tuning"] = config.model.tuning.model_copy(update={"target_modules": "all-linear"})
    t = config.training
    training = {
        "max_steps": 2, "batch_size": min(t.batch_size * t.gradient_accumulation_steps, 4),
        "gradient_accumulation_steps": 1, "bf16": False, "compile": "off",
        "eval_steps": 0.0, "save_steps": 0.0, "test_comparisons": _REHEARSED, "report_to": [], "device": "cpu",
    }  # fmt: skip
    return config.model_copy(
        update={
            "model": config.model.model_copy(update=model),
            "training": t.model_copy(update=training),
            "data": config.data.model_copy(update={"max_comparisons": _REHEARSED}),
        }
    )


def _rehearse(config: RunConfig, log: Log, folder: Path) -> float:
    """The loss of the first of two steps."""
    quiet, level = logging.getLogger("prlhf"), logging.getLogger("prlhf").level
    quiet.setLevel(logging.ERROR)  # what there is to say of a tiny model on a few rows concerns nobody
    try:
        train(config, folder, log=log, cache=folder.parent / "cache")
    finally:
        quiet.setLevel(level)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf8").splitlines()]
    return float(next(line["loss"] for line in lines if "loss" in line))
