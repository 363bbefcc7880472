"""What `evaluate_reward` found: as JSON with stable names, as one row a user, as a report."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from prlhf.data.checks import Check, findings
from prlhf.evaluation.bootstrap import Estimate
from prlhf.evaluation.by_user import per_user
from prlhf.evaluation.report import Picture, Report, Section, Table
from prlhf.evaluation.reward.figures import RewardFigures, SideFigures, reliability, side_figures
from prlhf.evaluation.scores import Scores

__all__ = ["LABELS", "RewardEvaluation"]

FORMAT = 1
LABELS = {
    "accuracy": "accuracy",
    "accuracy_per_user": "accuracy, mean over users",
    "log_loss": "log-loss",
    "calibration_error": "calibration error",
}


@dataclass(frozen=True)
class RewardEvaluation:
    """A reward model on some comparisons. The margins of both tables are log-odds; either is None where it is empty."""

    model: str
    """The `type` of its configuration."""
    seen: Scores | None
    """Of users whom it was fitted to."""
    unseen: Scores | None
    """Of all others: after their votes were folded in where they have some (`Scores.seen` says who)."""
    votes: int
    """How many votes of each new user were folded in, at most."""
    told: int
    """How many users these are of."""
    left_out: dict[str, int]
    """Comparisons and thumbs that are in no figure, by the reason."""
    bootstrap: int
    seed: int
    source: str = ""
    fingerprint: str = ""
    side: str = "all"
    attribution: str = ""
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def scores(self) -> Scores:
        """Both tables in one; `h_permuted` only where both have it."""
        parts = [part for part in (self.seen, self.unseen) if part is not None]
        return Scores.concatenate(parts)

    @cached_property
    def all(self) -> RewardFigures:
        """Of everybody, as each is answered."""
        return self.sides["all"].own

    @cached_property
    def sides(self) -> Mapping[str, SideFigures]:
        """`all`, and `seen` and `unseen` where there are such users."""
        parts = {"all": self.scores, "seen": self.seen, "unseen": self.unseen}
        return {name: side_figures(x, self.bootstrap, self.seed) for name, x in parts.items() if x is not None}

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with stable names (docs/rewards.md)."""
        seen = self.sides.get("seen")
        permuted = None if seen is None or seen.permuted is None else seen.permuted.as_dict()
        if seen is not None and permuted is not None:
            permuted["drop"] = seen.permutation_drop.as_dict()
        return {
            **self.all.as_dict(),
            "seen": None if seen is None else seen.as_dict(),
            "unseen": self.sides["unseen"].as_dict() if "unseen" in self.sides else None,
            "permuted": permuted,
            "generic": self.sides["all"].generic.as_dict(),
            "data": {
                "source": self.source,
                "fingerprint": self.fingerprint,
                "side": self.side,
                "comparisons": len(self.scores),
                "users": len({user for user in self.scores.user if user is not None}),
                "left_out": self.left_out,
            },
            "votes": self.votes,
            "told_users": self.told,
            "model": self.model,
            "checks": [check.as_dict() for check in self.checks],
            "notes": list(self.notes),
            "bootstrap": self.bootstrap,
            "seed": self.seed,
            "format": FORMAT,
        }

    def about(self) -> str:
        """What was measured, in a sentence or two."""
        parts = {"seen": self.seen, "unseen": self.unseen}
        sizes = [
            f"{len(x):,} of {len({u for u in x.user if u is not None}):,} {name} users"
            for name, x in parts.items()
            if x is not None
        ]
        told = f"; up to {self.votes} votes of {self.told:,} new users were folded in first" if self.told else ""
        without = [f"{count:,} {name.replace('_', ' ')}" for name, count in self.left_out.items() if count]
        left = f" Left out: {', '.join(without)}." if without else ""
        return f"Comparisons: {', '.join(sizes)}{told}.{left}"

    def rows(self) -> list[tuple[str, RewardFigures, Estimate | None]]:
        """A line for each way to answer: its name, its figures, and what its accuracy lacks of the own one."""
        found: list[tuple[str, RewardFigures, Estimate | None]] = []
        for name in ("seen", "unseen"):
            if (side := self.sides.get(name)) is not None:
                found.append((f"{name} users", side.own, None))
                found.append((f"{name} users, as the generic one", side.generic, side.personal_gain))
                if side.permuted is not None:
                    found.append((f"{name} users, as somebody else", side.permuted, side.permutation_drop))
        return found

    def save_users(self, path: str | os.PathLike[str]) -> None:
        """Write Parquet, one row a user (`prlhf.evaluation.PerUser`)."""
        per_user(self.scores, 1.0).save(path)

    def report(self) -> Report:
        """A page with tables and plots."""
        columns = ("", *LABELS.values(), "own state minus this, accuracy")
        rows = [(name, *(getattr(f, key) for key in LABELS), gain) for name, f, gain in self.rows()]
        sections = [Section("Figures", "Definitions: docs/rewards.md.", [Table(columns, rows, emphasis=0)])]
        sections += [self._reliability(), self._users()]
        if self.checks:
            lines = [(c.name, f"⚠ {c.state}" if c.finding else c.state, c.text) for c in self.checks]
            sections.append(Section("Checks", findings(self.checks), [Table(("check", "result", "in words"), lines)]))
        about = "\n\n".join([self.about(), *self.notes])
        about += f"\n\nIntervals are the central 95 % of {self.bootstrap:,} draws of users."
        return Report(f"Reward model {self.model} on {self.source or 'comparisons'}", about, sections, self.attribution)

    def _reliability(self) -> Section:
        from prlhf.evaluation.reward.plots import reliability_diagram

        parts = {"seen users": self.seen, "unseen users": self.unseen}
        found = {name: reliability(x, x.h) for name, x in parts.items() if x is not None}
        alt = "Share of votes predicted rightly against how sure the model was"
        return Section("Calibration", items=[Picture(reliability_diagram(found), alt)])

    def _users(self) -> Section:
        from prlhf.evaluation.plots import per_user_accuracy

        users = per_user(self.scores, 1.0)
        if not users.seen.any():
            return Section("Users", "No user of these comparisons has a state.")
        alt = "The accuracy of each user under the own state and under the generic one"
        return Section("Users", items=[Picture(per_user_accuracy(users), alt)])
