"""The data types that travel through prlhf: frozen, validated, and free of torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

__all__ = ["ROLES", "Comparison", "Feedback", "Message", "Prompt", "Thumb", "User", "prompt_text"]

ROLES = ("system", "developer", "user", "assistant", "tool")
"""Who speaks in a conversation."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is one of `ROLES`."""

    role: str
    content: str


Prompt = str | tuple[Message, ...]
"""A plain text, or the messages so far (the last of them from the user)."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who gives feedback: an opaque id, and optionally a text about them. `id=None` is the generic user."""

    id: str | None
    text: str | None = None


def prompt_text(prompt: Prompt) -> str:
    """The prompt as one string, for hashing, counting and showing (not for the model)."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{m.role}: {m.content}" for m in prompt)


def _digest(*parts: str) -> str:
    h = hashlib.sha256()
    for part in parts:
        data = part.encode("utf8", "surrogatepass")
        h.update(len(data).to_bytes(8, "little") + data)
    return h.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One preference: of two responses to `prompt`, `user` preferred `chosen` to `rejected`.

    `user=None` is the generic user. With `tie=True` the user found both equally good and chosen/rejected only say
    which stood first. `weight` multiplies the comparison's loss. `group` is a name for reporting ("minority"), never
    seen by a model. `id` names the row it came from (for error messages and split files).
    """

    prompt: Prompt
    chosen: str
    rejected: str
    user: str | None = None
    user_text: str | None = None
    weight: float = 1.0
    timestamp: datetime | None = None
    tie: bool = False
    first_shown: Literal["chosen", "rejected"] | None = None
    group: str | None = None
    id: str = ""

    @property
    def responses(self) -> tuple[str, ...]:
        """Both of them."""
        return self.chosen, self.rejected

    @property
    def prompt_key(self) -> str:
        """Content hash of the prompt."""
        return _digest(prompt_text(self.prompt))

    @property
    def pair_key(self) -> str:
        """Content hash of prompt and the *unordered* two responses: the same for whoever voted, whichever way."""
        return _digest(prompt_text(self.prompt), *sorted((self.chosen, self.rejected)))

    @property
    def response_keys(self) -> tuple[str, ...]:
        """Content hashes of (prompt, chosen) and (prompt, rejected)."""
        p = prompt_text(self.prompt)
        return _digest(p, self.chosen), _digest(p, self.rejected)


@dataclass(frozen=True, slots=True)
class Thumb:
    """One response to `prompt` judged alone: `user` liked it (`up`), or did not.

    The other fields are those of a `Comparison`.
    """

    prompt: Prompt
    response: str
    up: bool
    user: str | None = None
    user_text: str | None = None
    weight: float = 1.0
    timestamp: datetime | None = None
    group: str | None = None
    id: str = ""

    @property
    def responses(self) -> tuple[str, ...]:
        """The one."""
        return (self.response,)

    @property
    def prompt_key(self) -> str:
        """Content hash of the prompt."""
        return _digest(prompt_text(self.prompt))

    @property
    def pair_key(self) -> str:
        """Content hash of (prompt, response): the same for whoever judged it, whichever way."""
        return _digest(prompt_text(self.prompt), self.response)

    @property
    def response_keys(self) -> tuple[str, ...]:
        """Content hash of (prompt, response)."""
        return (self.pair_key,)


Feedback = Comparison | Thumb
"""What a user said: which of two responses is better, or whether one is good."""
