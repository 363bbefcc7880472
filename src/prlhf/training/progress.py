"""Progress of passes over data: bars, or a log line a minute without a terminal. Needs no transformers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from rich.console import Console
from rich.progress import track

__all__ = ["Watch", "bar"]

MINUTE = 60.0
"""Seconds between two lines."""
logger = logging.getLogger(__name__)


def bar(items: Iterable[int], what: str) -> Iterable[int]:
    """A progress bar over a pass, on standard error."""
    console = Console(stderr=True)
    short = isinstance(items, Sequence) and len(items) < 10
    if not console.is_terminal and isinstance(items, Sequence):
        return _told(items, what)
    return track(items, description=what, console=console, transient=True, disable=short or not console.is_terminal)


def _told(items: Sequence[int], what: str) -> Iterator[int]:
    watch = Watch()
    for done, item in enumerate(items):
        watch.tell(what, done, len(items))
        yield item


class Watch:
    """A line once a minute: how far it is, and how long it will take."""

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.begin = self.last = time.monotonic()

    def tell(self, what: str, done: int, of: int, more: str = "") -> None:
        """Log it, where it is time."""
        now = time.monotonic()
        if now - self.last < MINUTE or done <= self.first:
            return
        self.last = now
        left = timedelta(seconds=round((of - done) * (now - self.begin) / (done - self.first)))
        logger.info("%s: %d of %d%s, about %s left", what, done, of, more, left)
