"""The first file of a reward model's folder, `config.json`: of which kind it is, and with which options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prlhf.config.rewards.base import FORMAT, FORMAT_VERSION
from prlhf.errors import CheckpointError
from prlhf.lm.folders import read_object

__all__ = ["is_reward_model", "read_described", "write_described"]

_NAME = "config.json"


def is_reward_model(folder: str | Path) -> bool:
    """Whether a `save` of some version wrote this folder."""
    return read_object(Path(folder) / _NAME).get("format") == FORMAT


def read_described(folder: str | Path, kind: str | None = None) -> dict[str, Any]:
    """What `write_described` wrote.

    Args:
        kind: the `type` that is expected; any by default.

    Raises:
        CheckpointError: no such folder, or another format or `kind`.
    """
    if not is_reward_model(folder):
        raise CheckpointError(f"{folder}: no reward model; expected a folder of `prlhf reward train`")
    described = read_object(Path(folder) / _NAME)
    found, config = described.get("format_version"), described.get("config")
    if found != FORMAT_VERSION:
        raise CheckpointError(f"{folder}: found version {found} of the format, this prlhf reads {FORMAT_VERSION}")
    if not isinstance(config, dict) or not isinstance(config.get("type"), str):
        raise CheckpointError(f"{Path(folder) / _NAME} does not say which reward model this is")
    if kind not in (None, config["type"]):
        raise CheckpointError(f"{folder}: found a reward model of type {config['type']}, expected {kind}")
    return described


def write_described(folder: Path, config: Mapping[str, Any], **more: Any) -> None:
    """Write the options of a model, which have its `type`, and what else it keeps as text."""
    described = {"format": FORMAT, "format_version": FORMAT_VERSION, "config": config, **more}
    (folder / _NAME).write_text(json.dumps(described, indent=2) + "\n", encoding="utf8")
