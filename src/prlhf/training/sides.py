"""Who and what of a log a run learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from prlhf.config import RunConfig
from prlhf.data import Log, Split, split, subsample
from prlhf.errors import DataError

__all__ = ["check_people", "distinct", "sides_of"]


def check_people(log: Log, config: RunConfig) -> None:
    """DataError where users are to be learned and no comparison names one."""
    if config.user_model.type == "uniform" or not config.alpha or log.users:
        return
    why = f": {log.notes.nobody}" if log.notes.nobody else ""
    raise DataError(
        f"{log.source}: no comparison names a user, so there is nobody to personalise for{why}. "
        "One model for everybody is trained with --set user_model.type=uniform, or with --alpha 0"
    )


def sides_of(log: Log, config: RunConfig) -> Split:
    """The split of a run, its training side no larger than `data.max_comparisons`."""
    sides = split(log, config.data.split, ties=config.objective.learns_ties)
    limit = config.data.max_comparisons
    return sides if limit is None else replace(sides, train=tuple(subsample(sides.train, limit, config.seed)))


def distinct(users: Sequence[str | None]) -> list[str]:
    """User ids in the order of their first comparison: rows do not depend on hashing."""
    return list(dict.fromkeys(user for user in users if user is not None))
