"""Measuring a folder of `prlhf reward train`: on its own held-out sides, or on any other votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prlhf.config.data import DataConfig
from prlhf.config.load import load_config
from prlhf.config.rewards.run import RewardRun
from prlhf.config.rewards.soft_prompt import SoftPrompt
from prlhf.data import Log, Split, inherit, load_comparisons
from prlhf.data.checks import Check, check_artefacts, check_memory, check_overlap
from prlhf.data.items import parted
from prlhf.data.log import decided, trainable
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.evaluation.reward.evaluate import evaluate_reward
from prlhf.evaluation.reward.result import RewardEvaluation
from prlhf.evaluation.rows import seen_by
from prlhf.lm.folders import read_object
from prlhf.rewards import RewardModel, VectorReward, load_reward
from prlhf.rewards.features import load_features
from prlhf.rewards.folders import is_reward_model, read_described
from prlhf.types import Comparison
from prlhf.words import counted

__all__ = [
    "evaluate_reward_run",
    "few_shot_votes",
    "held_out_users",
    "load_run",
    "own_sides",
    "run_config",
    "votes_to_fold_in",
    "without_votes",
]

Rows = Sequence[Comparison]
RunConfig = RewardRun | SoftPrompt


def load_run(folder: str | Path, embeddings: Path | None = None) -> tuple[RewardModel, RunConfig | None]:
    """The reward model of a run folder with its options, or of a model folder by itself.

    Args:
        embeddings: of a model on stored features the file of new texts.

    Raises:
        CheckpointError: neither is there.
        ConfigError: `embeddings` for a model that computes its features.
    """
    config, place = run_config(folder), Path(folder)
    if isinstance(config, RewardRun):
        place = place / "model"
    return _with_embeddings(load_reward(place), place, embeddings), config


def run_config(folder: str | Path) -> RunConfig | None:
    """The options of a run's folder; None where it is a model by itself.

    Raises:
        CheckpointError: neither is there.
    """
    place = Path(folder)
    alone = is_reward_model(place)
    if alone and not (place / "data.json").is_file():  # which data a run read
        return None
    if not alone and not (place / "model").is_dir():
        read_described(place)  # which says what is wrong
    try:
        held = place / "config.json"
        return load_config(SoftPrompt, held) if alone else load_config(RewardRun, held)
    except ConfigError as e:
        raise CheckpointError(f"{folder}: no run of `prlhf reward train` of this version ({e})") from e


def _with_embeddings(model: RewardModel, place: Path, embeddings: Path | None) -> RewardModel:
    if embeddings is None:
        return model
    if not isinstance(model, VectorReward) or model.features is None:
        raise ConfigError(f"{place}: this model reads texts and no embeddings; leave --embeddings out")
    model.features = load_features(place / "features", embeddings=embeddings)
    return model


@dataclass(frozen=True)
class _Measured:
    """What is measured, what is known of new users, what the model was trained on (None: unknown)."""

    log: Log
    rows: Rows
    context: Rows
    training: Rows | None
    side: str
    held_out: Rows = ()


def evaluate_reward_run(
    folder: str | Path,
    data: DataConfig | str | Path | Log | None = None,
    *,
    embeddings: Path | None = None,
    votes: int | DataConfig | str | Path | Log = 0,
    bootstrap: int = 1000,
    seed: int = 0,
) -> RewardEvaluation:
    """Measure the reward model in `folder`.

    Args:
        data: another log, all of which is measured; by default the run's own, of which its sides `test` and `unseen`
            are. A log with the fingerprint of the run's own is the run's own, wherever it comes from.
        embeddings: as for `load_run`.
        votes: so many votes of each user whom the model does not know are folded in first (`evaluate_reward`); of the
            run's own data those are of the side `context`. Or a log, all votes of which are folded in.
        bootstrap, seed: as for `evaluate_reward`.

    Raises:
        CheckpointError: no reward model there.
        DataError: data that cannot be read or have nothing to measure on.
    """
    model, config = load_run(folder, embeddings)
    what = _measured(Path(folder), config, data)
    first, notes = (votes, []) if isinstance(votes, int) else few_shot_votes(model, config, votes)
    found = evaluate_reward(model, what.rows, votes=first, context=what.context, bootstrap=bootstrap, seed=seed)
    log = what.log
    if what.side == "all":
        notes.append(seen_by(what.training, what.rows, "the model"))
    return replace(
        found,
        source=log.source,
        fingerprint=log.fingerprint,
        side=what.side,
        attribution=log.attribution,
        left_out={**found.left_out, "thumbs": len(log.thumbs)},
        checks=(*_check_rows(what, config), *found.checks),
        notes=tuple(text for text in notes if text),
    )


def own_sides(log: Log, sides: Split) -> tuple[Rows, Rows]:
    """What a run is measured on, and what is known of its held-out users."""
    return _comparisons(log, (*sides.test, *sides.unseen)), _comparisons(log, sides.context)


def _comparisons(log: Log, indices: Sequence[int]) -> Rows:
    return parted(log.items[i] for i in indices)[0]


def _measured(folder: Path, config: RunConfig | None, data: DataConfig | str | Path | Log | None) -> _Measured:
    if config is None:
        if data is None:
            raise CheckpointError(f"{folder}: a model by itself has no data of its own; say which to measure it on")
        log = data if isinstance(data, Log) else load_comparisons(data)
        return _Measured(log, log.comparisons, (), None, "all")
    log = _read(config, data)
    if log.fingerprint != read_object(folder / "data.json").get("fingerprint"):
        return _Measured(log, log.comparisons, (), _training(folder, config), "all")
    sides = Split.load(folder / "split.json", log)
    rows, context = own_sides(log, sides)
    if not rows:
        raise DataError(
            f"{folder}: nothing was held out of {log.source}, so there is nothing to measure on; train with "
            "data.split.test or data.split.users above 0, or measure on other data"
        )
    held_out = _comparisons(log, sides.unseen)
    return _Measured(log, rows, context, _comparisons(log, sides.train), "test and unseen", held_out)


def few_shot_votes(
    model: RewardModel, config: RunConfig | None, votes: DataConfig | str | Path | Log
) -> tuple[list[Comparison], list[str]]:
    """The votes of a log that can be folded in, and what is to be known about them.

    Args:
        config: of the model's run; the log is read as its data were.

    Raises:
        DataError: none of them has a user and a winner.
    """
    first, log = votes_to_fold_in(config, votes)
    users = sorted({c.user for c in first if c.user is not None})
    notes = [f"Folded in first: {counted(len(first), 'vote')} of {counted(len(users), 'user')} from {log.source}."]
    if left := len(log.comparisons) + len(log.thumbs) - len(first):
        notes[0] += f" Without a user or a winner, and so left out of them: {left:,}."
    if known := int((model.users.rows(users) > 0).sum()):
        who = counted(known, "user")
        notes.append(f"Of these, the model knows {who} already; here they are answered by these votes alone.")
    return first, notes


def votes_to_fold_in(
    config: RunConfig | None, votes: DataConfig | str | Path | Log, *, ties: bool = False
) -> tuple[list[Comparison], Log]:
    """The votes of users with a winner, or a tie where `ties` are wanted, and the log that they are in.

    Args:
        config: the run's options, by whose columns a file is read that has the same.

    Raises:
        DataError: there are none.
    """
    log = _read(config, votes)
    first = [c for c in log.comparisons if c.user is not None and (trainable(c, ties=True) if ties else decided(c))]
    if not first:
        raise DataError(f"{log.source}: found no vote of a user to fold in, expected some ({log.notes.text()})")
    return first, log


def without_votes(user: str | None, votes: Rows, source: str) -> list[str]:
    """A line that says so where none of the votes of a source is of the user whom they are read for."""
    if user is None or any(vote.user == user for vote in votes):
        return []
    others = len({vote.user for vote in votes})
    return [f"{source} has no vote of {user} (it has {counted(len(votes), 'vote')} of {counted(others, 'other user')})"]


def _read(config: RunConfig | None, data: DataConfig | str | Path | Log | None) -> Log:
    if isinstance(data, Log):
        return data
    if config is None:
        return load_comparisons(DataConfig(source=str(data)) if isinstance(data, str | Path) else data)
    if data is None:
        return load_comparisons(config.data)
    return load_comparisons(
        data if isinstance(data, DataConfig) else inherit(DataConfig(source=str(data)), config.data)
    )


def _training(folder: Path, config: RunConfig) -> Rows | None:
    """What the run was trained on; None where that cannot be read any more."""
    try:
        log = load_comparisons(config.data)
        return _comparisons(log, Split.load(folder / "split.json", log).train)
    except (DataError, ConfigError):
        return None


def held_out_users(folder: str | Path, config: RunConfig | None) -> frozenset[str]:
    """Whom a run held out altogether (`data.split.users`); nobody where its data cannot be read any more."""
    if config is None:
        return frozenset()
    try:
        log = load_comparisons(config.data)
        sides = Split.load(Path(folder) / "split.json", log)
    except (DataError, ConfigError):
        return frozenset()
    return frozenset(c.user for c in _comparisons(log, (*sides.unseen, *sides.context)) if c.user is not None)


def _check_rows(what: _Measured, config: RunConfig | None) -> list[Check]:
    """Leaks of the log, and what of the comparisons was trained on."""
    checks = [check_artefacts(what.log.items)]
    if what.training is None or config is None:
        return checks
    apart = config.data.split.by if what.side != "all" and config.data.split.test else None
    overlap = check_overlap(what.training, what.rows, apart, what.held_out)
    return [*checks, overlap, check_memory(what.training, what.rows)]
