"""A conversation with a model as one of its users."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING

from prlhf.generation.compare import Voice, side_by_side
from prlhf.lm.requests import Generation, GenerationOptions, Request
from prlhf.lm.stream import stream
from prlhf.types import Message, Prompt

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["Conversation"]


class Conversation:
    """Questions and answers, with one voice or several side by side; each voice remembers its own answers.

    A model without chat template has no notion of turns: there each question stands alone (`remembers` is False).
    """

    def __init__(self, lm: PersonalizedLM, who: list[Voice], options: GenerationOptions):
        self.lm = lm
        self.options = options
        self.remembers: bool = lm.template.chat
        self.switch(who)

    def switch(self, who: list[Voice]) -> None:
        """Answer as somebody else from now on, in a new conversation."""
        self.who = who
        self.reset()

    def reset(self) -> None:
        """Forget what was said."""
        self.history: list[tuple[Message, ...]] = [()] * len(self.who)
        self.turn = 0

    def ask(self, text: str) -> Generator[str, None, Generation]:
        """Stream the answer of the only voice. An answer that is left early is not remembered."""
        who = self.who[0]
        request = Request(self._prompt(0, text), who.user, who.row, who.known, who.text, self.turn)
        answer = yield from stream(self.lm, request, self.options, reference=who.reference)
        self._keep(text, [answer])
        return answer

    def ask_all(self, text: str) -> list[Generation]:
        """The answers of all voices."""
        prompts = [self._prompt(i, text) for i in range(len(self.who))]
        options = self.options
        if options.seed is not None:
            options = replace(options, seed=options.seed + self.turn)
        found = side_by_side(self.lm, prompts, self.who, options)
        self._keep(text, found)
        return found

    def _prompt(self, i: int, text: str) -> Prompt:
        return (*self.history[i], Message("user", text)) if self.remembers else text

    def _keep(self, text: str, answers: list[Generation]) -> None:
        self.turn += 1
        if self.remembers:
            said = [(Message("user", text), Message("assistant", a.text)) for a in answers]
            self.history = [(*before, *new) for before, new in zip(self.history, said, strict=True)]
