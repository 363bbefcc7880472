"""Published data sets as their publishers ship them: where the files lie, and rows that must have every field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from prlhf.data.columns import listed
from prlhf.data.fields import BadField, BadRow, Interner, show
from prlhf.data.hub import open_folder, open_hub
from prlhf.data.log import decided, trainable
from prlhf.data.paths import mistyped
from prlhf.data.readers import FORMATS, Table, open_table
from prlhf.data.splits import Split
from prlhf.errors import ConfigError, DataError
from prlhf.types import Comparison

__all__ = ["Record", "local", "open_file", "open_files", "read", "sides_of", "within"]

T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """A row, or an object inside it, whose fields have to be there; BadField says which is not."""

    values: Mapping[str, Any]
    at: str = ""
    """The place of the object in its row, as `info.`, for messages."""

    def optional(self, name: str) -> Any:
        """Any value, also none, of a field that is there."""
        if name not in self.values:
            there = f"no such field; {self.at.rstrip('.') or 'the row'} has {listed(self.values)}"
            raise BadField(self.at + name, there, "the field as published")
        return self.values[name]

    def _of(self, kind: type[T], name: str, expected: str) -> T:
        value = self.optional(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise BadField(self.at + name, show(value), expected)
        return value

    def text(self, name: str) -> str:
        """A text of valid Unicode."""
        return Interner().text(self.at + name, self.optional(name))

    def whole(self, name: str) -> int:
        """A whole number."""
        return self._of(int, name, "a whole number")

    def flag(self, name: str) -> bool:
        """True or false."""
        return self._of(bool, name, "true or false")

    def record(self, name: str) -> Record:
        """An object."""
        return Record(self._of(dict, name, "an object"), f"{self.at}{name}.")

    def records(self, name: str) -> list[Record]:
        """A list of objects."""
        items = self._of(list, name, "a list of objects")
        for i, item in enumerate(items):
            if not isinstance(item, dict):
                raise BadField(f"{self.at}{name}[{i}]", show(item), "an object")
        return [Record(item, f"{self.at}{name}[{i}].") for i, item in enumerate(items)]


def read(table: Table, make: Callable[[int, Record], T]) -> list[T]:
    """`make` of each row and its number, in order.

    Raises:
        DataError: a row that is not as published; names the file, the row, the field, and what was found.
    """
    made = []
    for number, values in table.rows:
        try:
            if isinstance(values, str):
                raise BadRow(values)
            made.append(make(number, Record(values)))
        except BadRow as e:
            table.close()
            raise DataError(f"{table.name}, row {number}: {e}") from e
    return made


def local(source: str, path: Any) -> Path | None:
    """The file or folder that the option `path` of `source` names; None where it is a data set of the hub.

    Raises:
        ConfigError: it is no text.
        DataError: there is nothing of that name, and it is no hub id.
    """
    if not isinstance(path, str | Path):
        raise ConfigError(f"source {source!r}: option path: found {path!r}, expected a folder, a file or a hub id")
    place = Path(path).expanduser()
    if place.exists():
        return place
    hint = mistyped(str(path))
    if hint is None:
        return None
    expected = "option path is a folder, a file or a hub id (owner/name)"
    raise DataError(f"source {source!r}: nothing at {path}{hint or f'; {expected}'}")


def open_file(source: str, path: str, name: str, columns: Collection[str], folder: str = "") -> Table:
    """The file `name` of a published data set, in the folder `path`, in its folder `folder`, or on the hub.

    Raises:
        DataError: it is in neither.
    """
    place = local(source, path)
    if place is None:
        hub_name = f"{folder}/{name}" if folder else name
        try:
            found = open_hub(path, {"data_files": hub_name, "split": "train"}, columns)
        except DataError as e:
            here = f"Where the data are on this machine: --set data.options.path=FOLDER, with {name} in it"
            raise DataError(f"source {source!r}: {e} {here} (docs/data.md says what else it needs).") from e
        return replace(found, name=f"{path} ({hub_name})")
    for file in (place / name, place / folder / name):
        if file.is_file():
            return open_table(file, columns)
    raise DataError(f"source {source!r}: no {name} in {place}; found in it: {_inside(place)}")


def open_files(place: Path, columns: Collection[str], folder: str) -> list[tuple[str, Table]]:
    """Every table at `place`, each with a short name of its own that rows can be called by.

    `place` is a file, a folder with data files (where it has a folder `folder`, that one alone is read), or a folder of
    several splits saved by `datasets`.

    Raises:
        DataError: no data file is there.
    """
    if place.is_file():
        return [(place.stem, open_table(place, columns))]
    place = place / folder if (place / folder).is_dir() else place
    if (place / "dataset_dict.json").is_file():
        splits = sorted(entry.name for entry in place.iterdir() if entry.is_dir())
        tables = [(split, open_folder(place, {"split": split}, columns)) for split in splits]
        return [(split, replace(table, name=f"{place} (split {split})")) for split, table in tables]
    files = sorted(file for file in place.rglob("*") if file.suffix.lower() in FORMATS and file.is_file())
    if not files:
        raise DataError(
            f"{place}: no data file ({', '.join(FORMATS)}) and no splits saved by datasets; found in it: "
            f"{_inside(place)}"
        )
    return [(file.relative_to(place).with_suffix("").as_posix(), open_table(file, columns)) for file in files]


def _inside(place: Path) -> str:
    return listed(sorted(entry.name for entry in place.iterdir())) if place.is_dir() else "nothing, it is no folder"


def within(comparison: Comparison, limit: int | None) -> bool:
    """Whether the last message of the prompt and the longer response have at most `limit` characters together."""
    if limit is None:
        return True
    prompt = comparison.prompt if isinstance(comparison.prompt, str) else comparison.prompt[-1].content
    return len(prompt) + max(len(comparison.chosen), len(comparison.rejected)) <= limit


def sides_of(assigned: Sequence[tuple[Comparison, str]]) -> Split:
    """The split in which each comparison is on the side given for it; what cannot be used there is on none."""
    found: dict[str, list[int]] = {"train": []}
    for i, (comparison, side) in enumerate(assigned):
        if trainable(comparison) if side == "train" else decided(comparison):
            found.setdefault(side, []).append(i)
    return Split(**{side: tuple(indices) for side, indices in found.items()})
