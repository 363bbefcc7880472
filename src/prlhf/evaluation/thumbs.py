"""Thumbs as something that can be measured: a response that a user liked beside one that the same user disliked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from prlhf.data.thumb_pairs import pairs_within
from prlhf.types import Thumb

__all__ = ["MEANING", "ThumbPair", "one_sided", "thumb_pairs"]

MEANING = "Measured on pairs of a response that a user liked and one that they disliked, mostly to different prompts."
"""What a comparison is where there are only thumbs."""


@dataclass(frozen=True, slots=True)
class ThumbPair:
    """A response that `user` liked and one that they disliked, mostly to different prompts."""

    up: Thumb
    down: Thumb

    @property
    def user(self) -> str | None:
        """Whose both are."""
        return self.up.user

    @property
    def group(self) -> str | None:
        """Of the user."""
        return self.up.group

    @property
    def weight(self) -> float:
        """The product of both."""
        return self.up.weight * self.down.weight

    @property
    def id(self) -> str:
        """Both of theirs."""
        return f"{self.up.id} over {self.down.id}"

    @property
    def chosen(self) -> str:
        """The liked response."""
        return self.up.response

    @property
    def rejected(self) -> str:
        """The disliked one."""
        return self.down.response


def thumb_pairs(thumbs: Sequence[Thumb], seed: int = 0) -> list[tuple[int, int]]:
    """Indices (up, down) of pairs within each user, drawn by `seed`: of the kind that a user has more of every thumb is
    in one pair, of the other kind all are in equally many, but for one.

    The share of pairs that a model ranks rightly is an estimate of the area under its ROC curve, user by user. Thumbs
    without a user are paired with each other.
    """
    return pairs_within(thumbs, [(t.user is not None, t.user or "") for t in thumbs], seed)


def one_sided(thumbs: Sequence[Thumb]) -> str:
    """A sentence about the users who have thumbs of one kind only, so that nothing of them can be measured; empty where
    there are none."""
    sides = _sides(thumbs)
    alone = [user for user, (ups, downs) in sides.items() if not (ups and downs)]
    if not alone:
        return ""
    lost = sum(len(side) for user in alone for side in sides[user])
    return (
        f"{len(alone):,} of {len(sides):,} users have only thumbs up or only thumbs down here ({lost:,} thumbs): "
        "nothing that they liked can be compared with something that they did not, so they are not measured."
    )


def _sides(thumbs: Sequence[Thumb]) -> dict[str | None, tuple[list[int], list[int]]]:
    """User -> indices of thumbs up, and of thumbs down."""
    sides: dict[str | None, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for i, t in enumerate(thumbs):
        sides[t.user][not t.up].append(i)
    return sides
