"""What `prlhf sft` learns from: prompt/completion rows of a file, chosen responses of a log, or the planted texts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from prlhf.config.data import DataConfig, SplitConfig
from prlhf.config.sft import Responses
from prlhf.data import Log, load_comparisons, split, subsample
from prlhf.data.fields import BadField, Interner, parse_cell
from prlhf.data.readers import FORMATS, RawRow, open_table
from prlhf.errors import ConfigError, DataError
from prlhf.types import Prompt, prompt_text

__all__ = ["SftRow", "load_rows"]

logger = logging.getLogger(__name__)
_FIELDS = ("prompt", "completion")
_LISTED = 5


@dataclass(frozen=True, slots=True)
class SftRow:
    """A prompt, the completion to learn, and the text about the user where the prompt has one."""

    prompt: Prompt
    completion: str
    user_text: str | None = None

    @property
    def text(self) -> str:
        """All of it as one text, for the tokenizer's training."""
        return "\n\n".join(filter(None, (self.user_text, prompt_text(self.prompt), self.completion)))


def load_rows(config: DataConfig, responses: Responses = "chosen", seed: int = 0) -> list[SftRow]:
    """The rows of `config`, at most `max_comparisons` of them (a sample by `seed`, in their order).

    Bad rows that are skipped, and split options that change nothing, are logged.

    Raises:
        ConfigError: an option that the source does not have.
        DataError: a row that cannot be read (named by file, row and field), or no rows at all.
    """
    rows = list(_rows(config, responses))
    if not rows:
        raise DataError(f"{config.source}: no rows to learn from")
    return [rows[i] for i in subsample(range(len(rows)), config.max_comparisons, seed)]


def _rows(config: DataConfig, responses: Responses) -> Iterator[SftRow]:
    if config.source == "planted":
        _warn_split(config)
        yield from _planted(config.options)
        return
    file = Path(config.source).expanduser()
    if file.is_file() and file.suffix.lower() in FORMATS:
        table = open_table(file)
        first = next(table.rows, None)
        if first and isinstance(first[1], dict) and config.columns.get("completion", "completion") in first[1]:
            _warn_split(config)
            yield from _completions(chain([first], table.rows), table.name, table.cells, config)
            return
    yield from _chosen(config) if responses == "chosen" else _every(config)


def _warn_split(config: DataConfig) -> None:
    if config.split != SplitConfig():
        logger.warning("%s: these rows have no held-out side; the options data.split.* change nothing", config.source)


def _load(config: DataConfig) -> Log:
    log = load_comparisons(config)
    logger.log(logging.WARNING if log.notes.skipped else logging.INFO, "%s", log.notes.text())
    return log


def _planted(options: dict[str, Any]) -> Iterator[SftRow]:
    from prlhf.data.planted import sft_rows

    unknown = [name for name in options if name not in ("rows", "seed", "profiles")]
    if unknown:
        raise ConfigError(f"data.options: the planted texts have rows, seed and profiles; found {unknown[0]!r}")
    return (SftRow(**row) for row in sft_rows(**options))


def _chosen(config: DataConfig) -> Iterator[SftRow]:
    """Chosen responses of the training side (what is held out from the votes is held out here), each one once."""
    log = _load(config)
    train = (log.comparisons[i] for i in split(log, config.split).train)
    return iter(dict.fromkeys(SftRow(c.prompt, c.chosen, c.user_text) for c in train))


def _every(config: DataConfig) -> Iterator[SftRow]:
    """Every response of the log once, of all sides. The rows are the same whichever of a pair was chosen: no vote and
    nothing about a user is in them, so they may be learned before any split of the votes."""
    pairs = ((c.prompt, sorted((c.chosen, c.rejected))) for c in _load(config).comparisons)
    return iter(dict.fromkeys(SftRow(prompt, text) for prompt, texts in pairs for text in texts if text.strip()))


def _completions(rows: Iterator[RawRow], name: str, cells: bool, config: DataConfig) -> Iterator[SftRow]:
    unknown = [ours for ours in config.columns if ours not in _FIELDS]
    if unknown:
        raise ConfigError(f"data.columns: of prompt/completion rows only these have names; found {unknown[0]!r}")
    texts, bad = Interner(), []
    for number, raw in rows:
        try:
            if isinstance(raw, str):
                raise DataError(f"{name}, row {number}: {raw}")
            try:
                prompt, completion = (_value(raw.get(config.columns.get(f, f)), f, cells, texts) for f in _FIELDS)
            except BadField as e:
                raise DataError(f"{name}, row {number}, {e}") from e
        except DataError as e:
            if config.on_bad_row == "stop":
                raise
            bad.append(str(e))
            continue
        yield SftRow(prompt, completion if isinstance(completion, str) else completion[-1].content)
    if bad:
        listed = [*bad[:_LISTED], *([f"and {len(bad) - _LISTED:,} more"] if len(bad) > _LISTED else [])]
        logger.warning("%s bad rows were skipped:\n  %s", f"{len(bad):,}", "\n  ".join(listed))


def _value(value: Any, field: str, cells: bool, texts: Interner) -> Prompt:
    """A text, or messages (of a completion the last one counts)."""
    if cells and isinstance(value, str):
        value = parse_cell("prompt", value)
    return texts.text(field, value, empty=field == "prompt") if isinstance(value, str) else texts.messages(field, value)
