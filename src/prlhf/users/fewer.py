"""Refusing to put a row that rests on fewer votes in the place of one that rests on more."""

from __future__ import annotations

from collections.abc import Iterable

from prlhf.errors import ConfigError
from prlhf.words import counted, some

__all__ = ["refuse_fewer"]


def refuse_fewer(names: Iterable[str], votes: Iterable[int], before: Iterable[int], also: str = "") -> None:
    """Nothing where nobody would be known by fewer votes than now.

    Args:
        votes: what the new row of each rests on.
        before: what their present one does; 0 for who is unknown.
        also: another way to give the earlier votes.

    Raises:
        ConfigError: somebody would.
    """
    told = [
        f"{name} (known by {counted(int(there), 'vote')}, now given {given:,})"
        for name, given, there in zip(names, votes, before, strict=True)
        if given < there
    ]
    if told:
        raise ConfigError(
            f"{some(told)}: a state rests on the votes given alone, so what the model knows would be lost; nothing was "
            f"kept. Give the earlier votes too{also}, or say --replace to have the new ones alone count"
        )
