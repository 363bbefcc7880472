"""The part of a feature map that knows how a text becomes a vector; one file a kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from prlhf.data.cache import default_cache
from prlhf.rewards.features.base import Vectors
from prlhf.types import Comparison, Prompt

__all__ = ["Embedder", "PretrainedEmbedder", "Progress", "Work"]

Progress = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Work:
    """How vectors that are computed are kept, and how far that is."""

    cache: Path = field(default_factory=default_cache)
    progress: Progress = lambda steps: steps


class Embedder(ABC):
    """Texts in, vectors out; d and g are fixed when it is made."""

    @classmethod
    @abstractmethod
    def make(cls, config: Any, comparisons: Sequence[Comparison], work: Work) -> Self:
        """As a configuration says, for reward models that learn from `comparisons`."""

    @classmethod
    @abstractmethod
    def load(cls, config: Any, facts: dict[str, Any], folder: Path, work: Work) -> Self:
        """What `save` wrote into `folder`; `facts` is what it returned."""

    @abstractmethod
    def save(self, folder: Path) -> dict[str, Any]:
        """Write arrays into `folder`, which exists; the rest, for a JSON file, is returned."""

    @property
    @abstractmethod
    def width(self) -> int:
        """d."""

    @abstractmethod
    def responses(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Vectors:
        """Vectors of responses, each to its prompt `[n, d]`.

        Raises:
            DataError: a text that there is no vector for.
        """

    def has_prompts(self, prompts: Sequence[Prompt]) -> bool:
        """Whether there are vectors of all these prompts, and such that compare with those of responses."""
        return False

    def prompts(self, prompts: Sequence[Prompt]) -> Vectors:
        """Vectors of prompts `[n, d]`, where there are such.

        Raises:
            DataError: a prompt that there is no vector for.
        """
        raise NotImplementedError(type(self).__name__)

    @abstractmethod
    def texts(self, texts: Sequence[str]) -> Vectors:
        """Vectors of texts about users `[n, g]`."""

    @abstractmethod
    def describe(self) -> str:
        """Such as `384 embeddings of votes.parquet`."""


class PretrainedEmbedder(Embedder):
    """One that learns nothing from the votes: its configuration says all there is to save."""

    @abstractmethod
    def __init__(self, config: Any, work: Work):
        """As a configuration says."""

    @classmethod
    def make(cls, config: Any, comparisons: Sequence[Comparison], work: Work) -> Self:
        return cls(config, work)

    @classmethod
    def load(cls, config: Any, facts: dict[str, Any], folder: Path, work: Work) -> Self:
        return cls(config, work)

    def save(self, folder: Path) -> dict[str, Any]:
        return {}

    @cached_property
    def width(self) -> int:
        return self.texts(["a"]).shape[1]
