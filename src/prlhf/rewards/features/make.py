"""From a configuration, or a folder, to a feature map; each kind is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from prlhf.config.rewards.features import FeaturesConfig
from prlhf.data.cache import default_cache
from prlhf.errors import CheckpointError, ConfigError
from prlhf.lm.folders import read_object
from prlhf.rewards.features.base import FeatureMap
from prlhf.rewards.features.configured import FORMAT, FORMAT_VERSION, Configured
from prlhf.rewards.features.embedder import Embedder, Progress, Work
from prlhf.types import Comparison

__all__ = ["EMBEDDERS", "load_features", "make_features"]

EMBEDDERS = {
    "tfidf": "prlhf.rewards.features.tfidf:TfIdfEmbedder",
    "stored": "prlhf.rewards.features.stored:StoredEmbedder",
    "sentence": "prlhf.rewards.features.sentence:SentenceEmbedder",
    "hidden": "prlhf.rewards.features.hidden:HiddenEmbedder",
}
"""`type` of a configuration -> where its embedder is."""


def make_features(
    config: FeaturesConfig,
    comparisons: Sequence[Comparison],
    *,
    cache: Path | None = None,
    progress: Progress = lambda steps: steps,
) -> FeatureMap:
    """The feature map of a configuration for reward models that learn from `comparisons`, and from no others.

    Args:
        cache: folder where computed vectors are kept, by default `prlhf.data.cache.default_cache()`.
        progress: draws a bar over steps that take long, now and whenever the map is used.

    Raises:
        ConfigError: what the configuration needs is not installed, or it asks for a layer that is not there.
        DataError: a file of embeddings that cannot be used.
        CheckpointError: a model that is not there.
    """
    embedder = _kind(config.type).make(config, comparisons, Work(cache or default_cache(), progress))
    asked = list(dict.fromkeys(c.prompt for c in comparisons))
    wanted = getattr(config, "prompt_product", False) and len(asked) > 1
    return Configured(config, embedder, wanted and embedder.has_prompts(asked))


def load_features(
    folder: Path,
    *,
    embeddings: Path | None = None,
    cache: Path | None = None,
    progress: Progress = lambda steps: steps,
) -> FeatureMap:
    """The feature map that was saved in `folder`.

    Args:
        embeddings: of `stored` features another file from the same model, as of new responses.
        cache, progress: as of `make_features`.

    Raises:
        CheckpointError: no such folder, or another format.
        ConfigError: `embeddings` of features that are not stored in a file.
    """
    described = read_object(Path(folder) / "config.json")
    if described.get("format") != FORMAT or described.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(f"{folder}: no features; expected a folder that a reward model of this version saved")
    try:
        config: Any = TypeAdapter(FeaturesConfig).validate_python(described["config"])
    except ValidationError as e:
        raise CheckpointError(f"{folder / 'config.json'}: {e.error_count()} options that this version has not") from e
    if embeddings is not None:
        if config.type != "stored":
            raise ConfigError(f"{folder}: features of type {config.type} are computed; leave the embeddings out")
        facts = {**described["facts"], "path": str(Path(embeddings).expanduser().resolve()), "content": None}
    else:
        facts = described["facts"]
    embedder = _kind(config.type).load(config, facts, Path(folder), Work(cache or default_cache(), progress))
    return Configured(config, embedder, described["prompt_product"], described["width"])


def _kind(name: str) -> type[Embedder]:
    module, kind = EMBEDDERS[name].split(":")
    found: type[Embedder] = getattr(import_module(module), kind)
    return found
