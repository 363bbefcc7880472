"""A run, measured on held-out comparisons beside its baselines, all on the same rows."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prlhf.config import DataConfig, RunConfig
from prlhf.data import Log
from prlhf.data.checks import Check
from prlhf.data.planted import World
from prlhf.errors import ConfigError
from prlhf.evaluation.baselines import BASELINES, Baseline, in_context, length_only, planted_oracle, user_text
from prlhf.evaluation.by_user import per_user
from prlhf.evaluation.check_run import check_baseline, check_rows, check_users
from prlhf.evaluation.checks import check_permuted
from prlhf.evaluation.metrics import Figures, summarise
from prlhf.evaluation.paired import paired_difference, shown_rows
from prlhf.evaluation.policy import EvaluationSet, score_policy
from prlhf.evaluation.result import Compared, Evaluation
from prlhf.evaluation.rows import Rows, read_config, seen_by, select, told_as, training_of
from prlhf.evaluation.scores import Scores
from prlhf.lm import PersonalizedLM, default_cache, is_checkpoint
from prlhf.lm.checkpoint import unfinished
from prlhf.objectives import margin_of
from prlhf.types import Feedback

__all__ = ["POOLED_FOLDER", "evaluate", "planted_world", "score_run"]

Progress = Callable[[Iterable[int], str], Iterable[int]]
POOLED_FOLDER = "pooled"
"""Where in a run folder its pooled baseline is looked for."""
_NO_PAIRS = "it ranks the two responses of a comparison, and these are thumbs"
_IN_CONTEXT = ("in_context_relative", "in_context_raw")


@dataclass(frozen=True)
class _How:
    """What all scoring here has in common."""

    cache: Path
    bootstrap: int
    seed: int
    progress: Progress


_UNTOLD = "The run was trained with user texts, and there are none here: asked without."


def evaluate(
    run: str | Path,
    data: DataConfig | str | Path | Log | None = None,
    *,
    split: str | None = None,
    pooled: str | Path | None = None,
    against: Sequence[str | Path] = (),
    baselines: Sequence[str] = BASELINES,
    bootstrap: int = 1000,
    seed: int = 0,
    cache: Path | None = None,
    progress: Progress = lambda batches, _: batches,
) -> Evaluation:
    """Measure a run: its accuracies with intervals over users, and the same for each baseline on the same comparisons.

    Args:
        run: a finished run folder of `train`.
        data: another log to measure on; by default the run's own. A name or path is read with the reading options of
            the run's data, as `columns`, where they fit (`prlhf.data.inherit`); a `DataConfig` as it says.
        split: test, unseen, validation, train, context or all. By default test and unseen of the run's own data, and
            everything of other data; a side of other data is that of the run's split options.
        pooled: a run of pooled DPO (a uniform user model or alpha 0); by default `RUN/pooled` if it is there.
        against: other runs, for the paired differences.
        baselines: some of `BASELINES`; one that does not apply is reported with the reason.
        bootstrap: draws of users behind each interval; 0 = no intervals.
        seed: of those draws, and of who gets whose row in the permuted table.
        cache: folder of the reference cache; by default `prlhf.lm.default_cache()`.
        progress: wraps the passes over the data, as `prlhf.training.progress.bar`.

    Raises:
        CheckpointError: a folder without a finished run.
        ConfigError: an unknown side or baseline, or a `pooled` run that is not pooled.
        DataError: data that cannot be read, or an empty side.
    """
    folder = Path(run)
    config = _check(folder, baselines, pooled, against)
    how = _How(cache if cache is not None else default_cache(), bootstrap, seed, progress)
    rows = select(folder, config, data, split)
    lm = _load(folder, config)
    scores = score_run(lm, config, rows.items, seed=seed, cache=how.cache, progress=progress)
    own = Baseline("run", scores, config.objective.beta)
    found = [*_model_free(rows, scores, baselines), *_prompted(lm, rows, scores, baselines, how)]
    checks = _check_model(lm, rows, found, how)
    untold = lm.with_user_text and not any(c.user_text for c in rows.items)
    del lm
    gc.collect()  # one model in memory at a time
    notes = [*rows.notes, _UNTOLD if untold else "", seen_by(rows.training, rows.items, "the run")]
    if "pooled" in baselines:
        found.insert(0, _pooled(folder, pooled, rows, scores, how, notes))
    others = {str(other): _against(Path(other), rows, scores, how, notes) for other in against}
    measured = _measured(folder, rows, own, how)
    return replace(
        measured,
        run=str(run),
        baselines={b.name: _compare(b, own, how) for b in found},
        against={other: _compare(b, own, how) for other, b in others.items()},
        checks=(*check_rows(rows), check_permuted(measured.metrics), *checks),
        notes=tuple(note for note in notes if note),
    )


def _measured(folder: Path, rows: Rows, own: Baseline, how: _How) -> Evaluation:
    """The run itself, with nothing beside it."""
    scores, beta = own.scores, own.beta
    assert scores is not None
    return Evaluation(
        run=str(folder),
        source=rows.log.source,
        attribution=rows.log.attribution,
        fingerprint=rows.log.fingerprint,
        side=rows.side,
        scores=scores,
        metrics=summarise(scores, beta, how.bootstrap, how.seed),
        per_user=per_user(scores, beta),
        profiles=_profiles(rows, scores, beta, how),
        reading=rows.log.notes.text(),
        curves=folder / "metrics.jsonl",
    )


def _check(
    folder: Path, baselines: Sequence[str], pooled: str | Path | None, against: Sequence[str | Path]
) -> RunConfig:
    """The run's configuration; refuses at once what would be refused after minutes of scoring."""
    unknown = sorted(set(baselines) - set(BASELINES))
    if unknown:
        raise ConfigError(f"baselines: found {unknown[0]!r}, expected some of {', '.join(BASELINES)}")
    config = _finished(folder)
    if isinstance(against, (str, Path)):
        raise ConfigError(f"against: found {str(against)!r}, expected a list of run folders")
    for other in against:
        _finished(Path(other))
    place = _pooled_place(folder, pooled)
    if place is not None and "pooled" in baselines:
        _check_pooled(place)
    return config


def _check_pooled(place: Path) -> None:
    config = _finished(place)
    if config.alpha and config.user_model.type != "uniform":
        raise ConfigError(
            f"{place} is no pooled run: alpha {config.alpha:g} and an {config.user_model.type} user model; expected "
            "alpha 0 or a uniform one (for any other run there is --against)"
        )


def _finished(folder: Path) -> RunConfig:
    """The configuration of a finished run; CheckpointError says how to finish one that is not."""
    config = read_config(folder)
    if not is_checkpoint(folder / "model"):
        raise unfinished(folder)
    return config


def _pooled_place(folder: Path, given: str | Path | None) -> Path | None:
    """The pooled run that was named, else the one inside the run, if there is one."""
    if given is not None:
        return Path(given)
    inside = folder / POOLED_FOLDER
    return inside if is_checkpoint(inside / "model") else None


def _load(folder: Path, config: RunConfig) -> PersonalizedLM:
    lm = PersonalizedLM.from_pretrained(folder)
    gpu = torch.cuda.is_available() and config.training.device == "auto"
    return lm.on("cuda") if gpu else lm


def score_run(
    lm: PersonalizedLM,
    config: RunConfig,
    items: Sequence[Feedback],
    *,
    seed: int = 0,
    cache: Path | None = None,
    progress: Progress = lambda batches, _: batches,
) -> Scores:
    """The margins of a run's model, as its objective measures them (`margin_of`)."""
    data = EvaluationSet.of(lm, items, cache=cache, layout=config.training.layout, seed=seed, progress=progress)
    return score_policy(lm, data, margin=margin_of(config.objective), progress=progress)


def _model_free(rows: Rows, scores: Scores, names: Sequence[str]) -> list[Baseline]:
    """Baselines that need no language model."""
    if "length" not in names:
        return []
    votes, why = rows.votes
    if not rows.comparisons or votes is None:
        return [Baseline("length", missing=why if rows.comparisons else _NO_PAIRS)]
    return [length_only(votes, rows.comparisons, scores.seen)]


def _prompted(lm: PersonalizedLM, rows: Rows, scores: Scores, names: Sequence[str], how: _How) -> list[Baseline]:
    """Baselines of the reference model with something in its prompt."""
    if not rows.comparisons:
        tables = {"user_text": ("user_text",), "in_context": _IN_CONTEXT, "oracle": ("oracle",)}
        return [Baseline(name, missing=_NO_PAIRS) for asked in names for name in tables.get(asked, ())]
    found: list[Baseline] = []
    shared: dict[str, Any] = {"cache": how.cache, "progress": how.progress}
    if "user_text" in names:
        found.append(user_text(lm, rows.comparisons, scores.seen, **shared))
    if "in_context" in names:
        votes, why = rows.votes
        if votes is None:
            found += [Baseline(name, missing=why) for name in _IN_CONTEXT]
        else:
            found += in_context(lm, votes, rows.comparisons, scores.seen, **shared)
    if "oracle" in names:
        world = planted_world(rows.config)
        if world is None:
            found.append(Baseline("oracle", missing="the truth of these users is not known"))
        else:
            found += planted_oracle(lm, world, rows.comparisons, scores.seen, **shared)
    return found


def planted_world(config: DataConfig | None) -> World | None:
    """The planted world that a log came from, None for any other."""
    return World(**config.options) if config is not None and config.source == "planted" else None


def _check_model(lm: PersonalizedLM, rows: Rows, found: Sequence[Baseline], how: _How) -> list[Check]:
    """Whether the in-context baseline reads its votes, and how much of the user table is used."""
    shared: dict[str, Any] = {"bootstrap": how.bootstrap, "cache": how.cache, "progress": how.progress}
    return [check_baseline(lm, rows, found, seed=how.seed, **shared), check_users(lm, rows.training, how.seed)]


def _pooled(
    folder: Path, given: str | Path | None, rows: Rows, scores: Scores, how: _How, notes: list[str]
) -> Baseline:
    """The generic row of a pooled run, for everybody."""
    place = _pooled_place(folder, given)
    if place is None:
        return Baseline("pooled", missing="no pooled run was given (--pooled RUN2), nor trained (--train-pooled)")
    config = read_config(place)
    found = _scored(place, config, rows, how, "the pooled run", notes)
    everybody = replace(found, h_specific=found.h_generic, h_permuted=None, seen=scores.seen)
    return Baseline("pooled", everybody, config.objective.beta)


def _against(folder: Path, rows: Rows, scores: Scores, how: _How, notes: list[str]) -> Baseline:
    """Another run, whose figures of seen users are of those that this one has seen."""
    config = read_config(folder)
    found = replace(_scored(folder, config, rows, how, str(folder), notes), seen=scores.seen)
    return Baseline("another run", found, config.objective.beta)


def _scored(folder: Path, config: RunConfig, rows: Rows, how: _How, who: str, notes: list[str]) -> Scores:
    """Another run on the same rows, with notes: where it has seen some, or was trained with other user texts."""
    training = training_of(folder, config, rows.log)[0]
    items, told = told_as(rows.items, training, who)
    notes += [seen_by(training, rows.items, who), told]
    lm = _load(folder, config)
    return score_run(lm, config, items, seed=how.seed, cache=how.cache, progress=how.progress)


def _compare(baseline: Baseline, own: Baseline, how: _How) -> Compared:
    """Metrics of a baseline, and the run minus it on the baseline's comparisons."""
    b, a = baseline.scores, own.scores
    if b is None or a is None:
        return Compared(baseline.name, missing=baseline.missing)
    if len(b) < len(a):
        inside = set(b.ids)
        a = a.select(np.array([name in inside for name in a.ids], dtype=bool))
    return Compared(
        baseline.name,
        scores=b,
        metrics=summarise(b, baseline.beta, how.bootstrap, how.seed),
        difference=paired_difference(a, b, rows=shown_rows(a), bootstrap=how.bootstrap, seed=how.seed),
        difference_all=paired_difference(a, b, bootstrap=how.bootstrap, seed=how.seed),
        beta=baseline.beta,
    )


def _profiles(rows: Rows, scores: Scores, beta: float, how: _How) -> dict[str, Figures]:
    """The figures by hidden profile, where the world is known."""
    world = planted_world(rows.config)
    if world is None:
        return {}
    names = {user.id: user.name for user in world.users}
    labels = np.array([names.get(user) for user in scores.user], dtype=object)
    return summarise(replace(scores, group=labels), beta, how.bootstrap, how.seed).groups
