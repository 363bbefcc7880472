"""How much memory a user table takes, told before it is allocated."""

from __future__ import annotations

import logging

import torch

from prlhf.config.users import Individual, LowRank, UserModelConfig
from prlhf.errors import ConfigError
from prlhf.users.base import UserModel
from prlhf.users.memory import free_memory
from prlhf.users.models import new_user_model

__all__ = ["check_size", "oversize", "training_bytes"]

logger = logging.getLogger(__name__)
_ADAM = 2
"""Moments that AdamW keeps for a shared parameter."""
_PER_ROW = 2
"""Numbers that the row-wise rule keeps for a row of the table, whatever its width (docs/user-models.md)."""
_LARGE = 0.25
"""Share of the free memory above which a table is too large to go unmentioned."""
_MANY = 10
"""Times as many parameters as the language model trains: the same."""


def training_bytes(user_model: UserModel) -> int:
    """Bytes of a user model in training: shared parameters with gradient and moments; the table without gradient, since
    that of a batch is sparse, and its row-wise state. A model on the meta device will do."""
    table = user_model.table
    rows = 0 if table is None else table.weight.numel()
    shared = sum(p.numel() for p in user_model.parameters()) - rows
    numbers = (2 + _ADAM) * shared + rows + (0 if table is None else _PER_ROW * len(table.weight))
    return numbers * torch.float32.itemsize


def oversize(config: UserModelConfig, n: int, width: int, *, trained: int = 0, free: int | None = None) -> str | None:
    """What to say of a table that takes much memory, and how to take less; None of one that is no trouble.

    Args:
        config: which user model.
        n: rows of the table, the generic user's included.
        width: `d`, the width of the language model.
        trained: parameters that the language model trains; 0 = not known.
        free: bytes that are free; by default those of this machine's memory, or of the container's.
    """
    model, free = _planned(config, n, width), free_memory() if free is None else free
    numbers, needed = model.trained, training_bytes(model)
    many = isinstance(config, Individual) and trained and numbers > _MANY * trained
    if not many and needed <= _LARGE * free:
        return None
    own = 0 if model.table is None else model.table.weight.shape[1]
    text = (
        f"user_model.type = {config.type}: {n - 1:,} users with {own:,} numbers each take {_gb(needed)} of memory in "
        f"training, and {_gb(free)} are free"
    )
    if many:
        text += f"; that is {numbers / trained:.0f} times the parameters trained in the language model"
    return f"{text}. {_way_out(config, n, width)}"


def check_size(config: UserModelConfig, n: int, width: int, *, trained: int = 0, free: int | None = None) -> None:
    """Log the size of a table that is about to be made; arguments as in `oversize`.

    Raises:
        ConfigError: more memory than is free.
    """
    model, free = _planned(config, n, width), free_memory() if free is None else free
    numbers, needed = model.trained, training_bytes(model)
    words = "%d trained parameters in the model, %d in the user model (%d users), which takes %s of memory in training"
    logger.info(words, trained, numbers, n - 1, _gb(needed))
    remark = oversize(config, n, width, trained=trained, free=free)
    if needed > free:
        raise ConfigError(f"the user table does not fit: {remark}")
    if remark:
        logger.warning("%s", remark)


def _planned(config: UserModelConfig, n: int, width: int) -> UserModel:
    with torch.device("meta"):
        return new_user_model(config, n, width)


def _way_out(config: UserModelConfig, n: int, width: int) -> str:
    if not isinstance(config, Individual):
        what = {"low_rank": "a smaller user_model.rank", "cluster": "fewer user_model.clusters"}
        return f"Take {what.get(config.type, 'fewer user_model.tokens')}, or see docs/scale.md for larger tables"
    small = LowRank(tokens=config.tokens)
    least = training_bytes(_planned(small, n, width))
    return f"`low_rank` with {small.rank} numbers each takes {_gb(least)}: --set user_model.type=low_rank"


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
