"""From a configuration, or a folder, to a reward model; each member is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from prlhf.config.rewards.base import AnyReward
from prlhf.errors import CheckpointError, ConfigError
from prlhf.lm.folders import read_object
from prlhf.rewards.base import FORMAT, Progress, RewardModel, VectorReward
from prlhf.rewards.votes import Votes

__all__ = ["MEMBERS", "fit_reward", "load_reward", "member"]

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
    "soft_prompt": "prlhf.rewards.soft_prompt:SoftPromptReward",
}
"""`type` of a configuration -> where its model is."""


def member(kind: str) -> type[RewardModel]:
    """The class of a `type`."""
    module, name = MEMBERS[kind].split(":")
    found: type[RewardModel] = getattr(import_module(module), name)
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
        ConfigError: a model that learns from texts and not from features.
    """
    kind = member(config.type)  # type: ignore[attr-defined]
    if not issubclass(kind, VectorReward):
        raise ConfigError(
            f"{config.type} learns from texts, by prlhf.training.reward.train_soft_prompt; "  # type: ignore[attr-defined]
            "take another model where there are features"
        )
    return kind.fit(config, votes, validation=validation, seed=seed, progress=progress)


def load_reward(folder: str | Path) -> RewardModel:
    """The reward model in a folder.

    Raises:
        CheckpointError: no such folder, or another format.
    """
    described = read_object(Path(folder) / "config.json")
    kind = described.get("config", {}).get("type")
    if described.get("format") != FORMAT or kind not in MEMBERS:
        raise CheckpointError(f"{folder}: no reward model; expected a folder of `prlhf reward train`")
    return member(kind).load(folder)
