"""Options of `prlhf sft`."""

from typing import Any, Literal

from pydantic import Field

from prlhf.config.base import Config
from prlhf.config.data import DataConfig
from prlhf.config.training import Scheduler

__all__ = ["NewModel", "Responses", "SftConfig"]

Responses = Literal["chosen", "all"]


class NewModel(Config):
    """A small model from a config, with a tokenizer trained on the texts."""

    architecture: str = "llama"
    """A `model_type` of transformers: llama, qwen3, gpt2, gemma3_text, …"""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keys of that architecture's config class. What is not given is small, about two million parameters with
    the vocabulary: `hidden_size` 192, `intermediate_size` 512, `num_hidden_layers` 4, `num_attention_heads` 4 (as
    many for keys and values, and `head_dim` from the width), `max_position_embeddings` 1024, tied embeddings."""
    vocab_size: int = Field(2048, ge=300)
    """At most so many tokens, the four special ones and (`bpe`) the 256 bytes among them."""
    tokenizer: Literal["bpe", "word"] = "bpe"
    """`bpe`: byte-level, every text can be written; `word`: whole words, those not among the texts are `<unk>`."""


class SftConfig(Config):
    """Supervised fine-tuning of a model, or of a new small one, on chosen responses or prompt/completion rows."""

    seed: int = 0
    """Of everything that is drawn."""
    data: DataConfig = DataConfig()
    """A preference log (`responses` says what of it is learned), a file with the columns `prompt` and
    `completion`, or `planted` (options `rows`, `seed`, `profiles`: texts of the planted world, no votes)."""
    responses: Responses = "chosen"
    """Of a preference log. `chosen`: chosen (or liked) responses of its training side; `all`: every response of the log
    once, chosen or rejected, so that no vote can be learned whatever the later split of the votes is."""
    base: str | None = None
    """A model to start from; without it `new` is made."""
    new: NewModel = NewModel()
    epochs: float = Field(1.0, gt=0)
    """Passes over the training side."""
    max_steps: int = -1
    """Stop after so many steps; -1 = when the epochs are over."""
    batch_size: int = Field(32, ge=1)
    """Texts in one forward pass."""
    gradient_accumulation_steps: int = Field(1, ge=1)
    """Forward passes before each step."""
    learning_rate: float = Field(1e-3, ge=0)
    """The highest one, after the warm-up."""
    lr_scheduler_type: Scheduler = "cosine"
    """A scheduler of transformers."""
    warmup_steps: float = Field(0.05, ge=0)
    """A number of steps, or below 1 a share of them."""
    weight_decay: float = Field(0.01, ge=0)
    """Of AdamW."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Norm to which the gradient is clipped; 0 = not at all."""
    max_tokens: int = Field(1024, ge=8)
    """Of prompt and completion together; a longer prompt loses tokens at its left, the completion is kept."""
    report_to: list[str] = Field(default_factory=list)
    """Trackers of transformers, as `tensorboard`."""
    device: Literal["auto", "cpu"] = "auto"
    """`auto`: a GPU where there is one."""
