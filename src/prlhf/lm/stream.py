"""Streaming: the text of one answer as it is written."""

from __future__ import annotations

from collections.abc import Generator
from queue import Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from torch import Tensor
from transformers.generation import BaseStreamer

from prlhf.lm.decoding import Cancelled
from prlhf.lm.generate import answer_text, respond
from prlhf.lm.requests import Generation, GenerationOptions, Request

if TYPE_CHECKING:
    from prlhf.lm.personalized import PersonalizedLM

__all__ = ["stream"]


class _Tokens(BaseStreamer):
    """Puts the ids of each new token into a queue."""

    def __init__(self, queue: Queue[Any]):
        self.queue = queue
        self.begun = False

    def put(self, value: Tensor) -> None:
        if self.begun:
            self.queue.put(value.tolist())
        self.begun = True  # the first value is the prompt

    def end(self) -> None:
        """The answer itself follows."""


def stream(
    lm: PersonalizedLM, request: Request, options: GenerationOptions, *, reference: bool = False
) -> Generator[str, None, Generation]:
    """Yield the answer piece by piece and return it whole; the pieces joined are its text.

    The model works in a thread of its own meanwhile: use it for nothing else until the generator is done or closed
    (`close`, or leaving the loop), which stops it after the token it is at.
    """
    queue: Queue[Any] = Queue()
    cancel = Event()

    def work() -> None:
        try:
            found = respond(
                lm, [request], options, reference=reference, streamer=_Tokens(queue), criteria=[Cancelled(cancel)]
            )
            queue.put(found[0])
        except BaseException as e:  # handed to the reader
            queue.put(e)

    worker = Thread(target=work, daemon=True)
    worker.start()
    tokens: list[int] = []
    sent = ""
    try:
        while True:
            item = queue.get()
            if isinstance(item, BaseException):
                raise item
            if isinstance(item, Generation):
                yield item.text[len(sent) :]
                return item
            tokens += item
            piece = _new(sent, answer_text(lm, tokens, options.stop, more=True))
            if piece:
                sent += piece
                yield piece
    finally:
        cancel.set()
        worker.join()


def _new(sent: str, text: str) -> str:
    return text[len(sent) :] if text.startswith(sent) else ""
