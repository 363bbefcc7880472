"""The README of a model that `prlhf sft` wrote: what it is and how to make it again."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prlhf.config import SftConfig

__all__ = ["write_card"]


def write_card(folder: Path, model: Any, tokenizer: Any, config: SftConfig, numbers: dict[str, float]) -> None:
    """Write `README.md` and the resolved options `sft_config.json` into `folder`."""
    (folder / "sft_config.json").write_text(config.model_dump_json(indent=2) + "\n", encoding="utf8")
    start = f"a fine-tuned `{config.base}`" if config.base else f"a new `{config.new.architecture}` model"
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "tokenizers"))
    source, rows, steps = config.data.source, numbers["rows"], numbers["steps"]
    lines = [
        "---",
        "library_name: transformers",
        *([f"base_model: {json.dumps(config.base)}"] if config.base else []),  # no licence: it is the owner's to name
        "---",
        "",
        f"Made by `prlhf sft`: {start} with {model.num_parameters():,} parameters and {len(tokenizer):,} tokens,",
        f"supervised fine-tuning on `{source}` ({rows:,} rows, {steps:,} steps, last loss {numbers['loss']:.4f} per",
        "completion token). A prompt is written as plain text before the completion unless the tokenizer has a chat",
        "template; a user's text goes before the prompt with a blank line between.",
        "",
        f"`sft_config.json` holds every option. Versions: {packages}.",
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf8")
