"""`train_reward`: from a preference log to a folder with a reward model.

config.json   the resolved configuration        metrics.json   figures on the held-out sides
data.json     source, fingerprint, notes        model/         the reward model
split.json    comparison ids of every side
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prlhf.config.rewards.run import RewardRun
from prlhf.data import Log, Split, load_comparisons, recency_weights, split, subsample
from prlhf.data.checks import Check
from prlhf.data.items import parted
from prlhf.evaluation.reward import RewardEvaluation, evaluate_reward
from prlhf.evaluation.reward.checks import check_features
from prlhf.evaluation.reward.run import own_sides
from prlhf.lm.folders import new_folder, refuse_existing
from prlhf.rewards import RewardModel, VectorReward, Votes, fit_reward
from prlhf.training.progress import bar
from prlhf.types import Comparison

__all__ = ["RewardResult", "steps_bar", "train_reward"]


@dataclass(frozen=True)
class RewardResult:
    """What was made of votes: the model, its folder, and how it does on what was held out (None: nothing was)."""

    folder: Path
    model: RewardModel
    metrics: RewardEvaluation | None
    learned: str
    """What it was fitted to and what it keeps, in words."""
    checks: tuple[Check, ...] = ()
    """Of the features."""
    read: str = ""
    """What was read, and what of it is not trained on."""
    warnings: tuple[str, ...] = ()
    """What stands in the way of anything personal."""


def train_reward(config: RewardRun, output: str | Path, *, log: Log | None = None) -> RewardResult:
    """Fit the reward model of `config`, measure it on what its split holds out, and keep everything in `output`.

    The folder is written aside and renamed at the end: it is whole or not there.

    Raises:
        CheckpointError: `output` exists.
        DataError: votes that cannot be read or split, or texts that there are no features for.
    """
    from prlhf.rewards.features import make_features

    folder = Path(output)
    refuse_existing(folder)
    log = load_comparisons(config.data) if log is None else log
    sides = split(log, config.data.split, ties=config.ties, thumbs=False)
    train = _side(log, subsample(sides.train, config.data.max_comparisons, config.seed))
    features = make_features(config.features, train, progress=steps_bar("features"))
    votes = Votes.of(train, features, weight=_recency(config, train))
    held = _side(log, sides.validation)
    validation = Votes.of(held, features, names=votes.names) if held else None
    began = time.monotonic()
    progress = steps_bar(f"fitting {config.model.type}")
    model = fit_reward(config.model, votes, validation=validation, seed=config.seed, progress=progress)
    model.features = features
    learned = _learned(model, votes, time.monotonic() - began)
    rows, context = own_sides(log, sides)
    metrics = evaluate_reward(model, rows, context=context, seed=config.seed) if rows else None
    _write(folder, config, log, sides, model, metrics)
    return RewardResult(folder, model, metrics, learned, (check_features(votes),), **_told_of(log, config.ties))


def _told_of(log: Log, ties: bool) -> dict[str, Any]:
    """`read` and `warnings` of a `RewardResult`; `ties` says that they are trained on."""
    people = any(item.user is not None for item in log.items)
    warning = "no row names a user: nothing here can be personal; is it data.columns.user_id=…?"
    return {"read": log.notes.text(ties=ties, thumbs=False), "warnings": () if people else (warning,)}


def steps_bar(what: str) -> Any:
    """Draws a bar over steps, named `what`."""
    return lambda steps: bar(steps, what)


def _side(log: Log, indices: Sequence[int]) -> Sequence[Comparison]:
    return parted(log.items[i] for i in indices)[0]


def _recency(config: RewardRun, train: Sequence[Comparison]) -> npt.NDArray[np.float64] | None:
    return None if config.half_life_days is None else recency_weights(train, config.half_life_days)


def _learned(model: VectorReward, votes: Votes, seconds: float) -> str:
    """Sizes of what went in and of what is kept."""

    def numbers(arrays: Mapping[str, npt.NDArray[Any]]) -> int:
        return sum(array.size for array in arrays.values())

    own = numbers(model.users.states.take(slice(0, 1)).arrays)
    return (
        f"{model.config.type}: {len(votes):,} votes of {len(votes.names):,} users on {len(votes.items):,} responses, "
        f"{votes.items.width:,} features, fitted in {seconds:.1f} s. It keeps {numbers(model.parameters):,} numbers "
        f"that all share, and {own:,} of each user."
    )


def _write(
    folder: Path, config: RewardRun, log: Log, sides: Split, model: VectorReward, metrics: RewardEvaluation | None
) -> None:
    about = {"source": log.source, "fingerprint": log.fingerprint, "attribution": log.attribution}
    files = {
        "config.json": config.model_dump(mode="json"),
        "data.json": {**about, "notes": log.notes.text(ties=config.ties, thumbs=False), "overlap": sides.overlap(log)},
    }
    if metrics is not None:
        files["metrics.json"] = metrics.as_dict()
    with new_folder(folder) as place:
        for name, value in files.items():
            text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
            (place / name).write_text(text + "\n", encoding="utf8")
        sides.save(place / "split.json", log)
        model.save(place / "model")
