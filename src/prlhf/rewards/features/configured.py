"""The feature map that a configuration describes: an embedder's vectors and what is added to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prlhf.errors import DataError
from prlhf.rewards.features.base import FeatureMap, Vectors
from prlhf.rewards.features.embedder import Embedder
from prlhf.rewards.features.surface import NAMES, surface_vectors
from prlhf.types import Prompt, prompt_text

__all__ = ["FORMAT", "FORMAT_VERSION", "Configured"]

FORMAT = "prlhf-features"
FORMAT_VERSION = 1


class Configured(FeatureMap):
    """Vectors of an embedder; then their inner product with the prompt's; then surface features.

    Args:
        config: of the union `FeaturesConfig`.
        product: whether there is an inner product with the prompt's vector.
        width: length of the embedder's vectors, by default as it is now.
    """

    def __init__(self, config: Any, embedder: Embedder, product: bool, width: int | None = None):
        self.config = config
        self.embedder = embedder
        self.product = product
        self.width = embedder.width if width is None else width
        if self.width + product + config.surface == 0:
            raise DataError(f"features.type={config.type}: no feature at all; take features.surface=true")

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Vectors:
        vectors = self._of_width(self.embedder.responses(prompts, responses))
        parts = [vectors]
        if self.product:
            parts.append(self._product(prompts, vectors))
        if self.config.surface:
            parts.append(surface_vectors(responses))
        return _finite(np.concatenate(parts, axis=1, dtype=np.float32), responses)

    def texts(self, texts: Sequence[str]) -> Vectors:
        found = _finite(self.embedder.texts(texts), texts)
        return self._of_width(found) if found.shape[1] else found

    def _product(self, prompts: Sequence[Prompt], vectors: Vectors) -> Vectors:
        """`[n, 1]`, each prompt embedded once."""
        place = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
        asked = self._of_width(self.embedder.prompts(list(place)))
        asked = _finite(asked, [prompt_text(prompt) for prompt in place])
        rows = np.array([place[prompt] for prompt in prompts], np.int64)
        return np.einsum("nd,nd->n", vectors, asked[rows])[:, None]

    def _of_width(self, vectors: Vectors) -> Vectors:
        if vectors.shape[1] != self.width:
            raise DataError(
                f"{self.embedder.describe()}: vectors of length {vectors.shape[1]}, expected {self.width} as in "
                "training; give the vectors of the same model"
            )
        return vectors

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        described = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "config": self.config.model_dump(mode="json"),
            "prompt_product": self.product,
            "width": self.width,
            "facts": self.embedder.save(folder),
        }
        (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf8")

    def describe(self) -> str:
        """Such as `384 embeddings of votes.parquet, inner product with the prompt, 13 surface features`."""
        parts = [f"{self.width} {self.embedder.describe()}"]
        parts += ["inner product with the prompt"] if self.product else []
        parts += [f"{len(NAMES)} surface features"] if self.config.surface else []
        return ", ".join(parts)


def _finite(vectors: Vectors, texts: Sequence[str]) -> Vectors:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise DataError(
            f"features of {len(bad)} of {len(texts)} texts are not finite, the first of them of {texts[bad[0]]!r:.80}; "
            "expected numbers: look at this text, or at the model or file that the features come from"
        )
    return vectors
