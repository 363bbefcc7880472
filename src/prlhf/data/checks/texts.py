"""Texts as numbers, the same for texts that differ in white space and upper or lower case only."""

from __future__ import annotations

from prlhf.types import Feedback, prompt_text

__all__ = ["Texts"]


class Texts:
    """Gives every text a number; a split by content does not notice what is the same here."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self._numbers.setdefault(" ".join(text.split()).casefold(), len(self._numbers))

    def of(self, item: Feedback) -> tuple[int, tuple[int, ...]]:
        """The prompt, and each response."""
        return self(prompt_text(item.prompt)), tuple(self(text) for text in item.responses)
