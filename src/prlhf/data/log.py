"""A preference log in memory: its comparisons and thumbs, where they came from, and what was counted on the way in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from prlhf.types import Comparison, Feedback, Thumb, prompt_text

if TYPE_CHECKING:
    from prlhf.data.splits import Split

__all__ = ["Log", "Notes", "content", "decided", "is_empty", "parted", "trainable"]


def is_empty(text: str) -> bool:
    """Whether a response has nothing in it but white space."""
    return not text.strip()


def decided(item: Feedback) -> bool:
    """Whether a model can get it right: a thumb, or a comparison of two different texts that is no tie."""
    return isinstance(item, Thumb) or (not item.tie and item.chosen != item.rejected)


def trainable(item: Feedback, *, ties: bool = False) -> bool:
    """Whether it is trained on: no empty response, no two equal ones, and no tie unless `ties` are wanted."""
    if any(is_empty(text) for text in item.responses):
        return False
    return isinstance(item, Thumb) or (item.chosen != item.rejected and (ties or not item.tie))


@dataclass(frozen=True)
class Notes:
    """What was counted while a log was read. A comparison or thumb can be in several of the last four counts."""

    rows: int = 0
    """Rows of the source."""
    rankings: int = 0
    """Rows that were rankings of several responses."""
    implicit: int = 0
    """Rows without a prompt of their own: it is what both responses begin with."""
    skipped: int = 0
    """Bad rows that were left out (`on_bad_row = "skip"`)."""
    bad_rows: tuple[str, ...] = ()
    """The messages of the first of them (at most 100)."""
    comparisons: int = 0
    thumbs: int = 0
    up: int = 0
    """Thumbs that are up."""
    ties: int = 0
    equal: int = 0
    """Comparisons whose two responses are the same text."""
    empty: int = 0
    """Comparisons and thumbs with at least one empty response."""
    without_user: int = 0
    """Comparisons and thumbs of the generic user."""
    remarks: tuple[str, ...] = ()
    """Other things to know, one sentence each."""
    nobody: str = ""
    """Why no row of a file names a user, where none does."""

    @classmethod
    def of(cls, items: Sequence[Feedback], *, rows: int | None = None, remarks: tuple[str, ...] = ()) -> Notes:
        """Count `items` that come from a source without bad rows."""
        comparisons, thumbs = parted(items)
        return cls(
            rows=len(items) if rows is None else rows,
            comparisons=len(comparisons),
            thumbs=len(thumbs),
            up=sum(t.up for t in thumbs),
            ties=sum(c.tie for c in comparisons),
            equal=sum(c.chosen == c.rejected for c in comparisons),
            empty=sum(any(is_empty(text) for text in item.responses) for item in items),
            without_user=sum(item.user is None for item in items),
            remarks=remarks,
        )

    def text(self, *, ties: bool = False, thumbs: bool = True) -> str:
        """One short paragraph for a person; `ties` and `thumbs` say that they are trained on."""
        counts = [f"{self.comparisons:,} comparisons"] if self.comparisons or not self.thumbs else []
        if self.thumbs:
            counts.append(f"{self.thumbs:,} thumbs ({self.up:,} up, {self.thumbs - self.up:,} down)")
        parts = [f"{' and '.join(counts)} from {self.rows:,} rows"]
        if self.rankings:
            parts.append(f"{self.rankings:,} of the rows are rankings")
        if self.implicit:
            parts.append(f"{self.implicit:,} prompts taken from what both responses begin with")
        if self.without_user:
            parts.append(f"{self.without_user:,} without a user (they belong to the generic user)")
        if ties and self.ties:
            parts.append(f"{self.ties:,} ties")
        left_out = {
            "ties": 0 if ties else self.ties,
            "with equal responses": self.equal,
            "with an empty response": self.empty,
            "thumbs": 0 if thumbs else self.thumbs,
        }
        named = [f"{count:,} {name}" for name, count in left_out.items() if count]
        if named:
            parts.append(f"not trained on: {', '.join(named)}")
        lines = ["; ".join(parts) + "."]
        if self.skipped:
            lines.append(f"{self.skipped:,} bad rows were skipped:")
            lines += [f"  {message}" for message in self.bad_rows[:5]]
            lines += [f"  and {self.skipped - 5:,} more"] if self.skipped > 5 else []
        lines += self.remarks
        if self.nobody:
            lines.append(f"No row names a user, so there is nobody to personalise for: {self.nobody}.")
        return "\n".join(lines)


@dataclass(frozen=True)
class Log:
    """The comparisons and the thumbs of one source, each in the order of its rows."""

    comparisons: tuple[Comparison, ...]
    source: str
    """The name or path that was read."""
    attribution: str = ""
    notes: Notes = field(default_factory=Notes)
    fixed_split: Split | None = None
    """Sides that the source itself defines; `split` returns them unchanged."""
    thumbs: tuple[Thumb, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def items(self) -> tuple[Feedback, ...]:
        """The comparisons, then the thumbs: what the indices of a `Split` count."""
        return (*self.comparisons, *self.thumbs)

    @property
    def kinds(self) -> str:
        """What the items are, in words."""
        held = {"comparisons": self.comparisons or not self.thumbs, "thumbs": self.thumbs}
        return " and ".join(name for name, there in held.items() if there)

    @cached_property
    def fingerprint(self) -> str:
        """Content hash (16 hex digits) over all items in order, without their row ids: the same votes in another file
        format have the same fingerprint."""
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(content(item))
        return digest.hexdigest()[:16]

    @cached_property
    def users(self) -> tuple[str, ...]:
        """The ids of all users, sorted; the generic user is not among them."""
        return tuple(sorted({item.user for item in self.items if item.user is not None}))


def parted(items: Iterable[Feedback]) -> tuple[tuple[Comparison, ...], tuple[Thumb, ...]]:
    """The comparisons and the thumbs among `items`, each in their order."""
    comparisons: list[Comparison] = []
    thumbs: list[Thumb] = []
    for item in items:
        if isinstance(item, Thumb):
            thumbs.append(item)
        else:
            comparisons.append(item)
    return tuple(comparisons), tuple(thumbs)


def content(item: Feedback) -> bytes:
    """Everything of a comparison or thumb but its row id, as bytes to be hashed (`repr` keeps the parts apart)."""
    when = item.timestamp.isoformat() if item.timestamp else None
    said = (item.up,) if isinstance(item, Thumb) else (item.tie, item.first_shown)
    who = item.user, item.user_text, float(item.weight), when
    parts = (prompt_text(item.prompt), isinstance(item.prompt, str), *item.responses, *who, *said, item.group)
    return repr(parts).encode("utf8", "backslashreplace")
