"""Embeddings that somebody else computed: a Parquet file of texts and vectors."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from prlhf.config.rewards.features import Stored
from prlhf.errors import DataError
from prlhf.rewards.features.base import Vectors
from prlhf.rewards.features.embedder import Embedder, Work
from prlhf.rewards.features.embeddings import EmbeddingFile
from prlhf.types import Comparison, Prompt, prompt_text

__all__ = ["StoredEmbedder"]

logger = logging.getLogger(__name__)


class StoredEmbedder(Embedder):
    """Looks texts up in a file, which is read when it is first needed.

    Args:
        path: the file.
        content: its hash when it was first read; None = whatever it is now.
        users: whether texts about users are looked up; otherwise they have vectors of length 0.
    """

    def __init__(self, path: Path, content: str | None, users: bool):
        self.path = path
        self.content = content
        self.users = users

    @classmethod
    def make(cls, config: Stored, comparisons: Sequence[Comparison], work: Work) -> Self:
        made = cls(Path(config.path).expanduser().resolve(), None, False)
        held = made.held
        told = list(dict.fromkeys(c.user_text for c in comparisons if c.user_text))
        made.users = "user" in held.kinds if held.kinds else held.has(told, "user") > 0
        if told and not made.users:
            logger.warning("%s: no embeddings of users' texts, so reward models do not see these", made.path)
        made.content = _content(made.path)
        return made

    @classmethod
    def load(cls, config: Stored, facts: dict[str, Any], folder: Path, work: Work) -> Self:
        return cls(Path(facts["path"]), facts["content"], facts["users"])

    def save(self, folder: Path) -> dict[str, Any]:
        return {"path": str(self.path), "content": self.content or _content(self.path), "users": self.users}

    @cached_property
    def held(self) -> EmbeddingFile:
        """What is in the file.

        Raises:
            DataError: it is gone, or not what it was.
        """
        if self.content is not None:
            trained = "the embeddings that this reward model was trained on"
            instead = "put them back, or name another file of embeddings from the same model"
            if not self.path.is_file():
                raise DataError(f"{self.path}: {trained} are gone; {instead}")
            if _content(self.path) != self.content:
                raise DataError(f"{self.path}: this file has changed, and is no longer {trained}; {instead}")
        return EmbeddingFile.read(self.path)

    @property
    def width(self) -> int:
        return self.held.width

    def responses(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Vectors:
        return self.held.find(responses, "response")

    def has_prompts(self, prompts: Sequence[Prompt]) -> bool:
        known = self.held.has([prompt_text(prompt) for prompt in prompts], "prompt")
        if 0 < known < len(prompts):
            logger.warning(
                "%s: embeddings of %d of %d prompts, so there is no inner product with the prompt; add those of the "
                "others, or say prompt_product=false", self.path, known, len(prompts)
            )  # fmt: skip
        return known == len(prompts)

    def prompts(self, prompts: Sequence[Prompt]) -> Vectors:
        return self.held.find([prompt_text(prompt) for prompt in prompts], "prompt")

    def texts(self, texts: Sequence[str]) -> Vectors:
        if not self.users:
            return np.zeros((len(texts), 0), np.float32)
        return self.held.find(texts, "user")

    def describe(self) -> str:
        return f"embeddings of {self.path.name}"


def _content(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
