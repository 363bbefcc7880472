"""Everything that `prlhf reward compare` needs to know, in one model."""

from typing import Any, Literal

from pydantic import Field, model_validator

from prlhf.config.base import Config
from prlhf.config.data import DataConfig
from prlhf.config.rewards import FeaturesConfig, TfIdf

__all__ = ["RewardCompare"]


class RewardCompare(Config):
    """One comparison of reward models: the same votes for all, and the same budget."""

    data: DataConfig = DataConfig()
    """Its sides are those below, so `data.split` is not looked at."""
    features: FeaturesConfig = TfIdf()
    """What all of them see of a response; made from the training side, once for each seed."""
    models: tuple[str, ...] = ("bt", "per_user", "lore", "pref", "vpl", "factor")
    """Types of reward models."""
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of a model by its type, other than its defaults; the configuration that is tried first."""
    seeds: int = Field(3, ge=1)
    """How many splits, each with its own draw of everything."""
    seed: int = 0
    """Of the first of them."""
    min_votes: int = Field(1, ge=1)
    """Users with fewer votes are left out."""
    split: Literal["pair", "prompt", "response"] = "pair"
    """What no two sides share (`SplitConfig.by`)."""
    unseen: float = Field(0.25, gt=0, lt=1)
    """Share of the users who are held out."""
    test: float = Field(0.2, gt=0, lt=1)
    """Share of the votes on the test side."""
    validation: float = Field(0.15, gt=0, lt=1)
    """Share of the training votes by which configurations are chosen; and that of the training users who are held out
    for it too, to be met by their first 10 votes."""
    budget: int = Field(8, ge=1)
    """Configurations of each model that are tried: its defaults, then random ones."""
    votes: tuple[int, ...] = (0, 5, 10, 20)
    """Of each unseen user, so many are folded in; the fewer are among the more."""
    bootstrap: int = Field(1000, ge=0)
    """Draws of users behind each interval."""

    @model_validator(mode="after")
    def _some(self) -> "RewardCompare":
        if not self.models or len(set(self.models)) < len(self.models):
            raise ValueError("models: expected at least one type, each once")
        if not self.votes or min(self.votes) < 0:
            raise ValueError("votes: expected at least one count, none below 0")
        return self
