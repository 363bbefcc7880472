"""Everything that `prlhf reward train` needs to know, in one model."""

from pydantic import Field

from prlhf.config.base import Config
from prlhf.config.data import DataConfig
from prlhf.config.rewards import Factor, FeaturesConfig, RewardConfig, TfIdf

__all__ = ["RewardRun"]


class RewardRun(Config):
    """One reward model: the same for Python, a TOML recipe and the command line."""

    seed: int = 0
    """Of everything that is drawn; the split has its own."""
    data: DataConfig = DataConfig()
    features: FeaturesConfig = TfIdf()
    """What the model sees of a response."""
    model: RewardConfig = Factor()
    """How a reward is learned from votes."""
    ties: bool = False
    """Train on ties too, as votes that are half for each response. Nothing is measured on them, and votes with a winner
    are predicted with more doubt after them."""
    half_life: float | None = Field(None, gt=0)
    """Days after which a vote counts half (`prlhf.data.recency_weights`); every vote must say when it was given."""
