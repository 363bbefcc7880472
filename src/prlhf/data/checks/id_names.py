"""Ids that are made from an outcome: they name one, or ids with a piece in common judge alike."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from prlhf.data.checks.check import Check
from prlhf.types import Comparison, Feedback, Thumb

__all__ = ["check_id_names"]

_IDS = 20
_WORDS = 0.5  # share of ids with a word for an outcome
_GAIN = 0.1
_OUTCOME = re.compile(
    r"(?<![a-z])(?:chosen|rejected|(?:dis)?preferred|winner|loser|wins?|won|loss|lost|ties?|better|worse|good|bad"
    r"|thumbs?[ _-]?(?:up|down)|up|down|(?:up|down)vote[ds]?|(?:dis)?like[ds]?|positive|negative"
    r"|(?:model|response|answer|option)[ _-]?[ab12])(?![a-z])"
)
_WHAT = {
    "longer": "prefers the longer response",
    "first": "chooses the response that was shown first",
    "up": "gives a thumb up",
}


def check_id_names(items: Sequence[Feedback]) -> Check:
    """Words for an outcome in the ids, or pieces of ids that tell how *other* ids judge that have the same piece.

    `items` have a user each. Of comparisons it is told who chooses the longer response and who the one that was shown
    first, of thumbs who likes long responses (longer than the median one) and who likes any.
    """
    name = "ids that name the outcome"
    ids = sorted({str(c.user) for c in items})
    if not ids:
        return Check.missing(name, "nothing has a user")
    worded = [i for i in ids if _OUTCOME.search(i.casefold())]
    share = len(worded) / len(ids)
    gains = {kind: _gain(items, kind) for kind in _WHAT}
    numbers = {"ids": len(ids), "with_a_word": share, "gain": {kind: g and g[0] for kind, g in gains.items()}}
    found, text = [], []
    text.append(f"{len(worded):,} of {len(ids):,} ids have a word for an outcome")
    if share >= _WORDS:
        found.append(f"ids as {worded[0]!r} look like a column of labels")
    for kind, gain in gains.items():
        if gain is None:
            continue
        mean, error = gain
        what = _WHAT[kind]
        text.append(f"pieces of ids add {mean * 100:+.1f} points to predicting who {what}")
        if mean - 3 * error > _GAIN:
            found.append(f"the pieces that ids are made of tell of other ids who {what}")
    told = f"{'; '.join(text)}."
    return Check.of(name, bool(found), f"{'; '.join(found).capitalize()}: {told}" if found else told, numbers)


def _gain(items: Sequence[Feedback], kind: str) -> tuple[float, float] | None:
    """What the pieces of an id add to the accuracy of predicting it from all *other* ids: mean over ids, and
    its standard error. None with fewer than 20 ids. Ids that are mere names add nothing."""
    means = _leanings(items, kind)
    if len(means) < _IDS:
        return None
    total, counts = sum(means.values()), Counter[str]()
    sums: defaultdict[str, float] = defaultdict(float)
    for user, mean in means.items():
        for piece in _pieces(user):
            sums[piece] += mean
            counts[piece] += 1
    gains = []
    for user, mean in means.items():
        crowd = (total - mean) / (len(means) - 1)
        told = crowd
        for piece in _pieces(user):
            others = counts[piece] - 1
            told += (sums[piece] - mean - others * crowd) / (others + 2)
        gains.append((np.sign(told) - np.sign(crowd)) * mean / 2)
    return float(np.mean(gains)), float(np.std(gains) / math.sqrt(len(gains)))


def _leanings(items: Sequence[Feedback], kind: str) -> dict[str, float]:
    """Each id's mean direction, from -1 to 1: towards what `kind` says."""
    own: defaultdict[str, list[int]] = defaultdict(list)
    lengths = [len(item.response) for item in items if isinstance(item, Thumb)]
    middle = float(np.median(lengths)) if lengths else 0.0
    for item in items:
        side = _thumb_side(item, kind, middle) if isinstance(item, Thumb) else _side(item, kind)
        if side:
            own[str(item.user)].append(side)
    return {user: sum(sides) / len(sides) for user, sides in own.items()}


def _side(c: Comparison, kind: str) -> int:
    if kind == "longer":
        return int(np.sign(len(c.chosen) - len(c.rejected)))
    return {"chosen": 1, "rejected": -1, None: 0}[c.first_shown] if kind == "first" else 0


def _thumb_side(t: Thumb, kind: str, middle: float) -> int:
    label = 1 if t.up else -1
    if kind == "longer":
        return label * int(np.sign(len(t.response) - middle))
    return label if kind == "up" else 0


def _pieces(user: str) -> set[str]:
    """Runs of letters and runs of digits."""
    return set(re.findall(r"[^\W\d_]+|\d+", user.casefold()))
