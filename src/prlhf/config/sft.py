"""Options of `prlhf sft`."""

from typing import Any, Literal

from pydantic import Field

from prlhf.config.base import Config
from prlhf.config.data import DataConfig

__all__ = ["NewModel", "SftConfig"]


class NewModel(Config):
    """A small model from a config, with a tokenizer trained on the texts."""

    architecture: str = "llama"
    """A `model_type` of transformers: llama, qwen3, gpt2, gemma3_text, …"""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keys of that architecture's config class (`hidden_size`, `num_hidden_layers`, …)."""
    vocab_size: int = Field(2048, ge=256)
    tokenizer: Literal["bpe", "word"] = "bpe"


class SftConfig(Config):
    """Supervised fine-tuning of a model, or of a new small one, on chosen responses or prompt/completion rows."""

    seed: int = 0
    data: DataConfig = DataConfig()
    base: str | None = None
    """A model to start from; without it `new` is made."""
    new: NewModel = NewModel()
    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(1e-3, ge=0)
    warmup_steps: float = Field(0.05, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    max_tokens: int = Field(1024, ge=8)
