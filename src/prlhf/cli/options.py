"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["OnBadRow"]

OnBadRow = Annotated[
    str | None,
    typer.Option(
        metavar="stop|skip",
        help="A row that cannot be read: stop there, or skip it, counted and listed (data.on_bad_row).",
    ),
]
