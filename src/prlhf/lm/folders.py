"""Folders of models and files in them: written aside and renamed, whole or not there at all; and the JSON in them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prlhf.errors import CheckpointError

__all__ = ["aside_name", "new_folder", "read_object", "refuse_existing", "write_text"]


def refuse_existing(folder: Path) -> None:
    """Raise CheckpointError where something stands in the place of a new folder."""
    if os.path.lexists(folder):
        raise CheckpointError(f"{folder} exists, and nothing is overwritten; choose another folder, or delete it")


def read_object(path: Path) -> dict[str, Any]:
    """An object of JSON; an empty one where there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def aside_name(name: str) -> str:
    """What something is called while it is written."""
    return f".{name}.writing"


def write_text(path: Path, text: str) -> None:
    """Write a file aside, then rename it: half of it is never read."""
    aside = path.with_name(aside_name(path.name))
    aside.write_text(text, encoding="utf8")
    os.replace(aside, path)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write into, which takes its name at the end; where that fails nothing is left.

    Raises:
        CheckpointError: something of that name exists, or nothing can be written there.
    """
    refuse_existing(folder)
    aside = folder.with_name(aside_name(folder.name))
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
    except OSError as e:
        raise CheckpointError(f"{folder} cannot be written: {e.strerror}") from e
    try:
        yield aside
        refuse_existing(folder)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
