"""User ids that say more than who voted: an id is the name of a person, and must not depend on how the vote went.

A user table turns every id into parameters of its own. Where an id is made from the outcome (one for each vote, one for
each side that was chosen), those parameters hold the answer and no taste.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from prlhf.data.checks.check import Check
from prlhf.data.log import decided
from prlhf.types import Comparison, Thumb

__all__ = ["check_ids", "check_thumbs", "one_sided"]

_IDS = 20  # fewer ids say nothing about how ids are made
_SINGLE = 0.9  # share of ids with one vote from which ids name votes
_PLACED = 20
_PLACE = 0.9  # share of votes for one place that is no taste any more
_STEADY = 8  # votes of a user that all went to one place: by chance 1 of 128
_STEADY_SHARE = 0.05
_WORDS = 0.5  # share of ids with a word for an outcome
_GAIN = 0.1
_OUTCOME = re.compile(
    r"(?<![a-z])(?:chosen|rejected|(?:dis)?preferred|winner|loser|wins?|won|loss|lost|ties?|better|worse|"
    r"thumbs?[ _-]?(?:up|down)|(?:model|response|answer|option)[ _-]?[ab12])(?![a-z])"
)


def check_ids(comparisons: Sequence[Comparison]) -> list[Check]:
    """Four checks: one vote an id, ids of one place, ids that tell the vote, ids that stand in the responses."""
    votes = [c for c in comparisons if decided(c) and c.user is not None]
    return [_single(votes), _place(votes), _outcome(votes), _in_texts(votes)]


def check_thumbs(thumbs: Sequence[Thumb]) -> Check:
    """Ids whose thumbs are all up or all down."""
    name = "ids and the thumbs"
    named = [t for t in thumbs if t.user is not None]
    if not named:
        return Check.missing(name, "no thumb has an id")
    return one_sided(name, [str(t.user) for t in named], [t.up for t in named], "up", "down")


def _single(votes: Sequence[Comparison]) -> Check:
    """Ids that are made anew for each vote name votes, not people; each row would learn its own label by heart."""
    name = "one vote an id"
    counts = Counter(c.user for c in votes)
    if len(counts) < _IDS:
        return Check.missing(name, f"{len(counts):,} ids are too few to tell; it takes {_IDS}")
    single = sum(n == 1 for n in counts.values())
    share = single / len(counts)
    text = f"{single:,} of {len(counts):,} ids ({share:.1%}) have a single vote."
    if share >= _SINGLE:
        text += " They may name votes and not people: nothing about a user can be learnt, and none be tested."
    return Check.of(name, share >= _SINGLE, text, {"ids": len(counts), "single": single, "share": share})


def _place(votes: Sequence[Comparison]) -> Check:
    """Where the chosen response always stood first (or second), for everybody or for one id, place tells the label."""
    name = "ids and the place of the chosen"
    placed = [c for c in votes if c.first_shown is not None]
    if len(placed) < _PLACED:
        return Check.missing(name, f"{len(placed):,} votes say which response was shown first; it takes {_PLACED}")
    first = [c.first_shown == "chosen" for c in placed]
    share = sum(first) / len(first)
    if not 1 - _PLACE < share < _PLACE:
        text = (
            f"The chosen response was shown first in {share:.1%} of {len(placed):,} votes: the place tells the label."
        )
        return Check.of(name, True, text, {"votes": len(placed), "share": share})
    return one_sided(name, [str(c.user) for c in placed], first, "first", "second")


def one_sided(name: str, users: Iterable[str], labels: Sequence[bool], yes: str, no: str) -> Check:
    """Ids whose labels are all the same, beside how many chance would make so.

    A finding: among ids with at least 8 votes, more than 5 % are one-sided, and more than chance explains (one more
    than 3 standard errors above it; chance gives every vote the common share). Fits any label that nobody should have
    always.
    """
    own: defaultdict[str, list[bool]] = defaultdict(list)
    for user, label in zip(users, labels, strict=True):
        own[user].append(bool(label))
    p = sum(labels) / len(labels)
    busy = [marks for marks in own.values() if len(marks) >= _STEADY]
    steady = sum(len(set(marks)) == 1 for marks in busy)
    expected = sum(p ** len(marks) + (1 - p) ** len(marks) for marks in busy)
    if not busy:
        return Check.missing(name, f"no id has {_STEADY} votes of which the place is known")
    found = steady > expected + 3 * math.sqrt(expected) + 1 and steady > _STEADY_SHARE * len(busy)
    text = (
        f"{steady:,} of {len(busy):,} ids with {_STEADY} votes or more have all of them on one side ({yes} or {no}); "
        f"by chance it would be {expected:.1f}."
    )
    if found:
        text += " Such an id tells the label whatever the responses are."
    return Check.of(name, found, text, {"ids": len(busy), "one_sided": steady, "expected": expected, "share": p})


def _outcome(votes: Sequence[Comparison]) -> Check:
    """Words for an outcome in the ids, or pieces of ids that tell how *other* ids vote that have the same piece."""
    name = "ids that name the outcome"
    ids = sorted({str(c.user) for c in votes})
    if not ids:
        return Check.missing(name, "no vote has a user")
    worded = [i for i in ids if _OUTCOME.search(i.casefold())]
    share = len(worded) / len(ids)
    gains = {kind: _gain(votes, kind) for kind in ("longer", "first")}
    numbers = {"ids": len(ids), "with_a_word": share, "gain": {kind: g and g[0] for kind, g in gains.items()}}
    found, text = [], []
    text.append(f"{len(worded):,} of {len(ids):,} ids have a word for an outcome")
    if share >= _WORDS:
        found.append(f"ids as {worded[0]!r} look like a column of labels")
    for kind, gain in gains.items():
        if gain is None:
            continue
        mean, error = gain
        what = "the longer response" if kind == "longer" else "the response that was shown first"
        text.append(f"pieces of ids add {mean * 100:+.1f} points to predicting who chooses {what}")
        if mean - 3 * error > _GAIN:
            found.append(f"the pieces that ids are made of tell whether other ids choose {what}")
    told = f"{'; '.join(text)}."
    return Check.of(name, bool(found), f"{'; '.join(found).capitalize()}: {told}" if found else told, numbers)


def _gain(votes: Sequence[Comparison], kind: str) -> tuple[float, float] | None:
    """What the pieces of an id add to the accuracy of predicting its votes from all *other* ids: mean over ids, and
    its standard error. None with fewer than 20 ids. Ids that are mere names add nothing."""
    means = _leanings(votes, kind)
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


def _leanings(votes: Sequence[Comparison], kind: str) -> dict[str, float]:
    """Each id's mean direction, from -1 to 1: towards the longer response, or the one shown first."""
    own: defaultdict[str, list[int]] = defaultdict(list)
    for c in votes:
        if kind == "longer":
            side = int(np.sign(len(c.chosen) - len(c.rejected)))
        else:
            side = {"chosen": 1, "rejected": -1, None: 0}[c.first_shown]
        if side:
            own[str(c.user)].append(side)
    return {user: sum(sides) / len(sides) for user, sides in own.items()}


def _pieces(user: str) -> set[str]:
    """Runs of letters and runs of digits."""
    return set(re.findall(r"[^\W\d_]+|\d+", user.casefold()))


def _in_texts(votes: Sequence[Comparison]) -> Check:
    """An id that stands in the chosen response only, as the name of who wrote it would."""
    name = "ids in the responses"
    if not votes:
        return Check.missing(name, "no vote has a user")
    only: Counter[bool] = Counter()
    users = set()
    for c in votes:
        chosen, rejected = _says(c.chosen, str(c.user)), _says(c.rejected, str(c.user))
        if chosen != rejected:
            only[chosen] += 1
            users.add(c.user)
    count, in_chosen = only.total(), only[True]
    text = (
        f"In {count:,} of {len(votes):,} votes the id stands in one of the two responses, the chosen in {in_chosen:,}."
    )
    far = count > 0 and abs(in_chosen / count - 0.5) - 1.96 * 0.5 / math.sqrt(count) > _GAIN
    found = far and len(users) >= 5 and count >= 0.01 * len(votes)
    return Check.of(name, found, text, {"votes": len(votes), "one_response": count, "chosen": in_chosen})


def _says(text: str, user: str) -> bool:
    """Whether a text has the id as a word of its own; ids of one or two characters are everywhere."""
    if len(user) < 3 or user.casefold() not in text.casefold():
        return False
    return re.search(rf"(?<!\w){re.escape(user)}(?!\w)", text, re.IGNORECASE) is not None
