"""From a configuration to a finished run: data, model, reference, steps, evaluation, folder."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainingArguments

from prlhf.config import RunConfig
from prlhf.data import Log, Split, load_comparisons, recency_weights, split, subsample
from prlhf.errors import ConfigError, DataError
from prlhf.evaluation.by_user import per_user
from prlhf.evaluation.metrics import Metrics, summarise
from prlhf.evaluation.policy import EvaluationSet, score_policy
from prlhf.lm import PersonalizedLM, choose_layout, default_cache, is_checkpoint, reference_logprobs
from prlhf.objectives import make_objective
from prlhf.training.callbacks import MarkComplete, MetricsFile, last_checkpoint
from prlhf.training.dataset import PreferenceDataset
from prlhf.training.progress import bar
from prlhf.training.run import Run
from prlhf.training.trainer import PreferenceTrainer

__all__ = ["TrainResult", "train"]

logger = logging.getLogger(__name__)
CURVES = (
    "accuracy_seen",
    "accuracy_per_user",
    "accuracy_worst_tenth",
    "accuracy_generic",
    "accuracy_permuted",
    "margin_seen",
    "log_loss_seen",
)
"""What is logged while training; the whole table is written at the end."""


@dataclass(frozen=True)
class TrainResult:
    """A finished run: the model, its metrics on the test side, and its folder."""

    lm: PersonalizedLM
    metrics: Metrics | None
    folder: Path


def train(
    config: RunConfig, output: str | Path, *, log: Log | None = None, resume: bool = False, cache: Path | None = None
) -> TrainResult:
    """Train a personalised LM and write a complete run folder.

    Args:
        config: everything that decides the result.
        output: the run folder; must not exist yet, unless `resume`.
        log: the data, where it is already in memory; by default `config.data` is read.
        resume: go on from the last finished checkpoint in `output`; the final weights are those of an uninterrupted run.
        cache: folder of the reference cache; by default `prlhf.lm.default_cache()`.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: with what to do about it.
    """
    run = Run(Path(output))
    run.open(config, resume=resume)
    log = log if log is not None else load_comparisons(config.data)
    sides = run.fix_split(log, _sides(log, config))
    training = [log.comparisons[i] for i in sides.train]
    if not training:
        raise DataError("no comparison is left to train on; see the notes of `prlhf data inspect`")
    lm = PersonalizedLM.create(config.model, config.user_model, _users(training), config.seed)
    device = torch.device("cuda" if torch.cuda.is_available() and config.training.device == "auto" else "cpu")
    lm.to(device)
    _warn_size(lm)
    cache = cache if cache is not None else default_cache()
    layout = choose_layout(lm, [lm.template.comparison(c) for c in _longest(training)], config.training.layout)
    dataset = prepare(lm, training, config, layout=layout, cache=cache)
    evaluation = _evaluation(lm, log, sides, config, cache=cache, layout=layout)
    trainer = _trainer(lm, dataset, evaluation, config, run, layout)
    trainer.train(resume_from_checkpoint=_resume_point(run) if resume else None)
    result = finish(lm, log, sides, config, run, cache=cache, layout=layout)
    return TrainResult(lm, result, run.folder)


def _sides(log: Log, config: RunConfig) -> Split:
    sides = split(log, config.data.split)
    limit = config.data.max_comparisons
    return sides if limit is None else replace(sides, train=tuple(subsample(sides.train, limit, config.seed)))


def _users(training: Sequence[Any]) -> list[str]:
    """User ids in the order of their first comparison: rows do not depend on hashing."""
    return list(dict.fromkeys(c.user for c in training if c.user is not None))


def _longest(training: Sequence[Any], count: int = 8) -> list[Any]:
    def chars(c: Any) -> int:
        return len(str(c.prompt)) + len(c.chosen) + len(c.rejected)

    return sorted(training, key=chars)[-count:]


def _warn_size(lm: PersonalizedLM) -> None:
    users = sum(p.numel() for p in lm.user_model.parameters())
    model = sum(p.numel() for p in lm.model.parameters() if p.requires_grad)
    logger.info("%d trained parameters in the model, %d in the user model (%d users)", model, users, len(lm.users))
    if users > 10 * max(model, 1):
        logger.warning(
            "the user model has %.0f times the parameters of the LoRA; `low_rank` or `cluster` need far fewer",
            users / max(model, 1),
        )


def prepare(
    lm: PersonalizedLM, training: Sequence[Any], config: RunConfig, *, layout: Any, cache: Path | None
) -> PreferenceDataset:
    """Token ids, rows, weights and reference log-probabilities of the training comparisons."""
    encoded = [lm.template.comparison(c) for c in training]
    cut = sum(e.truncated for e in encoded)
    if cut:
        logger.warning("%d of %d prompts were cut at their left to max_prompt_tokens", cut, len(encoded))
    rows = np.array(lm.lookup([c.user for c in training]), np.int64)
    weight = np.array([c.weight for c in training], np.float64)
    if config.training.half_life_days is not None:
        weight = weight * recency_weights(training, config.training.half_life_days)
    if weight.sum() <= 0:
        raise DataError("the weights of all training comparisons are zero")
    counts = Counter(rows.tolist())
    reference = reference_logprobs(lm, encoded, layout=layout, cache=cache, progress=bar)
    return PreferenceDataset(
        encoded=encoded,
        rows=rows,
        weight=weight / weight.mean(),
        prior=np.array([1 / counts[r] for r in rows.tolist()]),
        reference=reference,
        ids=[c.id for c in training],
    )


def _evaluation(
    lm: PersonalizedLM, log: Log, sides: Split, config: RunConfig, *, cache: Path | None, layout: Any
) -> Any:
    """A function that scores a sample of the validation side (else the test side), for learning curves."""
    held_out = sides.validation or sides.test
    chosen = subsample(held_out, config.training.eval_comparisons, config.seed)
    if not chosen or not config.training.eval_steps:
        return None
    data = EvaluationSet.of(
        lm, [log.comparisons[i] for i in chosen], cache=cache, layout=layout, seed=config.seed, progress=bar
    )

    def evaluate() -> dict[str, float]:
        metrics = summarise(_score(lm, data, config), beta=config.objective.beta, bootstrap=0)
        groups = {f"accuracy_{name}": figures.accuracy_seen.value for name, figures in metrics.groups.items()}
        return {name: value for name, value in metrics.values().items() if name in CURVES} | groups

    return evaluate


def _score(lm: PersonalizedLM, data: EvaluationSet, config: RunConfig, **kwargs: Any) -> Any:
    return score_policy(lm, data, average=getattr(config.objective, "average", False), **kwargs)


def _arguments(config: RunConfig, run: Run, evaluates: bool) -> TrainingArguments:
    t = config.training
    return TrainingArguments(
        output_dir=str(run.checkpoints),
        num_train_epochs=t.epochs,
        max_steps=t.max_steps,
        per_device_train_batch_size=t.batch_size,
        gradient_accumulation_steps=t.gradient_accumulation_steps,
        learning_rate=t.learning_rate,
        weight_decay=t.weight_decay,
        max_grad_norm=0.0,  # the optimizer clips the dense gradients; the sparse ones of the user table are scale-free
        warmup_steps=t.warmup_steps,
        lr_scheduler_type=t.lr_scheduler_type,
        bf16=t.bf16,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=t.eval_steps or None,
        save_strategy="steps" if t.save_steps else "no",
        save_steps=t.save_steps or 500,
        save_total_limit=t.save_total_limit,
        logging_steps=10,
        report_to=t.report_to or "none",
        seed=config.seed,
        use_cpu=t.device == "cpu",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )


def _trainer(
    lm: PersonalizedLM, dataset: PreferenceDataset, evaluation: Any, config: RunConfig, run: Run, layout: Any
) -> PreferenceTrainer:
    t = config.training
    if t.gradient_checkpointing:
        lm.causal_lm.activation_checkpointing_enable({"use_reentrant": False})
        lm.causal_lm.enable_input_require_grads()
    return PreferenceTrainer(
        lm,
        _arguments(config, run, evaluation is not None),
        dataset,
        objective=make_objective(config.objective),
        alpha=config.alpha,
        layout=layout,
        user_learning_rate=10 * t.learning_rate if t.user_learning_rate is None else t.user_learning_rate,
        user_l2=t.user_l2,
        max_grad_norm=t.max_grad_norm,
        evaluation=evaluation,
        callbacks=[MarkComplete(), MetricsFile(run.metrics, run.resumed_step)],
    )


def _resume_point(run: Run) -> str | None:
    """The last finished checkpoint; unfinished ones, which a kill left behind, are removed."""
    last = last_checkpoint(run.checkpoints)
    for folder in run.checkpoints.glob("checkpoint-*"):
        if last is None or int(folder.name.rsplit("-", 1)[1]) > int(last.name.rsplit("-", 1)[1]):
            shutil.rmtree(folder)
    return None if last is None else str(last)


def finish(
    lm: PersonalizedLM, log: Log, sides: Split, config: RunConfig, run: Run, *, cache: Path | None, layout: Any
) -> Metrics | None:
    """Evaluate on the whole test side (and on held-out users), write model, metrics and per-user table."""
    lm.eval()
    held_out = [*sides.test, *sides.unseen]
    metrics, card = None, ""
    if held_out:
        data = EvaluationSet.of(
            lm, [log.comparisons[i] for i in held_out], cache=cache, layout=layout, seed=config.seed, progress=bar
        )
        scores = _score(lm, data, config, progress=bar)
        metrics = summarise(scores, beta=config.objective.beta)
        scores.save(run.folder / "scores.parquet")
        per_user(scores, config.objective.beta).save(run.folder / "per_user.parquet")
        run.write_json("evaluation.json", metrics.as_dict())
        card = _card(lm, data)
    lm.save_pretrained(run.model, card)
    return metrics


@torch.no_grad()
def _card(lm: PersonalizedLM, data: EvaluationSet) -> str:
    """How far the plain adapter (no user tokens) is from the generic row, measured on some of the test side."""
    from prlhf.lm import pair_scores

    some = list(range(min(256, len(data.encoded))))
    rows = np.tile([0, -1], (len(some), 1))
    logps = pair_scores(lm, [data.encoded[i] for i in some], rows, layout=data.layout)
    tokens = np.array([[len(data.encoded[i].chosen), len(data.encoded[i].rejected)] for i in some])
    gap = np.abs(logps[:, 0] - logps[:, 1]) / tokens
    signs = np.sign(logps[..., 0] - logps[..., 1])
    return (
        f"\nWithout user tokens the log-probability of a response differs from the generic row's by {gap.mean():.3f} nats "
        f"per token (mean over {len(some)} test comparisons), and {np.mean(signs[:, 0] == signs[:, 1]):.0%} of the pairs "
        "are ordered the same way.\n"
    )
