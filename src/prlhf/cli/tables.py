"""Metrics as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from prlhf.evaluation.metrics import Metrics

__all__ = ["metrics_table"]


def metrics_table(metrics: Metrics) -> Table:
    """The headline figures: one row a figure, with its interval over all users, and a plain column for each group."""
    from rich.table import Table

    from prlhf.evaluation.result import HEADLINES

    about = f"{metrics.comparisons:,} held-out comparisons, {metrics.users:,} users ({metrics.seen_users:,} seen)"
    table = Table(title=about, title_justify="left")
    table.add_column("accuracy of the implicit reward", min_width=28)
    table.add_column("all, with interval", justify="right", no_wrap=True)
    for name in metrics.groups:
        table.add_column(name, justify="right", overflow="ellipsis")
    for name, label in HEADLINES.items():
        whole = getattr(metrics.overall, name)
        groups = [getattr(figures, name) for figures in metrics.groups.values()]
        if whole.exists:
            table.add_row(label, str(whole), *(f"{g.value:.3f}" if g.exists else "" for g in groups))
    return table
