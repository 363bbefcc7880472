"""How the command line ends: 2 and one message for an error made for the user, 130 for Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from prlhf.errors import PrlhfError

__all__ = ["clear_errors", "interruptible"]


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print a `PrlhfError` on standard error and exit with 2; `PRLHF_DEBUG=1` shows where it was raised."""
    try:
        yield
    except PrlhfError as error:
        if os.environ.get("PRLHF_DEBUG"):
            raise
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as stop:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from stop


@contextmanager
def interruptible(hint: str | Callable[[], str]) -> Iterator[None]:
    """Ctrl-C within: exit with 130 after saying how to go on, by a call where that depends on what was done."""
    try:
        yield
    except KeyboardInterrupt as stop:
        typer.echo(f"interrupted; {hint if isinstance(hint, str) else hint()}", err=True)
        raise typer.Exit(130) from stop
