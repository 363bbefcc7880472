"""From a configuration to a finished run: data, model, reference, steps, evaluation, folder."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import PartialState
from safetensors.torch import load_file
from transformers import TrainerState, TrainingArguments

from prlhf.config import RunConfig
from prlhf.config.rewards import SoftPrompt
from prlhf.data import Log, load_comparisons, recency_weights
from prlhf.data.cache import paced
from prlhf.data.facts import Facts
from prlhf.data.items import Items, Picked, facts_of
from prlhf.data.mismatched import mismatched
from prlhf.errors import DataError
from prlhf.evaluation.metrics import Metrics
from prlhf.lm import Encoded, PersonalizedLM, RewardLM, choose_layout, default_cache, tokenise
from prlhf.objectives import make_objective
from prlhf.training.arguments import training_arguments
from prlhf.training.branches import Branches
from prlhf.training.callbacks import COMPLETE, MarkComplete, MetricsFile, last_checkpoint
from prlhf.training.compiled import Compiled
from prlhf.training.curves import LearningCurves
from prlhf.training.dataset import Ids, Mismatched, PairDataset, PreferenceDataset, ThumbDataset
from prlhf.training.devices import check_gpus, check_processes, on_cpu
from prlhf.training.finish import finish
from prlhf.training.fitted import fit_start
from prlhf.training.parts import most_tokens
from prlhf.training.progress import bar
from prlhf.training.run import Run, settled
from prlhf.training.sharding import check_launch, shard, sharded, sharding
from prlhf.training.sides import check_batch, check_log, learned_notes, sides_of, trained_on
from prlhf.training.step_progress import StepProgress
from prlhf.training.trackers import check_trackers
from prlhf.training.trainer import PreferenceTrainer
from prlhf.types import Feedback, Prompt

__all__ = ["TrainResult", "train"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """A finished run: the model, its metrics on the test side, its folder, and a held-out prompt to try it on.

    `metrics` is None where nothing could be measured: `held_out`, the number of comparisons and thumbs on the test side
    and of held-out users, is then 0, or they are thumbs of users who have thumbs of one kind only.
    `user_texts` has the last text of each of the first two users, where they have one: to try the model as somebody who
    was trained with a text needs it.
    """

    lm: PersonalizedLM
    metrics: Metrics | None
    folder: Path
    sample: Prompt | None = None
    user_texts: Mapping[str, str] = field(default_factory=dict)
    held_out: int = 0


def train(
    config: RunConfig, output: str | Path, *, log: Log | None = None, resume: bool = False, cache: Path | None = None
) -> TrainResult:
    """Train a personalised LM and write a complete run folder.

    Under `accelerate launch` or `torchrun` all processes call this; the first one writes the folder, and alone has
    `metrics` in its result. With FSDP the model of the result is spread over the processes (`shard`).

    Args:
        config: everything that decides the result.
        output: the run folder; must not exist yet, unless `resume`.
        log: the data, where it is already in memory; by default `config.data` is read.
        resume: go on from the last finished checkpoint in `output`; the final weights are those of a run that was never
            stopped, also with another number of processes (`recut`).
        cache: folder of the reference cache; by default `prlhf.lm.default_cache()`.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: with what to do about it.
    """
    config = settled(config)
    check_launch(config)
    check_trackers(config.training.report_to, "training.report_to")
    make_objective(config.objective)  # a custom one that cannot be found is told before anything is written
    process = PartialState(cpu=on_cpu(config.training.device), timeout=timedelta(days=7))
    check_processes(config, process.num_processes)
    run = Run(Path(output), type(config))
    if resume:
        config = run.resumed(config, process.num_processes)
    check_batch(config, process.num_processes)
    if process.is_main_process:
        run.open(config, resume=resume, processes=process.num_processes)
    process.wait_for_everyone()
    with sharding() as spread:
        return _train(config, run, log, process, cache or default_cache(), spread=spread)


def _train(
    config: RunConfig, run: Run, log: Log | None, process: PartialState, cache: Path, *, spread: bool
) -> TrainResult:
    with process.main_process_first():  # the others find a large file converted
        log = log if log is not None else load_comparisons(config.data, cache=cache)
    check_log(log, config)
    with process.main_process_first(), paced("splitting") as done:
        sides = run.fix_split(log, lambda: sides_of(log, config))
        done.append(len(log))
    logger.info("%s\n%s", learned_notes(log, config), sides.text(log))
    training = trained_on(log, sides, config)
    _tell_unused(config, len(training), process.num_processes)
    lm = _model(training, config)
    if spread:
        shard(lm)
    # the others find the reference in the cache; of a model that is spread over them all compute it together
    with nullcontext() if spread else process.main_process_first():
        dataset = prepare(lm, training, config, layout=config.training.layout, cache=cache)
        if isinstance(config, SoftPrompt) and config.start == "fitted":
            fit_start(cast(RewardLM, lm), cast(PairDataset, dataset), config)
        evaluation = LearningCurves.of(lm, log, sides, config, cache=cache)
    trainer = _trainer(lm, dataset, evaluation, config, run)
    _run_steps(trainer, run)
    metrics = None
    if process.is_main_process or spread:
        metrics = finish(lm, log, sides, config, run, cache=cache, writes=process.is_main_process)
    process.wait_for_everyone()
    held_out = [*sides.test, *sides.unseen, *sides.validation]
    sample = log.items[held_out[0]].prompt if held_out and not spread else None  # one process alone cannot answer it
    first = set(lm.users.ids(range(1, min(len(lm.users), 2) + 1)))
    texts = _last_texts(training, first)
    return TrainResult(lm, metrics, run.folder, sample, texts, len(sides.test) + len(sides.unseen))


def _tell_unused(config: RunConfig, comparisons: int, processes: int) -> None:
    """Say where the steps look at few of what is tokenised and looked at by the reference."""
    t = config.training
    looked_at = t.max_steps * t.batch_size * t.gradient_accumulation_steps * processes
    if 0 < looked_at < comparisons // 2:
        words = "training.max_steps=%d looks at %s of %s on the training side; all of them are prepared, unless "
        words += "data.max_comparisons says how many"
        logger.info(words, t.max_steps, f"{looked_at:,}", f"{comparisons:,}")


def _last_texts(training: Items, users: Collection[str | None]) -> dict[str, str]:
    """The last text of each of some users, where they have one."""
    facts = training.facts
    wanted = [number for number, name in enumerate(facts.names) if name in users]
    told = Picked(training, np.flatnonzero(np.isin(facts.user, wanted) & facts["told"]))
    return {c.user: c.user_text for c in told if c.user is not None and c.user_text}


def _model(training: Items, config: RunConfig) -> PersonalizedLM:
    """The model at step 0, on its device."""
    facts = training.facts
    kind, options = PersonalizedLM, {}
    if isinstance(config, SoftPrompt):
        kind, options = RewardLM, {"pool": config.reads, "tastes": config.tastes}
    lm = kind.create(config.language_model, config.user_model, facts.distinct, config.seed, **options)
    lm.users = lm.users.counted(_users(facts))
    lm.user_model.to(torch.promote_types(torch.float32, lm.dtype))  # float64 all through, where the base is
    lm.objective = config.objective
    lm.with_user_text = bool((facts["told"] & (facts.user >= 0)).any())
    gpu = not on_cpu(config.training.device)
    if gpu:
        check_gpus(lm, PartialState().num_processes, torch.cuda.device_count())
    lm.on(torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if gpu else torch.device("cpu"))
    return lm


def prepare(
    lm: PersonalizedLM, training: Sequence[Feedback], config: RunConfig, *, layout: str, cache: Path | None
) -> PreferenceDataset:
    """Token ids, rows, weights and reference log-probabilities of the comparisons, or of the thumbs, of training."""
    facts = facts_of(training)
    encoded = tokenise(lm.template, training, cache=cache, progress=bar)
    encoded.warn_cuts(lm.template)
    chosen = choose_layout(lm, encoded.telling(), layout)
    rows = _table_rows(lm, facts)
    common: dict[str, Any] = {
        "encoded": encoded,
        "rows": rows,
        "weight": _weights(facts, training, config),
        "prior": 1 / np.bincount(rows)[rows],
        "ids": Ids(training),
        "layout": chosen,
    }

    def reference(some: Sequence[Encoded]) -> np.ndarray:
        # computed as the policy is in a step, or h would not be 0 at the start
        with torch.autocast(lm.device.type, torch.bfloat16, enabled=config.training.bf16):
            return lm.reference_values(some, layout=chosen, cache=cache, progress=bar)

    if not facts["thumb"].any():
        return PairDataset(**common, reference=reference(encoded), ties=facts["tie"].copy())
    strange = Mismatched(lm.template, encoded, mismatched(training, config.seed))
    return ThumbDataset(
        **common,
        reference=reference(encoded),
        up=facts["up"].copy(),
        mismatched=strange,
        mismatched_reference=reference(strange)[:, 0],
    )


def _table_rows(lm: PersonalizedLM, facts: Facts) -> np.ndarray:
    """Of each item `[n]`."""
    found = np.zeros(len(facts.names) + 1, np.int64)
    present = np.unique(facts.user[facts.user >= 0])
    found[present] = lm.lookup([facts.names[code] for code in present.tolist()])
    return found[facts.user]


def _users(facts: Facts) -> list[str | None]:
    """Whom each item is of."""
    names = [*facts.names, None]
    return [names[code] for code in facts.user.tolist()]


def _weights(facts: Facts, training: Sequence[Feedback], config: RunConfig) -> np.ndarray:
    """Of each item, of mean 1."""
    weight = facts["weight"].copy()
    if config.training.half_life_days is not None:
        weight = weight * recency_weights(training, config.training.half_life_days)
    if not 0 < weight.sum() < np.inf:
        raise DataError(f"the weights of the training comparisons add up to {weight.sum()}; at least one has to count")
    return weight / weight.mean()


def _arguments(config: RunConfig, run: Run, evaluates: bool) -> TrainingArguments:
    t = config.training
    return training_arguments(
        t,
        run.checkpoints,
        config.seed,
        max_grad_norm=0.0,  # the optimizer clips the dense gradients; the sparse ones of the user table are scale-free
        bf16=t.bf16,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=t.eval_steps or None,
        save_strategy="steps" if t.save_steps else "no",
        save_steps=t.save_steps or 500,
        save_total_limit=t.save_total_limit,
        logging_steps=10,
        logging_first_step=True,
        disable_tqdm=True,  # StepProgress draws the bar
    )


def _trainer(
    lm: PersonalizedLM,
    dataset: PreferenceDataset,
    evaluation: LearningCurves | None,
    config: RunConfig,
    run: Run,
) -> PreferenceTrainer:
    t = config.training
    own_rate = t.user_learning_rate
    if own_rate is None:
        own_rate = lm.row_step * lm.user_model.row_scale(lm.embedding_scale)
    if t.gradient_checkpointing:
        lm.causal_lm.activation_checkpointing_enable({"use_reentrant": False})
        lm.causal_lm.enable_input_require_grads()
    return PreferenceTrainer(
        lm,
        _arguments(config, run, evaluation is not None),
        dataset,
        objective=make_objective(config.objective),
        branches=Branches.of(config),
        layout=dataset.layout,
        user_learning_rate=own_rate,
        shared_learning_rate=t.shared_learning_rate,
        user_l2=t.user_l2,
        max_grad_norm=t.max_grad_norm,
        evaluation=evaluation,
        compiled=None if t.compile == "off" else Compiled(lm.decoder, t.compile),
        # spread weights are gathered pass by pass, which have to be as many in all processes
        most_tokens=None if sharded(lm) else most_tokens(t, lm.device),
        callbacks=[MarkComplete(), MetricsFile(run.metrics, run.resumed_step), StepProgress()],
    )


def _run_steps(trainer: PreferenceTrainer, run: Run) -> None:
    """All steps, or those that are left after the last finished checkpoint."""
    checkpoint = _resume_point(run)
    if checkpoint is None:
        trainer.train()
        return
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    logger.info("going on from step %d of %d", state.global_step, state.max_steps)
    if state.global_step < state.max_steps:
        trainer.train(resume_from_checkpoint=str(checkpoint))
    else:  # the Trainer would take one step more
        trainer.model.load_state_dict(load_file(checkpoint / "model.safetensors"))


def _resume_point(run: Run) -> Path | None:
    """The last finished checkpoint; later ones, which a kill left unfinished, are removed."""
    last = last_checkpoint(run.checkpoints)
    if PartialState().is_main_process:
        for folder in run.checkpoints.glob("checkpoint-*"):
            if not (folder / COMPLETE).is_file():
                shutil.rmtree(folder)
    PartialState().wait_for_everyone()
    return last
