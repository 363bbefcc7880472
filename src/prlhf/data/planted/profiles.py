"""Hidden profiles in the style of P-SOUPS: half the users care for one axis, half for a weighted mixture of three."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from prlhf.data.planted.draw import Draw
from prlhf.data.planted.grammar import AXES, LEVELS, Levels

__all__ = ["MAJORITY", "MINORITY_SHARE", "PlantedUser", "mixture_weights", "population", "profile_text"]

MAJORITY = (-1, 1, 1)
"""The direction that most users want: elementary words, complete answers, a friendly tone."""

MINORITY_SHARE = 0.3
LEAST_PERCENT = 15
"""No axis of a mixture weighs less."""

_POLES = (("simple words", "expert words"), ("short answers", "full answers"), ("a rude tone", "a friendly tone"))
_NAMES = (("P1A", "P1B"), ("P2A", "P2B"), ("P3B", "P3A"))  # P-SOUPS counts friendly as 3A


@dataclass(frozen=True)
class PlantedUser:
    """A user with a hidden profile: signed whole percents on `AXES` whose absolute values add up to 100."""

    id: str
    percents: tuple[int, int, int]

    @property
    def profile(self) -> tuple[float, float, float]:
        """Signed weights on `AXES`, L1 norm 1."""
        e, i, s = self.percents
        return e / 100, i / 100, s / 100

    @property
    def kind(self) -> Literal["single", "mixture"]:
        return "single" if self.percents.count(0) == 2 else "mixture"

    @property
    def name(self) -> str:
        """`P1A` .. `P3B` for a single axis (the names of P-SOUPS), else `mixture`."""
        if self.kind == "mixture":
            return "mixture"
        axis = next(a for a in range(len(AXES)) if self.percents[a])
        return _NAMES[axis][self.percents[axis] > 0]

    @property
    def group(self) -> Literal["majority", "minority"]:
        """Whether the profile as a whole points the way that most users want."""
        return "minority" if sum(p * m for p, m in zip(self.percents, MAJORITY, strict=True)) < 0 else "majority"

    @property
    def text(self) -> str:
        """The profile in words, for an oracle that is told it."""
        return profile_text(self, self.axes)

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes that the user cares for, the heaviest first."""
        return tuple(sorted((a for a in range(len(AXES)) if self.percents[a]), key=lambda a: -abs(self.percents[a])))

    def half_text(self, first: bool) -> str | None:
        """Half of the profile in words: of a mixture its heaviest axis (`first`) or the other two; of a single axis all
        of it (`first`) or nothing."""
        axes = self.axes[:1] if first else self.axes[1:]
        return profile_text(self, axes) if axes else None

    def value(self, levels: Levels) -> float:
        """`sum_a weight_a (level_a - 2) / 2`; from whole numbers, so that equal values are equal."""
        return sum(p * (level - 2) for p, level in zip(self.percents, levels, strict=True)) / 200

    @property
    def median(self) -> float:
        """The median value of all answers, which have every triple of levels equally often."""
        return statistics.median(self.value((e, i, s)) for e, i, s in product(range(LEVELS), repeat=3))


def profile_text(user: PlantedUser, axes: Sequence[int]) -> str:
    """What the user wants of `axes`, in words: `I strongly want short answers and slightly want a rude tone.`"""
    wishes = (f"{_how_much(abs(user.percents[a]))} want {_POLES[a][user.percents[a] > 0]}" for a in axes)
    return f"I {' and '.join(wishes)}."


def _how_much(percent: int) -> str:
    if percent == 100:
        return "only"
    return "strongly" if percent >= 50 else "clearly" if percent >= 30 else "slightly"


def mixture_weights(draw: Draw) -> tuple[int, int, int]:
    """Unsigned percents, uniform over the triples that add up to 100 with none below `LEAST_PERCENT`."""
    free = 100 - 3 * LEAST_PERCENT
    low, high = sorted((draw.below(free + 1), draw.below(free + 1)))
    return LEAST_PERCENT + low, LEAST_PERCENT + high - low, LEAST_PERCENT + free - high


def _signs(count: int, axis: int, draw: Draw) -> list[int]:
    """`count` signs in random order, `MINORITY_SHARE` of them (rounded) against the majority."""
    against = round(MINORITY_SHARE * count)
    return draw.shuffled([-MAJORITY[axis]] * against + [MAJORITY[axis]] * (count - against))


def population(users: int, seed: int) -> tuple[PlantedUser, ...]:
    """`users` users: half single-axis (a third for each axis), half mixtures; each axis split 70/30, in random order.

    The shares are exact where they are whole numbers of users (60: per axis 7 + 3 single and 21 + 9 mixtures).
    """
    draw = Draw(seed, "users")
    single = users // 2
    profiles: list[tuple[int, int, int]] = []
    for axis in range(len(AXES)):
        count = single // 3 + (axis < single % 3)
        for sign in _signs(count, axis, draw):
            e, i, s = (100 * sign if a == axis else 0 for a in range(len(AXES)))
            profiles.append((e, i, s))
    columns = [_signs(users - single, axis, draw) for axis in range(len(AXES))]
    for signs in zip(*columns, strict=True):
        e, i, s = (w * sign for w, sign in zip(mixture_weights(draw), signs, strict=True))
        profiles.append((e, i, s))
    width = max(2, len(str(users)))
    return tuple(PlantedUser(f"user-{n:0{width}}", p) for n, p in enumerate(draw.shuffled(profiles), start=1))
