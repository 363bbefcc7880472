"""The reward models and what they see of a text: unions on `type`, one file a member."""

from typing import Annotated

from pydantic import Field

from prlhf.config.rewards.bt import Bt
from prlhf.config.rewards.ensemble import Ensemble
from prlhf.config.rewards.factor import Factor
from prlhf.config.rewards.features import FeaturesConfig, Hidden, Sentence, Stored, TfIdf
from prlhf.config.rewards.item_mf import ItemMf
from prlhf.config.rewards.linear_head import LinearHead
from prlhf.config.rewards.lore import Lore
from prlhf.config.rewards.per_user import PerUser
from prlhf.config.rewards.pref import Pref
from prlhf.config.rewards.soft_prompt import SoftPrompt
from prlhf.config.rewards.vpl import Vpl

__all__ = [
    "Bt",
    "Ensemble",
    "Factor",
    "FeaturesConfig",
    "Hidden",
    "ItemMf",
    "LinearHead",
    "Lore",
    "PerUser",
    "Pref",
    "RewardConfig",
    "Sentence",
    "SoftPrompt",
    "Stored",
    "TfIdf",
    "Vpl",
]

RewardConfig = Annotated[
    Factor | Bt | PerUser | LinearHead | Lore | Pref | Vpl | Ensemble | ItemMf, Field(discriminator="type")
]
"""How a reward is learned from votes on feature vectors; `factor` is the default. `SoftPrompt` learns from texts, by
a run of its own."""
