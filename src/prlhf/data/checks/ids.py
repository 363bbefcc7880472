"""User ids that say more than who voted: an id is the name of a person, and must not depend on how the vote went.

A user table turns every id into parameters of its own. Where an id is made from the outcome (one for each vote, one for
each side that was chosen), those parameters hold the answer and no taste.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from prlhf.data.checks.check import Check
from prlhf.data.checks.id_names import check_id_names
from prlhf.data.checks.id_texts import check_id_texts
from prlhf.data.items import parted
from prlhf.data.log import decided
from prlhf.types import Comparison, Feedback, Thumb

__all__ = ["check_ids", "check_thumbs", "one_sided"]

_IDS = 20  # fewer ids say nothing about how ids are made
_SINGLE = 0.9  # share of ids with one vote from which ids name votes
_PLACED = 20
_PLACE = 0.9  # share of votes for one place that is no taste any more
_STEADY = 8  # votes of a user that all went to one place: by chance 1 of 128
_STEADY_SHARE = 0.05


def check_ids(items: Sequence[Feedback]) -> list[Check]:
    """Four checks: one vote an id, ids of one place, ids that tell the vote, ids that stand in the responses. Where
    there are thumbs a fifth: ids whose thumbs are all the same."""
    named = [item for item in items if decided(item) and item.user is not None]
    votes, thumbs = parted(named)
    found = [_single(named), _place(votes), check_id_names(named), check_id_texts(named)]
    return [*found, check_thumbs(thumbs)] if parted(items)[1] else found


def check_thumbs(thumbs: Sequence[Thumb]) -> Check:
    """Ids whose thumbs are all up or all down."""
    name = "ids and the thumbs"
    named = [t for t in thumbs if t.user is not None]
    if not named:
        return Check.missing(name, "no thumb has an id")
    return one_sided(name, [str(t.user) for t in named], [t.up for t in named], ("up", "down"), "thumbs")


def _single(named: Sequence[Feedback]) -> Check:
    """Ids that are made anew for each vote name votes, not people; each row would learn its own label by heart."""
    name = "one vote an id"
    counts = Counter(item.user for item in named)
    if len(counts) < _IDS:
        return Check.missing(name, f"{len(counts):,} ids are too few to tell; it takes {_IDS}")
    single = sum(n == 1 for n in counts.values())
    share = single / len(counts)
    text = f"{single:,} of {len(counts):,} ids ({share:.1%}) have a single {_kind(named)}."
    if share >= _SINGLE:
        text += (
            f" They may name {_kind(named)}s and not people: nothing about a user can be learnt, and none be tested."
        )
    return Check.of(name, share >= _SINGLE, text, {"ids": len(counts), "single": single, "share": share})


def _kind(items: Sequence[Feedback]) -> str:
    """What one of them is."""
    kinds = {"thumb" if isinstance(item, Thumb) else "vote" for item in items}
    return " or ".join(sorted(kinds, reverse=True))


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
    return one_sided(name, [str(c.user) for c in placed], first, ("first", "second"), "placed votes")


def one_sided(
    name: str, users: Iterable[str], labels: Sequence[bool], sides: tuple[str, str], what: str = "votes"
) -> Check:
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
        return Check.missing(name, f"no id has {_STEADY} {what}")
    found = steady > expected + 3 * math.sqrt(expected) + 1 and steady > _STEADY_SHARE * len(busy)
    text = (
        f"{steady:,} of {len(busy):,} ids with {_STEADY} {what} or more have all of them on one side "
        f"({' or '.join(sides)}); by chance it would be {expected:.1f}."
    )
    if found:
        text += " Such an id tells the label whatever the responses are."
    return Check.of(name, found, text, {"ids": len(busy), "one_sided": steady, "expected": expected, "share": p})
