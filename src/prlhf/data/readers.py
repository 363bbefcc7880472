"""Files to raw rows: JSONL, JSON, CSV and Parquet. What a row means is the business of `prlhf.data.rows`."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from prlhf.errors import DataError

__all__ = ["FORMATS", "RawRow", "Table", "open_table"]

_FIRST = 100
"""Rows by which the columns of a file that does not declare them are known."""
RawRow = tuple[int, dict[str, Any] | str]
"""Row number (from 1) and the row's values, or what is wrong where it cannot be parsed."""


@dataclass(frozen=True)
class Table:
    """Rows as the file has them, read as they are asked for."""

    name: str
    rows: Iterator[RawRow]
    columns: tuple[str, ...] | None = None
    """The columns, where the format declares them (CSV, Parquet, `datasets`)."""
    cells: bool = False
    """Whether every value is a text cell that still has to be parsed (CSV)."""
    files: tuple[Path, ...] = ()
    """What the rows are read from, and nothing else; empty where they are in no file."""

    def names(self) -> set[str]:
        """The names of the columns; of a format that does not declare them those of the first rows. Closes it."""
        try:
            if self.columns is not None:
                return set(self.columns)
            return {name for _, row in islice(self.rows, _FIRST) if isinstance(row, dict) for name in row}
        finally:
            self.close()

    def close(self) -> None:
        """Close the file before its last row was read, as after an error."""
        if isinstance(self.rows, Generator):
            self.rows.close()


def open_table(path: Path, wanted: Collection[str] | None = None) -> Table:
    """Open a data file by its suffix; `wanted` lets columnar formats leave other columns unread.

    Raises:
        DataError: no such file, an unknown suffix, or a file that is not what its suffix says.
    """
    if not path.is_file():
        raise DataError(f"no file at {path}")
    reader = FORMATS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown suffix {path.suffix!r}; expected one of {', '.join(FORMATS)}")
    return replace(reader(path, wanted), files=(path,))


def _jsonl(path: Path, wanted: Collection[str] | None) -> Table:
    return Table(str(path), _jsonl_rows(path))


def _jsonl_rows(path: Path) -> Iterator[RawRow]:
    """Rows by line; the row number is the line number, and blank lines are passed over."""
    with path.open("rb") as file:  # bytes, so that only "\n" ends a line and a bad byte is one line's fault
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.strip():
                yield number, _parse_line(line)


def _parse_line(line: bytes) -> dict[str, Any] | str:
    try:
        value = json.loads(line, parse_int=_integer)
    except UnicodeDecodeError as e:
        return f"found a byte that is not UTF-8 ({e.reason} at byte {e.start + 1} of the line), expected UTF-8 text"
    except (json.JSONDecodeError, RecursionError) as e:
        return f"found no JSON ({e}), expected one JSON object on the line"
    if not isinstance(value, dict):
        return f"found a JSON {_kind(value)}, expected a JSON object"
    return value


class LongInteger:
    """An integer with more digits than Python reads: right in no field, but a row may have it in another column."""

    def __init__(self, digits: str):
        self._digits = digits

    def __repr__(self) -> str:
        return f"{self._digits[:20]}… of {len(self._digits.lstrip('-')):,} digits"


def _integer(digits: str) -> int | LongInteger:
    try:
        return int(digits)
    except ValueError:
        return LongInteger(digits)


def _json(path: Path, wanted: Collection[str] | None) -> Table:
    """A JSON list of objects; a file of JSON lines that is only called .json is read as such."""
    with path.open("rb") as file:
        start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{"):
        return Table(str(path), _jsonl_rows(path))
    return Table(str(path), _json_rows(path))


def _json_rows(path: Path) -> Iterator[RawRow]:
    """One element of the list at a time, so that only the text and one row are in memory."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as e:
        line = e.object.count(b"\n", 0, e.start) + 1
        raise DataError(f"{path}, line {line}: found a byte that is not UTF-8, expected UTF-8 text") from e
    decoder, number = json.JSONDecoder(parse_int=_integer), 0
    at = _next(text, 0)
    if text[at : at + 1] != "[":
        raise DataError(
            f"{path}, line {_line(text, at)}: found {text[at : at + 20]!r}, expected a list of objects: [{{…}}, …]"
        )
    at = _next(text, at + 1)
    while text[at : at + 1] != "]":
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as e:
            raise DataError(
                f"{path}, line {e.lineno}, column {e.colno}: not JSON ({e.msg}), after {number} good rows"
            ) from e
        except RecursionError as e:
            raise DataError(
                f"{path}, line {_line(text, at)}: lists within lists too deep to be read, after {number} good rows"
            ) from e
        number += 1
        yield number, value if isinstance(value, dict) else f"found a JSON {_kind(value)}, expected a JSON object"
        at = _next(text, at)
        if text[at : at + 1] == ",":
            at = _next(text, at + 1)
        elif text[at : at + 1] != "]":
            found = repr(text[at : at + 20]) if at < len(text) else "the end of the file"
            raise DataError(f"{path}, line {_line(text, at)}: found {found} after row {number}, expected a comma or ]")
    end = _next(text, at + 1)
    if end < len(text):
        raise DataError(
            f"{path}, line {_line(text, end)}: found {text[end : end + 20]!r} after the list, expected its end"
        )


def _next(text: str, at: int) -> int:
    """The first position from `at` on that is not JSON white space."""
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _kind(value: Any) -> str:
    kinds = {list: "list", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")


def _csv(path: Path, wanted: Collection[str] | None) -> Table:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    rows = _csv_records(path, delimiter)
    header = next(rows, None)
    if header is None:
        raise DataError(f"{path}: empty, expected a header line with the names of the columns")
    _check_separator(path, header, delimiter)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header names a column twice: {', '.join(twice)}")
    return Table(str(path), _csv_rows(header, rows), columns=tuple(header), cells=True)


def _check_separator(path: Path, header: list[str], delimiter: str) -> None:
    """An error where one column holds the names of several."""
    other = next((c for c in ";\t|," if c != delimiter and len(header) == 1 and c in header[0]), None)
    if other is not None:
        names = {";": "';'", "\t": "tabs", "|": "'|'", ",": "commas"}
        raise DataError(
            f"{path}: looks separated by {names[other]} (the header is {header[0]!r:.80}), expected "
            f"{names[delimiter]}: commas in .csv, tabs in .tsv; save it anew or rename it"
        )


def _csv_records(path: Path, delimiter: str) -> Iterator[list[str]]:
    # The limit is one for the whole process; its default refuses responses of more than 131,072 characters.
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        while True:
            try:
                record = next(reader)
            except StopIteration:
                return
            except UnicodeDecodeError as e:
                raise DataError(_not_utf8(path)) from e
            except csv.Error as e:
                raise DataError(f"{path}, after line {reader.line_num}: not CSV ({e})") from e
            if record:
                yield record


def _not_utf8(path: Path) -> str:
    """Which line of a text file is the first that is not UTF-8, and how to convert the file."""
    with path.open("rb") as file:
        number, line = next(
            (n, line) for n, line in enumerate(file, 1) if line.decode("utf8", "ignore").encode("utf8") != line
        )
    guess = "UTF-16" if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff") else "WINDOWS-1252"
    convert = f"iconv -f {guess} -t UTF-8 {shlex.quote(path.name)} > utf8{path.suffix}"
    return (
        f"{path}, line {number}: found a byte that is not UTF-8, expected a file in UTF-8; convert it, as with "
        f"{convert} (if it is {guess}), or save it as “CSV UTF-8” in a spreadsheet"
    )


def _csv_rows(header: list[str], records: Iterator[list[str]]) -> Iterator[RawRow]:
    """Rows numbered from 1 after the header (a row with line breaks in its cells is one row)."""
    for number, record in enumerate(records, 1):
        if len(record) == len(header):
            yield number, dict(zip(header, record, strict=True))
        else:
            yield number, f"found {len(record)} cells, expected {len(header)} as in the header"


def _parquet(path: Path, wanted: Collection[str] | None) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as e:
        raise DataError(f"{path}: not a Parquet file ({e})") from e
    columns = tuple(file.schema_arrow.names)
    read = [name for name in columns if wanted is None or name in wanted]

    def rows() -> Iterator[RawRow]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=1024, columns=read):
                for values in _batch_rows(batch):
                    number += 1
                    yield number, values
        except (pa.ArrowException, OSError) as e:
            raise DataError(f"{path}, after row {number}: broken Parquet ({e})") from e

    return Table(str(path), rows(), columns=columns)


def _batch_rows(batch: Any) -> list[dict[str, Any] | str]:
    """The rows of a record batch; one by one where a value of it has no counterpart in Python."""
    try:
        return list(batch.to_pylist())
    except (OverflowError, ValueError) as e:
        if batch.num_rows == 1:
            return [f"found a value that cannot be read ({e}), expected text in UTF-8 and times in the years 1 to 9999"]
        return [row for i in range(batch.num_rows) for row in _batch_rows(batch.slice(i, 1))]


FORMATS: dict[str, Callable[[Path, Collection[str] | None], Table]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
    ".pq": _parquet,
}
"""Suffix -> reader."""
