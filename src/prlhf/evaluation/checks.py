"""Whether a model uses what is its own: a user's row, and the votes in the prompt of the in-context baseline."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from prlhf.data.checks import Check, State
from prlhf.evaluation.bootstrap import Estimate
from prlhf.evaluation.metrics import Metrics
from prlhf.evaluation.paired import paired_difference
from prlhf.evaluation.scores import Scores

__all__ = ["CONTEXT", "check_context", "check_permuted", "judged_drop", "points"]

CONTEXT = "votes in context flipped"
_TELLING = 0.1  # an interval over 0 that goes beyond this says that too little was measured, not that nothing is there
_FEWEST = 20  # comparisons; among fewer all may agree by chance, with an interval of no width


def check_permuted(metrics: Metrics) -> Check:
    """Whether the own row does better than somebody else's, beyond its interval over users. Where the interval holds
    both that it does not and a large difference, there is no finding."""
    name = "users permuted"
    own, other, drop = (
        getattr(metrics.overall, part) for part in ("accuracy_seen", "accuracy_permuted", "permutation_drop")
    )
    if not drop.exists:
        return Check.missing(name, "no two users of these comparisons have rows that could be exchanged")
    state, verdict = judged_drop(
        drop, "The user table is not used, or these users do not differ: nothing here is personal."
    )
    text = (
        f"The own row is right in {own.value:.1%} of {own.comparisons:,} comparisons, somebody else's in "
        f"{other.value:.1%}: a difference of {points(drop)}.{verdict}"
    )
    numbers = {"own": own.as_dict(), "permuted": other.as_dict(), "drop": drop.as_dict()}
    return Check(name, state, text, numbers)


def check_context(told: Scores, flipped: Scores, *, bootstrap: int = 1000, seed: int = 0) -> Check:
    """Whether the in-context baseline reads the votes that it is shown: it must do worse with chosen and rejected of
    every vote exchanged. Where the interval holds both that it does not and a large difference, there is no finding.

    Args:
        told: its margins, relative to without votes.
        flipped: the same with the votes exchanged, on some of the comparisons of `told`. Comparisons whose margins are
            0 in both have no votes in their prompt and are left out.
    """
    some = set(flipped.ids)
    told = told.select(np.array([i in some for i in told.ids], dtype=bool))
    shown = (told.h != 0) | (flipped.h != 0)
    if not shown.any():
        return Check.missing(CONTEXT, "no comparison has votes of its user in the prompt")
    told, flipped = told.select(shown), flipped.select(shown)
    drop = paired_difference(told, flipped, bootstrap=bootstrap, seed=seed).overall.accuracy
    changed = float(np.mean(np.sign(told.h) != np.sign(flipped.h)))
    state, verdict = judged_drop(
        drop, "No sign that it reads who chose what: it is no measure of personalisation here."
    )
    text = (
        f"Flipping the votes in the prompt of the in-context baseline costs it {points(drop)} of accuracy on "
        f"{len(told):,} comparisons, and {changed:.1%} of its answers change.{verdict}"
    )
    numbers: dict[str, Any] = {"comparisons": len(told), "drop": drop.as_dict(), "answers_changed": changed}
    return Check(CONTEXT, state, text, numbers)


def judged_drop(drop: Estimate, finding: str) -> tuple[State, str]:
    """Whether what should cost accuracy does not, with the sentence on it: `finding`, that too little was measured to
    tell, or none.

    The interval reaches 0 and no further than `_TELLING`; without an interval, the value does not exceed 0.
    """
    if (drop.value if math.isnan(drop.low) else drop.low) > 0:
        return "nothing found", ""
    if drop.comparisons < _FEWEST:
        return "too little to tell", f" Too few comparisons to tell: it takes {_FEWEST}."
    if drop.high > _TELLING:
        return "too little to tell", " Too few comparisons to tell: the interval holds both no effect and a large one."
    return "finding", f" {finding}"


def points(e: Estimate) -> str:
    """An estimate of a difference in accuracy, in points with its interval."""
    interval = "" if math.isnan(e.low) else f" [{e.low * 100:+.1f}, {e.high * 100:+.1f}]"
    return f"{e.value * 100:+.1f} points{interval}"
