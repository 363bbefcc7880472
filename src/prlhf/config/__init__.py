"""Torch-free configuration: one model for Python, TOML recipes and the command line."""

from prlhf.config.base import Config
from prlhf.config.data import DataConfig, SplitConfig
from prlhf.config.load import load_config
from prlhf.config.model import Full, Lora, ModelConfig, Placement, TuningConfig
from prlhf.config.objectives import Cdpo, Custom, Dpo, Hinge, Ipo, Kto, ObjectiveConfig, Robust, Simpo
from prlhf.config.run import RunConfig
from prlhf.config.sft import SftConfig
from prlhf.config.training import TrainingConfig
from prlhf.config.users import Cluster, Individual, LowRank, Uniform, UserModelConfig

__all__ = [
    "Cdpo",
    "Cluster",
    "Config",
    "Custom",
    "DataConfig",
    "Dpo",
    "Full",
    "Hinge",
    "Individual",
    "Ipo",
    "Kto",
    "Lora",
    "LowRank",
    "ModelConfig",
    "ObjectiveConfig",
    "Placement",
    "Robust",
    "RunConfig",
    "SftConfig",
    "Simpo",
    "SplitConfig",
    "TrainingConfig",
    "TuningConfig",
    "Uniform",
    "UserModelConfig",
    "load_config",
]
