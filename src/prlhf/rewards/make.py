"""From a configuration, or a folder, to a reward model; each member is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from prlhf.config.rewards.base import AnyReward
from prlhf.errors import CheckpointError, ConfigError
from prlhf.rewards.base import Progress, RewardModel, VectorReward
from prlhf.rewards.folders import is_reward_model, read_described
from prlhf.rewards.votes import Votes

__all__ = ["MEMBERS", "OTHERS", "fit_reward", "load_reward", "vector_member"]

MEMBERS = {
    "factor": "prlhf.rewards.factor:FactorReward",
    "bt": "prlhf.rewards.bt:BtReward",
    "per_user": "prlhf.rewards.per_user:PerUserReward",
    "linear_head": "prlhf.rewards.linear_head:LinearHeadReward",
    "lore": "prlhf.rewards.lore:LoreReward",
    "pref": "prlhf.rewards.pref:PrefReward",
    "vpl": "prlhf.rewards.vpl:VplReward",
    "ensemble": "prlhf.rewards.ensemble:EnsembleReward",
    "item_mf": "prlhf.rewards.item_mf:ItemMfReward",
}
"""`type` of a configuration -> where the model is that learns from votes on vectors."""
OTHERS = {
    "soft_prompt": "prlhf.rewards.soft_prompt:SoftPromptReward",
    "models": "prlhf.rewards.ensemble_models:ModelEnsemble",
}
"""The same of those that are made in another way, and are only read here."""


def vector_member(kind: str) -> type[VectorReward]:
    """The class of a `type`.

    Raises:
        ConfigError: one that does not learn from votes on vectors.
    """
    if kind in OTHERS:
        raise ConfigError(
            f"{kind} is not learned from features but from texts, by prlhf.training.reward.train_soft_prompt, or made "
            "of other models; take another where there are features"
        )
    found: type[VectorReward] = _named(MEMBERS[kind])
    return found


def fit_reward(
    config: AnyReward,
    votes: Votes,
    *,
    validation: Votes | None = None,
    seed: int = 0,
    progress: Progress = lambda steps: steps,
) -> VectorReward:
    """Learn a reward model of `config.type` from votes.

    Raises:
        ConfigError: a model that does not learn from features.
        DataError: no votes, weights that are negative or not finite, or features that are not finite.
    """
    kind = vector_member(config.type)  # type: ignore[attr-defined]
    votes.needed()
    return kind.fit(config, votes, validation=validation, seed=seed, progress=progress)


def load_reward(folder: str | Path) -> RewardModel:
    """The reward model in a folder, of any kind that a `save` or a run wrote; of a run's folder, the one in `model/`.

    Raises:
        CheckpointError: no such folder, or another format.
    """
    inside = Path(folder) / "model"
    if not is_reward_model(folder) and is_reward_model(inside):
        return load_reward(inside)
    kind, every = read_described(folder)["config"]["type"], {**MEMBERS, **OTHERS}
    if kind not in every:
        raise CheckpointError(f"{folder}: found a reward model of type {kind}, expected one of {', '.join(every)}")
    found: RewardModel = _named(every[kind]).load(folder)
    return found


def _named(place: str) -> Any:
    """`module:name`."""
    module, name = place.split(":")
    return getattr(import_module(module), name)
