"""The run folder: everything that a result needs to be understood and repeated.

    config.json      the resolved configuration        metrics.jsonl     what was logged, step by step
    data.json        source, fingerprint, notes        evaluation.json   metrics on the test side
    split.json       comparison ids of every side      scores.parquet, per_user.parquet
    versions.json    of the libraries                  model/            the checkpoint to use
    checkpoints/     training state to resume from     plots/
"""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prlhf.config import RunConfig
from prlhf.data import Log, Split
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.lm import is_checkpoint
from prlhf.training.callbacks import last_checkpoint

__all__ = ["Run"]

LIBRARIES = ("prlhf", "torch", "transformers", "peft", "accelerate", "datasets", "safetensors", "numpy")


class Run:
    """One run's folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.model = folder / "model"
        self.metrics = folder / "metrics.jsonl"

    def open(self, config: RunConfig, *, resume: bool) -> None:
        """Make the folder, or with `resume` check that it holds this very configuration."""
        held = self.folder / "config.json"
        if resume:
            if not held.exists():
                raise CheckpointError(f"nothing to resume in {self.folder} (no config.json)")
            if RunConfig.model_validate_json(held.read_text(encoding="utf8")) != config:
                raise ConfigError(f"{held} differs from the options given; resume with the same ones, or leave them out")
            if is_checkpoint(self.model):
                raise ConfigError(f"{self.folder} is complete; there is nothing to resume")
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ConfigError(f"{self.folder} is not empty; choose another output folder, or resume it")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_json("config.json", config.model_dump(mode="json"))
        self.write_json("versions.json", {"python": platform.python_version(), **{x: version(x) for x in LIBRARIES}})

    @property
    def resumed_step(self) -> int:
        """The step that a resumed run goes on from; 0 at the start."""
        last = last_checkpoint(self.checkpoints)
        return 0 if last is None else int(last.name.rsplit("-", 1)[1])

    def fix_split(self, log: Log, sides: Split) -> Split:
        """Save data fingerprint and split on the first call; on resume check that the data are the same."""
        about = self.folder / "data.json"
        if about.exists():
            known = json.loads(about.read_text(encoding="utf8"))["fingerprint"]
            if known != log.fingerprint:
                raise DataError(f"{log.source} has changed since {self.folder} was started (another fingerprint)")
        else:
            sides.save(self.folder / "split.json", log)
            held = {"source": log.source, "fingerprint": log.fingerprint, "attribution": log.attribution}
            self.write_json("data.json", {**held, "notes": str(log.notes), "overlap": sides.overlap(log)})
        return sides

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file aside, then rename it."""
        path = self.folder / name
        aside = path.with_name(f".{name}.writing")
        aside.write_text(json.dumps(value, indent=2, ensure_ascii=False, default=str), encoding="utf8")
        os.replace(aside, path)
