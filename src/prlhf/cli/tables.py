"""Metrics as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from prlhf.evaluation.metrics import Figures, Metrics

__all__ = ["HEADLINES", "comparison_table", "metrics_table"]

HEADLINES = {
    "accuracy_seen": "own row, seen users",
    "accuracy_per_user": "own row, mean over users",
    "accuracy_worst_tenth": "own row, worst tenth of users",
    "accuracy_generic_seen": "generic row, seen users",
    "accuracy_generic_unseen": "generic row, unseen users",
    "accuracy_permuted": "somebody else's row",
    "personal_gain": "own row - generic row",
    "log_loss_seen": "log-loss, own row",
}
"""The figures that are printed, in order; all of them, and their definitions: docs/evaluation.md."""


def metrics_table(metrics: Metrics) -> Table:
    """The headline figures with their intervals: one row a figure, one column overall and for each group."""
    from rich.table import Table

    about = f"{metrics.comparisons:,} held-out comparisons, {metrics.users:,} users ({metrics.seen_users:,} seen)"
    table = Table(title=about, title_justify="left")
    table.add_column("accuracy of the implicit reward")
    columns = {"all": metrics.overall, **metrics.groups}
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return _fill(table, list(columns.values()))


def comparison_table(rows: Mapping[str, Metrics]) -> Table:
    """Several systems on the same comparisons: one column a system."""
    from rich.table import Table

    table = Table(title="on the same comparisons", title_justify="left")
    table.add_column("accuracy of the implicit reward")
    for name in rows:
        table.add_column(name, justify="right", no_wrap=True)
    return _fill(table, [metrics.overall for metrics in rows.values()])


def _fill(table: Table, columns: list[Figures]) -> Table:
    for name, label in HEADLINES.items():
        cells = [getattr(figures, name) for figures in columns]
        if any(cell.exists for cell in cells):
            table.add_row(label, *(str(cell) for cell in cells))
    return table
