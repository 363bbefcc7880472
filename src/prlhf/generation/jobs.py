"""Answering a file of prompts: in batches, into JSON lines, and on from where an interrupted job stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prlhf.data.columns import likely, listed
from prlhf.data.fields import parse_cell
from prlhf.data.readers import FORMATS, open_table
from prlhf.errors import DataError
from prlhf.generation.lines import write_lines
from prlhf.lm.generate import respond
from prlhf.lm.loading import fingerprint, hash_tensors
from prlhf.lm.requests import GenerationOptions, Request, Work, as_prompt
from prlhf.types import Prompt

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["Answered", "Question", "answer_file", "answers", "assign", "read_questions", "read_users", "settings_of"]

_FIELDS = ("prompt", "user_id", "user_text", "max_new_tokens")
Progress = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt of a file, and whose answer is wanted."""

    line: int
    """Number of the line (of the row, in CSV and Parquet) it came from, from 1."""
    prompt: Prompt
    user: str | None = None
    user_text: str | None = None
    max_new_tokens: int | None = None
    """The longest answer; None: that of the options."""

    def record(self) -> dict[str, Any]:
        """What the output says about the question."""
        prompt = self.prompt if isinstance(self.prompt, str) else [asdict(m) for m in self.prompt]
        out: dict[str, Any] = {"line": self.line, "prompt": prompt, "user": self.user}
        given = {"user_text": self.user_text, "max_new_tokens": self.max_new_tokens}
        return out | {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Answered:
    """What a job did."""

    path: Path
    kept: int
    """Answers that were there already."""
    written: int
    unknown: tuple[str, ...]
    """Ids in the questions that are not in the user table; the generic user answered for them."""


def read_questions(path: str | Path, columns: Mapping[str, str] | None = None) -> list[Question]:
    """Prompts from a text file (one a line) or from a table (JSONL, JSON, CSV, Parquet); blank lines are passed over.

    A table has the column `prompt` (text or messages; in CSV they are JSON) and may have `user_id` (or `user`),
    `user_text` and `max_new_tokens`.

    Args:
        columns: our name -> the table's, as in `DataConfig`.

    Raises:
        DataError: no such file, an unknown suffix, no prompt at all, or a row without one; names file and row.
    """
    path = Path(path)
    if path.suffix.lower() in ("", ".txt"):
        return _some(path, [Question(number, text) for number, text in _lines(path) if text.strip()])
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path}: unknown suffix {path.suffix!r}; expected .txt or one of {', '.join(FORMATS)}")
    table, ours = open_table(path), {theirs: ours for ours, theirs in (columns or {}).items() if ours in _FIELDS}
    rows = ((number, _renamed(values, ours)) for number, values in table.rows)
    return _some(path, [_question(path, number, values, table.cells) for number, values in rows])


def _renamed(values: dict[str, Any] | str, ours: Mapping[str, str]) -> dict[str, Any] | str:
    return values if isinstance(values, str) else {ours.get(name, name): value for name, value in values.items()}


def _some(path: Path, questions: list[Question]) -> list[Question]:
    if not questions:
        raise DataError(f"{path}: found no prompt, expected at least one")
    return questions


def read_users(path: str | Path) -> list[str | None]:
    """User ids, one a line; an empty line is the generic user."""
    return [text or None for _, text in _lines(Path(path))]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as e:
        raise DataError(f"no file at {path}") from e
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path}: cannot be read as UTF-8 text ({e})") from e
    lines = text.removesuffix("\n").split("\n") if text else []
    yield from ((number, line.removesuffix("\r")) for number, line in enumerate(lines, 1))


def _question(path: Path, number: int, values: dict[str, Any] | str, cells: bool) -> Question:
    where = f"{path}, row {number}"
    if isinstance(values, str):
        raise DataError(f"{where}: {values}")
    given = values.get("prompt")
    if given is None:
        raise DataError(f"{where}: {_without_prompt(values)}")
    try:
        prompt = as_prompt(parse_cell("prompt", given) if cells else given)
    except DataError as e:
        raise DataError(f"{where}: {e}") from e
    user = values.get("user_id", values.get("user"))
    user = str(user) if isinstance(user, int) and not isinstance(user, bool) else user
    text = _text(where, "user_text", values.get("user_text"))
    return Question(number, prompt, _text(where, "user_id", user), text, _limit(where, values.get("max_new_tokens")))


def _without_prompt(values: dict[str, Any]) -> str:
    """What is wrong with a row that has no prompt: mostly that its columns are called otherwise."""
    if "prompt" in values:
        return "found nothing in the field 'prompt', expected text or a list of messages"
    absent = [ours for ours in _FIELDS if ours not in values and not (ours == "user_id" and "user" in values)]
    free = sorted(set(values) - {*_FIELDS, "user"})
    meant = {ours: likely(ours, free) for ours in absent}
    hint = ", ".join(f"{theirs} to {ours}" for ours, theirs in meant.items() if theirs)
    return (
        f"found no field 'prompt' but {listed(sorted(values))}, expected the prompt in a column called prompt (the "
        "user in user_id, text about the user in user_text)" + (f"; rename {hint}" if hint else "")
    )


def _text(where: str, name: str, value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise DataError(f"{where}, field {name!r}: found {value!r:.60}, expected text")
    return value or None


def _limit(where: str, value: Any) -> int | None:
    """A whole number, also as text (CSV) or as a float (a column of Parquet with gaps)."""
    try:
        number = None if value in (None, "") or value != value else float(value)
    except (TypeError, ValueError):
        number = 0.5
    if number is None or (number >= 1 and number.is_integer() and not isinstance(value, bool)):
        return number if number is None else int(number)
    raise DataError(f"{where}, field 'max_new_tokens': found {value!r:.60}, expected a whole number, at least 1")


def assign(questions: Sequence[Question], users: Sequence[str | None], *, every: bool = False) -> list[Question]:
    """Questions with their users: one each in order, or with `every` each question by every user.

    Raises:
        DataError: not one user for each question.
    """
    if every:
        return [replace(q, user=u) for q in questions for u in users]
    if len(users) == 1:
        users = list(users) * len(questions)
    if len(users) != len(questions):
        raise DataError(
            f"found {len(users)} users for {len(questions)} prompts (blank lines are none), expected one for each; "
            "to have every user answer every prompt say so (--each-user)"
        )
    return [replace(q, user=u) for q, u in zip(questions, users, strict=True)]


def answers(
    lm: PersonalizedLM,
    questions: Sequence[Question],
    options: GenerationOptions,
    *,
    batch_size: int = 16,
    share_prefix: str = "auto",
    merge_lora: str = "auto",
    reference: bool = False,
    start: int = 0,
    progress: Progress = lambda batches, _: batches,
) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of one batch after the other, from question `start` on.

    What a question gets depends on the question, its place and the options, not on where its batch begins.
    """
    work = Work(batch_size, share_prefix, merge_lora)
    rows = [int(r) for r in lm.users.rows([q.user for q in questions])]
    for at in progress(range(start, len(questions), batch_size), "answering"):
        part = range(at, min(at + batch_size, len(questions)))
        wanted = [_request(questions[i], rows[i], i) for i in part]
        found = respond(lm, wanted, options, work, reference=reference)
        yield [
            {**questions[i].record(), "known": g.known, "response": g.text, "finished": g.finished}
            for i, g in zip(part, found, strict=True)
        ]


def _request(question: Question, row: int, number: int) -> Request:
    known = question.user is None or row > 0
    return Request(question.prompt, question.user, row, known, question.user_text, number, question.max_new_tokens)


def answer_file(
    lm: PersonalizedLM,
    questions: Sequence[Question],
    output: str | Path,
    options: GenerationOptions,
    *,
    batch_size: int = 16,
    share_prefix: str = "auto",
    merge_lora: str = "auto",
    reference: bool = False,
    progress: Progress = lambda batches, _: batches,
) -> Answered:
    """Append to `output` what it does not hold yet; every batch is written before the next begins.

    Each line is an object with `line`, `prompt`, `user`, `user_text` (where there is one), `known`, `response`,
    `finished` and `settings`: a hash of model and options, so that answers of different kinds never share a file. A
    last line that was only half written is dropped.

    Raises:
        DataError: `output` is a folder, or holds answers to other questions, or of another model or other options.
    """
    work: Any = {"batch_size": batch_size, "share_prefix": share_prefix, "merge_lora": merge_lora}

    def batches(start: int) -> Iterator[list[dict[str, Any]]]:
        return answers(lm, questions, options, **work, reference=reference, start=start, progress=progress)

    path = Path(output)
    describe = partial(settings_of, lm, options, reference)
    kept = write_lines(path, [q.record() for q in questions], describe, batches)
    unknown = sorted({q.user for q in questions if q.user is not None and not lm.users.known([q.user])[0]})
    return Answered(path, kept, len(questions) - kept, tuple(unknown))


def settings_of(lm: PersonalizedLM, options: GenerationOptions, *more: object) -> str:
    """A hash of the model (all its weights, and those of its users) and of how it decodes."""
    weights = hash_tensors([*lm.model.named_parameters(), *lm.user_model.named_parameters()])
    told = " ".join(map(str, (options, *more, fingerprint(lm.model), weights)))
    return hashlib.sha256(told.encode()).hexdigest()[:12]
