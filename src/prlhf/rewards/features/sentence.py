"""Sentence embeddings by a model of sentence-transformers, which is imported only here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from prlhf.config.rewards.features import Sentence
from prlhf.errors import CheckpointError, ConfigError
from prlhf.rewards.features.base import Vectors
from prlhf.rewards.features.computed import VectorCache, device_of, identity, key_of
from prlhf.rewards.features.embedder import PretrainedEmbedder, Work
from prlhf.types import Prompt, prompt_text

__all__ = ["SentenceEmbedder"]

logger = logging.getLogger(__name__)
_FORMAT = 1
"""To be raised when the same texts become other vectors."""


class SentenceEmbedder(PretrainedEmbedder):
    """Embeds responses, prompts and texts about users alike: each by itself, as `encode` does by default.

    Raises:
        ConfigError: sentence-transformers is not installed.
        CheckpointError: no such model.
    """

    def __init__(self, config: Sentence, work: Work):
        self.config = config
        self.work = work
        self.library = _library()
        path = Path(config.model).expanduser()
        owned = config.model if "/" in config.model else f"sentence-transformers/{config.model}"
        self.source = str(path) if path.is_dir() else owned
        about = [_FORMAT, identity(self.source), self.library.__version__]
        self.cache = VectorCache(work.cache, "sentence", about)

    @cached_property
    def model(self) -> Any:
        """Loaded when a text is not in the cache."""
        try:
            return self.library.SentenceTransformer(self.source, device=device_of(self.config.device))
        except (OSError, ValueError) as e:
            why = next(iter(str(e).strip().splitlines()), type(e).__name__)
            raise CheckpointError(f"features.model: {self.config.model!r} cannot be loaded: {why}") from e

    def responses(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Vectors:
        return self.texts(responses)

    def has_prompts(self, prompts: Sequence[Prompt]) -> bool:
        return True

    def prompts(self, prompts: Sequence[Prompt]) -> Vectors:
        return self.texts([prompt_text(prompt) for prompt in prompts])

    def texts(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.width), np.float32)
        keys = [key_of(text.encode("utf8", "surrogatepass")) for text in texts]

        def batches(places: list[int]) -> list[list[int]]:
            self._warn_cuts([texts[i] for i in places])
            order, size = sorted(places, key=lambda i: len(texts[i])), self.config.batch_size
            return [order[i : i + size] for i in range(0, len(order), size)]

        def compute(batch: list[int]) -> Vectors:
            asked = [texts[i] for i in batch]
            found = self.model.encode(asked, batch_size=len(asked), show_progress_bar=False, convert_to_numpy=True)
            return np.asarray(found, np.float32)

        return self.cache.vectors(keys, batches, compute, self.work.progress)

    def _warn_cuts(self, texts: list[str]) -> None:
        """The model reads the beginning of a long text only."""
        tokenizer, most = getattr(self.model, "tokenizer", None), getattr(self.model, "max_seq_length", None)
        if not callable(tokenizer) or not most:
            return
        cut = sum(len(ids) > most for ids in tokenizer(texts, truncation=False, verbose=False)["input_ids"])
        if cut:
            logger.warning("%s reads %d tokens: %d of %d texts are cut", self.config.model, most, cut, len(texts))

    def describe(self) -> str:
        return f"sentence embeddings by {self.config.model}"


def _library() -> Any:
    try:
        import sentence_transformers
    except ImportError as e:
        raise ConfigError(
            "features.type=sentence needs the package sentence-transformers, which is not installed here; pip install "
            "'prlhf[sentence]', or take features.type=stored, hidden or tfidf"
        ) from e
    return sentence_transformers
