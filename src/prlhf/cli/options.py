"""Options that several commands have: one spelling and one letter for the same thing everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from prlhf.config import DataConfig

__all__ = [
    "FLAGS",
    "SOURCES",
    "DataOverrides",
    "Folder",
    "OnBadRow",
    "Overrides",
    "Recipe",
    "Source",
    "data_config",
    "one_source",
    "read_as",
]

SOURCES = "A file, a folder of `datasets`, a named source (planted, convarg, …: docs/data.md), or a hub id."
Source = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCES)]
Folder = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The folder to write.")]
Recipe = Annotated[
    Path | None,
    typer.Option("--recipe", "-r", metavar="FILE", help="A TOML recipe, or the config that an earlier result kept."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Any option, as data.columns.user_id=worker; repeatable."),
]
DataOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="An option of the data, as data.columns.user_id=worker; `data.` may be left out; repeatable.",
    ),
]
OnBadRow = Annotated[
    str | None,
    typer.Option(
        metavar="stop|skip",
        help="A row that cannot be read: stop there, or skip it, counted and listed (data.on_bad_row).",
    ),
]

FLAGS = {
    "data.source": "--data",
    "data.on_bad_row": "--on-bad-row",
    "model.base": "--model",
    "base": "--model",
    "model.adapter": "--adapter",
    "model.dtype": "--dtype",
    "seed": "--seed",
    "alpha": "--alpha",
    "on_bad_row": "--on-bad-row",
}
"""The flags that set an option, by its name, for messages about a value that does not fit."""


def one_source(given: list[str] | None) -> str | None:
    """The source of a `--data` that is declared as a list, so that a second one is an error and not the only one kept.

    Raises:
        ConfigError: more than one.
    """
    from prlhf.errors import ConfigError

    if given is not None and len(given) > 1:
        raise ConfigError(
            f"--data: found {len(given)} sources ({', '.join(given)}), expected one, since one log is read. To join "
            "files of one format put the rows of all into one (JSONL: cat a.jsonl b.jsonl > all.jsonl; CSV: the same "
            "columns, the header once); write files of different formats as one JSONL"
        )
    return given[0] if given else None


def data_config(values: Mapping[str, Any], overrides: list[str] | None) -> DataConfig:
    """The options of the data in commands that have no others: their names are those of a recipe, `data.` or not."""
    from prlhf.config import DataConfig, load_config

    given = {name: value for name, value in values.items() if value is not None}
    texts = [text.removeprefix("data.") for text in overrides or ()]
    return load_config(DataConfig, overrides=texts, values=given, flags=FLAGS)


def read_as(own: DataConfig | None, overrides: list[str] | None, *sources: str | Path) -> list[DataConfig]:
    """How the files of a command are read: as `--set` says, and otherwise as the data of the run, where that fits.

    Args:
        own: the data of the run; None: a model by itself, which has none.

    Raises:
        DataError: a source that cannot be opened, or a column of `--set` that none of them has.
    """
    from prlhf.data import readings

    return readings([data_config({"source": str(source)}, overrides) for source in sources], own)
