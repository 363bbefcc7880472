"""Comparisons and thumbs in Arrow files: mapped, and made into objects as they are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from prlhf.data.facts import Facts
from prlhf.data.items import Items
from prlhf.types import Comparison, Feedback, Message, Thumb

__all__ = ["Stored", "table_of", "write"]

_START = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT, _TICK = pa.large_string(), timedelta(microseconds=1)
_SCHEMA = pa.schema(
    [
        ("prompt", _TEXT), ("conversation", pa.bool_()), ("chosen", _TEXT), ("rejected", _TEXT), ("user", pa.string()),
        ("user_text", _TEXT), ("weight", pa.float64()), ("timestamp", pa.int64()), ("tie", pa.bool_()),
        ("first_shown", pa.string()), ("group", pa.string()), ("up", pa.bool_()), ("id", pa.string()),
    ]
)  # fmt: skip
"""`rejected` is null in thumbs, `up` in comparisons; `prompt` of a conversation is JSON; `timestamp` counts
microseconds since 1970."""


def _record(item: Feedback) -> tuple[Any, ...]:
    talk = not isinstance(item.prompt, str)
    prompt = json.dumps([[m.role, m.content] for m in item.prompt]) if not isinstance(item.prompt, str) else item.prompt
    when = None if item.timestamp is None else (item.timestamp - _START) // _TICK
    shared = item.user, item.user_text, float(item.weight), when
    if isinstance(item, Thumb):
        return prompt, talk, item.response, None, *shared, False, None, item.group, item.up, item.id
    return prompt, talk, item.chosen, item.rejected, *shared, item.tie, item.first_shown, item.group, None, item.id


def _item(
    prompt: Any, talk: bool, chosen: str, rejected: str | None, user: str | None, told: str | None, weight: float,
    time: int | None, tie: bool, shown: Any, group: str | None, up: bool | None, name: str
) -> Feedback:  # fmt: skip
    if talk:
        prompt = tuple(Message(role, text) for role, text in json.loads(prompt))
    when = None if time is None else _START + time * _TICK
    if rejected is None:
        return Thumb(prompt, chosen, bool(up), user, told, weight, when, group, name)
    return Comparison(prompt, chosen, rejected, user, told, weight, when, tie, shown, group, name)


class Stored(Items):
    """All items of a converted source, in the order of its rows; immutable.

    Args:
        tables: of the parts, memory-mapped.
        rows: their `FACT` rows, memory-mapped.
    """

    def __init__(self, tables: Sequence[pa.Table], rows: Sequence[np.ndarray]):
        self._tables = tables
        self._starts = np.cumsum([0, *(table.num_rows for table in tables)])
        self._rows = rows

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _look_up(self, places: np.ndarray, read: Callable[[pa.Table, np.ndarray], list[Any]]) -> list[Any]:
        """What `read` makes of each place, part by part: Arrow would copy all parts to take from several at once."""
        parts = np.searchsorted(self._starts, places, side="right") - 1
        if len(parts) and (parts == parts[0]).all():  # mostly so
            return read(self._tables[parts[0]], places - self._starts[parts[0]])
        found: list[Any] = [None] * len(places)
        for part in np.unique(parts).tolist():
            where = np.flatnonzero(parts == part)
            for i, value in zip(
                where.tolist(), read(self._tables[part], places[where] - self._starts[part]), strict=True
            ):
                found[i] = value
        return found

    def at(self, places: np.ndarray) -> list[Feedback]:
        return self._look_up(places, _decoded)

    def ids(self, places: np.ndarray) -> list[str]:
        return self._look_up(places, lambda table, rows: _values(table.column("id"), rows))

    @cached_property
    def facts(self) -> Facts:  # type: ignore[override]
        column = pa.chunked_array([table.column("user").chunk(0) for table in self._tables])
        coded = column.dictionary_encode().unify_dictionaries().combine_chunks()
        names = coded.dictionary.to_pylist()
        order = sorted(range(len(names)), key=names.__getitem__)
        place = np.empty(len(names) + 1, np.int32)
        place[order], place[-1] = np.arange(len(names)), -1
        codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return Facts(np.concatenate(self._rows), place[codes], [names[i] for i in order])


def _values(column: pa.ChunkedArray, rows: np.ndarray) -> list[Any]:
    """The values of a part's column in these rows."""
    array = column.chunk(0)  # a part is written as one batch
    found: list[Any] = [array[int(rows[0])].as_py()] if len(rows) == 1 else array.take(pa.array(rows)).to_pylist()
    return found


def _decoded(table: pa.Table, rows: np.ndarray) -> list[Feedback]:
    return [_item(*values) for values in zip(*(_values(column, rows) for column in table.columns), strict=True)]


def write(path: Path, items: Sequence[Feedback]) -> None:
    """One Arrow file of `items`."""
    columns = zip(zip(*map(_record, items), strict=True), _SCHEMA, strict=True)
    table = pa.Table.from_arrays([pa.array(values, field.type) for values, field in columns], schema=_SCHEMA)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        writer.write_table(table)


def table_of(path: Path) -> pa.Table:
    """What `write` wrote, memory-mapped."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
