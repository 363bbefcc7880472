"""The exact judge: reads the three levels from a text by rule, and says what a text is worth to a user."""

from __future__ import annotations

import re
from functools import cache

from prlhf.data.planted.grammar import SLOTS, Levels
from prlhf.data.planted.profiles import PlantedUser

__all__ = ["MAX_WORDS", "NOT_AN_ANSWER", "is_answer", "read_levels", "utility"]

NOT_AN_ANSWER = -2.0
"""Utility of a text that is no answer; the worst answer has -1, the best 1."""

MAX_WORDS = 50
"""A longer text is rambling, no answer; the longest of the grammar has 40 words."""


@cache
def _pattern(name: str) -> re.Pattern[str]:
    sides = SLOTS[name].high, SLOTS[name].low
    high, low = ("|".join(re.escape(phrase.lower().rstrip("!.")) for phrase in side) for side in sides)
    return re.compile(rf"\b(?:(?P<high>{high})|(?P<low>{low or '(?!)'}))\b")


def _read(text: str) -> dict[str, bool]:
    """Slot name -> is it high, for the slots that `text` fills; the first phrase found in a slot counts."""
    flat = " ".join(text.lower().split())
    found = ((name, _pattern(name).search(flat)) for name in SLOTS)
    return {name: match["high"] is not None for name, match in found if match}


def read_levels(text: str) -> Levels:
    """The levels of `text` on (expertise, informativeness, style), each 0..4: its slots filled with a high phrase.

    Exact for texts of the grammar. In any other text a slot is high only where one of its high phrases is found
    (the first phrase of the slot counts, repetition adds nothing); a missing one counts as low. Whether the text is
    an answer at all is `is_answer`'s to say.
    """
    levels = [0, 0, 0]
    for name, high in _read(text).items():
        levels[SLOTS[name].axis] += high
    return levels[0], levels[1], levels[2]


def is_answer(text: str) -> bool:
    """Whether `text` is an answer: at least three of the four slots of expertise and of style filled (with either
    pole), in at most `MAX_WORDS` words. Empty, cut off or rambling texts are none."""
    filled = [SLOTS[name].axis for name in _read(text)]
    return filled.count(0) >= 3 and filled.count(2) >= 3 and len(text.split()) <= MAX_WORDS


def utility(user: PlantedUser, text: str) -> float:
    """`sum_a weight_a (level_a - 2) / 2` in [-1, 1], or `NOT_AN_ANSWER`: worse than any answer for everybody."""
    return user.value(read_levels(text)) if is_answer(text) else NOT_AN_ANSWER
