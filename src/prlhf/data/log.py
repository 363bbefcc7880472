"""A preference log in memory: its comparisons, where they came from, and what was counted on the way in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from prlhf.types import Comparison, prompt_text

if TYPE_CHECKING:
    from prlhf.data.splits import Split

__all__ = ["Log", "Notes", "content", "decided", "is_empty", "trainable"]


def is_empty(text: str) -> bool:
    """Whether a response has nothing in it but white space."""
    return not text.strip()


def decided(comparison: Comparison) -> bool:
    """Whether the comparison has an answer that a model can get right: no tie, and two different texts."""
    return not comparison.tie and comparison.chosen != comparison.rejected


def trainable(comparison: Comparison, *, ties: bool = False) -> bool:
    """Whether the comparison is trained on: two different texts, neither empty, and no tie unless `ties` are wanted."""
    if comparison.tie and not ties:
        return False
    texts = comparison.chosen, comparison.rejected
    return texts[0] != texts[1] and not any(is_empty(text) for text in texts)


@dataclass(frozen=True)
class Notes:
    """What was counted while a log was read. A comparison can be in several of the last four counts."""

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
    ties: int = 0
    equal: int = 0
    """Comparisons whose two responses are the same text."""
    empty: int = 0
    """Comparisons with at least one empty response."""
    without_user: int = 0
    """Comparisons of the generic user."""
    remarks: tuple[str, ...] = ()
    """Other things to know, one sentence each."""
    nobody: str = ""
    """Why no row of a file names a user, where none does."""

    @classmethod
    def of(
        cls, comparisons: tuple[Comparison, ...], *, rows: int | None = None, remarks: tuple[str, ...] = ()
    ) -> Notes:
        """Count `comparisons` that come from a source without bad rows."""
        return cls(
            rows=len(comparisons) if rows is None else rows,
            comparisons=len(comparisons),
            ties=sum(c.tie for c in comparisons),
            equal=sum(c.chosen == c.rejected for c in comparisons),
            empty=sum(is_empty(c.chosen) or is_empty(c.rejected) for c in comparisons),
            without_user=sum(c.user is None for c in comparisons),
            remarks=remarks,
        )

    def text(self, *, ties: bool = False) -> str:
        """One short paragraph for a person; `ties` says that they are trained on."""
        parts = [f"{self.comparisons:,} comparisons from {self.rows:,} rows"]
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
    """The comparisons of one source, in the order of its rows."""

    comparisons: tuple[Comparison, ...]
    source: str
    """The name or path that was read."""
    attribution: str = ""
    notes: Notes = field(default_factory=Notes)
    fixed_split: Split | None = None
    """Sides that the source itself defines; `split` returns them unchanged."""

    def __len__(self) -> int:
        return len(self.comparisons)

    @cached_property
    def fingerprint(self) -> str:
        """Content hash (16 hex digits) over all comparisons in order, without their row ids: the same votes in
        another file format have the same fingerprint."""
        digest = hashlib.sha256()
        for c in self.comparisons:
            digest.update(content(c))
        return digest.hexdigest()[:16]

    @cached_property
    def users(self) -> tuple[str, ...]:
        """The ids of all users, sorted; the generic user is not among them."""
        return tuple(sorted({c.user for c in self.comparisons if c.user is not None}))


def content(c: Comparison) -> bytes:
    """Everything of a comparison but its row id, as bytes to be hashed (`repr` keeps the parts apart)."""
    when = c.timestamp.isoformat() if c.timestamp else None
    prompt = prompt_text(c.prompt), isinstance(c.prompt, str)
    parts = (*prompt, c.chosen, c.rejected, c.user, c.user_text, float(c.weight), when, c.tie, c.first_shown, c.group)
    return repr(parts).encode("utf8", "backslashreplace")
