"""The arguments of `transformers.Trainer` that preference training and supervised fine-tuning have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from prlhf.config import SftConfig
from prlhf.config.training import TrainingConfig
from prlhf.training.devices import on_cpu

__all__ = ["training_arguments"]


def training_arguments(
    options: TrainingConfig | SftConfig, output: str | Path, seed: int, **more: Any
) -> TrainingArguments:
    """`options`, whose names are those of transformers or close to them, and `more`, which is one command's own."""
    return TrainingArguments(
        output_dir=str(output),
        seed=seed,
        num_train_epochs=options.epochs,
        max_steps=options.max_steps,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.lr_scheduler_type,
        warmup_steps=options.warmup_steps,
        weight_decay=options.weight_decay,
        report_to=options.report_to or "none",
        use_cpu=on_cpu(options.device),
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        **more,
    )
