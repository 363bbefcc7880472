"""Side by side: the same question answered for several users, the generic user and the reference."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prlhf.errors import ConfigError
from prlhf.lm.generate import respond
from prlhf.lm.requests import Generation, GenerationOptions, Request
from prlhf.types import Prompt

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["GENERIC", "REFERENCE", "Voice", "side_by_side", "voice", "voices"]


@dataclass(frozen=True, slots=True)
class Voice:
    """Somebody the model can answer as."""

    name: str
    user: str | None = None
    row: int = 0
    known: bool = True
    reference: bool = False

    @property
    def note(self) -> str | None:
        """What must be said before this voice answers."""
        return None if self.known else f"{self.name!r} is not in the user table: the generic user answers"


GENERIC = Voice("generic")
REFERENCE = Voice("reference", row=-1, reference=True)
"""What training started from."""


def voice(lm: PersonalizedLM, name: str | None) -> Voice:
    """The voice behind a name: a user id, else `generic` or `reference`; None is the generic user."""
    row = 0 if name is None else int(lm.users.rows([name])[0])
    if name is None or (name == GENERIC.name and row == 0):
        return GENERIC
    if name == REFERENCE.name and row == 0:
        return REFERENCE
    return Voice(name, name, row, row > 0)


def voices(lm: PersonalizedLM, names: str) -> list[Voice]:
    """The voices of a list with commas between (an id that has a comma stands in double quotes)."""
    found = [name.strip() for name in next(csv.reader([names], skipinitialspace=True), []) if name.strip()]
    if not found:
        raise ConfigError(f"compare: found {names!r}, expected names with commas between, as ann,bob,generic")
    return [voice(lm, name) for name in found]


def side_by_side(
    lm: PersonalizedLM,
    prompts: Sequence[Prompt],
    who: Sequence[Voice],
    options: GenerationOptions,
    *,
    user_text: str | None = None,
    batch_size: int = 16,
) -> list[Generation]:
    """One answer a voice, each to its own prompt (often the same, `[prompt] * len(who)`).

    Sampling draws alike for every voice, so that only the voice makes the difference.
    """
    out: dict[int, Generation] = {}
    for reference in (False, True):
        chosen = [i for i, v in enumerate(who) if v.reference is reference]
        wanted = [Request(prompts[i], who[i].user, who[i].row, who[i].known, user_text) for i in chosen]
        found = respond(lm, wanted, options, batch_size=batch_size, reference=reference) if wanted else []
        out.update(zip(chosen, found, strict=True))
    return [out[i] for i in range(len(who))]
