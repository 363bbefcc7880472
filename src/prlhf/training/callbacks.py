"""What happens beside the steps: metrics to a JSONL file, a completeness marker on every checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from prlhf.lm.folders import write_text

__all__ = ["COMPLETE", "MarkComplete", "MetricsFile", "last_checkpoint"]

COMPLETE = "COMPLETE"


class MarkComplete(TrainerCallback):
    """Writes a marker into a checkpoint after everything else; a checkpoint without it does not exist."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called when all files of the checkpoint have been written."""
        PartialState().wait_for_everyone()  # each process has its own random state in the checkpoint
        if state.is_world_process_zero and args.output_dir:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


class MetricsFile(TrainerCallback):
    """Appends every log entry to a JSONL file; entries after the step that a run resumes from are dropped first."""

    def __init__(self, path: Path, resumed_step: int):
        self.path = path
        if path.exists() and PartialState().is_main_process:
            write_text(path, "".join(line + "\n" for line in _until(path, resumed_step)))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """One line: step, epoch and what was logged."""
        if state.is_world_process_zero and logs:
            entry = {"step": state.global_step, "epoch": state.epoch, **logs}
            with self.path.open("a", encoding="utf8") as f:
                f.write(json.dumps(entry, default=float) + "\n")


def _until(path: Path, step: int) -> list[str]:
    """The lines of a metrics file up to a step; one that a kill cut short is left out, with what follows."""
    kept = []
    for line in path.read_text(encoding="utf8").splitlines():
        try:
            kept += [line] if json.loads(line)["step"] <= step else []
        except ValueError:
            break
    return kept


def last_checkpoint(folder: Path) -> Path | None:
    """The latest finished training checkpoint in `folder`."""
    done = [p for p in folder.glob("checkpoint-*") if (p / COMPLETE).is_file()]
    return max(done, key=lambda p: int(p.name.rsplit("-", 1)[1]), default=None)
