"""Small models inside the package, by name."""

from __future__ import annotations

from pathlib import Path

__all__ = ["bundled_path"]


def bundled_path(name: str) -> Path | None:
    """The folder of the bundled model `name` (`planted`), or None where there is none of that name."""
    folder = Path(__file__).parent / name
    return folder if name.isidentifier() and (folder / "config.json").is_file() else None
