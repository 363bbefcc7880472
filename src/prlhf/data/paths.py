"""Names that can be a path or a hub id: whether one of nothing here was meant as a path, and as which."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

__all__ = ["is_hub_id", "mistyped"]


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form of a name on the hub, `owner/name`."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None


def mistyped(name: str, *, bare: bool = False) -> str | None:
    """Of a `name` of nothing here that is meant as a path: which may be meant, for the end of a sentence, or nothing.

    None where it is to be looked for on the hub: it has the form of a hub id (with `bare` the owner may be missing, as
    of old models), and nothing of nearly its name, with the same numbers, stands in its place.
    """
    near = _near(Path(name).expanduser())
    hint = f"; did you mean {near}?" if near else ""
    if is_hub_id(name):
        return hint if near and re.findall(r"\d+", str(near)) == re.findall(r"\d+", name) else None
    return None if bare and is_hub_id(f"owner/{name}") else hint


def _near(path: Path) -> Path | None:
    """The path that is there if the first part that is not is replaced by the name most like it."""
    lost = path
    while not lost.parent.exists():
        lost = lost.parent
    try:
        names = [found.name for found in lost.parent.iterdir()]
    except OSError:
        return None
    for name in difflib.get_close_matches(lost.name, names, n=3, cutoff=0.75):
        found = lost.parent / name / path.relative_to(lost)
        if found.exists():
            return found
    return None
