"""Plain supervised fine-tuning: the loss is that of the completion only."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

from prlhf.config import ModelConfig, SftConfig
from prlhf.lm.folders import new_folder, refuse_existing
from prlhf.lm.loading import context_length, load_base, load_tokenizer
from prlhf.lm.template import Template
from prlhf.training.arguments import training_arguments
from prlhf.training.new_model import new_model
from prlhf.training.sft_card import write_card
from prlhf.training.sft_rows import SftRow, load_rows
from prlhf.training.step_progress import StepProgress
from prlhf.training.tokenizer import train_tokenizer
from prlhf.training.trackers import check_trackers

__all__ = ["Collator", "encode", "sft"]

logger = logging.getLogger(__name__)
IGNORED = -100  # a label that the loss of transformers leaves out


def sft(config: SftConfig, output: str | Path, progress: bool = True) -> Path:
    """Fine-tune a model, or make a small one, and write it to the folder `output`.

    The folder is complete (safetensors weights, tokenizer, README) or absent: it is written aside and renamed. Nothing
    is overwritten, since runs that started from a model are lost with it. Under `accelerate launch` all processes call
    this, with or without FSDP or DeepSpeed, and the first one writes the folder.

    Raises:
        CheckpointError: `output` exists.
        ConfigError, DataError: options or rows that do not fit.
    """
    output = Path(output)
    refuse_existing(output)  # before the training, not after it
    check_trackers(config.report_to, "report_to")
    rows = load_rows(config.data, config.responses, config.seed)
    set_seed(config.seed)
    model, tokenizer = _model_and_tokenizer(config, rows)
    if model.loss_type is None:  # GPT-2's class, whose name tells transformers nothing: it would warn and take this one
        model.loss_type = "ForCausalLM"
    examples = encode(rows, tokenizer, min(config.max_tokens, context_length(model) or config.max_tokens))
    _tell_tokens(examples)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=_arguments(config, scratch),
            train_dataset=examples,  # type: ignore[arg-type]  # any sequence works
            data_collator=Collator(tokenizer.pad_token_id or 0),
            callbacks=[StepProgress(losses=True)] if progress else [],
        )
        trainer.remove_callback(PrinterCallback)  # raw dictionaries
        result = trainer.train()
    history = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    numbers = {"rows": len(rows), "steps": result.global_step, "loss": history[-1] if history else result.training_loss}
    _save(trainer, tokenizer, config, numbers, output)
    return output


def encode(rows: Sequence[SftRow], tokenizer: Any, max_tokens: int) -> list[dict[str, list[int]]]:
    """Rows as `input_ids` and `labels`, tokenised as `prlhf train` does: prompt and completion apart, EOS at the end.

    Over `max_tokens` the prompt loses tokens at its left (a first BOS stays); a completion that alone is too long is
    cut at its right. How many were cut is logged.
    """
    template = Template(tokenizer, ModelConfig(max_prompt_tokens=max_tokens, max_response_tokens=max_tokens - 1))
    examples, cut = [], 0
    for row in rows:
        response = list(template.response(row.prompt, row.completion, row.user_text))
        rendered = template.prompt(row.prompt, row.user_text)
        prompt = list(rendered.ids)
        room = max_tokens - len(response)
        cut += rendered.truncated or len(prompt) > room or response[-1] != tokenizer.eos_token_id
        if len(prompt) > room:
            prompt = [prompt[0], *prompt[len(prompt) - room + 1 :]]
        examples.append({"input_ids": prompt + response, "labels": [IGNORED] * len(prompt) + response})
    if cut:
        logger.warning("%d of %d texts were cut to %d tokens (max_tokens)", cut, len(rows), max_tokens)
    return examples


def _tell_tokens(examples: Sequence[dict[str, list[int]]]) -> None:
    tokens = sum(len(e["input_ids"]) for e in examples)
    learned = sum(label != IGNORED for e in examples for label in e["labels"])
    logger.info("%s tokens, %s of them in completions, which are learned", f"{tokens:,}", f"{learned:,}")


class Collator:
    """Pads examples at the right to `input_ids`, `attention_mask`, `labels`, each `[b, s]`."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, examples: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(e["input_ids"]) for e in examples)

        def padded(lists: list[list[int]], fill: int) -> torch.Tensor:
            return torch.tensor([ids + [fill] * (longest - len(ids)) for ids in lists])

        return {
            "input_ids": padded([e["input_ids"] for e in examples], self.pad),
            "attention_mask": padded([[1] * len(e["input_ids"]) for e in examples], 0),
            "labels": padded([e["labels"] for e in examples], IGNORED),
        }


def _model_and_tokenizer(config: SftConfig, rows: Sequence[SftRow]) -> tuple[Any, Any]:
    if config.base is None:
        tokenizer = train_tokenizer((row.text for row in rows), config.new.vocab_size, config.new.tokenizer)
        return new_model(config.new, tokenizer), tokenizer
    base = ModelConfig(base=config.base, dtype="float32")
    return load_base(base), load_tokenizer(base)


def _arguments(config: SftConfig, scratch: str) -> TrainingArguments:
    return training_arguments(
        config,
        scratch,
        config.seed,
        max_grad_norm=config.max_grad_norm,
        train_sampling_strategy="group_by_length",
        save_strategy="no",
        logging_steps=0.1,
        disable_tqdm=True,  # StepProgress draws the bar
        log_level="warning",
    )


def _save(trainer: Trainer, tokenizer: Any, config: SftConfig, numbers: dict[str, float], output: Path) -> None:
    accelerator = trainer.accelerator
    weights = accelerator.get_state_dict(trainer.model_wrapped)  # of all processes, where they are spread over them
    model = accelerator.unwrap_model(trainer.model_wrapped)
    if accelerator.is_main_process:
        with new_folder(output) as aside:
            model.save_pretrained(aside, state_dict=weights)
            tokenizer.save_pretrained(aside)
            write_card(aside, model, tokenizer, config, numbers)
    accelerator.wait_for_everyone()
