"""The Parquet files inside the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from prlhf.data.columns import COLUMNS
from prlhf.data.items import parted
from prlhf.data.readers import open_table
from prlhf.data.rows import convert
from prlhf.types import Comparison

__all__ = ["bundled"]


def bundled(name: str) -> tuple[Comparison, ...]:
    """All rows of a bundled file, with their row numbers as ids."""
    with resources.as_file(resources.files("prlhf.data").joinpath("bundled", f"{name}.parquet")) as path:
        return tuple(parted(convert(open_table(Path(path), COLUMNS))[0])[0])
