"""What a reward model sees of a response: a union on `type`."""

from typing import Annotated, Literal

from pydantic import Field

from prlhf.config.base import Config

__all__ = ["FeaturesConfig", "Hidden", "Sentence", "Stored", "TfIdf"]


class _Features(Config):
    surface: bool = True
    """Beside them a handful of surface features: lengths, words, sentences, formatting."""


class Hidden(_Features):
    """Hidden states of a Hugging Face language model."""

    type: Literal["hidden"] = "hidden"
    model: str
    """A folder or a hub id."""


class Sentence(_Features):
    """A model of sentence-transformers (the extra `sentence`)."""

    type: Literal["sentence"] = "sentence"
    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    """A folder or a hub id."""


class Stored(_Features):
    """A Parquet file of embeddings: columns `text`, `embedding`, and optionally `kind` (`response`, `prompt`)."""

    type: Literal["stored"] = "stored"
    path: str
    """The file."""


class TfIdf(_Features):
    """Words, where there is nothing else."""

    type: Literal["tfidf"] = "tfidf"
    width: int = Field(256, ge=1)
    """At most so many features are kept (truncated SVD)."""


FeaturesConfig = Annotated[TfIdf | Stored | Sentence | Hidden, Field(discriminator="type")]
