"""Places that a command is told to write to, looked at before the work and not after it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["check_new_folder", "check_places"]


def check_places(
    files: Mapping[str, Path | None], read: Mapping[str, str | Path | Sequence[str] | None] | None = None
) -> None:
    """Make the folders of the files to write; say now rather than after the work where that cannot be.

    Args:
        files: option -> file, or None where the option was not given.
        read: the same of what the command reads (a file, several, or sources that are none).

    Raises:
        ConfigError: a folder in the place of a file, a place that cannot be written, or what is read; names the option.
    """
    from prlhf.errors import ConfigError

    for option, path in files.items():
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise ConfigError(f"{option} {path}: its folder cannot be made: {e.strerror}") from e
        if path.is_dir():
            raise ConfigError(f"{option} {path}: found a folder, expected the name of a file")
        if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
            raise ConfigError(f"{option} {path}: no permission to write there")
        for other, given in (read or {}).items():
            if path.exists() and any(_same(path, source) for source in _each(given)):
                raise ConfigError(f"{option} {path}: that is what {other} reads; write to another file")


def _each(given: str | Path | Sequence[str] | None) -> Sequence[str | Path]:
    return [given] if isinstance(given, str | Path) else given or []


def _same(path: Path, source: str | Path) -> bool:
    """Whether a source is this file, by whatever name."""
    place = Path(source).expanduser()
    return place.exists() and path.samefile(place)


def check_new_folder(option: str, folder: Path) -> None:
    """Say now rather than after the work that a new folder cannot be made.

    Raises:
        ConfigError: something of that name exists, or its parent cannot be written; names the option.
    """
    from prlhf.errors import ConfigError

    if os.path.lexists(folder):
        raise ConfigError(f"{option} {folder} exists, and nothing is overwritten; choose another folder, or delete it")
    check_places({option: folder})
