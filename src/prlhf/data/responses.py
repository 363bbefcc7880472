"""Responses to be scored, as a file has them: a prompt, a response, perhaps for whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prlhf.data.fields import BadField, Interner, parse_cell
from prlhf.data.parsing import prompt_of, response_of
from prlhf.data.readers import open_table
from prlhf.errors import DataError
from prlhf.types import Prompt

__all__ = ["Responses", "read_responses"]

_PAIRS = ("chosen", "rejected")


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


def read_responses(path: str | Path) -> Responses:
    """Read a JSONL, JSON, CSV or Parquet file with `prompt`, `response` and optionally `user_id`.

    Raises:
        DataError: no such file, a column that is missing, or a value that does not fit (file, row, field, found).
    """
    texts, found = Interner(), Responses([], [], [], [])
    table = open_table(Path(path))
    try:
        for number, row in table.rows:
            where = f"{path}, row {number}"
            if isinstance(row, str):
                raise DataError(f"{where}: {row}")
            _check_columns(row, where)
            try:
                _add(texts, found, row, table.cells)  # type: ignore[arg-type]
            except BadField as e:
                raise DataError(f"{where}, {e}") from e
    finally:
        table.close()
    if not len(found):
        raise DataError(f"{path}: found no row, expected responses to score")
    return found


def _add(texts: Interner, found: Any, row: dict[str, Any], cells: bool) -> None:
    """One row more."""
    names = {"prompt": row["prompt"], "completion": row["response"], "user_id": row.get("user_id")}
    if cells:
        names = {name: parse_cell(name, value) for name, value in names.items() if value is not None}
    prompt = prompt_of(texts, names["prompt"])
    response = response_of(texts, "response", names["completion"])
    found.users.append(texts.name("user_id", names.get("user_id")))
    found.prompts.append(prompt)
    found.responses.append(response)
    found.rows.append(row)


def _check_columns(row: dict[str, Any], where: str) -> None:
    lost = [name for name in ("prompt", "response") if name not in row]
    if not lost:
        return
    message = (
        f"{where}: no {' and no '.join(repr(name) for name in lost)}, found {', '.join(map(repr, row)) or 'nothing'}"
    )
    if all(name in row for name in _PAIRS):
        raise DataError(
            f"{message}. These are votes: `prlhf reward evaluate` says how many a model predicts; to have both "
            "responses scored, give each a row of its own with `prompt` and `response`"
        )
    raise DataError(f"{message}; expected the columns prompt, response and, where it is known, user_id")
