"""Progress bars for passes over data; silent where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.progress import track

__all__ = ["bar"]


def bar(items: Iterable[int], what: str) -> Iterable[int]:
    """A progress bar over a pass, on standard error."""
    console = Console(stderr=True)
    short = isinstance(items, Sequence) and len(items) < 10
    return track(items, description=what, console=console, transient=True, disable=short or not console.is_terminal)
