"""How long, how fast, how often."""

from typing import Literal

from pydantic import Field, field_validator

from prlhf.config.base import Config

__all__ = ["Scheduler", "TrainingConfig"]

Scheduler = Literal[
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
]
"""Schedulers of transformers that need no arguments of their own."""


class TrainingConfig(Config):
    """Options of the trainer; names follow `transformers.TrainingArguments` where it has them."""

    epochs: float = Field(1.0, gt=0)
    """Passes over the training side."""
    max_steps: int = -1
    """Stop after so many steps; -1 = when the epochs are over."""
    batch_size: int = Field(32, ge=1)
    """Comparisons of a batch, in one process."""
    gradient_accumulation_steps: int = Field(1, ge=1)
    """Batches before each step."""
    tokens_at_once: int | None = Field(None, ge=1)
    """Tokens of a forward and backward pass at most, padding included: a batch that has more is gone through in parts,
    with the same gradient in less memory. By default 4096 on a CPU, and the whole batch on a GPU."""
    learning_rate: float = Field(5e-5, ge=0)
    """Of the language model."""
    user_learning_rate: float | None = Field(None, ge=0)
    """Of each user's own row: how far a row moves when it is in a batch. By default 0.4 times the size of a row's
    entries, since row gradients are brought to size 1: 1 for the logits of `cluster`, else the root mean square of the
    model's token embeddings."""
    shared_learning_rate: float | None = Field(None, ge=0)
    """Of what users share (common part, centres, directions); by default ten times `learning_rate`."""
    user_l2: float = Field(0.0, ge=0)
    """Strength of the prior `user_l2/2 * |state - generic|^2` per user, whose distance is that from the generic user's
    state; a user with n comparisons pays 1/n of it at each."""
    weight_decay: float = Field(0.0, ge=0)
    """Of the language model; users have `user_l2`."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Norm to which the gradient of the dense parameters is clipped; 0 = not at all."""
    warmup_steps: float = Field(0.05, ge=0)
    """A number of steps, or below 1 a share of them."""
    lr_scheduler_type: Scheduler = "cosine"
    """A scheduler of transformers."""
    half_life_days: float | None = Field(None, gt=0)
    """Comparisons this much older than the newest one weigh half."""
    branches: Literal["both", "sampled"] = "both"
    """`sampled`: each comparison is looked at as its user's (probability alpha) or as the generic user's, not as both:
    the same loss on average, for about half the token-passes of a step and with more noise."""
    layout: Literal["auto", "packed", "plain"] = "auto"
    """`packed`: branches and responses share one encoding of their prompt; `auto` checks numerically that it may."""
    gradient_checkpointing: bool = False
    """Less memory, more time."""
    compile: Literal["off", "inductor", "aot_eager", "eager"] = "off"
    """Backend of `torch.compile` for the model's layers in training steps; `inductor` is the fast one."""
    bf16: bool = False
    """Compute in bfloat16 (autocast)."""
    eval_steps: float = Field(0.25, ge=0)
    """Every so many steps, or below 1 a share of them; 0 = only at the end."""
    eval_comparisons: int = Field(1000, ge=1)
    """At most so many comparisons in an evaluation while training."""
    test_comparisons: int | None = Field(None, ge=1)
    """At most so many comparisons in the evaluation at the end; by default the whole test side."""
    save_steps: float = Field(0.1, ge=0)
    """Every so many steps, or below 1 a share of them; 0 = only at the end. What a kill loses is bounded by it."""
    save_total_limit: int = Field(2, ge=2)
    """Checkpoints to keep."""
    report_to: list[str] = Field(default_factory=list)
    """Trackers of transformers, as `tensorboard`; the run folder has all metrics anyway."""
    device: Literal["auto", "cpu"] = "auto"
    """`auto`: a GPU where there is one."""

    @field_validator("eval_steps", "save_steps", "warmup_steps")
    @classmethod
    def _whole_steps(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("a number of steps is whole; below 1 it is a share of them")
        return value

    @field_validator("max_steps")
    @classmethod
    def _some_steps(cls, value: int) -> int:
        if value == 0 or value < -1:
            raise ValueError("at least one step, or -1 for as many as `epochs` says")
        return value
