"""Who and what of a log a run learns from."""

from __future__ import annotations

from dataclasses import replace

from prlhf.config import RunConfig
from prlhf.config.rewards import SoftPrompt
from prlhf.data import Log, Split, split, subsample
from prlhf.data.items import Items
from prlhf.data.mismatched import Unpaired
from prlhf.errors import ConfigError, DataError

__all__ = ["check_batch", "check_log", "learned_notes", "sides_of", "trained_on"]


def check_log(log: Log, config: RunConfig) -> None:
    """DataError where there is nothing that the objective learns from, or nobody to be learned."""
    if not config.objective.learns_thumbs and not log.comparisons and log.thumbs:
        raise DataError(f"{log.source}: {_only_thumbs(config)}")
    if config.user_model.type == "uniform" or not config.alpha or log.users:
        return
    what = "thumb" if log.kinds == "thumbs" else "comparison"
    why = f": {log.notes.nobody}" if log.notes.nobody else ""
    raise DataError(
        f"{log.source}: no {what} names a user, so there is nobody to personalise for{why}. "
        "One model for everybody is trained with --set user_model.type=uniform, or with --alpha 0"
    )


def _only_thumbs(config: RunConfig) -> str:
    if isinstance(config, SoftPrompt):
        return "a reward model learns from comparisons, and there are only thumbs to train on"
    return (
        f"objective.type = {config.objective.type} learns from comparisons, and there are only thumbs to train on; "
        "kto learns from them: --set objective.type=kto"
    )


def check_batch(config: RunConfig, processes: int = 1) -> None:
    """ConfigError where the objective cannot learn from the batches of a step."""
    if config.objective.learns_thumbs and config.training.branches == "sampled":
        raise ConfigError(
            f"training.branches: objective.type = {config.objective.type} measures its z0 on all thumbs of a step "
            "under each branch; take both"
        )
    size = config.training.batch_size * config.training.gradient_accumulation_steps * processes
    if config.objective.learns_thumbs and size < 2:
        raise ConfigError(
            f"training.batch_size: objective.type = {config.objective.type} measures its z0 on the batch of a step, "
            f"which takes at least two; found {size}. Raise it, or training.gradient_accumulation_steps"
        )


def sides_of(log: Log, config: RunConfig) -> Split:
    """The split of a run, its training side no larger than `data.max_comparisons`."""
    learned = config.objective
    sides = split(log, config.data.split, ties=learned.learns_ties, thumbs=learned.learns_thumbs)
    limit = config.data.max_comparisons
    return sides if limit is None else replace(sides, train=tuple(subsample(sides.train, limit, config.seed)))


def learned_notes(log: Log, config: RunConfig) -> str:
    """The notes of the log, with what the objective does not learn from."""
    return log.notes.text(ties=config.objective.learns_ties, thumbs=config.objective.learns_thumbs)


def trained_on(log: Log, sides: Split, config: RunConfig) -> Items:
    """The training side as the objective learns from it: comparisons, or thumbs, of which a comparison makes two.

    Raises:
        DataError: nothing is left, or not enough.
    """
    items: Items = log.pick(sides.train)
    if config.objective.learns_thumbs:
        items = Unpaired(items)
    elif items.facts["thumb"].any():  # only of a source with sides of its own
        raise DataError(f"{log.source}: {_only_thumbs(config)}")
    if config.objective.learns_thumbs and len(items) == 1:
        raise DataError(f"{log.source}: one thumb is left to train on, and it takes two for the z0 of the objective")
    if not items:
        raise DataError("no comparison is left to train on; see the notes of `prlhf data inspect`")
    return items
