"""What `prlhf sft` learns from: prompt/completion rows of a file, chosen responses of a log, or the planted texts."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from prlhf.config.data import DataConfig, SplitConfig
from prlhf.config.sft import Responses
from prlhf.data import Log, load_comparisons, split, subsample
from prlhf.data.fields import BadRow, Interner, parse_cell
from prlhf.data.load import refuse_reading_options
from prlhf.data.readers import FORMATS, RawRow, open_table
from prlhf.data.rows import SKIP_HINT
from prlhf.errors import ConfigError, DataError
from prlhf.types import Prompt, Thumb, prompt_text

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

    How many there are, what was left out, and split options that change nothing are logged.

    Raises:
        ConfigError: an option that the source does not have.
        DataError: a row that cannot be read (named by file, row and field), or no rows at all.
    """
    rows, left_out = _rows(config, responses)
    if not rows:
        raise DataError(f"{config.source}: no rows to learn from")
    chosen = [rows[i] for i in subsample(range(len(rows)), config.max_comparisons, seed)]
    left_out = {**left_out, "more than data.max_comparisons": len(rows) - len(chosen)}
    told = ", ".join(f"{count:,} {what}" for what, count in left_out.items() if count)
    logger.info("%s: %s texts to learn from; left out: %s", config.source, f"{len(chosen):,}", told or "nothing")
    return chosen


def _rows(config: DataConfig, responses: Responses) -> tuple[list[SftRow], dict[str, int]]:
    """The rows of the source, and counted by its name what of it they leave out."""
    if config.source == "planted":
        refuse_reading_options(config)
        _warn_split(config)
        return list(_planted(config.options)), {}
    file = Path(config.source).expanduser()
    if file.is_file() and file.suffix.lower() in FORMATS:
        table = open_table(file)
        first = next(table.rows, None)
        if first and isinstance(first[1], dict) and _is_completion(first[1], config.columns):
            _warn_split(config)
            return _completions(chain([first], table.rows), table.name, table.cells, config)
    return _chosen(config) if responses == "chosen" else _every(config)


def _is_completion(row: dict[str, Any], columns: Mapping[str, str]) -> bool:
    """Whether a row is one to learn from as it is: with a label it is a thumb, up or down."""
    return columns.get("completion", "completion") in row and columns.get("label", "label") not in row


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


def _chosen(config: DataConfig) -> tuple[list[SftRow], dict[str, int]]:
    """Chosen and liked responses of the training side (what is held out from the votes is held out here), each once."""
    log = _load(config)
    sides = split(log, config.split)
    train = log.pick(sides.train)
    good = [item for item in train if not isinstance(item, Thumb) or item.up]
    rows = list(dict.fromkeys(SftRow(item.prompt, item.responses[0], item.user_text) for item in good))
    held_out = sum(len(side) for name, side in sides.sides().items() if name != "train")
    others = len(log) - len(train) - held_out
    left_out = {"held-out comparisons": held_out, "ties or with an empty or equal response": others}
    return rows, {**left_out, "thumbs down": len(train) - len(good), "duplicates": len(good) - len(rows)}


def _every(config: DataConfig) -> tuple[list[SftRow], dict[str, int]]:
    """Every response of the log once, of all sides. The rows are the same whichever of a pair was chosen: no vote and
    nothing about a user is in them, so they may be learned before any split of the votes."""
    texts = [SftRow(item.prompt, text) for item in _load(config).items for text in sorted(item.responses)]
    full = [row for row in texts if row.completion.strip()]
    rows = list(dict.fromkeys(full))
    return rows, {"empty": len(texts) - len(full), "duplicates": len(full) - len(rows)}


def _completions(
    rows: Iterator[RawRow], name: str, cells: bool, config: DataConfig
) -> tuple[list[SftRow], dict[str, int]]:
    unknown = [ours for ours in config.columns if ours not in _FIELDS]
    if unknown:
        raise ConfigError(f"data.columns: of prompt/completion rows only these have names; found {unknown[0]!r}")
    found, bad, texts = [], [], Interner()
    for number, raw in rows:
        try:
            found.append(_completion(raw, cells, config, texts))
        except BadRow as e:
            message = f"{name}, row {number}: {e.told(config.columns)}"
            if config.on_bad_row == "stop":
                raise DataError(message + SKIP_HINT) from e
            bad.append(message)
    if bad:
        listed = [*bad[:_LISTED], *([f"and {len(bad) - _LISTED:,} more"] if len(bad) > _LISTED else [])]
        logger.warning("%s bad rows were skipped:\n  %s", f"{len(bad):,}", "\n  ".join(listed))
    return found, {"bad rows": len(bad)}


def _completion(raw: dict[str, Any] | str, cells: bool, config: DataConfig, texts: Interner) -> SftRow:
    """One row of a file; BadRow says what is wrong with it."""
    if isinstance(raw, str):
        raise BadRow(raw)
    prompt, completion = (_value(raw.get(config.columns.get(f, f)), f, cells, texts) for f in _FIELDS)
    return SftRow(prompt, completion if isinstance(completion, str) else completion[-1].content)


def _value(value: Any, field: str, cells: bool, texts: Interner) -> Prompt:
    """A text, or messages (of a completion the last one counts)."""
    if cells and isinstance(value, str):
        value = parse_cell("prompt", value)
    return texts.text(field, value, empty=field == "prompt") if isinstance(value, str) else texts.messages(field, value)
