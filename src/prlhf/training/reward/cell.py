"""One reward model under one seed: tuned, fitted, measured in every setting, and kept in a folder."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prlhf.config.rewards.base import AnyReward
from prlhf.config.rewards.compare import RewardCompare
from prlhf.evaluation.metrics import derangement
from prlhf.evaluation.reward.comparison import FLIPPED, SEEN, unseen
from prlhf.evaluation.reward.scores import log_odds
from prlhf.evaluation.scores import Scores
from prlhf.lm.folders import new_folder
from prlhf.rewards import States, VectorReward, Votes
from prlhf.training.reward.sides import Common, Measured, Met, swapped
from prlhf.training.reward.tuning import refit, tune

__all__ = ["Cell", "make_cell"]


@dataclass(frozen=True)
class Cell:
    """What is kept: the tables of log-odds by setting, and how they came about."""

    scores: dict[str, Scores]
    about: dict[str, Any]
    """`chosen` (the options), `fitted` (with where an early stop was), `personal`, `trials`, `seconds` of tuning,
    fitting and meeting."""

    def save(self, folder: Path) -> None:
        """Write the folder, whole or not at all."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder) as place:
            for name, scores in self.scores.items():
                scores.save(place / f"{name}.parquet")
            (place / "cell.json").write_text(json.dumps(self.about, indent=2) + "\n", encoding="utf8")

    @classmethod
    def load(cls, folder: Path) -> Cell:
        """Read what `save` wrote."""
        scores = {path.stem: Scores.load(path) for path in sorted(folder.glob("*.parquet"))}
        return cls(scores, json.loads((folder / "cell.json").read_text(encoding="utf8")))


def make_cell(base: AnyReward, common: Common, config: RewardCompare, seed: int) -> Cell:
    """Tune `base`, fit it to the training side, and measure it."""
    clock = [time.monotonic()]
    chosen, trials = tune(base, common.tuning, config.budget, seed)
    clock.append(time.monotonic())
    model = refit(chosen, common.train, common.tuning, seed)
    clock.append(time.monotonic())
    scores = {SEEN: _of_seen(model, common.seen, seed)}
    for votes in sorted(config.votes):
        scores[unseen(votes)] = _of_new(model, common.unseen, common.unseen.told(votes), seed)
    if max(config.votes):
        scores[FLIPPED] = _of_new(model, common.unseen, swapped(common.unseen.told(max(config.votes))), seed)
    clock.append(time.monotonic())
    seconds = dict(zip(("tuning", "fitting", "measuring"), np.diff(clock).round(3).tolist(), strict=True))
    about = {
        "chosen": chosen.model_dump(mode="json"),
        "fitted": model.config.model_dump(mode="json"),
        "personal": model.personal,
        "trials": [trial.as_dict() for trial in trials],
        "seconds": seconds,
    }
    return Cell(scores, about)


def _of_seen(model: VectorReward, measured: Measured, seed: int) -> Scores:
    votes = measured.votes
    return _scores(model, measured.rows, votes, None, votes.user >= 0, seed)


def _of_new(model: VectorReward, met: Met, told: Votes, seed: int) -> Scores:
    """Of new users after they were met; without any vote, there is nobody to exchange."""
    votes = met.measured.votes
    everybody = np.ones(len(votes), np.bool_)
    scores = _scores(model, met.measured.rows, votes, model.states_of(told), everybody, seed)
    return scores if len(told) else replace(scores, h_permuted=None)


def _scores(
    model: VectorReward, rows: Sequence[Any], votes: Votes, states: States | None, known: np.ndarray, seed: int
) -> Scores:
    partner = derangement(votes.user + 1, seed) - 1

    def odds(some: Votes) -> np.ndarray:
        return log_odds(model, model.margins(some, states))

    return Scores.of(
        rows,
        seen=known,
        h_specific=odds(votes),
        h_generic=odds(replace(votes, user=np.full(len(votes), -1))),
        h_permuted=odds(replace(votes, user=partner)) if (partner != votes.user).any() else None,
    )
