"""`load_comparisons`: the one door through which comparisons and thumbs come in."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prlhf.config.data import DataConfig
from prlhf.data.cache import default_cache
from prlhf.data.columns import named_otherwise, wanted_columns
from prlhf.data.hub import open_folder, open_hub
from prlhf.data.items import parted
from prlhf.data.log import Log
from prlhf.data.paths import mistyped
from prlhf.data.readers import FORMATS, Table, open_table
from prlhf.data.rows import convert
from prlhf.data.sources import SOURCES, call_source
from prlhf.errors import ConfigError, DataError

__all__ = ["inherit", "load_comparisons", "readings", "refuse_reading_options"]

logger = logging.getLogger(__name__)

_READING = ("columns", "rankings", "on_bad_row")
_FORMAT = 1
"""To be raised when the same rows become other comparisons, or are written otherwise."""


def load_comparisons(config: DataConfig | str | Path, *, cache: Path | None = None, **options: Any) -> Log:
    """Read a preference log. A large file is converted once, into a folder of the cache, and read from there.

    Args:
        config: what to read and how; a text or path is short for `DataConfig(source=…)`.
        cache: where that folder is; by default `$PRLHF_CACHE`, else `~/.cache/prlhf`.
        options: options of the source (`top=10` of `convarg`, `split="train"` of a hub data set), and `columns`,
            `rankings` and `on_bad_row` as in `DataConfig`.

    Raises:
        DataError: the source does not exist, or a row of it cannot be read (file, row, field, found, expected).
        ConfigError: an option that the source does not have.
    """
    if not isinstance(config, DataConfig):
        config = DataConfig(source=str(config))
    reading = {name: options.pop(name) for name in _READING if name in options}
    config = DataConfig(**{**config.model_dump(), **reading, "options": {**config.options, **options}})
    if config.source in SOURCES:
        refuse_reading_options(config)
        log = call_source(config.source, config.options)
        return log if config.user_text else _untold(log)
    table = _open(config)
    folder = _folder(table, config, cache if cache is not None else default_cache())
    how = config.columns, config.rankings, config.on_bad_row
    items, notes = convert(table, *how, user_text=config.user_text, folder=folder)
    comparisons, thumbs = parted(items)
    return Log(comparisons, config.source, notes=notes, thumbs=thumbs)


def _folder(table: Table, config: DataConfig, cache: Path) -> Path | None:
    """Where the table is converted to: by what is in its files, and how they are read. None: it is in no file."""
    if not table.files:
        return None
    how = config.model_dump(mode="json", include={"options", "columns", "rankings", "on_bad_row", "user_text"})
    digest = hashlib.sha256(json.dumps([_FORMAT, how], sort_keys=True).encode())
    for path in table.files:
        with path.open("rb") as file:
            digest.update(path.suffix.lower().encode() + hashlib.file_digest(file, "sha256").digest())
    return cache / f"feedback-{digest.hexdigest()[:24]}"


def _untold(log: Log) -> Log:
    """The log without texts about users."""
    comparisons = tuple(replace(c, user_text=None) for c in log.comparisons)
    return replace(log, comparisons=comparisons, thumbs=tuple(replace(t, user_text=None) for t in log.thumbs))


def refuse_reading_options(config: DataConfig) -> None:
    """ConfigError where an option says how rows are read, though the source is a named one and has none to read."""
    default = DataConfig()
    for name in _READING:
        if getattr(config, name) != getattr(default, name):
            raise ConfigError(
                f"option data.{name}: it is for files, folders and the hub; the source {config.source!r} has no rows "
                "to read, leave it out"
            )


def _open(config: DataConfig) -> Table:
    wanted = wanted_columns(config.columns)
    path = Path(config.source).expanduser()
    if path.is_dir():
        return open_folder(path, config.options, wanted)
    if path.is_file():
        if config.options:
            raise ConfigError(f"data.options: a file has no option {', '.join(sorted(config.options))}")
        return open_table(path, wanted)
    hint = mistyped(config.source)
    if path.suffix.lower() in FORMATS or hint is not None:
        near = difflib.get_close_matches(config.source, SOURCES, n=1)
        hint = f"; did you mean {near[0]}?" if near else hint or ""
        expected = f"a file, a folder, a source ({', '.join(SOURCES)}) or a hub data set (owner/name)"
        raise DataError(f"no file at {config.source}{hint}; expected {expected}")
    return open_hub(config.source, config.options, wanted)


def inherit(config: DataConfig, other: DataConfig) -> DataConfig:
    """`config` with the reading options of `other` (`user_text`; of files `columns`, `rankings`, `on_bad_row`) where it
    does not set them.

    A column's name is taken over where the source has a column of that name.

    Raises:
        DataError: the source does not exist or cannot be opened.
    """
    named = config.source in SOURCES
    update: dict[str, Any] = {
        name: getattr(other, name)
        for name in ("user_text", *(() if named else ("rankings", "on_bad_row")))
        if name not in config.model_fields_set and name in other.model_fields_set
    }
    if named:
        return config.model_copy(update=update)
    if set(other.columns) - set(config.columns):
        have = _open(config).names()
        names = {ours: theirs for ours, theirs in other.columns.items() if ours not in config.columns}
        names = {ours: theirs for ours, theirs in names.items() if theirs in have}
        if names:
            told = ", ".join(f"{ours}={theirs}" for ours, theirs in names.items())
            logger.info("%s is read with the columns %s, as the data of the run", config.source, told)
            update["columns"] = {**names, **config.columns}
    return config.model_copy(update=update)


def readings(configs: Sequence[DataConfig], like: DataConfig | None = None) -> list[DataConfig]:
    """How sources that are given together are read: with the same `columns`, then as `like` says (`inherit`).

    A column's name counts for those of the sources that have such a column.

    Raises:
        DataError: a column that none of them has; or a source that does not exist or cannot be opened.
    """
    found = list(configs)
    if any(config.columns for config in configs):
        have = [set() if config.source in SOURCES else _open(config).names() for config in configs]
        found = [_fitting(config, names, have) for config, names in zip(configs, have, strict=True)]
    return found if like is None else [inherit(config, like) for config in found]


def _fitting(config: DataConfig, names: set[str], have: Sequence[set[str]]) -> DataConfig:
    """Without the columns that another source has, and this one has not."""
    known = set().union(*have)
    lost = [ours for ours, theirs in config.columns.items() if theirs not in known]
    if lost and known:
        raise DataError(f"{config.source}: {named_otherwise(lost, config.columns, known)}")
    columns = {ours: theirs for ours, theirs in config.columns.items() if theirs in names or not known}
    return config.model_copy(update={"columns": columns})
