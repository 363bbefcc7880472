"""What a check says: a finding, nothing found, too little to tell, or not applicable, each in one sentence with its
numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Check", "State", "findings"]

State = Literal["finding", "nothing found", "too little to tell", "not applicable"]
_MADE = ("finding", "nothing found")


@dataclass(frozen=True)
class Check:
    """One question, answered. `numbers` is JSON-able; a finding is a warning, never an error."""

    name: str
    state: State
    text: str
    numbers: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, found: bool, text: str, numbers: dict[str, Any]) -> Check:
        """A check that could be made."""
        return cls(name, "finding" if found else "nothing found", text, numbers)

    @classmethod
    def missing(cls, name: str, why: str) -> Check:
        """A check that could not be made, and why."""
        return cls(name, "not applicable", why)

    def beside(self, **others: Check) -> Check:
        """The same question, asked of something else too: the sentences of those that could be made, after one another,
        and the numbers of each of the others under its name."""
        every = [self, *others.values()]
        made = [check for check in every if check.state in _MADE]
        numbers = {**self.numbers, **{name: check.numbers for name, check in others.items() if check.numbers}}
        if not made:
            return Check.missing(self.name, "; ".join(check.text for check in every))
        found = any(check.finding for check in made)
        return Check.of(self.name, found, " ".join(check.text for check in made), numbers)

    @property
    def finding(self) -> bool:
        """Whether there is something to warn of."""
        return self.state == "finding"

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with stable names."""
        return {"name": self.name, "state": self.state, "text": self.text, "numbers": self.numbers}


def findings(checks: Iterable[Check]) -> str:
    """One sentence: how many checks were made, and which have a finding."""
    made = [check for check in checks if check.state in _MADE]
    named = [check.name for check in made if check.finding]
    if not named:
        return f"{len(made)} checks, nothing found."
    return f"{len(made)} checks, {len(named)} with a finding: {'; '.join(named)}."
