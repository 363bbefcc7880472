"""Responses to be scored, as a file has them: a prompt, a response, perhaps for whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prlhf.data.columns import as_option, likely
from prlhf.data.fields import BadField, Interner, parse_cell
from prlhf.data.parsing import prompt_of, response_of
from prlhf.data.readers import open_table
from prlhf.errors import DataError
from prlhf.types import Prompt

__all__ = ["Responses", "read_responses"]

_PAIRS = ("chosen", "rejected")
_READ = {"prompt": "prompt", "completion": "response", "user_id": "user_id"}
"""What is read, by its name in `data.columns`: what it is called where that says nothing."""


@dataclass(frozen=True)
class Responses:
    """n responses in the order of their rows; `users` are None where a row names nobody."""

    prompts: Sequence[Prompt]
    responses: Sequence[str]
    users: Sequence[str | None]
    rows: Sequence[dict[str, Any]]
    """As they were read, with all their columns."""

    def __len__(self) -> int:
        return len(self.responses)


def read_responses(path: str | Path, columns: Mapping[str, str] | None = None) -> Responses:
    """Read a JSONL, JSON, CSV or Parquet file with `prompt`, `response` and optionally `user_id`.

    Args:
        columns: our name -> the file's, as in `DataConfig`, where the response is called `completion`.

    Raises:
        DataError: no such file, a column that is missing, or a value that does not fit (file, row, field, found).
    """
    texts, found, names = Interner(), Responses([], [], [], []), _names(columns or {})
    table = open_table(Path(path))
    try:
        for number, row in table.rows:
            where = f"{path}, row {number}"
            if isinstance(row, str):
                raise DataError(f"{where}: {row}")
            _check_columns(row, where, names)
            try:
                _add(texts, found, row, names, table.cells)  # type: ignore[arg-type]
            except BadField as e:
                raise DataError(f"{where}, {e}") from e
    finally:
        table.close()
    if not len(found):
        raise DataError(f"{path}: found no row, expected responses to score")
    return found


def _names(columns: Mapping[str, str]) -> dict[str, str]:
    """Ours -> the file's, of the columns that are read."""
    return {name: columns.get(name, usual) for name, usual in _READ.items()}


def _add(texts: Interner, found: Any, row: dict[str, Any], names: Mapping[str, str], cells: bool) -> None:
    """One row more."""
    values = {ours: row.get(theirs) for ours, theirs in names.items()}
    if cells:
        values = {name: parse_cell(name, value) for name, value in values.items() if value is not None}
    prompt = prompt_of(texts, values["prompt"])
    response = response_of(texts, "response", values["completion"])
    found.users.append(texts.name("user_id", values.get("user_id")))
    found.prompts.append(prompt)
    found.responses.append(response)
    found.rows.append(row)


def _check_columns(row: dict[str, Any], where: str, names: Mapping[str, str]) -> None:
    lost = [ours for ours in ("prompt", "completion") if names[ours] not in row]
    if not lost:
        return
    told = " and no ".join(repr(names[ours]) for ours in lost)
    message = f"{where}: no {told}, found {', '.join(map(repr, row)) or 'nothing'}"
    if all(name in row for name in _PAIRS):
        raise DataError(
            f"{message}. These are votes: `prlhf reward evaluate` says how many a model predicts; to have both "
            "responses scored, give each a row of its own with `prompt` and `response`"
        )
    free = sorted(set(row) - set(names.values()))
    options = " ".join(as_option(ours, likely(ours, free)) for ours in lost)
    raise DataError(
        f"{message}; expected the columns prompt, response and, where it is known, user_id; columns of other names are "
        f"given with {options}"
    )
