"""Progress of the steps of a training run: a bar with the loss, or a log line a minute without a terminal."""

from __future__ import annotations

import logging
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from prlhf.training.progress import Watch

__all__ = ["StepProgress"]

logger = logging.getLogger(__name__)


class StepProgress(TrainerCallback):
    """A bar over the steps with the loss beside it, and a log line at every evaluation.

    Args:
        losses: a log line with the loss too, where no evaluation tells how training goes.
    """

    def __init__(self, losses: bool = False) -> None:
        self.losses = losses
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(
            *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
        )
        self.task = self.progress.add_task("training", total=None)
        self.watch: Watch | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the bar, from the step that a resumed run goes on from."""
        if state.is_world_process_zero:
            self.progress.update(self.task, total=state.max_steps, completed=state.global_step)
            self.progress.start()
            self.watch = None if self.progress.console.is_terminal else Watch(state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """One step further."""
        self.progress.update(self.task, completed=state.global_step)
        if self.watch is not None:
            self.watch.tell("training", state.global_step, state.max_steps, " steps")

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """The loss goes beside the bar, an evaluation into the log."""
        logs = logs or {}
        if "loss" in logs:
            self.progress.update(self.task, description=f"training, loss {logs['loss']:.3f}")
            if self.losses and state.is_world_process_zero:
                logger.info("step %d of %d: loss %.3f", state.global_step, state.max_steps, logs["loss"])
        names = [k for k in logs if k.startswith("eval_accuracy_") and not k.endswith("_se")]
        accuracies = {k.removeprefix("eval_accuracy_").replace("group_", "group ", 1): logs[k] for k in names}
        if accuracies and state.is_world_process_zero:
            words = ", ".join(f"{name} {value:.3f}" for name, value in accuracies.items())
            logger.info("step %d of %d: accuracy %s", state.global_step, state.max_steps, words)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the bar away."""
        self.progress.stop()
