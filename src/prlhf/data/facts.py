"""What of a comparison or thumb has a fixed width: the content hashes that splits compare, weight, time and flags.

A row of about a hundred bytes for each item, whatever its texts are, so that whatever goes over all items of a large
log goes over arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from prlhf.data.rankings import ranking_of
from prlhf.types import Comparison, Feedback, Thumb, prompt_text

__all__ = ["FACT", "Facts", "content", "hashed", "is_empty"]

FACT = np.dtype(
    [
        ("prompt", "<u8"),  # the number that `prompt_key` writes in hexadecimal digits
        ("pair", "<u8"),  # `pair_key`
        ("responses", "<u8", 2),  # `response_keys`; of a thumb twice the one
        ("texts", "<u8", 2),  # of the responses, whatever the prompt is
        ("ranking", "<u8"),  # of the id of its ranking; 0 where it is a vote of its own
        ("id", "<u8"),
        ("content", "<u8", 2),  # of everything but the id
        ("weight", "<f8"),
        ("time", "<f8"),  # seconds since 1970, or not a number
        ("thumb", "?"),
        ("up", "?"),
        ("tie", "?"),
        ("equal", "?"),
        ("empty", "?"),
        ("told", "?"),  # it has a user text
    ]
)
"""One row. Hashes are the first eight bytes of a SHA-256 (of `content` sixteen)."""

_AT_ONCE = 4096


def is_empty(text: str) -> bool:
    """Whether a response has nothing in it but white space."""
    return not text.strip()


def content(item: Feedback) -> bytes:
    """Everything of a comparison or thumb but its row id, as bytes to be hashed (`repr` keeps the parts apart)."""
    when = item.timestamp.isoformat() if item.timestamp else None
    said = (item.up,) if isinstance(item, Thumb) else (item.tie, item.first_shown)
    who = item.user, item.user_text, float(item.weight), when
    parts = (prompt_text(item.prompt), isinstance(item.prompt, str), *item.responses, *who, *said, item.group)
    return repr(parts).encode("utf8", "backslashreplace")


def hashed(text: str) -> int:
    """The hash of a text by itself."""
    return _number(hashlib.sha256(text.encode("utf8", "surrogatepass")))


def _number(digest: Any) -> int:
    return int.from_bytes(digest.digest()[:8], "big")


def _after(digest: Any, *texts: str) -> Any:
    """The hash goes on over `texts`, each with its length, as the keys of `prlhf.types` do."""
    digest = digest.copy()
    for text in texts:
        data = text.encode("utf8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest


def _fact(item: Feedback) -> tuple[Any, ...]:
    prompt = _after(hashlib.sha256(), prompt_text(item.prompt))
    ranking, told = ranking_of(item), bool(item.user_text)
    whole = hashlib.sha256(content(item)).digest()
    when = float("nan") if item.timestamp is None else item.timestamp.timestamp()
    own = (
        0 if ranking is None else hashed(ranking) or 1,
        hashed(item.id),
        (int.from_bytes(whole[:8], "big"), int.from_bytes(whole[8:16], "big")),
        item.weight,
        when,
    )
    empty = any(map(is_empty, item.responses))
    keys = [_number(_after(prompt, text)) for text in item.responses]
    if isinstance(item, Comparison):
        pair, texts = _number(_after(prompt, *sorted(item.responses))), [hashed(text) for text in item.responses]
        flags = (False, False, item.tie, item.chosen == item.rejected, empty, told)
    else:
        pair, texts = keys[0], [hashed(item.response)] * 2
        keys, flags = keys * 2, (True, item.up, False, False, empty, told)
    return (_number(prompt), pair, tuple(keys), tuple(texts), *own, *flags)


@dataclass(frozen=True)
class Facts:
    """Of n items: `rows` `[n]` of `FACT`, and who they are of: `user` `[n]` counts in `names`, -1 is the generic user.

    `names` are sorted; some may be of no item here.
    """

    rows: np.ndarray
    user: np.ndarray
    names: Sequence[str]

    @classmethod
    def of(cls, items: Iterable[Feedback]) -> Facts:
        """Of items that are in memory."""
        parts, users, left = [], [], iter(items)
        while some := list(islice(left, _AT_ONCE)):
            parts.append(np.array([_fact(item) for item in some], FACT))
            users += [item.user for item in some]
        names = sorted({user for user in users if user is not None})
        place: dict[str | None, int] = {name: i for i, name in enumerate(names)} | {None: -1}  # type: ignore[dict-item]
        rows = np.concatenate(parts) if parts else np.zeros(0, FACT)
        return cls(rows, np.array([place[user] for user in users], np.int32), names)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> np.ndarray:
        """A column of `FACT`."""
        found: np.ndarray = self.rows[name]
        return found

    def take(self, indices: np.ndarray | slice) -> Facts:
        """Of some of the items, in this order."""
        return replace(self, rows=self.rows[indices], user=self.user[indices])

    def compact(self) -> Facts:
        """With nobody among the names who has none of these items."""
        there = np.unique(self.user[self.user >= 0])
        place = np.full(len(self.names) + 1, -1, np.int32)  # the last is that of -1
        place[there] = np.arange(len(there))
        return replace(self, user=place[self.user], names=[self.names[i] for i in there.tolist()])

    @property
    def decided(self) -> np.ndarray:
        """Whether a model can get it right `[n]` (`prlhf.data.decided`)."""
        return self["thumb"] | ~(self["tie"] | self["equal"])

    def trainable(self, ties: bool) -> np.ndarray:
        """Whether it is trained on `[n]` (`prlhf.data.trainable`)."""
        found: np.ndarray = ~self["empty"] & (self.decided | (~self["equal"] & ties))
        return found

    @property
    def distinct(self) -> list[str]:
        """The users of these items in the order of their first vote: rows do not depend on hashing."""
        codes, first = np.unique(self.user, return_index=True)
        return [self.names[code] for code in codes[np.argsort(first)].tolist() if code >= 0]

    @property
    def fingerprint(self) -> str:
        """Of all items in order, without their row ids (16 hex digits)."""
        return hashlib.sha256(np.ascontiguousarray(self["content"]).tobytes()).hexdigest()[:16]
