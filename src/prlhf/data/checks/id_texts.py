"""Ids that stand in the responses, where they say whose answer it is."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Sequence

from prlhf.data.checks.check import Check
from prlhf.data.items import parted
from prlhf.types import Comparison, Feedback, Thumb

__all__ = ["check_id_texts"]

NAME = "ids in the responses"
_GAIN = 0.1
_USERS = 5
_SHARE = 0.01


def check_id_texts(items: Sequence[Feedback]) -> Check:
    """An id that stands in the chosen response only, or in what has a thumb up, as the name of who wrote it would.

    `items` have a user each.
    """
    votes, thumbs = parted(items)
    found = _in_votes(votes)
    return found.beside(thumbs=_in_thumbs(thumbs)) if thumbs else found


def _in_votes(votes: Sequence[Comparison]) -> Check:
    if not votes:
        return Check.missing(NAME, "no vote has a user")
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
    found = _far(in_chosen, count, 0.5) and _common(users, count, votes)
    return Check.of(NAME, found, text, {"votes": len(votes), "one_response": count, "chosen": in_chosen})


def _in_thumbs(thumbs: Sequence[Thumb]) -> Check:
    """Beside the share of thumbs up among all others."""
    said = [t for t in thumbs if _says(t.response, str(t.user))]
    ups = sum(t.up for t in said)
    others = (sum(t.up for t in thumbs) - ups) / max(len(thumbs) - len(said), 1)
    text = (
        f"In {len(said):,} of {len(thumbs):,} thumbs the id stands in the response, {ups:,} of them are up; of the "
        f"others {others:.1%} are."
    )
    found = (
        len(said) < len(thumbs) and _far(ups, len(said), others) and _common({t.user for t in said}, len(said), thumbs)
    )
    return Check.of(NAME, found, text, {"thumbs": len(thumbs), "said": len(said), "up": ups, "others": others})


def _far(count: int, of: int, chance: float) -> bool:
    """Whether a share is away from chance by more than 10 points, its interval of 95 % included."""
    return of > 0 and abs(count / of - chance) - 1.96 * math.sqrt(chance * (1 - chance) / of) > _GAIN


def _common(users: Collection[str | None], count: int, items: Sequence[Feedback]) -> bool:
    """Whether it is more than a chance meeting of one or two users."""
    return len(users) >= _USERS and count >= _SHARE * len(items)


def _says(text: str, user: str) -> bool:
    """Whether a text has the id as a word of its own; ids of one or two characters are everywhere."""
    if len(user) < 3 or user.casefold() not in text.casefold():
        return False
    return re.search(rf"(?<!\w){re.escape(user)}(?!\w)", text, re.IGNORECASE) is not None
