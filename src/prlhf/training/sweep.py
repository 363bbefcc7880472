"""Ablations: variants of a run, several seeds of each, and what each differs by from the base."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prlhf.config import DataConfig, RunConfig
from prlhf.config.variants import Variant
from prlhf.data import Log, load_comparisons
from prlhf.errors import ConfigError
from prlhf.evaluation.bootstrap import Estimate
from prlhf.evaluation.metrics import summarise
from prlhf.evaluation.paired import Difference, paired_difference, shown_rows
from prlhf.evaluation.plots import Curve, learning_curves, read_curves, save
from prlhf.evaluation.scores import Scores
from prlhf.lm import is_checkpoint
from prlhf.lm.folders import write_text
from prlhf.training.run import CONFIG, Run, differences, settled
from prlhf.training.train import train

__all__ = ["Row", "markdown", "sweep"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One variant over all its seeds. Intervals are over users, who count in every seed.

    `early`: mean accuracy of seen users over all evaluations while training: higher = learned sooner. `unrest`: mean
    absolute change of the generic row's accuracy from one evaluation to the next in the second half of training.
    """

    name: str
    seeds: int
    seen: Estimate
    worst_tenth: Estimate
    generic: Estimate
    early: float
    unrest: float
    difference: Difference | None
    """From the base, on the same comparisons of seen users (of all where none is seen); None for the base itself."""
    difference_all: Difference | None
    """The same over all comparisons."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON keeps it."""
        estimates = {name: getattr(self, name).as_dict() for name in ("seen", "worst_tenth", "generic")}
        differences = {
            name: None if found is None else found.as_dict()
            for name, found in (("difference", self.difference), ("difference_all", self.difference_all))
        }
        figures = {"early": self.early, "unrest": self.unrest}
        plain = {
            "name": self.name,
            "seeds": self.seeds,
            **{n: None if math.isnan(x) else x for n, x in figures.items()},
        }
        return {**plain, **estimates, **differences}


def sweep(variants: Sequence[Variant], output: str | Path, *, seeds: int = 1, cache: Path | None = None) -> list[Row]:
    """Train every variant with every seed, and write `sweep.json`, `sweep.md` and `sweep.png` to `output`.

    Seed k of all variants has the same split, the same training comparisons and the same start. Runs that are complete
    are taken over, one that was interrupted goes on: the same call again finishes what was begun.

    Args:
        variants: the base first (`prlhf.config.variants`).
        output: each run is in `output/<variant>/seed-<k>`.
        seeds: how many, counted from the configuration's own.
        cache: folder of the reference cache; by default `prlhf.lm.default_cache()`.

    Raises:
        ConfigError: `seeds < 1`, or a folder that holds a run with other options or of other data.
    """
    if seeds < 1:
        raise ConfigError(f"seeds: found {seeds}, expected at least 1")
    place, logs = Path(output), _Logs()
    for k in range(seeds):
        for variant in variants:
            folder = _folder(place, variant, k)
            log = logs.of(variant.config.data)
            config = _seeded(variant.config, k, log)
            _check_same(Run(folder), config, log)
            if not is_checkpoint(folder / "model"):
                logger.info("%s, seed %d of %d", variant.name, k + 1, seeds)
                train(config, folder, log=log, resume=(folder / CONFIG).exists(), cache=cache)
    rows = [_row(place, variant, variants[0], seeds) for variant in variants]
    _write(place, variants, rows, seeds)
    return rows


def _check_same(run: Run, config: RunConfig, log: Log) -> None:
    """ConfigError where a folder holds a run with other options or of other data: its figures would be shown as those
    of these."""
    held = run.folder / CONFIG
    if not held.is_file():
        return
    others = differences(RunConfig.model_validate_json(held.read_text(encoding="utf8")), settled(config))
    if others:
        raise ConfigError(f"{held} differs from this sweep: {'; '.join(others)}. Choose another output folder")
    known = run.fingerprint
    if known not in (None, log.fingerprint):
        raise ConfigError(
            f"{log.source} has changed since {run.folder} was started: fingerprint {known} there and {log.fingerprint} "
            "here. Choose another output folder, or bring the old data back"
        )


class _Logs:
    """Logs by what is read, so that a sweep reads each once."""

    def __init__(self) -> None:
        self._held: list[tuple[DataConfig, Log]] = []

    def of(self, data: DataConfig) -> Log:
        read = data.model_copy(update={"split": DataConfig().split, "max_comparisons": None})
        for known, log in self._held:
            if known == read:
                return log
        self._held.append((read, load_comparisons(data)))
        return self._held[-1][1]


def _seeded(config: RunConfig, k: int, log: Log) -> RunConfig:
    """Another draw of everything; also of the split, unless the source brings its own."""
    data = config.data
    if log.fixed_split is None:
        data = data.model_copy(update={"split": data.split.model_copy(update={"seed": data.split.seed + k})})
    return config.model_copy(update={"seed": config.seed + k, "data": data})


def _folder(place: Path, variant: Variant, k: int) -> Path:
    return place / variant.folder / f"seed-{k}"


def _row(place: Path, variant: Variant, base: Variant, seeds: int) -> Row:
    own = _scores(place, variant, seeds)
    other = None if variant is base else _scores(place, base, seeds)
    metrics = summarise(own, variant.config.objective.beta).overall
    curves = [_read(_folder(place, variant, k)) for k in range(seeds)]
    later = [np.abs(np.diff(c["generic"].y[len(c["generic"].y) // 2 :])) for c in curves if "generic" in c]
    return Row(
        name=variant.name,
        seeds=seeds,
        seen=metrics.accuracy_seen,
        worst_tenth=metrics.accuracy_worst_tenth,
        generic=metrics.accuracy_generic,
        early=_mean([np.array(c["seen"].y) for c in curves if "seen" in c]),
        unrest=_mean(later),
        difference=None if other is None else paired_difference(own, other, rows=shown_rows(own)).overall,
        difference_all=None if other is None else paired_difference(own, other).overall,
    )


def _mean(parts: Sequence[np.ndarray]) -> float:
    """Of all values, or not a number where there is none."""
    values = np.concatenate(parts) if parts else np.empty(0)
    return float(values.mean()) if len(values) else math.nan


def _scores(place: Path, variant: Variant, seeds: int) -> Scores:
    """The test comparisons of all seeds in one table, each named with its seed."""
    parts = [Scores.load(_folder(place, variant, k) / "scores.parquet") for k in range(seeds)]
    named = [
        replace(part, ids=np.array([f"{k}/{name}" for name in part.ids], dtype=object)) for k, part in enumerate(parts)
    ]
    return Scores.concatenate(named)


def _read(run: Path) -> dict[str, Curve]:
    """What was measured while training: `seen` and `generic`, where there were evaluations."""
    return read_curves(run / "metrics.jsonl", {"seen": "eval_accuracy_seen", "generic": "eval_accuracy_generic"})


def _write(place: Path, variants: Sequence[Variant], rows: Sequence[Row], seeds: int) -> None:
    """The table as JSON and Markdown, and all learning curves: of seen users, and of the generic row."""
    write_text(place / "sweep.json", json.dumps([row.as_dict() for row in rows], indent=2, ensure_ascii=False))
    write_text(place / "sweep.md", markdown(rows))
    for which, name, what in (("seen", "sweep.png", "seen users"), ("generic", "sweep_generic.png", "the generic row")):
        every = {v.name: [_read(_folder(place, v, k)).get(which) for k in range(seeds)] for v in variants}
        shown = {label: _band([c for c in found if c is not None]) for label, found in every.items() if all(found)}
        if shown:
            title = f"Accuracy of {what} while training" + (f", mean and range of {seeds} seeds" if seeds > 1 else "")
            save(learning_curves(shown, title=title), place / name)


def _band(curves: Sequence[Curve]) -> Curve:
    """Mean and range over the seeds."""
    y = np.array([curve.y for curve in curves])
    return Curve(curves[0].x, y.mean(0).tolist(), y.min(0).tolist(), y.max(0).tolist())


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page."""
    lines = [
        "| variant | seen users | minus the base, paired, seen users | worst tenth | generic row | early | unrest |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        difference = "" if row.difference is None else str(row.difference)
        figures = (row.worst_tenth.value, row.generic.value, row.early, row.unrest)
        plain = " | ".join("–" if math.isnan(x) else f"{x:.3f}" for x in figures)
        lines.append(f"| {row.name} | {row.seen} | {difference} | {plain} |")
    return "\n".join(lines) + "\n"
