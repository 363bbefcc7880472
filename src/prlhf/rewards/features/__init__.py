"""What a reward model sees of a text: vectors from a language model, a file, or the words themselves."""

from prlhf.rewards.features.base import FeatureMap
from prlhf.rewards.features.make import load_features, make_features

__all__ = ["FeatureMap", "load_features", "make_features"]
