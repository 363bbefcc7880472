"""Raw rows to comparisons and thumbs: TRL's columns, the user columns, and rankings (`docs/data.md`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from prlhf.data import fields
from prlhf.data.cache import paced
from prlhf.data.columns import COLUMNS, listed, missing, named_otherwise, unread, wanted_columns
from prlhf.data.fields import BadField, BadRow, Interner, show
from prlhf.data.log import Notes, counted
from prlhf.data.parsing import TEXT, kind_of, parse_cells, parts_of, prompt_of, ranked, response_of, scores_of
from prlhf.data.parts import CHARACTERS, PART, Parts
from prlhf.data.rankings import pair_id, row_of
from prlhf.data.readers import Table
from prlhf.errors import DataError
from prlhf.types import Comparison, Feedback, Thumb, prompt_text

__all__ = ["SKIP_HINT", "convert"]

SKIP_HINT = ". To leave bad rows out, counted and listed: --on-bad-row skip (data.on_bad_row)"
"""What the message about a bad row ends with where reading stops there."""

_LISTED = 100


def convert(
    table: Table,
    columns: Mapping[str, str] | None = None,
    rankings: str = "judgement",
    on_bad_row: str = "stop",
    *,
    user_text: bool = True,
    folder: Path | None = None,
) -> tuple[Sequence[Feedback], Notes]:
    """Read all rows of `table`.

    A large one is written to `folder` part by part and read from there; a conversion that finds parts goes on after
    the last of them. A folder belongs to one table, read in one way.

    Args:
        columns: our column name -> the file's.
        rankings: `judgement`: the comparisons of one ranking share the weight of the row; `comparison`: each has it.
        on_bad_row: `stop` raises at the first bad row; `skip` counts and lists it in the notes.
        user_text: False leaves texts about users out.
        folder: None = everything is held in memory.

    Raises:
        DataError: a bad row (file, row, field, found, expected), a missing column, or no usable row at all.
        ConfigError: `columns` renames something that is no column of ours.
    """
    reader = _Rows(table, dict(columns or {}), rankings, user_text, None if folder is None else Parts(folder))
    wanted_columns(reader.columns)
    if table.columns is not None:
        reader.check_columns(table.columns)
    with paced(f"{table.name}: reading and validating") as done:
        began = reader.go_on()
        reader.read(on_bad_row)
        done.append(reader.rows - began)
        return reader.finish()


class _NoColumn(BadRow):
    """A row without the columns that are needed, before any that has them: mostly a matter of names, not of the row."""


@dataclass
class _Rows:
    """The conversion of one table, with what it counts."""

    table: Table
    columns: dict[str, str]
    rankings: str
    user_text: bool
    parts: Parts | None
    found: list[Feedback] = field(default_factory=list)
    """What is not yet written."""
    size: int = 0
    """Characters of it."""
    written: int = 0
    part: int = 0
    """How many parts are written."""
    complete: bool = False
    """Whether all rows are."""
    counts: Counter[str] = field(default_factory=Counter)
    """What `Notes` counts, of what is written."""
    bad: list[str] = field(default_factory=list)
    """The first messages."""
    skipped: int = 0
    rows: int = 0
    ranked: int = 0
    implicit: int = 0
    seen: set[str] = field(default_factory=set)
    """The file's column names met so far, in files that do not declare them."""
    ids: set[str] = field(default_factory=set)
    interner: Interner = field(default_factory=Interner)

    @property
    def begun(self) -> bool:
        """Whether anything could be read yet."""
        return bool(self.found or self.written)

    def leave_out(self, message: str) -> None:
        """Count and list a bad row."""
        self.skipped += 1
        if len(self.bad) < _LISTED:
            self.bad.append(message)

    def go_on(self) -> int:
        """Stand where the last part that was written left off; the rows that were read until then."""
        state = self.parts.state() if self.parts is not None else None
        if state is None or self.parts is None:
            return 0
        self.counts.update(state.pop("counts"))
        self.seen.update(state.pop("seen"))
        vars(self).update(state)
        if "id" in self.columns and not self.complete:
            stored = self.parts.stored()
            names = stored.ids(np.arange(len(stored)))
            self.ids.update(row_of(name) or name for name in names)  # of a ranking that of its row
        return self.rows

    def read(self, on_bad_row: str) -> None:
        """Take in all rows that are left."""
        if self.complete:
            self.table.close()
            return
        for number, values in islice(self.table.rows, self.rows, None):
            self.rows += 1
            try:
                self.add(number, values)
            except BadRow as e:
                message = f"row {number}: {e.told(self.columns)}"
                if on_bad_row == "stop":
                    self.table.close()
                    message = f"{self.table.name}, {message}"
                    raise DataError(message if isinstance(e, _NoColumn) else message + SKIP_HINT) from e
                self.leave_out(message)
            if self.parts is not None and (len(self.found) >= PART or self.size >= CHARACTERS):
                self.write(self.parts)

    def write(self, parts: Parts) -> None:
        """Write the part that is full."""
        self.counts.update(counted(self.found))
        self.written += len(self.found)
        self.part += 1
        parts.add(self.part - 1, self.found, self.state)
        self.found, self.size, self.interner = [], 0, Interner()

    @property
    def state(self) -> dict[str, Any]:
        """What `go_on` needs."""
        own = ("part", "complete", "written", "bad", "skipped", "rows", "ranked", "implicit")
        return {**{name: getattr(self, name) for name in own}, "counts": self.counts, "seen": sorted(self.seen)}

    def check_columns(self, names: Iterable[str]) -> None:
        """An error where a column that is needed or named is not among `names`, those of the whole table."""
        problem = missing(self.columns, set(names))
        if problem:
            raise DataError(f"{self.table.name}: {problem}")

    def add(self, number: int, raw: dict[str, Any] | str) -> None:
        """Take in what one row holds, all or nothing; BadRow says what is wrong with it."""
        if isinstance(raw, str):
            raise BadRow(raw)
        self.seen.update(raw)
        row = {ours: raw.get(self.columns.get(ours, ours)) for ours in COLUMNS if ours != "id" or "id" in self.columns}
        if self.table.cells:
            row = parse_cells(row)
            if row["prompt"] == "":  # not the same as no column: guessing a prompt would hide a gap in the data
                raise BadField("prompt", "an empty cell", TEXT)
        name = self._id(number, row)
        kind = kind_of(row, any(self.columns.get(ours, ours) in raw for ours in ("chosen", "rejected")))
        made: list[Feedback] = []
        if kind == "ranking":
            made += self._ranking(name, row, raw)
            self.ranked += 1
        elif kind == "thumb":
            made.append(self._thumb(name, row, raw))
        else:
            made.append(self._pair(name, row, raw))
            self.implicit += row["prompt"] is None
        if "id" in self.columns:
            self.ids.add(name)
        self.found += made
        self.size += sum(len(text) for item in made for text in (prompt_text(item.prompt), *item.responses))

    def _id(self, number: int, row: dict[str, Any]) -> str:
        if "id" not in self.columns:
            return str(number)
        name = self.interner.name("id", row["id"])
        if name is None or name in self.ids:
            raise BadField(
                "id", show(name) if name is None else f"{name!r} a second time", "an id of its own for each row"
            )
        if row_of(name) is not None:  # nothing else of a comparison says that it comes from a ranking
            raise BadField("id", f"{name!r}", "an id that does not read like one of a pair of a ranking (as 7:1>2)")
        return name

    def _user_columns(self, row: dict[str, Any]) -> dict[str, Any]:
        texts = self.interner
        return {
            "user": texts.name("user_id", row["user_id"]),
            "user_text": (texts.optional_text("user_text", row["user_text"]) or None) if self.user_text else None,
            "weight": fields.weight("weight", row["weight"]),
            "timestamp": fields.moment("timestamp", row["timestamp"]),
            "group": texts.name("group", row["group"]),
        }

    def _pair(self, name: str, row: dict[str, Any], raw: dict[str, Any]) -> Comparison:
        for ours in ("chosen", "rejected"):
            if row[ours] is None:
                raise self._without(ours, raw)
        try:
            prompt, chosen, rejected = parts_of(self.interner, row)
        except BadField as e:
            if row["prompt"] is None and self.columns.get("prompt", "prompt") not in raw and not self.begun:
                raise _NoColumn(
                    f"{e.told(self.columns)}; {named_otherwise(['prompt'], self.columns, raw.keys())}"
                ) from e
            raise
        tie = fields.flag("tie", row["tie"])
        shown = fields.shown("first_shown", row["first_shown"])
        return Comparison(prompt, chosen, rejected, tie=tie, first_shown=shown, id=name, **self._user_columns(row))

    def _thumb(self, name: str, row: dict[str, Any], raw: dict[str, Any]) -> Thumb:
        for ours in ("prompt", "completion", "label"):
            if row[ours] is None:
                raise self._without(ours, raw, "true (thumb up) or false (thumb down)" if ours == "label" else TEXT)
        for ours in ("tie", "first_shown"):
            if row[ours] not in (None, False):
                raise BadField(ours, show(row[ours]), "nothing beside `completion` and `label`")
        prompt = prompt_of(self.interner, row["prompt"])
        response = response_of(self.interner, "completion", row["completion"])
        up = fields.verdict("label", row["label"])
        return Thumb(prompt, response, up, id=name, **self._user_columns(row))

    def _without(self, ours: str, raw: dict[str, Any], expected: str = TEXT) -> BadRow:
        """What is wrong with a row that has no `ours`: the columns, as long as no row could be read, else the row."""
        theirs = self.columns.get(ours, ours)
        if theirs in raw:
            return BadField(ours, "nothing", expected)
        problem = None if self.begun else missing(self.columns, raw.keys())
        if problem:
            return _NoColumn(problem)
        return BadField(ours, f"no {theirs!r} in the row ({listed(sorted(raw))})", expected)

    def _ranking(self, name: str, row: dict[str, Any], raw: dict[str, Any]) -> list[Comparison]:
        """All pairs of a ranking; equal scores are ties, and count among the pairs that share the weight."""
        if row["prompt"] is None:
            raise self._without("prompt", raw)
        prompt, responses = ranked(self.interner, row)
        scores = scores_of(row["scores"], len(responses))
        for column in ("tie", "first_shown"):
            if row[column] not in (None, False):
                raise BadField(column, show(row[column]), "nothing in a ranking")
        common = self._user_columns(row)
        pairs = [(i, j) for i in range(len(responses)) for j in range(i + 1, len(responses))]
        if self.rankings == "judgement":
            common["weight"] /= len(pairs)
        made = []
        for i, j in pairs:
            better, worse = (j, i) if scores[j] > scores[i] else (i, j)
            tie = scores[i] == scores[j]
            pair = responses[better], responses[worse]
            made.append(Comparison(prompt, *pair, tie=tie, id=pair_id(name, better, worse), **common))
        return made

    def finish(self) -> tuple[Sequence[Feedback], Notes]:
        """Everything that was read, counted; an error where that is nothing."""
        where = self.table.name
        if not self.rows:
            raise DataError(f"{where}: no rows; expected at least one comparison or thumb")
        if not self.begun:
            raise DataError(f"{where}: none of {self.rows} rows could be used; the first: {where}, {self.bad[0]}")
        names = set(self.table.columns or self.seen)
        lost = [ours for ours, theirs in self.columns.items() if theirs not in names]
        if lost:
            raise DataError(f"{where}: {named_otherwise(lost, self.columns, names)}")
        if self.parts is not None and self.written:
            self._complete(self.parts)
        self.counts.update(counted(self.found))
        remarks = tuple(filter(None, [unread(self.columns, names)]))
        notes = Notes(
            rows=self.rows,
            rankings=self.ranked,
            implicit=self.implicit,
            skipped=self.skipped,
            bad_rows=tuple(f"{where}, {message}" for message in self.bad),
            remarks=remarks,
            nobody=self._nobody(names),
            **self.counts,
        )
        return self.parts.stored() if self.parts is not None and self.written else tuple(self.found), notes

    def _complete(self, parts: Parts) -> None:
        """Write what is left, and that nothing is."""
        if self.found:
            self.write(parts)
        if not self.complete:
            self.complete = True
            parts.close(self.state)

    def _nobody(self, names: set[str]) -> str:
        """Why nothing has a user; empty where something has."""
        if self.counts["without_user"] < self.counts["comparisons"] + self.counts["thumbs"]:
            return ""
        theirs = self.columns.get("user_id", "user_id")
        if theirs in names:
            return f"the column {theirs!r} is empty in every row"
        return named_otherwise(["user_id"], self.columns, names)
