"""Real votes: which of two arguments is more convincing (bundled, everyday debates only), and two simulated
preferences about length on the same comparisons.

`length` repeats the published experiment: workers in order of their number of comparisons, one draw each from the same
random stream, 70 % prefer the longer text by characters. Of the ten busiest, the 4th, 5th and 6th prefer the shorter.
`target_length` is our variant, in which an empty answer is not the best one: each worker prefers the response whose
length is nearer to a personal target. A target is a quantile of the lengths of all different responses: of 0.80 to 0.95
for the majority, 0.05 to 0.20 for the minority (about 390 to 540 and 70 to 120 characters).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from prlhf.data.log import Log, Notes, decided
from prlhf.data.sources.bundled import bundled
from prlhf.data.sources.lengths import STREAM, busiest, length_groups
from prlhf.errors import ConfigError
from prlhf.types import Comparison

__all__ = ["convarg"]

Preference = Literal["votes", "length", "target_length"]
ATTRIBUTION = (
    "UKPConvArg1, Ivan Habernal and Iryna Gurevych, “Which argument is more convincing?”, ACL 2016, CC BY 4.0; the "
    "arguments come from createdebate.com (CC BY 3.0) and convinceme.net (public domain). Changes: everyday debates "
    "only, worker ids hashed, votes put in preference form, an instruction line added to the prompt."
)
_QUANTILES = {"majority": (0.80, 0.95), "minority": (0.05, 0.20)}


def convarg(top: int | None = None, preference: Preference = "votes") -> Log:
    """Votes of crowd workers on pairs of arguments.

    Args:
        top: keep only the comparisons of the busiest `top` workers (counted without ties and identical texts).
        preference: `votes`: the workers' own; `length` and `target_length`: simulated, see above. The simulated ones
            have no ties, and comparisons that were ties or of identical texts are left out.

    Raises:
        ConfigError: a value that does not fit.
    """
    if preference not in get_args(Preference):
        raise ConfigError(f"option preference: found {preference!r}, expected one of {', '.join(get_args(Preference))}")
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
        raise ConfigError(f"option top: found {top!r}, expected a number of workers from 1 on")
    everything = bundled("convarg")
    workers = rank_workers(everything)
    if top is not None and top > len(workers):
        raise ConfigError(f"option top: found {top}, expected at most {len(workers)}, the number of workers")
    kept = set(workers[:top])
    comparisons = tuple(c for c in everything if top is None or c.user in kept)
    if preference != "votes":
        groups = length_groups(workers)
        better = _longer(groups) if preference == "length" else _nearer(length_targets(everything, workers, groups))
        comparisons = tuple(_vote(c, groups, better) for c in comparisons if decided(c))
    remark = "" if preference == "votes" else f"The votes are simulated: {preference}."
    return Log(comparisons, "convarg", ATTRIBUTION, Notes.of(comparisons, remarks=(remark,) if remark else ()))


def rank_workers(comparisons: tuple[Comparison, ...]) -> list[str]:
    """Workers with a usable vote, the busiest first."""
    return busiest(c.user for c in comparisons if c.user is not None and decided(c))


def length_targets(comparisons: tuple[Comparison, ...], workers: list[str], groups: dict[str, str]) -> dict[str, float]:
    """Worker -> preferred length in characters, between the quantiles of the worker's group."""
    responses = {text for c in comparisons for text in (c.chosen, c.rejected)}
    lengths = np.array(sorted(len(text) for text in responses))
    # a stream of their own, so that a worker's group never depends on the targets
    draws = np.random.RandomState(STREAM + 1).uniform(size=len(workers))
    targets = {}
    for worker, draw in zip(workers, draws, strict=True):
        low, high = _QUANTILES[groups[worker]]
        targets[worker] = float(np.quantile(lengths, low + (high - low) * draw))
    return targets


Better = Callable[[str, str], float]
"""Worker and text -> how much the worker likes it."""


def _longer(groups: dict[str, str]) -> Better:
    return lambda worker, text: len(text) if groups[worker] == "majority" else -len(text)


def _nearer(targets: dict[str, float]) -> Better:
    return lambda worker, text: -abs(len(text) - targets[worker])


def _vote(c: Comparison, groups: dict[str, str], liking: Better) -> Comparison:
    """The simulated vote. Where a worker likes both equally the first text is chosen, as published; which one stood
    first is not in the data, so the first is the first by alphabet."""
    worker = str(c.user)
    first, second = sorted((c.chosen, c.rejected))
    if liking(worker, second) > liking(worker, first):
        first, second = second, first
    return replace(c, chosen=first, rejected=second, group=groups[worker])
