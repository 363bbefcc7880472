"""The same number of configurations for every reward model, chosen by log-loss on validation votes."""

from __future__ import annotations

import itertools
import logging
import math
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from prlhf.config.rewards.base import AnyReward
from prlhf.errors import ConfigError, DataError, PrlhfError
from prlhf.evaluation.by_user import log_loss
from prlhf.evaluation.reward.scores import log_odds
from prlhf.rewards import States, VectorReward, Votes, fit_reward
from prlhf.rewards.make import MEMBERS, vector_member
from prlhf.training.progress import bar
from prlhf.training.reward.sides import TOLD, Tuning
from prlhf.words import did_you_mean

__all__ = ["Trial", "base_config", "candidates", "refit", "tune"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """One configuration on validation; `options` are those that are not its model's defaults."""

    options: dict[str, Any]
    seen: float
    """Log-loss of the same users on other pairs; infinite where it failed."""
    new: float
    """That of new users after ten votes; NaN where none could be held out."""
    seconds: float
    failed: str = ""

    @property
    def loss(self) -> float:
        """By which it is chosen: the mean of both."""
        return self.seen if math.isnan(self.new) else (self.seen + self.new) / 2

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        numbers = {"seen": self.seen, "new": self.new, "loss": self.loss}
        return {
            "options": self.options,
            **{name: x if math.isfinite(x) else None for name, x in numbers.items()},
            "seconds": self.seconds,
            "failed": self.failed or None,
        }


def base_config(kind: str, options: dict[str, Any] | None = None) -> AnyReward:
    """The configuration of a type that is tried first: its defaults, with `options`."""
    if kind not in MEMBERS:
        hint = did_you_mean(kind, MEMBERS)
        raise ConfigError(f"models: found {kind!r}, expected some of {', '.join(MEMBERS)}{hint}")
    try:
        return vector_member(kind).Config(**(options or {}))
    except ConfigError as e:
        raise ConfigError(f"options.{kind}: {e}") from e


def candidates(base: AnyReward, budget: int, seed: int) -> list[AnyReward]:
    """`base`, then distinct random draws of what its `SEARCH` spans, `budget` altogether or as many as there are."""
    names = list(base.SEARCH)
    combinations = list(itertools.product(*base.SEARCH.values())) if names else []
    rng = np.random.default_rng([seed, zlib.crc32(type(base).__name__.encode())])
    found = [base]
    for i in rng.permutation(len(combinations)).tolist():
        if len(found) == budget:
            break
        try:
            other = type(base)(**{**base.model_dump(), **dict(zip(names, combinations[i], strict=True))})
        except ConfigError:  # options that do not go together
            continue
        if other not in found:
            found.append(other)
    return found


def tune(base: AnyReward, tuning: Tuning, budget: int, seed: int) -> tuple[AnyReward, list[Trial]]:
    """The configuration with the least log-loss, and all that were tried.

    Raises:
        DataError: every one of them failed.
    """
    configs = candidates(base, budget, seed)
    if len(configs) == 1:
        return base, []
    kind = base.type  # type: ignore[attr-defined]
    places: Any = bar(range(len(configs)), f"tuning {kind}")
    trials = [_try(configs[i], base, tuning, seed) for i in places]
    best = min(range(len(trials)), key=lambda i: trials[i].loss)
    if not math.isfinite(trials[best].loss):
        raise DataError(f"{kind}: none of {len(trials)} configurations could be fitted; the first: {trials[0].failed}")
    return configs[best], trials


def _try(config: AnyReward, base: AnyReward, tuning: Tuning, seed: int) -> Trial:
    began, failed, seen, new = time.monotonic(), "", math.inf, math.nan
    try:
        model = fit_reward(config, tuning.train, validation=tuning.seen, seed=seed)
        seen = _loss(model, tuning.seen)
        if tuning.new is not None:
            states = model.states_of(tuning.new.told(TOLD))
            new = _loss(model, tuning.new.measured.votes, states)
    except (PrlhfError, ArithmeticError, np.linalg.LinAlgError, RuntimeError) as e:  # ARPACK and torch have the last
        failed = f"{type(e).__name__}: {e}"
    if not failed and not (math.isfinite(seen) and (tuning.new is None or math.isfinite(new))):
        failed = "a log-loss that is not finite"
    return Trial(_changed(config, type(base)()), math.inf if failed else seen, new, time.monotonic() - began, failed)


def _changed(config: AnyReward, default: AnyReward) -> dict[str, Any]:
    plain, usual = config.model_dump(mode="json"), default.model_dump(mode="json")
    return {name: value for name, value in plain.items() if value != usual[name]}


def _loss(model: VectorReward, votes: Votes, states: States | None = None) -> float:
    margins = model.margins(votes) if states is None else model.margins(votes, states)
    return float(np.average(log_loss(log_odds(model, margins), 1.0), weights=votes.weight))


def refit(config: AnyReward, train: Votes, tuning: Tuning, seed: int) -> VectorReward:
    """The chosen configuration, fitted to all of the training side; of one that stops early a first fit, which keeps a
    part to stop by, says where."""

    def steps(over: Iterable[Any]) -> Iterable[Any]:
        return bar(over, f"fitting {config.type}")  # type: ignore[attr-defined]

    if vector_member(config.type).stops_early:  # type: ignore[attr-defined]
        config = fit_reward(config, tuning.rest, validation=tuning.early, seed=seed, progress=steps).ended or config
    return fit_reward(config, train, seed=seed, progress=steps)
