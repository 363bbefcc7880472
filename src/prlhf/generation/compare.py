"""Side by side: the same question answered for several users, the generic user and the reference."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from prlhf.errors import ConfigError
from prlhf.lm.generate import respond
from prlhf.lm.requests import AS_IT_COMES, Generation, GenerationOptions, Request, Work
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
    text: str | None = None
    """What the model is told about the user."""

    @property
    def note(self) -> str | None:
        """What must be said before this voice answers."""
        return None if self.known else f"{self.name!r} is not in the user table: the generic user answers"


GENERIC = Voice("generic")
REFERENCE = Voice("reference", row=-1, reference=True)
"""What training started from."""


def voice(lm: PersonalizedLM, name: str | None, text: str | None = None) -> Voice:
    """The voice behind a name: a user id, else `generic` or `reference`; None is the generic user."""
    row = 0 if name is None else int(lm.users.rows([name])[0])
    if name is None or (name == GENERIC.name and row == 0):
        return replace(GENERIC, text=text)
    if name == REFERENCE.name and row == 0:
        return replace(REFERENCE, text=text)
    return Voice(name, name, row, row > 0, text=text)


def voices(lm: PersonalizedLM, names: str, texts: Sequence[str] = ()) -> list[Voice]:
    """The voices of a list with commas between (an id that has a comma stands in double quotes).

    `texts`: what the model is told about the user, one for each of them in their order (an empty one is none), or one
    for all.

    Raises:
        ConfigError: no names, or another number of texts.
    """
    found = [name.strip() for name in next(csv.reader([names], skipinitialspace=True), []) if name.strip()]
    if not found:
        raise ConfigError(f"compare: found {names!r}, expected names with commas between, as ann,bob,generic")
    each = list(texts or [""]) * (len(found) if len(texts) < 2 else 1)
    if len(each) != len(found):
        raise ConfigError(
            f"compare: found {len(each)} texts for {len(found)} names, expected one for each in their order (an empty "
            "one is none), or one for all"
        )
    return [voice(lm, name, text or None) for name, text in zip(found, each, strict=True)]


def side_by_side(
    lm: PersonalizedLM,
    prompts: Sequence[Prompt],
    who: Sequence[Voice],
    options: GenerationOptions,
    *,
    work: Work = AS_IT_COMES,
) -> list[Generation]:
    """One answer a voice, each to its own prompt (often the same, `[prompt] * len(who)`).

    Sampling draws alike for every voice, so that only the voice makes the difference.
    """
    out: dict[int, Generation] = {}
    for reference in (False, True):
        chosen = [i for i, v in enumerate(who) if v.reference is reference]
        wanted = [Request(prompts[i], who[i].user, who[i].row, who[i].known, who[i].text) for i in chosen]
        found = respond(lm, wanted, options, work, reference=reference) if wanted else []
        out.update(zip(chosen, found, strict=True))
    return [out[i] for i in range(len(who))]
