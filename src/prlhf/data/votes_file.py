"""A file of votes that grows answer by answer: JSON lines that `prlhf train` reads, each on disk at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prlhf.config.data import DataConfig
from prlhf.data.load import load_comparisons
from prlhf.data.log import Log
from prlhf.errors import DataError
from prlhf.types import Comparison

__all__ = ["VotesFile", "as_row"]


class VotesFile:
    """Votes of any number of people in one `.jsonl` file; what is there stays, new ones are appended."""

    def __init__(self, path: str | Path, config: DataConfig | None = None):
        """Open, and make it where it is missing; a last line that was cut off, as by a loss of power, is dropped.

        Args:
            config: how what is there is read; its names of columns are those of new lines too.

        Raises:
            DataError: another ending than .jsonl, or a place that cannot be written.
        """
        self.path = Path(path)
        self._config = DataConfig(source=str(path)) if config is None else config
        self.dropped = ""
        """The line that was cut off."""
        self._added: list[bytes] = []
        if self.path.suffix != ".jsonl":
            raise DataError(f"{path}: found the ending {self.path.suffix!r}, expected .jsonl, which can be appended to")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
            self._mend()
        except OSError as e:
            raise DataError(f"{path}: votes cannot be kept there ({e.strerror}); name another file") from e

    def read(self) -> Log:
        """All that is in it.

        Raises:
            DataError: a row that cannot be read.
        """
        if not self.path.stat().st_size:
            return Log((), str(self.path))
        return load_comparisons(self._config)

    def add(self, vote: Comparison) -> None:
        """Append a vote; it is on disk when this returns."""
        row = json.dumps(as_row(vote, self._config.columns), ensure_ascii=False)
        self._added.append(row.encode("utf8", "surrogatepass") + b"\n")
        with self.path.open("ab") as file:
            file.write(self._added[-1])
            file.flush()
            os.fsync(file.fileno())

    def undo(self) -> None:
        """Take back the last vote that was added through this object; what others added since stays."""
        line, held = self._added.pop(), self.path.read_bytes()
        start = held.rfind(line)
        if start < 0:
            return  # somebody else took it away
        if held.endswith(line):
            os.truncate(self.path, len(held) - len(line))
            return
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}.writing")
        aside.write_bytes(held[:start] + held[start + len(line) :])
        os.replace(aside, self.path)

    def _mend(self) -> None:
        held = self.path.read_bytes()
        if not held or held.endswith(b"\n"):
            return
        start = held.rfind(b"\n") + 1
        try:
            json.loads(held[start:])
        except ValueError:
            self.dropped = held[start:].decode("utf8", "replace")
            os.truncate(self.path, start)
        else:
            with self.path.open("ab") as file:
                file.write(b"\n")


def as_row(vote: Comparison, columns: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The columns of docs/data.md, without those that say nothing; of other names where `columns` says so."""
    prompt: str | Sequence[Any] = vote.prompt if isinstance(vote.prompt, str) else [asdict(m) for m in vote.prompt]
    row: dict[str, Any] = {"prompt": prompt, "chosen": vote.chosen, "rejected": vote.rejected, "user_id": vote.user}
    more = {
        "user_text": vote.user_text,
        "weight": None if vote.weight == 1 else vote.weight,
        "timestamp": None if vote.timestamp is None else vote.timestamp.isoformat(),
        "tie": vote.tie or None,
        "first_shown": vote.first_shown,
        "group": vote.group,
    }
    row |= {name: value for name, value in more.items() if value is not None}
    return {(columns or {}).get(name, name): value for name, value in row.items()}
