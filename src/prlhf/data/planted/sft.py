"""Training texts of the base model: answers of every kind, and answers that follow a profile in words."""

from __future__ import annotations

from collections.abc import Iterator

from prlhf.data.options import share, whole
from prlhf.data.planted.draw import Draw
from prlhf.data.planted.grammar import AXES, LEVELS, Levels, answer, questions
from prlhf.data.planted.profiles import PlantedUser, mixture_weights

__all__ = ["sft_rows"]

_STRONG = (0.90, 0.08, 0.02)
_SLIGHT = (0.75, 0.17, 0.08)
"""How often the level on a wanted axis is the best, the next and the one after; `_SLIGHT` below 30 percent weight."""


def sft_rows(rows: int = 50_000, seed: int = 0, profiles: float = 0.5) -> Iterator[dict[str, str]]:
    """An iterator over `rows` rows `{"prompt", "completion"}` over all topics.

    A share `profiles` of the prompts begins with a random profile in words and a blank line, and its completion
    follows the profile closely (`PlantedUser.text` of fresh profiles, never of a world's users). The other prompts
    are plain and their completions have independent uniform levels.

    Raises:
        ConfigError: an option of another type or outside its range (at once, not at the first row).
    """
    whole("planted texts", "rows", rows, 0)
    whole("planted texts", "seed", seed)
    share("planted texts", "profiles", profiles, "the share of prompts with a profile")
    return _rows(rows, seed, profiles)


def _rows(rows: int, seed: int, profiles: float) -> Iterator[dict[str, str]]:
    pool = questions()
    draw = Draw(seed, "sft")
    for _ in range(rows):
        question = draw.pick(pool)
        if draw.uniform() < profiles:
            somebody = _somebody(draw)
            prompt, levels = f"{somebody.text}\n\n{question.text}", _wanted(somebody, draw)
        else:
            prompt, levels = question.text, _any(draw)
        yield {"prompt": prompt, "completion": answer(question, levels, draw)}


def _somebody(draw: Draw) -> PlantedUser:
    """Half single-axis, half mixture; any sign is as likely as the other."""
    weights = mixture_weights(draw)
    if draw.uniform() < 0.5:
        axis = draw.below(len(AXES))
        weights = (100 * (axis == 0), 100 * (axis == 1), 100 * (axis == 2))
    e, i, s = (w * draw.pick((-1, 1)) for w in weights)
    return PlantedUser("somebody", (e, i, s))


def _any(draw: Draw) -> Levels:
    e, i, s = (draw.below(LEVELS) for _ in AXES)
    return e, i, s


def _wanted(user: PlantedUser, draw: Draw) -> Levels:
    levels = list(_any(draw))
    for axis, percent in enumerate(user.percents):
        if percent:
            best, next_best, _ = _STRONG if abs(percent) >= 30 else _SLIGHT
            chance = draw.uniform()
            short = 0 if chance < best else 1 if chance < best + next_best else 2
            levels[axis] = LEVELS - 1 - short if percent > 0 else short
    return levels[0], levels[1], levels[2]
