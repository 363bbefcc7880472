"""What a run would be, without training it: its data, steps, parameters and memory, and two steps on a tiny model."""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from prlhf.config import ModelConfig, RunConfig
from prlhf.config.sft import NewModel
from prlhf.data import Log, Split, load_comparisons, subsample
from prlhf.data.items import Picked, facts_of
from prlhf.data.mismatched import mismatched
from prlhf.errors import CheckpointError
from prlhf.lm import Encoded, PersonalizedLM, choose_layout
from prlhf.lm.loading import context_length, load_tokenizer
from prlhf.lm.logprobs import Layout, tokens_at_once
from prlhf.lm.placement import check_quantization
from prlhf.lm.reference import REFERENCE_BATCH
from prlhf.lm.scoring import SCORING_BATCH
from prlhf.lm.template import Template
from prlhf.lm.tokens import cuts
from prlhf.objectives import make_objective
from prlhf.training.branches import Branches
from prlhf.training.devices import on_cpu
from prlhf.training.memory import Memory, Pass, estimate_memory
from prlhf.training.new_model import new_model
from prlhf.training.parts import most_tokens
from prlhf.training.run import settled
from prlhf.training.sides import check_batch, check_log, sides_of, trained_on
from prlhf.training.skeleton import Parameters, Skeleton, described, skeleton
from prlhf.training.train import train
from prlhf.types import Feedback
from prlhf.users import oversize

__all__ = ["DryRun", "Tokens", "dry_run"]

logger = logging.getLogger(__name__)
_SAMPLE = 2000
"""Comparisons whose tokens are counted."""
_TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_ROOM = 1024
"""Positions of the tiny model at least."""
_REHEARSED = 16
"""Comparisons of the rehearsal, on either side."""


@dataclass(frozen=True)
class Tokens:
    """Tokens that go through the model, padding between comparisons aside; told from a sample."""

    epoch: int
    """In the steps of an epoch, forward and backward, in all branches."""
    mismatched: int
    """In the same epoch without a gradient: the responses that `kto` measures its z0 on."""
    reference: int
    """Before the first step, unless the cache has them."""

    @classmethod
    def of(cls, learned: int, *passes: Sequence[Pass]) -> Tokens:
        """From the passes of a sample of `learned` items."""
        sample = len(passes[0])
        return cls(*(round(learned * sum(one.tokens for one in part) / sample) for part in passes))


@dataclass(frozen=True)
class DryRun:
    """What `dry_run` found; what depends on the base model's config is None where there is none."""

    log: Log
    sides: Split
    learned: int
    """Comparisons, or thumbs, of an epoch."""
    users: int
    steps: int
    longest: int
    """Tokens of the longest one, prompt and responses, of a sample of the training side."""
    layout: Layout | None
    """What the tiny model takes for the longest of them: the architecture's, whatever the weights are."""
    tokens: Tokens | None
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
    users = len(training.facts.distinct)
    remarks: list[str] = []
    base, tokenizer = described(config.model, remarks), _tokenizer(config.model, remarks)
    found = None if base is None else skeleton(base, config, users)
    context = None if found is None else context_length(found.model)
    template = Template(tokenizer, config.model, context, config.user_model.tokens)
    encoded, strange = _encoded(training, template, config)
    with tempfile.TemporaryDirectory() as place, _quiet():
        small = _small(config, base, tokenizer, encoded, Path(place) / "tiny", remarks)
        tiny, loss = _rehearse(small, log, Path(place) / "run")
        layout = None if base is None else choose_layout(tiny, encoded, config.training.layout)
    remarks += [*_of_cuts(encoded, template), *([] if found is None else _of_memory(found, config, users))]
    return DryRun(
        log=log,
        sides=sides,
        learned=len(training),
        users=users,
        steps=_steps(len(training), config),
        longest=max(c.length for c in encoded),
        layout=layout,
        tokens=None if layout is None else Tokens.of(len(training), *_passes(encoded, strange, layout, config)),
        parameters=None if found is None else found.parameters,
        memory=None
        if found is None or layout is None
        else _memory(found, encoded, strange, layout, config, splits_head=tiny.splits_head),
        loss=loss,
        rehearsed_on="planted" if base is None else base.model_type,
        remarks=tuple(remarks),
    )


def _of_cuts(encoded: Sequence[Encoded], template: Template) -> list[str]:
    """Remarks about texts of a sample that are longer than what is looked at of them."""
    prompts, responses = sum(c.truncated for c in encoded), sum(c.responses_cut for c in encoded)
    return cuts((prompts, len(encoded)), (responses, sum(len(c.responses) for c in encoded)), template)


def _of_memory(found: Skeleton, config: RunConfig, users: int) -> list[str]:
    """Remarks about what takes much of it, or is not counted."""
    width, trained = found.user_model.width, found.parameters.trained
    large = oversize(config.user_model, users + 1, width, trained=trained)
    quantised = "memory is counted without quantization: the base's matrices take less"
    return [*([large] if large else []), *([quantised] if config.model.quantization != "none" else [])]


def _steps(comparisons: int, config: RunConfig) -> int:
    t = config.training
    whole, rest = divmod(comparisons, t.batch_size * t.gradient_accumulation_steps)
    each = whole + (rest > config.objective.learns_thumbs)  # a last batch of one thumb is left out
    return t.max_steps if t.max_steps > 0 else math.ceil(each * t.epochs)


def _tokenizer(config: ModelConfig, remarks: list[str]) -> Any:
    """The base model's tokenizer, else the bundled model's."""
    try:
        return load_tokenizer(config)
    except CheckpointError:
        remarks.append(
            f"the tokenizer of {config.base} is not here, so tokens are counted with that of the bundled model and are "
            "not this model's (nor is their memory); the folder may have the tokenizer's files too"
        )
        return load_tokenizer(ModelConfig())


def _encoded(
    training: Sequence[Feedback], template: Template, config: RunConfig
) -> tuple[list[Encoded], list[Encoded]]:
    """Some of the training side as token ids; and, of thumbs, the same with the responses they are mismatched with."""
    some = subsample(range(len(training)), _SAMPLE, config.seed)
    encoded = list(template.comparisons(Picked(training, some)))
    if not facts_of(training)["thumb"].any():
        return encoded, []
    others = mismatched(training, config.seed)
    theirs = template.comparisons(Picked(training, [others[i] for i in some]))
    return encoded, [template.answered(e, other.chosen) for e, other in zip(encoded, theirs, strict=True)]


def _passes(
    encoded: Sequence[Encoded], strange: Sequence[Encoded], layout: Layout, config: RunConfig
) -> tuple[list[Pass], list[Pass], list[Pass]]:
    """Of each of a sample: the pass of a step, of `kto` over its mismatched response, and of the reference."""
    bf16, tokens = config.training.bf16, config.user_model.tokens
    branches = Branches.of(config).looked_at
    one = partial(Pass.of, layout=layout, bf16=bf16, attention=config.model.attention, device=_device(config))
    policy = partial(one, branches=branches, user_tokens=tokens)
    reference = partial(one, branches=1, user_tokens=0)
    return [policy(c) for c in encoded], [policy(c) for c in strange], [reference(c) for c in (*encoded, *strange)]


def _memory(
    found: Skeleton,
    encoded: Sequence[Encoded],
    strange: Sequence[Encoded],
    layout: Layout,
    config: RunConfig,
    *,
    splits_head: bool,
) -> Memory:
    """With batches of the longest comparisons."""
    step, mismatches, reference = _passes(encoded, strange, layout, config)
    # an evaluation looks with the user's row, the generic one and another user's, and in the weights' own type
    device, size = _device(config), config.training.batch_size
    scored = partial(Pass.of, branches=3, layout=layout, attention=config.model.attention, device=device)
    scoring = [scored(c, user_tokens=config.user_model.tokens) for c in encoded]
    tokens = tokens_at_once(device)
    bounded = ((scoring, SCORING_BATCH), (reference, REFERENCE_BATCH))
    forward = [_bounded(_largest(passes), most, tokens) for passes, most in bounded]
    return estimate_memory(
        found.model,
        found.user_model,
        _bounded(_largest(step), size, most_tokens(config.training, device)),
        [*forward, _largest(mismatches).times(size)] if mismatches else forward,
        splits_head=splits_head,
        checkpointing=config.training.gradient_checkpointing,
    )


def _device(config: RunConfig) -> torch.device:
    return torch.device("cpu" if on_cpu(config.training.device) else "cuda")


def _largest(passes: Sequence[Pass]) -> Pass:
    return max(passes, key=lambda one: one.tokens)


def _bounded(one: Pass, most: int, tokens: int | None) -> Pass:
    """A batch of at most `most` items as large as this one, and of at most so many tokens."""
    return one.times(most if tokens is None else max(min(most, tokens // one.tokens), 1))


def _small(
    config: RunConfig, base: Any | None, tokenizer: Any, encoded: Sequence[Encoded], folder: Path, remarks: list[str]
) -> RunConfig:
    """The configuration of the rehearsal: a tiny model of the base's architecture, two steps, a few comparisons."""
    model: dict[str, Any] = {
        "adapter": None, "dtype": "float32", "base": "planted", "quantization": "none", "device_map": None,
    }  # fmt: skip
    if base is not None:
        tiny = new_model(NewModel(architecture=base.model_type, options=_sizes(base, encoded, config)), tokenizer)
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


def _sizes(base: Any, encoded: Sequence[Encoded], config: RunConfig) -> dict[str, Any]:
    """Options of a tiny model, with room for the longest of `encoded`, and with the base's own sliding window."""
    blank = type(base)()  # `base` may carry names that its architecture does not know
    positions = max(_ROOM, max(c.path for c in encoded) + config.user_model.tokens)
    sizes = {**_TINY, "max_position_embeddings": positions}
    window = getattr(base.get_text_config(), "sliding_window", None)
    if window is not None:
        sizes["sliding_window"] = window
    return {name: size for name, size in sizes.items() if hasattr(blank, name)}


def _rehearse(config: RunConfig, log: Log, folder: Path) -> tuple[PersonalizedLM, float]:
    """The tiny model after two steps, and the loss of the first."""
    lm = train(config, folder, log=log, cache=folder.parent / "cache").lm
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf8").splitlines()]
    return lm, float(next(line["loss"] for line in lines if "loss" in line))


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is logged: what there is to say of a tiny model on a few rows concerns nobody."""
    own, level = logging.getLogger("prlhf"), logging.getLogger("prlhf").level
    own.setLevel(logging.ERROR)
    try:
        yield
    finally:
        own.setLevel(level)
