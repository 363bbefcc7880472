"""What `prlhf sft` learns from: prompt/completion rows of a file, chosen responses of a log, or the planted texts."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prlhf.config.data import DataConfig
from prlhf.errors import ConfigError, DataError
from prlhf.types import Message, Prompt, prompt_text

__all__ = ["SftRow", "load_rows"]


@dataclass(frozen=True, slots=True)
class SftRow:
    """A prompt and the completion to learn."""

    prompt: Prompt
    completion: str

    @property
    def text(self) -> str:
        """Both as one text, for the tokenizer's training."""
        return f"{prompt_text(self.prompt)}\n\n{self.completion}"


def load_rows(config: DataConfig) -> list[SftRow]:
    """The rows of `config`, at most `max_comparisons` of them (the first).

    Raises:
        DataError: a row without prompt or completion (named by file and row), or no rows at all.
    """
    file = Path(config.source)
    if config.source == "planted":
        rows = _planted(config.options)
    elif file.is_file() and "completion" in _columns(file, config):
        rows = list(_file(file, config))
    else:
        rows = _chosen(config)
    if not rows:
        raise DataError(f"{config.source}: no rows to learn from")
    return rows[: config.max_comparisons]


def _planted(options: dict[str, Any]) -> list[SftRow]:
    from prlhf.data.planted import sft_rows

    try:
        return [SftRow(**row) for row in sft_rows(**options)]
    except TypeError as e:
        raise ConfigError(f"data.options of planted texts are rows, seed and profiles; found {options}") from e


def _chosen(config: DataConfig) -> list[SftRow]:
    """Chosen responses of the training side: what is held out from the votes is held out here."""
    from prlhf.data import load_comparisons, split

    log = load_comparisons(config)
    rows = []
    for index in split(log, config.split).train:
        c = log.comparisons[index]
        prompt = f"{c.user_text}\n\n{c.prompt}" if c.user_text and isinstance(c.prompt, str) else c.prompt
        rows.append(SftRow(prompt, c.chosen))
    return list(dict.fromkeys(rows))  # several users may have chosen the same response


def _records(file: Path) -> Iterator[dict[str, Any]]:
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        yield from pq.read_table(file).to_pylist()
        return
    with file.open(encoding="utf8", newline="") as stream:
        if file.suffix == ".csv":
            yield from csv.DictReader(stream)
        elif file.suffix == ".json":
            yield from json.load(stream)
        else:
            yield from (json.loads(line) for line in stream if line.strip())


def _columns(file: Path, config: DataConfig) -> set[str]:
    """Our names of the first row's columns."""
    theirs = {name: ours for ours, name in config.columns.items()}
    try:
        first = next(_records(file), {})
    except (ValueError, OSError) as e:
        raise DataError(f"{file}, row 1: cannot be read as {file.suffix or 'JSONL'}: {e}") from e
    return {theirs.get(name, name) for name in first} if isinstance(first, dict) else set()


def _file(file: Path, config: DataConfig) -> Iterator[SftRow]:
    names = [config.columns.get(name, name) for name in ("prompt", "completion")]
    number = 0
    try:
        for number, record in enumerate(_records(file), start=1):
            prompt, completion = (_value(record, name, file, number) for name in names)
            yield SftRow(_prompt(prompt), _completion(completion))
    except json.JSONDecodeError as e:
        raise DataError(f"{file}, row {number + 1}: not JSON: {e}") from e


def _value(record: dict[str, Any], name: str, file: Path, number: int) -> Any:
    value = record.get(name)
    if isinstance(value, str) or (isinstance(value, list) and value and all(isinstance(m, dict) for m in value)):
        return value
    raise DataError(f"{file}, row {number}, field {name}: found {value!r}, expected a text or a list of messages")


def _prompt(value: str | list[dict[str, str]]) -> Prompt:
    return value if isinstance(value, str) else tuple(Message(m["role"], m["content"]) for m in value)


def _completion(value: str | list[dict[str, str]]) -> str:
    return value if isinstance(value, str) else value[-1]["content"]
