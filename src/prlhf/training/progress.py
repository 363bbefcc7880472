"""Progress of passes over data and of the steps of a training run: bars, or a log line a minute without a terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

__all__ = ["StepProgress", "bar"]

MINUTE = 60.0
"""Seconds between two lines."""
logger = logging.getLogger(__name__)


def bar(items: Iterable[int], what: str) -> Iterable[int]:
    """A progress bar over a pass, on standard error."""
    console = Console(stderr=True)
    short = isinstance(items, Sequence) and len(items) < 10
    if not console.is_terminal and isinstance(items, Sequence):
        return _told(items, what)
    return track(items, description=what, console=console, transient=True, disable=short or not console.is_terminal)


def _told(items: Sequence[int], what: str) -> Iterator[int]:
    watch = _Watch()
    for done, item in enumerate(items):
        watch.tell(what, done, len(items))
        yield item


class _Watch:
    """A line once a minute: how far it is, and how long it will take."""

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.begin = self.last = time.monotonic()

    def tell(self, what: str, done: int, of: int, more: str = "") -> None:
        """Log it, where it is time."""
        now = time.monotonic()
        if now - self.last < MINUTE or done <= self.first:
            return
        self.last = now
        left = timedelta(seconds=round((of - done) * (now - self.begin) / (done - self.first)))
        logger.info("%s: %d of %d%s, about %s left", what, done, of, more, left)


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
        self.watch: _Watch | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the bar, from the step that a resumed run goes on from."""
        if state.is_world_process_zero:
            self.progress.update(self.task, total=state.max_steps, completed=state.global_step)
            self.progress.start()
            self.watch = None if self.progress.console.is_terminal else _Watch(state.global_step)

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
