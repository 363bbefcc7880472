"""Metrics as a table for the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from prlhf.data.checks import Check
    from prlhf.evaluation.bootstrap import Estimate
    from prlhf.evaluation.metrics import Metrics
    from prlhf.evaluation.paired import PairedDifference
    from prlhf.evaluation.result import Evaluation
    from prlhf.training.dry_run import DryRun
    from prlhf.training.sweep import Row

__all__ = ["checks_table", "dry_run_table", "metrics_table", "sweep_table", "systems_table"]


def metrics_table(metrics: Metrics) -> Table:
    """The headline figures: one row a figure, with its interval over all users, and a plain column for each group."""
    from rich.table import Table

    from prlhf.evaluation.result import HEADLINES

    about = f"{metrics.comparisons:,} comparisons, {metrics.users:,} users ({metrics.seen_users:,} seen)"
    table = Table(title=about, title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("accuracy of the implicit reward", min_width=29)
    table.add_column("all, with interval", justify="right", no_wrap=True)
    for name in metrics.groups:
        table.add_column(name, justify="right", overflow="ellipsis")
    for name, label in HEADLINES.items():
        whole = getattr(metrics.overall, name)
        groups = [getattr(figures, name) for figures in metrics.groups.values()]
        if whole.exists:
            table.add_row(label, str(whole), *(f"{g.value:.3f}" if g.exists else "" for g in groups))
    return table


def systems_table(found: Evaluation) -> Table:
    """The run and everything it is compared with, one row a system. Only the difference has its interval, so that the
    table is no wider than 80 columns; all others are among the figures of `--json`."""
    from rich.table import Table

    table = Table(title="accuracy on the same comparisons", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("", overflow="fold", min_width=19)  # the folders of other runs can be long
    for heading in ("seen\nusers", "mean\nover\nusers", "worst\ntenth", "this run minus it,\nseen users", "count"):
        table.add_column(heading, justify="right", no_wrap=True)
    _row(table, "this run", found.metrics, None)
    for name, other in found.compared().items():
        if other.metrics is not None:
            _row(table, name, other.metrics, other.difference)
    return table


def checks_table(checks: Iterable[Check]) -> Table:
    """What each check says, a finding set off."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title="checks", title_justify="left", show_edge=False, pad_edge=False, show_lines=True)
    table.add_column("check", max_width=20)
    table.add_column("result", no_wrap=True)
    table.add_column("in words", overflow="fold")
    for check in checks:
        style = "yellow" if check.finding else "" if check.state == "nothing found" else "dim"
        table.add_row(*(Text(cell, style) for cell in (check.name, check.state, check.text)))
    return table


def _row(table: Table, name: str, metrics: Metrics, difference: PairedDifference | None) -> None:
    f = metrics.overall
    gain = "" if difference is None else str(difference.overall)
    accuracies = (f.accuracy_seen, f.accuracy_per_user, f.accuracy_worst_tenth)
    table.add_row(name, *map(_plain, accuracies), gain, f"{metrics.comparisons:,}")


def _plain(estimate: Estimate) -> str:
    return f"{estimate.value:.3f}" if estimate.exists else "–"


def sweep_table(rows: Sequence[Row]) -> Table:
    """A row a variant. Only the difference from the base has its interval; all others are in `sweep.json`."""
    from rich.table import Table

    table = Table(title="accuracy on the test side, all seeds", title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("", overflow="fold", min_width=12)
    for heading in ("seen\nusers", "minus the base,\nseen users", "worst\n10th", "gen.\nrow", "early", "un-\nrest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        difference = "" if row.difference is None else str(row.difference)
        numbers = ("–" if math.isnan(x) else f"{x:.3f}" for x in (row.generic.value, row.early, row.unrest))
        table.add_row(row.name, _plain(row.seen), difference, _plain(row.worst_tenth), *numbers)
    return table


def dry_run_table(found: DryRun) -> Table:
    """What a run would be: steps, parameters, memory, and how its two steps on a tiny model went."""
    from rich.table import Table

    table = Table(show_header=False, show_edge=False, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_row("comparisons of an epoch (of kto: thumbs)", f"{found.learned:,}")
    table.add_row("users", f"{found.users:,}")
    table.add_row("steps", f"{found.steps:,}")
    table.add_row("tokens of the longest, with its responses", f"{found.longest:,}")
    if found.tokens is not None:
        table.add_row("layout", found.layout)
        table.add_row("tokens of an epoch, in all branches", f"{found.tokens.epoch:,}")
        if found.tokens.mismatched:
            table.add_row("… of its mismatched responses, forward only", f"{found.tokens.mismatched:,}")
        table.add_row("… of the reference, forward only and once", f"{found.tokens.reference:,}")
    if found.parameters is not None:
        n = found.parameters
        table.add_row("parameters of the base model", f"{n.base:,}")
        table.add_row("… trained in the language model (N_l)", f"{n.trained:,}")
        table.add_row("… of the user model (N_u)", f"{n.users:,}")
        table.add_row("N_u / N_l", f"{n.users / max(n.trained, 1):.3g}")
    if found.memory is not None:
        m = found.memory
        table.add_row("memory of the weights", _bytes(m.weights))
        table.add_row("… of gradients and moments", _bytes(m.training))
        table.add_row("… of the user model", _bytes(m.users))
        if m.copies:
            table.add_row("… of weights in 16 bit, in a step", _bytes(m.copies))
        table.add_row("… of activations in a step (estimated)", _bytes(m.step))
        table.add_row("… or in a pass without gradient (estimated)", _bytes(m.forward))
        table.add_row("… together at the peak, the libraries aside (estimated)", _bytes(m.total))
    table.add_row(f"two steps on a tiny {found.rehearsed_on} model: first loss", f"{found.loss:.4f}")
    return table


def _bytes(count: float) -> str:
    """A size as a person reads it, in powers of 1024."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:,.1f} GiB"
