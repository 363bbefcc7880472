"""The folder that a large source is converted into, part by part, so that a killed conversion goes on.

A part is an Arrow file of its items, their `FACT` rows, and last, as JSON, where the reading of the source stood after
it: a part without that does not exist.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prlhf.data.cache import aside
from prlhf.data.facts import Facts
from prlhf.types import Feedback

if TYPE_CHECKING:
    from prlhf.data.stored import Stored

__all__ = ["CHARACTERS", "PART", "Parts"]

logger = logging.getLogger(__name__)
_COMPLETE = "complete.json"
PART = 65_536
"""Items of a part: what a kill loses at most, and up to where a log is simply held in memory."""
CHARACTERS = 64_000_000
"""Of their texts, where those are long."""


@dataclass(frozen=True)
class Parts:
    """The parts in a folder, which need not exist."""

    folder: Path

    def _path(self, number: int, kind: str) -> Path:
        return self.folder / f"{number:05d}.{kind}"

    def __len__(self) -> int:
        """How many there are, from the first on without a gap."""
        number = 0
        while self._path(number, "json").exists():
            number += 1
        return number

    def add(self, number: int, items: Sequence[Feedback], state: dict[str, Any]) -> None:
        """Write a part, and where its source stood after it."""
        from prlhf.data.stored import write

        with aside(self._path(number, "arrow")) as place:
            write(place, items)
        with aside(self._path(number, "npy")) as place, place.open("wb") as file:
            np.save(file, Facts.of(items).rows)
        self._tell(self._path(number, "json"), state)

    def close(self, state: dict[str, Any]) -> None:
        """Nothing follows the last part."""
        self._tell(self.folder / _COMPLETE, state)

    def _tell(self, path: Path, state: dict[str, Any]) -> None:
        with aside(path) as place:
            place.write_text(json.dumps(state), encoding="utf8")

    def state(self) -> dict[str, Any] | None:
        """Where the source stood after the last part; None where there is none, or where they are damaged: then they
        are removed."""
        count = len(self)
        if not count:
            return None
        last = self.folder / _COMPLETE
        try:
            stored = self.stored()
            found: dict[str, Any] = json.loads(
                (last if last.exists() else self._path(count - 1, "json")).read_text(encoding="utf8")
            )
            if (found["part"], found["written"]) != (count, len(stored)):
                raise ValueError("parts are missing")
            return found
        except (OSError, ValueError, EOFError, KeyError):  # what Arrow, NumPy and json raise
            logger.warning("%s is damaged and will be made again", self.folder)
            self._remove()
            return None

    def _remove(self) -> None:
        """Away with all of it at once, since others may be reading it."""
        gone = self.folder.with_name(f".{self.folder.name}.{os.getpid()}.damaged")
        with suppress(FileNotFoundError):  # another process was first
            self.folder.rename(gone)
            shutil.rmtree(gone)

    def stored(self) -> Stored:
        """Everything that was written."""
        from prlhf.data.stored import Stored, table_of

        numbers = range(len(self))
        rows = [np.load(self._path(number, "npy"), mmap_mode="r") for number in numbers]
        return Stored([table_of(self._path(number, "arrow")) for number in numbers], rows)
