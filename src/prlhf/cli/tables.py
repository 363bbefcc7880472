"""Metrics as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from prlhf.evaluation.metrics import Metrics

__all__ = ["metrics_table"]


def metrics_table(metrics: Metrics) -> Table:
    """The headline figures with their intervals: one row a figure, one column overall and for each group."""
    from rich.table import Table

    from prlhf.evaluation.result import HEADLINES

    about = f"{metrics.comparisons:,} held-out comparisons, {metrics.users:,} users ({metrics.seen_users:,} seen)"
    table = Table(title=about, title_justify="left")
    table.add_column("accuracy of the implicit reward")
    columns = {"all": metrics.overall, **metrics.groups}
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for name, label in HEADLINES.items():
        cells = [getattr(figures, name) for figures in columns.values()]
        if any(cell.exists for cell in cells):
            table.add_row(label, *map(str, cells))
    return table
