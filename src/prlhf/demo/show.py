"""The study in the terminal, and as JSON."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from prlhf.demo.newcomers import VOTES, Newcomers
from prlhf.demo.page import win_rates
from prlhf.demo.study import Study
from prlhf.demo.targets import Finding

__all__ = ["show"]


def show(console: Console, study: Study, found: Sequence[Finding]) -> None:
    """Print the figures and six users' answers, and write `findings.json` beside the report."""
    table = Table("figure", "found", "target", title="Held-out questions, noise-free truth")
    for f in found:
        mark = "" if f.target is None else " [green]✓[/]" if f.reached else " [red]✗[/]"
        table.add_row(f.words, f"{f.value:.3f}", f.target_words + mark)
    console.print(table)
    console.print(_wins(study))
    console.print(_answers(study))
    if study.newcomers is not None:
        console.print(_newcomer(study.newcomers))
    _write(study, found)


def _wins(study: Study) -> Table:
    table = Table("P-DPO against", "all users", "majority", "minority", "ties", title="Win rates (ties half)")
    for name, w in win_rates(study).items():
        groups = [str(w.groups[g].per_user) for g in ("majority", "minority")]
        table.add_row(name, str(w.per_user), *groups, f"{w.ties_share:.0%}")
    return table


def _answers(study: Study) -> Table:
    examples = study.examples
    table = Table("who asks", "answer", title=f"“{escape(examples.question)}”", show_lines=True)
    table.add_row("anybody (pooled DPO)", escape(examples.pooled))
    for user, text in examples.personal.items():
        table.add_row(f"{user.id}\n[dim]{escape(user.text)}[/]", escape(text))
    return table


def _newcomer(met: Newcomers) -> Table:
    title = f"Somebody new: {VOTES} votes later ({met.seconds:.1f} s)"
    table = Table("", f"“{escape(met.question)}”", title=title, show_lines=True)
    table.add_row("before\n[dim]the generic row[/]", escape(met.before))
    table.add_row(f"after\n[dim]{escape(met.shown.text)}[/]", escape(met.after))
    return table


def _write(study: Study, found: Sequence[Finding]) -> None:
    result = {
        "findings": [{"name": f.name, "value": f.value, "target": f.target, "reached": f.reached} for f in found],
        "profiles": study.by_profile,
        "wins": {name: rate.as_dict() for name, rate in win_rates(study).items()},
        "seconds": study.seconds,
        "machine": {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()},
    }
    (study.folder / "findings.json").write_text(json.dumps(result, indent=2, default=float), encoding="utf8")
