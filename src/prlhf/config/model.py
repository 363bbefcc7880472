"""The base language model and how it is tuned."""

from typing import Annotated, Literal

from pydantic import Field

from prlhf.config.base import Config

__all__ = ["Full", "Lora", "ModelConfig", "Placement", "TuningConfig"]

Placement = Literal["start", "after_system", "before_response"]


class Lora(Config):
    """LoRA adapters through PEFT."""

    type: Literal["lora"] = "lora"
    r: int = Field(8, ge=1)
    """Rank of the adapters."""
    alpha: int = Field(16, ge=1)
    """Their scale is `alpha / r`."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """On the input of the adapters."""
    target_modules: str | list[str] = "all-linear"
    """As in PEFT: names of modules, or `all-linear`."""


class Full(Config):
    """Every weight of the base model is trained."""

    type: Literal["full"] = "full"


TuningConfig = Annotated[Lora | Full, Field(discriminator="type")]


class ModelConfig(Config):
    """Which model, and how a comparison is written for it."""

    base: str = "planted"
    """A folder, a Hugging Face model id, or `planted`: the small model inside the package."""
    adapter: str | None = None
    """A PEFT adapter that belongs to the base (an SFT run); the reference is base + adapter."""
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    """Of the weights; `auto`: as they are stored."""
    tuning: TuningConfig = Lora()
    """What of the model is trained: LoRA adapters, or every weight (`full`)."""
    user_tokens_at: Placement = "start"
    """Where the user tokens stand: `start` (after BOS, the paper's), `after_system`, `before_response`."""
    max_prompt_tokens: int = Field(512, ge=1)
    """Longer prompts lose tokens at their left; user text and response are kept."""
    max_response_tokens: int = Field(512, ge=1)
    """Longer responses are cut at their right (and then carry no end-of-sequence token)."""
    chat_template: Literal["auto", "never"] = "auto"
    """`auto`: the tokenizer's chat template where it has one; `never`: plain text."""
    reference_user_text: bool = True
    """The reference sees the user text: h starts at 0 without user tokens. False: the paper's formula, without it."""
