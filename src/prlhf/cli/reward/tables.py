"""Figures of reward models as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from prlhf.evaluation.bootstrap import Estimate
    from prlhf.evaluation.reward import RewardEvaluation
    from prlhf.evaluation.reward.comparison import RewardComparison

__all__ = ["comparison_tables", "figures_table"]


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


def comparison_tables(found: RewardComparison) -> Iterator[Table]:
    """Accuracy and log-loss of each method in each setting, then the differences, in points and with intervals."""
    for figure, title in (("accuracy", "accuracy"), ("log_loss", "log-loss")):
        table = _table(f"{title}, on the same votes", found)
        for name, *cells in found.table(figure):
            table.add_row(name, *(f"{e.value:.3f}" if e.exists else "–" for e in cells))
        yield table
    for figure, title, scale in (
        ("accuracy", "accuracy in points, more is better", 100.0),
        ("log_loss", "log-loss, less is better", 1.0),
    ):
        table = _table(f"difference in {title}", found)
        for name, *cells in found.difference_table(figure):
            table.add_row(name, *(_interval(e, scale) for e in cells))
        yield table


def _table(title: str, found: RewardComparison) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from prlhf.evaluation.reward.comparison import label

    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False, box=SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for setting in found.settings:
        table.add_column(label(setting).replace(" ", "\n", 1), justify="right")
    return table


def _interval(e: Estimate, scale: float) -> str:
    """The difference, and its interval on a line below."""
    if not e.exists:
        return "–"
    value, low, high = (x * scale for x in (e.value, e.low, e.high))
    digits = 1 if scale > 1 else 3
    plain = (f"{x:+.{digits}f}".replace("0.", ".", 1) if digits == 3 else f"{x:+.{digits}f}" for x in (low, high))
    return f"{value:+.{digits}f}\n{'…'.join(plain)}"
