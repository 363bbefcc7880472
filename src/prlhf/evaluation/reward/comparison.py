"""Reward models on the same votes: figures of each, paired differences, checks; as JSON, as tables, as a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from prlhf.data.checks import Check, findings
from prlhf.errors import DataError
from prlhf.evaluation.bootstrap import Estimate, UserSums
from prlhf.evaluation.by_user import credit, log_loss
from prlhf.evaluation.checks import check_permuted
from prlhf.evaluation.metrics import summarise
from prlhf.evaluation.report import Code, Picture, Report, Section, Table
from prlhf.evaluation.reward.checks import check_flipped
from prlhf.evaluation.reward.figures import SideFigures, reliability, side_figures
from prlhf.evaluation.reward.verdict import verdict
from prlhf.evaluation.scores import Scores
from prlhf.words import counted

__all__ = ["FLIPPED", "SEEN", "Method", "RewardComparison", "label", "paired", "pooled", "unseen"]

FORMAT = 1
SEEN, FLIPPED = "seen", "flipped"
OURS, CROWD = "factor", "bt"
CEILING = 1.2
"""Of the log-loss in pictures: about twice that of knowing nothing."""


def unseen(votes: int) -> str:
    """The name of the setting in which so many votes of unseen users were folded in."""
    return f"unseen_{votes}"


def label(setting: str) -> str:
    """A setting in words."""
    return "seen users" if setting == SEEN else f"new, {setting.removeprefix('unseen_')} votes"


def _who(setting: str) -> str:
    return "seen users" if setting == SEEN else f"new users after {setting.removeprefix('unseen_')} votes"


def pooled(parts: Sequence[Scores]) -> Scores:
    """The comparisons of all seeds in one table, each named with the place of its seed; users stay who they are."""
    return Scores.concatenate(
        [replace(p, ids=np.array([f"{k}/{i}" for i in p.ids], dtype=object)) for k, p in enumerate(parts)]
    )


def paired(a: Scores, b: Scores, bootstrap: int = 1000, seed: int = 0) -> dict[str, Estimate]:
    """`accuracy` and `log_loss` of a minus those of b on the same comparisons in the same order, by draws of users.

    Raises:
        DataError: other comparisons on one side.
    """
    if not np.array_equal(a.ids, b.ids) or not np.array_equal(a.user, b.user):
        raise DataError(f"paired difference: {len(a):,} comparisons against {len(b):,} others; expected the same ones")
    columns = {"accuracy": credit(a.h) - credit(b.h), "log_loss": log_loss(a.h, 1.0) - log_loss(b.h, 1.0)}
    return UserSums.of(a.user, a.weight, columns).means(bootstrap, seed)


@dataclass(frozen=True)
class Method:
    """One reward model over all seeds: a table of log-odds for each setting, and what was done for it by seed."""

    name: str
    scores: Mapping[str, Scores]
    flipped: Scores | None
    """New users' comparisons after their votes, flipped, were folded in."""
    seeds: tuple[dict[str, Any], ...]
    """By seed: `chosen` (options), `fitted` (with where an early stop was), `personal`, `trials`, `seconds`."""

    @property
    def personal(self) -> bool:
        """Whether it answered people differently under any seed."""
        return any(about["personal"] for about in self.seeds)


@dataclass(frozen=True)
class RewardComparison:
    """Some reward models on the same votes, each tuned with the same budget."""

    methods: tuple[Method, ...]
    source: str
    fingerprint: str
    config: dict[str, Any]
    data_checks: tuple[Check, ...]
    notes: tuple[str, ...]
    sizes: tuple[dict[str, int], ...]
    """By seed: comparisons of each side, and users."""
    bootstrap: int
    attribution: str = ""

    @property
    def settings(self) -> list[str]:
        """`seen`, then new users from the fewest votes to the most."""
        return list(self.methods[0].scores)

    @property
    def crowd(self) -> str:
        """What all others are held against: `bt`, or the first where that is not among them."""
        return CROWD if any(m.name == CROWD for m in self.methods) else self.methods[0].name

    @cached_property
    def figures(self) -> dict[str, dict[str, SideFigures]]:
        """Method -> setting -> figures."""
        return {m.name: {s: side_figures(x, self.bootstrap) for s, x in m.scores.items()} for m in self.methods}

    @cached_property
    def differences(self) -> dict[str, dict[str, dict[str, Estimate]]]:
        """`a - b` -> setting -> `accuracy` and `log_loss`: every method minus the crowd, and ours minus every other."""
        named, crowd = {m.name: m for m in self.methods}, self.crowd
        pairs = [(name, crowd) for name in named if name != crowd]
        pairs += [(OURS, name) for name in named if OURS in named and name not in (OURS, crowd)]
        return {
            f"{a} - {b}": {s: paired(named[a].scores[s], named[b].scores[s], self.bootstrap) for s in self.settings}
            for a, b in dict.fromkeys(pairs)
        }

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        """Of the data, then of every method that claims to be personal."""
        return (*self.data_checks, *(check for m in self.methods for check in self._of_method(m)))

    def _of_method(self, method: Method) -> list[Check]:
        if not method.personal:
            return []
        permuted = check_permuted(summarise(method.scores[SEEN], 1.0, self.bootstrap))
        found = [replace(permuted, name=f"{method.name}: {permuted.name}")]
        if method.flipped is not None:
            told = check_flipped(method.scores[self.settings[-1]], method.flipped, bootstrap=self.bootstrap)
            found.append(replace(told, name=f"{method.name}: {told.name}"))
        return found

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, with stable names (docs/rewards.md)."""
        return {
            "format": FORMAT,
            "config": self.config,
            "data": {"source": self.source, "fingerprint": self.fingerprint, "by_seed": list(self.sizes)},
            "notes": list(self.notes),
            "settings": self.settings,
            "methods": {m.name: self._method(m) for m in self.methods},
            "differences": {
                name: {s: {k: e.as_dict() for k, e in found.items()} for s, found in by_setting.items()}
                for name, by_setting in self.differences.items()
            },
            "checks": [check.as_dict() for check in self.checks],
        }

    def _method(self, method: Method) -> dict[str, Any]:
        return {
            "figures": {s: f.as_dict() for s, f in self.figures[method.name].items()},
            "by_seed": [
                {**about, "figures": {s: _plain(_seed(x, k)) for s, x in method.scores.items()}}
                for k, about in enumerate(method.seeds)
            ],
        }

    # -- tables ------------------------------------------------------------------------------------------------------

    def table(self, figure: str) -> list[list[Any]]:
        """A row for each method: its name, then one estimate for each setting."""
        return [[name, *(getattr(found[s].own, figure) for s in self.settings)] for name, found in self.figures.items()]

    def difference_table(self, figure: str) -> list[list[Any]]:
        """The same of the paired differences."""
        return [[name, *(found[s][figure] for s in self.settings)] for name, found in self.differences.items()]

    def chosen(self) -> str:
        """The configuration that each method was measured with, a line for each seed."""
        lines = []
        for method in self.methods:
            for k, about in enumerate(method.seeds):
                options = ", ".join(f"{name} = {value}" for name, value in about["chosen"].items() if name != "type")
                lines.append(f"{method.name}, seed {k}: {options}")
        return "\n".join(lines)

    def seconds(self) -> list[list[Any]]:
        """A row for each method: mean seconds of tuning, fitting and measuring."""
        parts = ("tuning", "fitting", "measuring")
        return [[m.name, *(float(np.mean([s["seconds"][p] for s in m.seeds])) for p in parts)] for m in self.methods]

    def about(self) -> str:
        """What was compared, in a few sentences."""
        one, seeds, budget = self.sizes[0], len(self.sizes), self.config["budget"]
        several, which = seeds > 1, "Of the first: " if seeds > 1 else ""
        tried = f"{budget} configurations, chosen by validation log-loss" if budget > 1 else "its defaults alone"
        return (
            f"{counted(len(self.methods), 'reward model')} on {self.source}, {counted(seeds, 'seed')}. "
            f"{which}{one['train']:,} votes "
            f"of {one['users']:,} users to learn from, {one['test']:,} held-out votes of the same users, and "
            f"{counted(one['unseen users'], 'unseen user')}. Each had {tried}. "
            f"Intervals are over users{', pooled over seeds' * several}."
        )

    def verdict(self) -> str:
        """Whether seen users, and new ones after the most votes, are answered better than by the crowd; in a sentence
        with the intervals, empty where there is nothing else."""
        shown = dict.fromkeys((SEEN, self.settings[-1]))
        others = [m.name for m in self.methods if m.name != self.crowd]
        gains = {name: self.differences[f"{name} - {self.crowd}"] for name in others}
        return verdict(self.crowd, {name: {_who(s): g[s]["accuracy"] for s in shown} for name, g in gains.items()})

    # -- the page ----------------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """A page with tables and plots."""
        headings = ("", *map(label, self.settings))
        figures = [
            Table(headings, self.table(name), caption)
            for name, caption in (
                ("accuracy", "accuracy"),
                ("log_loss", "log-loss"),
                ("calibration_error", "calibration error"),
            )
        ]
        differences = [
            Table(headings, self.difference_table("accuracy"), "accuracy: above 0, the first is better"),
            Table(headings, self.difference_table("log_loss"), "log-loss: below 0, the first is better"),
        ]
        checks = [(c.name, f"⚠ {c.state}" if c.finding else c.state, c.text) for c in self.checks]
        sections = [
            Section("Figures", "Definitions: docs/rewards.md.", figures),
            Section(
                "Differences",
                f"On the same votes, paired, with intervals over users. {self.verdict()}".strip(),
                differences,
            ),
            Section("New users", items=self._curves()),
            Section("Seen users and new ones", items=[self._bars()]),
            Section("Calibration", items=[self._reliability()]),
            Section("Checks", findings(self.checks), [Table(("check", "result", "in words"), checks)]),
            Section("Chosen configurations", items=[Code(self.chosen())]),
            Section("Seconds", items=[Table(("", "tuning", "fitting", "measuring"), self.seconds(), digits=1)]),
        ]
        about = "\n\n".join([self.about(), *self.notes])
        return Report(f"Reward models on {self.source}", about, sections, self.attribution)

    def _curves(self) -> list[Picture]:
        from prlhf.evaluation.reward.plots import vote_curves

        new = [s for s in self.settings if s != SEEN]

        def lines(figure: str) -> dict[str, dict[int, Estimate]]:
            return {
                name: {int(s.removeprefix("unseen_")): getattr(found[s].own, figure) for s in new}
                for name, found in self.figures.items()
            }

        best = _best(lines("accuracy"), max)
        least = _best(lines("log_loss"), min)
        return [
            Picture(
                vote_curves(lines("accuracy"), "accuracy", f"New users, most votes: the most right is {best}"),
                "Accuracy for new users by how many of their votes were folded in",
            ),
            Picture(
                vote_curves(
                    lines("log_loss"), "log-loss", f"New users, most votes: the least log-loss has {least}", CEILING
                ),
                "Log-loss for new users by how many of their votes were folded in",
                f"A triangle at {CEILING} stands for a log-loss above it.",
            ),
        ]

    def _bars(self) -> Picture:
        from prlhf.evaluation.plots import profile_bars

        shown = [self.settings[0], self.settings[-1]] if len(self.settings) > 1 else self.settings
        values = {label(s): {name: found[s].own.accuracy for name, found in self.figures.items()} for s in shown}
        best = max(self.figures, key=lambda name: self.figures[name][SEEN].own.accuracy.value)
        title = f"Seen users: the most right is {best}, {self.figures[best][SEEN].own.accuracy.value:.3f}"
        return Picture(profile_bars(values, title=title), "Accuracy of each reward model for seen and for new users")

    def _reliability(self) -> Picture:
        from prlhf.evaluation.reward.plots import reliability_diagram

        found = {m.name: reliability(m.scores[SEEN], m.scores[SEEN].h) for m in self.methods}
        alt = "Share of seen users' votes predicted rightly against how sure each model was"
        return Picture(reliability_diagram(found), alt, "Seen users. Above the line a model is less sure than right.")


def _best(lines: Mapping[str, Mapping[int, Estimate]], choose: Any) -> str:
    """The method with the best value after the most votes, with it."""
    ends = {name: line[max(line)].value for name, line in lines.items()}
    best = choose(ends, key=lambda name: ends[name])
    return f"{best}, {ends[best]:.3f}"


def _seed(scores: Scores, k: int) -> Scores:
    return scores.select(np.array([str(i).startswith(f"{k}/") for i in scores.ids], bool))


def _plain(scores: Scores) -> dict[str, float | None]:
    """The figures of one seed without intervals."""
    found = side_figures(scores, 0).own
    values = {
        name: getattr(found, name).value for name in ("accuracy", "accuracy_per_user", "log_loss", "calibration_error")
    }
    return {name: None if math.isnan(value) else value for name, value in values.items()}
