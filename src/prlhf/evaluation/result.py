"""What `evaluate` found: as JSON with stable names, as one row a user, as a report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prlhf.data.checks import Check, findings
from prlhf.errors import DataError
from prlhf.evaluation.baselines import MEANINGS
from prlhf.evaluation.bootstrap import Estimate
from prlhf.evaluation.by_user import PerUser, per_user
from prlhf.evaluation.metrics import Figures, Metrics
from prlhf.evaluation.paired import Difference, PairedDifference
from prlhf.evaluation.report import Picture, Report, Section, Table
from prlhf.evaluation.scores import Scores, write_parquet

__all__ = ["HEADLINES", "Compared", "Evaluation"]

FORMAT = 1
HEADLINES = {
    "accuracy_seen": "own row, seen users",
    "accuracy_per_user": "own row, mean over users",
    "accuracy_worst_tenth": "own row, worst tenth of users",
    "accuracy_generic_seen": "generic row, seen users",
    "accuracy_generic_unseen": "generic row, unseen users",
    "accuracy_permuted": "somebody else's row",
    "personal_gain": "own row - generic row",
    "permutation_drop": "own row - somebody else's row",
    "log_loss_seen": "log-loss, own row",
}


@dataclass(frozen=True)
class Compared:
    """A baseline or another run on the same comparisons; `difference` is the run minus it, paired by comparison, of
    the users whom the run has seen (of all where it has seen none); `difference_all` that of all users.

    `missing` says why there is nothing, where there is nothing. A baseline that applies to some of the comparisons only
    has its metrics and the difference on those.
    """

    name: str
    scores: Scores | None = None
    metrics: Metrics | None = None
    difference: PairedDifference | None = None
    difference_all: PairedDifference | None = None
    beta: float = 1.0
    missing: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `metrics` and the differences are null where `missing` says why."""
        return {
            "meaning": MEANINGS.get(self.name),
            "missing": self.missing or None,
            "comparisons": 0 if self.scores is None else len(self.scores),
            "metrics": None if self.metrics is None else self.metrics.as_dict(),
            "difference": None if self.difference is None else self.difference.as_dict(),
            "difference_all": None if self.difference_all is None else self.difference_all.as_dict(),
        }


@dataclass(frozen=True)
class Evaluation:
    """A run on some comparisons, its baselines, and the other runs that were named."""

    run: str
    source: str
    fingerprint: str
    side: str
    scores: Scores
    metrics: Metrics
    per_user: PerUser
    baselines: dict[str, Compared] = field(default_factory=dict)
    against: dict[str, Compared] = field(default_factory=dict)
    """Other runs, by their folders as they were named."""
    profiles: dict[str, Figures] = field(default_factory=dict)
    """The figures by hidden profile, in the planted world."""
    checks: tuple[Check, ...] = ()
    """Leaks of the data, and whether rows and votes in the prompt are used."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures has to know, as comparisons that were trained on."""
    reading: str = ""
    """What was counted while the log was read (`Log.notes`)."""
    attribution: str = ""
    curves: Path | None = None
    """The run's `metrics.jsonl`."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with stable names (docs/evaluation.md)."""
        return {
            "format": FORMAT,
            "run": self.run,
            "data": {
                "source": self.source,
                "fingerprint": self.fingerprint,
                "side": self.side,
                "reading": self.reading,
            },
            "notes": list(self.notes),
            "checks": [check.as_dict() for check in self.checks],
            "metrics": self.metrics.as_dict(),
            "profiles": {name: figures.as_dict() for name, figures in self.profiles.items()},
            "baselines": {name: found.as_dict() for name, found in self.baselines.items()},
            "against": {run: found.as_dict() for run, found in self.against.items()},
        }

    def compared(self) -> dict[str, Compared]:
        """The baselines that apply, then the other runs as `against RUN`."""
        found = {name: c for name, c in self.baselines.items() if c.scores is not None}
        return {**found, **{f"against {run}": c for run, c in self.against.items()}}

    def save_users(self, path: str | os.PathLike[str]) -> None:
        """Write Parquet, one row a user: `PerUser`, and an `accuracy_NAME` for each of `compared()`, null where there
        is none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.per_user.save(path)
        table = pq.read_table(path)
        for name, found in self.compared().items():
            assert found.scores is not None
            each = per_user(found.scores, found.beta)
            place = dict(zip(each.user, each.accuracy.tolist(), strict=True))
            accuracies = pa.array([place.get(user) for user in self.per_user.user], pa.float64())
            table = table.append_column(f"accuracy_{name}", accuracies)
        write_parquet(table, path)

    def report(self) -> Report:
        """A page with tables and plots."""
        sections = [self._figures(), self._users()]
        sections += [self._baselines()] if self.baselines or self.against else []
        sections += [self._checks()] if self.checks else []
        sections += [self._profiles()] if self.profiles else []
        sections += self._learning()
        m = self.metrics
        intro = (
            f"{m.comparisons:,} comparisons of {m.users:,} users ({m.seen_users:,} with a row of their own), "
            f"{self.side} of {self.source}. Intervals are the central 95 % of {m.resamples:,} draws of users.\n\n"
        )
        warning = findings(self.checks) if any(check.finding for check in self.checks) else ""
        about = "\n\n".join(filter(None, [warning, self.reading, *self.notes]))
        return Report(f"Evaluation of {self.run}", intro + about, sections, self.attribution)

    def _figures(self) -> Section:
        columns = {"all": self.metrics.overall, **self.metrics.groups}
        table = Table(("accuracy of the implicit reward", *columns), _rows(columns))
        return Section("Figures", "Definitions: docs/evaluation.md.", [table])

    def _users(self) -> Section:
        from prlhf.evaluation.plots import per_user_accuracy

        if not self.per_user.seen.any():
            return Section("Users", "No user of these comparisons has a row.")
        pooled = self.baselines.get("pooled")
        other = None if pooled is None or pooled.scores is None else per_user(pooled.scores, pooled.beta)
        alt = "The accuracy of each user under the own row and under the generic row"
        return Section("Users", items=[Picture(per_user_accuracy(self.per_user, other), alt)])

    def _baselines(self) -> Section:
        columns = ("", "seen users", "mean over users", "worst tenth", "the run minus it, seen users", "comparisons")
        rows: list[Any] = [_system("this run", self.metrics, None)]
        rows += [_system(name, c.metrics, c.difference) for name, c in self.compared().items() if c.metrics]
        about = [f"{name}: {MEANINGS[name]}." for name in self.baselines if self.baselines[name].metrics]
        about += [f"{name}: not applicable, {c.missing}." for name, c in self.baselines.items() if c.missing]
        return Section("Against", "\n".join(about), [Table(columns, rows, "on the same comparisons", emphasis=0)])

    def _checks(self) -> Section:
        rows = [(check.name, f"⚠ {check.state}" if check.finding else check.state, check.text) for check in self.checks]
        items = [Table(("check", "result", "in words"), rows)]
        parts = [part for check in self.checks for part in check.numbers.get("by_votes", ())]
        if parts:
            by_votes = [(_range(p["fewest"], p["most"]), p["users"], p["distance"]) for p in parts]
            caption = "rows of the user table by their users' votes in training"
            items.append(Table(("votes", "users", "median distance from the generic row"), by_votes, caption))
        about = "A finding is a warning: read the figures above with it. What is checked: docs/evaluation.md."
        return Section("Checks", f"{findings(self.checks)}\n\n{about}", items)

    def _profiles(self) -> Section:
        from prlhf.evaluation.plots import profile_bars

        series = {"own row": "accuracy_seen", "generic row": "accuracy_generic_seen"}
        values = {
            profile: {label: e for label, name in series.items() if (e := getattr(figures, name)).exists}
            for profile, figures in self.profiles.items()
        }
        values = {profile: row for profile, row in values.items() if row}
        if not values:
            return Section("Profiles", "No user with a known profile has a row.")
        return Section("Profiles", items=[Picture(profile_bars(values), "Accuracy by hidden profile")])

    def _learning(self) -> list[Section]:
        from prlhf.evaluation.plots import CURVES, learning_curves, read_curves

        if self.curves is None or not self.curves.exists():
            return []
        try:
            curves = read_curves(self.curves, CURVES)
        except DataError:  # a run that was killed while it wrote; its end has nothing to do with this page
            return []
        if not curves:
            return []
        return [Section("While training", items=[Picture(learning_curves(curves), "Accuracy over training steps")])]


def _range(low: int, high: int) -> str:
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _rows(columns: Mapping[str, Figures]) -> list[list[str | Estimate]]:
    """One row a figure that exists anywhere, one column a group."""
    rows: list[list[str | Estimate]] = []
    for name, label in HEADLINES.items():
        cells = [getattr(figures, name) for figures in columns.values()]
        if any(cell.exists for cell in cells):
            rows.append([label, *cells])
    return rows


def _gain(difference: Difference) -> Estimate | str:
    """For a column of seen users."""
    return difference.accuracy if difference.rows == "seen" else str(difference)


def _system(name: str, metrics: Metrics, difference: PairedDifference | None) -> list[Any]:
    o = metrics.overall
    gain = None if difference is None else _gain(difference.overall)
    return [name, o.accuracy_seen, o.accuracy_per_user, o.accuracy_worst_tenth, gain, metrics.comparisons]
