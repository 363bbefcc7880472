"""The study's two runs: trained, resumed after a kill, or used again when they are complete."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from prlhf.config import RunConfig
from prlhf.data import Log
from prlhf.errors import ConfigError
from prlhf.lm import PersonalizedLM, is_checkpoint
from prlhf.training.run import CONFIG, differences
from prlhf.training.train import train

__all__ = ["StudyRun", "check_output"]

WRITTEN = ("report.html", "findings.json")
"""What the study itself leaves in its folder, written anew each time."""


@dataclass(frozen=True)
class StudyRun:
    """A run folder inside the study's and what is, or will be, in it."""

    folder: Path
    config: RunConfig

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to train."""
        return is_checkpoint(self.folder / "model")

    @property
    def started(self) -> bool:
        """Whether an earlier call began it."""
        return (self.folder / CONFIG).is_file()

    @property
    def state(self) -> str:
        """Words for the console: what an earlier call left."""
        return " (done before)" if self.complete else " (goes on)" if self.started else ""

    def check(self) -> None:
        """Refuse a folder that this run cannot go on from."""
        if not self.started:
            if self.folder.exists() and (not self.folder.is_dir() or any(map(_counts, self.folder.iterdir()))):
                raise ConfigError(f"{self.folder} is no run of this study (no {CONFIG}); choose another --output")
            return
        held = RunConfig.model_validate_json((self.folder / CONFIG).read_text(encoding="utf8"))
        if held != self.config:
            raise ConfigError(
                f"{self.folder} holds a run of another configuration ({differences(held, self.config)[0]}); repeat the "
                "options that it was made with, choose another --output, or delete it"
            )

    def result(self, log: Log) -> PersonalizedLM:
        """The trained model."""
        if self.complete:
            lm = PersonalizedLM.from_pretrained(self.folder)
            return lm.on("cuda") if torch.cuda.is_available() and self.config.training.device == "auto" else lm
        return train(self.config, self.folder, log=log, resume=self.started).lm


def check_output(output: Path, runs: Iterable[StudyRun]) -> None:
    """Refuse, before anything is trained, a folder with something that the study did not write.

    Raises:
        ConfigError: names it, and what to do.
    """
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is a file; --output takes a folder")
    runs = list(runs)
    ours = {run.folder.name for run in runs} | set(WRITTEN)
    others = sorted(p.name for p in output.iterdir() if _counts(p) and p.name not in ours) if output.exists() else []
    if others:
        raise ConfigError(f"{output} holds {others[0]!r}, which is not of this study; choose another --output")
    for run in runs:
        run.check()


def _counts(path: Path) -> bool:
    """Not one of the hidden files that a kill or an operating system leaves."""
    return not path.name.startswith(".")
