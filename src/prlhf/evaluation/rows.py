"""Which comparisons or thumbs a run is measured on, and what it has seen of them in training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prlhf.config import DataConfig, RunConfig, SplitConfig, load_config
from prlhf.data import Log, Split, decided, inherit, load_comparisons, split
from prlhf.data.items import parted
from prlhf.errors import CheckpointError, ConfigError, DataError
from prlhf.evaluation.thumbs import MEANING, one_sided, thumb_pairs
from prlhf.types import Comparison, Feedback, Thumb

__all__ = ["DEFAULT_SIDES", "Rows", "read_config", "seen_by", "select", "told_as", "training_of"]

CHOICES = ("test", "unseen", "validation", "train", "context", "all")
DEFAULT_SIDES = "test and unseen"


@dataclass(frozen=True)
class Rows:
    """Comparisons to measure on; thumbs where there are no comparisons.

    `apart` is what no comparison may share with training: pair, prompt or response; None where nothing is promised.
    `training` is the run's own training side, None where its data cannot be read any more (`why` says so). `config` is
    how the log was read, None for a log that came from memory and is not the run's. `notes`: what is not measured.
    """

    log: Log
    side: str
    items: tuple[Feedback, ...]
    own: bool
    config: DataConfig | None
    training: Sequence[Feedback] | None
    why: str = ""
    apart: str | None = "pair"
    notes: tuple[str, ...] = ()

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The items, unless they are thumbs."""
        return tuple(parted(self.items)[0])

    @property
    def votes(self) -> tuple[tuple[Comparison, ...] | None, str]:
        """The comparisons that the run was trained on, or why there are none."""
        if self.training is None:
            return None, self.why
        found = tuple(parted(self.training)[0])
        return (found, "") if found else (None, "the run was trained on thumbs, not on comparisons")


def read_config(folder: Path) -> RunConfig:
    """The configuration of a run; `CheckpointError` where there is none."""
    held = folder / "config.json"
    if not held.is_file():
        raise CheckpointError(f"{folder} is not a run folder of `prlhf train`{_model_alone(folder)} (no config.json)")
    try:
        return load_config(RunConfig, held)
    except ConfigError as e:
        first, *more = str(e).removeprefix(f"{held}: ").splitlines()
        why = f"{first}, and {len(more)} more" if more else first
        raise CheckpointError(f"{folder} is not a run folder of `prlhf train` (config.json: {why})") from e


def _model_alone(folder: Path) -> str:
    """What a folder without a run is, where it has a model."""
    if not folder.is_dir():
        return ""
    from prlhf.lm import is_checkpoint  # torch with it: a mistyped name is told before that

    return " but a model alone, for `prlhf generate` and `prlhf chat`" if is_checkpoint(folder) else ""


def select(folder: Path, config: RunConfig, data: DataConfig | str | Path | Log | None, side: str | None) -> Rows:
    """The comparisons of one side.

    Data with the fingerprint of the run's own are the run's own, wherever they come from: they keep its saved split,
    and None is test and unseen. Of other data None is everything, and a side is that of the run's split options.

    Raises:
        ConfigError: a side that does not exist.
        DataError: data that cannot be read, or nothing on that side.
    """
    if side is not None and side not in CHOICES:
        raise ConfigError(f"split: found {side!r}, expected one of {', '.join(CHOICES)}")
    log, reading = _read(config, data)
    own = log.fingerprint == _fingerprint(folder)
    if own:
        sides = _own_sides(folder, config, log)
        reading = reading or config.data
        side = side or DEFAULT_SIDES
    else:
        thumbs = config.objective.learns_thumbs or not log.comparisons
        options = _split_options(config, reading)
        sides = split(log, options, thumbs=thumbs) if side not in (None, "all") else Split(())
        side = side or "all"
    training, why = training_of(folder, config, log)
    apart = _apart(config, log) if own else "pair"
    wanted = [log.items[i] for i in _indices(log, sides, side)]
    if not wanted:
        found = ", ".join(f"{name} {len(rows):,}" for name, rows in sides.sides().items()) or "none"
        raise DataError(f"{log.source}: nothing on the side {side!r}; its sides: {found}")
    measured, notes = _measured(wanted, f"{log.source}, side {side!r}")
    return Rows(log, side, measured, own, reading, training, why, apart, notes)


def _measured(items: Sequence[Feedback], where: str) -> tuple[tuple[Feedback, ...], tuple[str, ...]]:
    """What of `items` has figures, and sentences about the rest."""
    comparisons, thumbs = parted(items)
    if comparisons:
        return tuple(comparisons), (
            f"{len(thumbs):,} thumbs beside the comparisons are not measured.",
        ) if thumbs else ()
    left_out = one_sided(thumbs)
    if not thumb_pairs(thumbs):
        raise DataError(f"{where}: {left_out}")
    return tuple(thumbs), (MEANING, left_out) if left_out else (MEANING,)


def _read(config: RunConfig, data: DataConfig | str | Path | Log | None) -> tuple[Log, DataConfig | None]:
    if isinstance(data, Log):
        return data, None
    if data is None:
        reading = config.data
    else:
        reading = data if isinstance(data, DataConfig) else inherit(DataConfig(source=str(data)), config.data)
    return load_comparisons(reading), reading


def _fingerprint(folder: Path) -> str:
    about = folder / "data.json"
    return str(json.loads(about.read_text(encoding="utf8"))["fingerprint"]) if about.exists() else ""


def _split_options(config: RunConfig, reading: DataConfig | None) -> SplitConfig:
    """The split that the caller has set, else that of the run."""
    return reading.split if reading is not None and "split" in reading.model_fields_set else config.data.split


def _apart(config: RunConfig, log: Log) -> str | None:
    """What the run's own split keeps apart; without a test side held-out users may judge pairs of training."""
    if log.fixed_split is not None:
        return "pair"
    return config.data.split.by if config.data.split.test else None


def _own_sides(folder: Path, config: RunConfig, log: Log) -> Split:
    """The saved sides for a log with the run's fingerprint: the same rows in the same order, perhaps with other ids."""
    saved = folder / "split.json"
    try:
        return Split.load(saved, log)
    except DataError as unknown:
        try:
            original = load_comparisons(config.data)
        except (DataError, ConfigError):
            original = None
        if original is not None and original.fingerprint == log.fingerprint:
            return Split.load(saved, original)
        learned = config.objective
        sides = split(log, config.data.split, ties=learned.learns_ties, thumbs=learned.learns_thumbs)
        try:  # by content, so it most likely is the saved one
            return Split.load(saved, _renamed(log, sides, saved))  # whose hashes tell
        except DataError:
            raise unknown from None


def _renamed(log: Log, sides: Split, saved: Path) -> Log:
    """`log` with the ids that the saved sides have, if they are `sides`."""
    ids = json.loads(saved.read_text(encoding="utf8"))["sides"]
    names = {i: name for side, rows in sides.sides().items() for i, name in zip(rows, ids.get(side, ()), strict=False)}
    comparisons, thumbs = parted(replace(c, id=names.get(i, f"{i} on no side")) for i, c in enumerate(log.items))
    return Log(comparisons, log.source, thumbs=thumbs)


def training_of(folder: Path, config: RunConfig, log: Log) -> tuple[Sequence[Feedback] | None, str]:
    """The training side of a run, or the reason why it cannot be read; `log` saves reading where it is the run's."""
    try:
        log = log if log.fingerprint == _fingerprint(folder) else load_comparisons(config.data)
        return log.pick(_own_sides(folder, config, log).train), ""
    except (DataError, ConfigError) as e:
        return None, f"its training data cannot be read: {e}"


def _indices(log: Log, sides: Split, side: str) -> Sequence[int]:
    if side == "all":
        return [i for i, c in enumerate(log.items) if decided(c)]
    if side == DEFAULT_SIDES:
        return [*sides.test, *sides.unseen]
    found: tuple[int, ...] = getattr(sides, side)
    return found


def told_as(items: Sequence[Feedback], training: Sequence[Feedback] | None, who: str) -> tuple[list[Feedback], str]:
    """The items with user texts as another run was trained with them, and a sentence where that changes them.

    A run that was trained without texts is asked without; one that was trained with them gets each user's last text
    from its own training where the items have none. The same items then mean the same for every run.
    """
    texts = {c.user: c.user_text for c in training or () if c.user_text}
    if training is not None and not texts and any(c.user_text for c in items):
        bare = [replace(c, user_text=None) for c in items]
        return bare, f"{who} was trained without user text; asked without."
    if texts and not any(c.user_text for c in items):
        told = [replace(c, user_text=texts.get(c.user)) for c in items]
        return told, f"{who} was trained with user text; asked with each user's last one of its training."
    return list(items), ""


def seen_by(training: Sequence[Feedback] | None, items: Sequence[Feedback], who: str) -> str:
    """A sentence about the items that `who` was trained on, by content; empty where there are none.

    A comparison was trained on where somebody voted on its pair, or judged both of its responses alone; a thumb where
    its response was judged, alone or in a comparison.
    """
    thumbs = any(isinstance(item, Thumb) for item in items)
    kind = "thumbs" if thumbs else "comparisons"
    if training is None:
        return f"Whether {who} has seen some of these {kind} in training is not known."
    alone = training if thumbs else parted(training)[1]  # a pair is not known from its responses in other pairs
    votes = {(c.user, c.pair_key) for c in training} | {(c.user, key) for c in alone for key in c.response_keys}
    pairs = {key for _, key in votes}
    same = sum((c.user, c.pair_key) in votes or all((c.user, key) in votes for key in c.response_keys) for c in items)
    shared = sum(c.pair_key in pairs or pairs.issuperset(c.response_keys) for c in items)
    if not shared:
        return ""
    what = "response" if thumbs else "pair"
    return (
        f"{who} was trained on the {what} of {shared:,} of these {len(items):,} {kind}, on {same:,} of them "
        "with a vote of the same user: this is no held-out measurement."
    )
