"""Figures of reward models as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from prlhf.evaluation.reward import RewardEvaluation

__all__ = ["figures_table"]


def figures_table(found: RewardEvaluation) -> Table:
    """A row for each way to answer; only the accuracy has its interval, so that the table fits in 80 columns."""
    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False)
    table.add_column("", overflow="fold", min_width=16)
    table.add_column("accuracy,\nwith interval", justify="right", no_wrap=True)
    for heading in ("mean over\nusers", "log-\nloss", "calib.\nerror"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, figures, _ in found.rows():
        others = (figures.accuracy_per_user, figures.log_loss, figures.calibration_error)
        cells = (f"{e.value:.3f}" if e.exists else "–" for e in others)
        table.add_row(name, str(figures.accuracy), *cells)
    return table
