"""A preference log: its comparisons and thumbs, where they came from, and what was counted on the way in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from prlhf.data.facts import Facts, is_empty
from prlhf.data.items import Picked, facts_of, joined
from prlhf.types import Comparison, Feedback, Thumb

if TYPE_CHECKING:
    from prlhf.data.splits import Split

__all__ = ["Log", "Notes", "counted", "decided", "trainable"]


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
        return cls(rows=len(items) if rows is None else rows, remarks=remarks, **counted(items))

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


def counted(items: Iterable[Feedback]) -> dict[str, Any]:
    """What `Notes` counts of items, of the counts that are not 0."""
    found: Counter[str] = Counter()
    for item in items:
        if isinstance(item, Thumb):
            found.update(thumbs=1, up=item.up)
        else:
            found.update(comparisons=1, ties=item.tie, equal=item.chosen == item.rejected)
        found.update(empty=any(map(is_empty, item.responses)), without_user=item.user is None)
    return dict(found)


@dataclass(frozen=True)
class Log:
    """The comparisons and the thumbs of one source, each in the order of its rows.

    Those of a large file are on disk and are made as they are asked for; tuples otherwise.
    """

    comparisons: Sequence[Comparison]
    source: str
    """The name or path that was read."""
    attribution: str = ""
    notes: Notes = field(default_factory=Notes)
    fixed_split: Split | None = None
    """Sides that the source itself defines; `split` returns them unchanged."""
    thumbs: Sequence[Thumb] = ()

    def __len__(self) -> int:
        return len(self.comparisons) + len(self.thumbs)

    @cached_property
    def items(self) -> Sequence[Feedback]:
        """The comparisons, then the thumbs: what the indices of a `Split` count."""
        return joined(self.comparisons, self.thumbs)

    @cached_property
    def facts(self) -> Facts:
        """Hashes, weights, times and flags of the items."""
        return facts_of(self.items)

    def pick(self, indices: Sequence[int] | np.ndarray) -> Picked:
        """Some of the items, in this order, made as they are asked for."""
        places = np.asarray(indices, np.int64)
        return Picked(self.items, places, self.facts.take(places))

    @property
    def kinds(self) -> str:
        """What the items are, in words."""
        held = {"comparisons": self.comparisons or not self.thumbs, "thumbs": self.thumbs}
        return " and ".join(name for name, there in held.items() if there)

    @cached_property
    def fingerprint(self) -> str:
        """Content hash (16 hex digits) over all items in order, without their row ids: the same votes in another file
        format have the same fingerprint."""
        return self.facts.fingerprint

    @property
    def users(self) -> tuple[str, ...]:
        """The ids of all users, sorted; the generic user is not among them."""
        return tuple(self.facts.names)
