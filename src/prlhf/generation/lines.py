"""Answers as JSON lines: written batch by batch, and on from where an interrupted job stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prlhf.errors import DataError

__all__ = ["Record", "write_lines"]

Record = dict[str, Any]


def write_lines(
    path: Path,
    questions: Sequence[Record],
    describe: Callable[[], str],
    batches: Callable[[int], Iterator[list[Record]]],
) -> int:
    """Append to `path` the answers that it does not hold yet; every batch is written before the next begins.

    Args:
        questions: what the lines say about each question, in their order.
        describe: gives the `settings` of each line, so that answers of different kinds never share a file; it may take
            long, and is asked once the place is known to be fit.
        batches: from the first question that is left to the records of one batch after the other.

    Returns how many answers were there already; a last line that was only half written is dropped.

    Raises:
        DataError: `path` is a folder, or holds answers to other questions, or of another model or other options.
    """
    if path.is_dir():
        raise DataError(f"{path}: found a folder, expected a file for the answers, as {path / 'answers.jsonl'}")
    settings = describe()
    kept = _continue(path, questions, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = batches(kept)
    with path.open("a", encoding="utf8", newline="\n") as file:
        for records in found:
            lines = [json.dumps({**r, "settings": settings}, ensure_ascii=False) + "\n" for r in records]
            file.write("".join(lines))
            file.flush()
    return kept


def _continue(path: Path, questions: Sequence[Record], settings: str) -> int:
    """How many answers `path` holds to these questions in their order; half a line at its end is cut off."""
    if not path.exists():
        return 0
    whole, held = _whole_lines(path)
    if len(held) > len(questions):
        raise DataError(f"{path}: found {len(held)} answers to {len(questions)} questions; choose another file")
    for number, (record, question) in enumerate(zip(held, questions, strict=False), 1):
        expected = {**question, "settings": settings}
        wrong = [name for name in expected if record.get(name) != expected[name]]
        wrong += [name for name in ("user_text", "max_new_tokens") if name in record and name not in expected]
        if wrong:
            why = "another model or other options" if wrong == ["settings"] else f"another question ({wrong[0]})"
            raise DataError(f"{path}, line {number}: found an answer of {why}; choose another file, or delete this one")
    if whole < path.stat().st_size:
        with path.open("r+b") as file:
            file.truncate(whole)
    return len(held)


def _whole_lines(path: Path) -> tuple[int, list[Record]]:
    """Bytes up to the last line that is whole, and the objects of the lines."""
    held: list[Record] = []
    whole = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise DataError(f"{path}, line {number}: found no JSON object, expected an answer; choose another file")
            held.append(record)
            whole += len(line)
    return whole, held
