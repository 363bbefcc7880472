"""The checks of one evaluation: its rows, its in-context baseline, its user table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from prlhf.data import subsample
from prlhf.data.checks import Check, check_artefacts, check_ids, check_memory, check_overlap
from prlhf.data.checks.memory import NAME as MEMORY
from prlhf.data.checks.overlap import NAME as OVERLAP
from prlhf.evaluation.baselines import Baseline, in_context_flipped
from prlhf.evaluation.checks import CONTEXT, check_context
from prlhf.evaluation.rows import Rows
from prlhf.evaluation.table_use import NAME as TABLE
from prlhf.evaluation.table_use import TableUse, check_table
from prlhf.lm import PersonalizedLM
from prlhf.types import Feedback

__all__ = ["check_baseline", "check_rows", "check_users"]

Progress = Callable[[Iterable[int], str], Iterable[int]]
_FLIPPED = 1000  # comparisons that are asked again with flipped votes, since the prompts are long
_ROWS = 500  # rows of the table that are measured


def check_rows(rows: Rows) -> list[Check]:
    """The checks of the log, and what of the comparisons or thumbs was trained on."""
    if rows.training is None:
        sides = [Check.missing(name, rows.why) for name in (OVERLAP, MEMORY)]
    else:
        sides = [check_overlap(rows.training, rows.items, rows.apart), check_memory(rows.training, rows.items)]
    return [check_artefacts(rows.log.items), *sides, *check_ids(rows.log.items)]


def check_baseline(
    lm: PersonalizedLM,
    rows: Rows,
    found: Iterable[Baseline],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
    cache: Path | None = None,
    progress: Progress = lambda batches, _: batches,
) -> Check:
    """Whether the in-context baseline among `found` reads its votes, on at most 1,000 of its comparisons."""
    named = {b.name: b for b in found}
    relative, raw = named.get("in_context_relative"), named.get("in_context_raw")
    if relative is None or raw is None:
        return Check.missing(CONTEXT, "the baseline in_context was not asked for")
    votes, _ = rows.votes
    if relative.scores is None or raw.scores is None or votes is None:
        return Check.missing(CONTEXT, relative.missing)
    some = list(subsample(range(len(rows.comparisons)), _FLIPPED, seed))
    told, plain = relative.scores.select(some), (raw.scores.h - relative.scores.h)[some]
    asked = [rows.comparisons[i] for i in some]
    flipped = in_context_flipped(lm, votes, asked, told.seen, plain, cache=cache, progress=progress)
    return check_context(told, flipped, bootstrap=bootstrap, seed=seed)


def check_users(lm: PersonalizedLM, training: Sequence[Feedback] | None, seed: int = 0) -> Check:
    """How much of the user table is used, by at most 500 of the users who were trained on (of all, where `training` is
    not known)."""
    if lm.user_model.table is None:
        return Check.missing(TABLE, "this run has no rows for users")
    votes = Counter(c.user for c in training or () if c.user is not None)
    if votes:
        known = sorted(votes)
        places = [(row, votes[i]) for i, row in zip(known, lm.users.rows(known).tolist(), strict=True) if row]
        places = [places[k] for k in subsample(range(len(places)), _ROWS, seed)]
    else:  # whoever has a row, without a look at everybody
        drawn = np.random.default_rng(seed).choice(len(lm.users), min(_ROWS, len(lm.users)), replace=False)
        places = [(row, 0) for row in sorted((drawn + 1).tolist())]
    if len(places) < 2:
        return Check.missing(TABLE, f"{len(places)} users with rows are too few to compare")
    with torch.no_grad():
        wanted = torch.tensor([0, *(row for row, _ in places)], device=lm.device)
        generic, *own = lm.user_model(wanted).flatten(1).double().cpu().numpy()
    return check_table(TableUse.of(own, generic, [count for _, count in places] if votes else None))
