"""The base language model and how it is tuned."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from prlhf.config.base import Config
from prlhf.words import did_you_mean

__all__ = ["Full", "Lora", "ModelConfig", "Placement", "TuningConfig"]

Placement = Literal["start", "after_system", "before_response"]
_ONE_DEVICE = "; a single one is chosen by training.device and CUDA_VISIBLE_DEVICES"


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
    peft: dict[str, Any] = Field(default_factory=dict)
    """Further options of PEFT's `LoraConfig`, as `{use_dora = true}`; docs/training.md says which."""


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
    quantization: Literal["none", "8bit", "4bit"] = "none"
    """Of the base model under a LoRA, by bitsandbytes: how many bits a weight has; `4bit` is NF4."""
    device_map: str | dict[str, int | str] | None = None
    """Over several GPUs, as in transformers: `auto`, `balanced`, `balanced_low_0`, `sequential`; or a table from
    modules to devices."""
    attention: Literal["auto", "paths", "sdpa", "eager", "flash_attention_2"] = "auto"
    """The implementation in transformers, and `paths`: ours for packed rows, else `sdpa`. `auto`: `paths` for long rows
    on a CPU, `sdpa` elsewhere, or what the model has instead of it."""
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

    @field_validator("quantization")
    @classmethod
    def _quantised_is_frozen(cls, value: str, info: ValidationInfo) -> str:
        tuning, adapter = info.data.get("tuning"), info.data.get("adapter")
        if value != "none" and tuning is not None and tuning.type == "full":
            raise ValueError("quantised weights cannot be trained; take model.tuning.type=lora or no quantization")
        if value != "none" and adapter is not None:
            raise ValueError(
                "an adapter cannot be merged into quantised weights without rounding it too; merge it into the base "
                "first (merge_and_unload of PEFT), save that, and give it as model.base"
            )
        return value

    @field_validator("device_map")
    @classmethod
    def _several_devices(cls, value: str | dict[str, int | str] | None) -> str | dict[str, int | str] | None:
        known = ("auto", "balanced", "balanced_low_0", "sequential")
        if isinstance(value, str) and value not in known:
            hint = did_you_mean(value, known) or _ONE_DEVICE
            raise ValueError(f"expected {', '.join(known)} or a table from modules to devices{hint}")
        if isinstance(value, dict) and len(set(value.values())) < 2:
            raise ValueError(f"expected more than one device in the table{_ONE_DEVICE}")
        return value
