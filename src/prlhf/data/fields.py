"""One value of a row at a time: checked, and brought to the type that a `Comparison` or `Thumb` has."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from prlhf.types import ROLES, Message

__all__ = ["BadField", "BadRow", "Interner", "parse_cell"]


class BadRow(Exception):
    """What is wrong with a row; its reader adds file and row number."""

    def told(self, columns: Mapping[str, str]) -> str:
        """The message where the file's `columns` (our name -> the file's) are called otherwise than ours."""
        return str(self)


class BadField(BadRow):
    """A value that does not fit. `field` begins with our name of a column; `expected` has such names in backticks."""

    def __init__(self, field: str, found: str, expected: str):
        super().__init__(field, found, expected)
        self._parts = field, found, expected

    def __str__(self) -> str:
        return self.told({})

    def told(self, columns: Mapping[str, str]) -> str:
        """The message by the file's names; what the field's column stands for is added where it is called otherwise."""
        field, found, expected = self._parts
        ours = re.match(r"\w*", field)[0]  # type: ignore[index]  # it matches everything, also as nothing
        theirs = columns.get(ours, ours)
        name = repr(theirs + field.removeprefix(ours)) + (f" (read as {ours})" if theirs != ours else "")
        expected = re.sub("`(.+?)`", lambda match: columns.get(match[1], match[1]), expected)
        return f"field {name}: found {found}, expected {expected}"


def show(value: Any) -> str:
    """A value for an error message: short, and with its type."""
    if value is None:
        return "nothing"
    text = repr(value)
    return f"{text[:57]}… ({type(value).__name__})" if len(text) > 60 else f"{text} ({type(value).__name__})"


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))  # NaN: a gap in a column of numbers


class Interner:
    """Checks texts and keeps one copy of each, since a log repeats its prompts, responses and ids."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def text(self, field: str, value: Any, *, empty: bool = True) -> str:
        """A string of valid Unicode; with `empty=False` not the empty one."""
        if not isinstance(value, str):
            raise BadField(field, show(value), "text")
        known = self._texts.get(value)
        if known is None:
            try:
                value.encode("utf8")
            except UnicodeEncodeError as e:
                raise BadField(field, f"half a surrogate pair at character {e.start + 1}", "valid Unicode") from e
            known = self._texts[value] = value
        if not empty and not value:
            raise BadField(field, "an empty text", "text")
        return known

    def optional_text(self, field: str, value: Any) -> str | None:
        """A string, or None where nothing is given."""
        return None if _missing(value) else self.text(field, value)

    def name(self, field: str, value: Any) -> str | None:
        """An opaque id: a non-empty string, or an integer, which is read as its digits."""
        if _missing(value):
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, float):
            hint = "a string or an integer (integers with gaps often become decimals: store them as text)"
            raise BadField(field, show(value), hint)
        if not isinstance(value, str):
            raise BadField(field, show(value), "a string or an integer")
        return self.text(field, value, empty=False)

    def messages(self, field: str, value: Any) -> tuple[Message, ...]:
        """A non-empty list of `{role, content}`."""
        if not isinstance(value, Sequence) or not value:
            raise BadField(field, show(value), "text, or a list of messages {role, content}")
        return tuple(self._message(f"{field}[{i}]", item) for i, item in enumerate(value))

    def _message(self, field: str, value: Any) -> Message:
        if not isinstance(value, dict) or "role" not in value or "content" not in value:
            raise BadField(field, show(value), "a message {role, content}")
        role = value["role"]
        if role not in ROLES:
            raise BadField(f"{field}.role", show(role), f"one of {', '.join(ROLES)}")
        return Message(role, self.text(f"{field}.content", value["content"]))


def number(field: str, value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadField(field, show(value), "a number")
    try:
        found = float(value)
    except OverflowError as e:
        raise BadField(field, show(value), "a number that a float can hold (up to 1.8e308)") from e
    if not math.isfinite(found):
        raise BadField(field, show(value), "a number")
    return found


def weight(field: str, value: Any) -> float:
    """A finite number that is not negative; 1 where nothing is given."""
    if value is None:
        return 1.0
    found = number(field, value)
    if found < 0:
        raise BadField(field, show(value), "a number that is not negative")
    return found


def flag(field: str, value: Any) -> bool:
    """True or false; false where nothing is given."""
    if value is None:
        return False
    if not isinstance(value, bool):
        raise BadField(field, show(value), "true or false")
    return value


def verdict(field: str, value: Any) -> bool:
    """True or false, one of which has to be given."""
    if not isinstance(value, bool):
        raise BadField(field, show(value), "true (thumb up) or false (thumb down)")
    return value


def shown(field: str, value: Any) -> Any:
    """`chosen`, `rejected`, or None."""
    if value not in (None, "chosen", "rejected"):
        raise BadField(field, show(value), "'chosen' or 'rejected'")
    return value


def moment(field: str, value: Any) -> datetime | None:
    """A point in time from ISO 8601 text or a date; in UTC, also where no zone is given."""
    if value is None:
        return None
    given = value
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as e:
            raise BadField(field, show(value), "a time in ISO 8601, as 2025-03-01T12:00:00Z") from e
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise BadField(field, show(value), "a time in ISO 8601, as 2025-03-01T12:00:00Z")
    try:
        when = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (OverflowError, ValueError) as e:
        raise BadField(field, show(given), "a time in the years 1 to 9999, also in UTC") from e
    # A plain datetime, also where a table library handed over a subclass of it.
    return datetime(*when.timetuple()[:6], when.microsecond, tzinfo=UTC)


_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}


def parse_cell(field: str, text: str) -> Any:
    """The value that a CSV cell of `field` stands for; what cannot be parsed stays text, for the check that follows.

    An empty cell is nothing, except as a response. Lists (messages, `responses`, `scores`) are written as JSON.
    """
    if field in ("chosen", "rejected", "completion", "prompt"):
        return _json_list(text, of_objects=True)
    if text == "":
        return None
    if field in ("responses", "scores"):
        return _json_list(text)
    if field in ("tie", "label"):
        word = text.strip().lower()
        return True if word in _TRUE else False if word in _FALSE else text
    if field == "weight":
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _json_list(text: str, of_objects: bool = False) -> Any:
    """The JSON list in a cell, else the text itself: prose may well begin with a bracket."""
    if not text.lstrip().startswith("["):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    is_messages = bool(value) and all(isinstance(item, dict) and "role" in item for item in value)
    return value if is_messages or not of_objects else text
