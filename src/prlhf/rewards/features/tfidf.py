"""Words where there is nothing else: TF-IDF of words and pairs of words, in fewer dimensions."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from prlhf.config.rewards.features import TfIdf
from prlhf.errors import CheckpointError
from prlhf.rewards.features.base import Vectors
from prlhf.rewards.features.embedder import Embedder, Work
from prlhf.types import Comparison, Prompt, prompt_text

__all__ = ["TfIdfEmbedder"]

logger = logging.getLogger(__name__)
_TWICE_FROM = 50
"""With so many texts a word counts if two of them have it: of a word in one text alone nothing can be learned."""
_NEGLIGIBLE = 1e-4
"""Of the largest singular value. Few different sentences span fewer dimensions than are asked for; the rest is rounding
and counted as much as any other as soon as a new sentence comes."""
_KNOWN = 0.5
"""Where a smaller share of the words of a batch is known, that is told."""
_LOOKED_AT = 200
"""So many texts of a batch, spread over it, tell the share well enough."""


class TfIdfEmbedder(Embedder):
    """Lengths are 1 before the truncated SVD, so that an inner product is how many words are shared. Words that the
    training comparisons do not have count for nothing.

    Args:
        words: words and pairs of words, v of them, in their order.
        idf: `[v]`.
        components: of the truncated SVD `[d, v]`; None where v is small enough.
    """

    def __init__(self, words: list[str], idf: np.ndarray, components: np.ndarray | None):
        self.words = words
        self.idf = idf
        self.components = components
        self._vectorizer = _vectorizer(vocabulary={word: i for i, word in enumerate(words)}) if words else None
        if self._vectorizer is not None:
            self._vectorizer.idf_ = idf
        self._told_unknown = False

    @classmethod
    def make(cls, config: TfIdf, comparisons: Sequence[Comparison], work: Work) -> Self:
        both = (text for c in comparisons for text in (*c.responses, c.user_text or ""))
        texts = [text for text in dict.fromkeys(both) if text]
        fitted, x = _fitted(texts, 2 if len(texts) >= _TWICE_FROM else 1)
        if fitted is None:
            return cls([], np.zeros(0, np.float32), None)
        words, components = fitted.get_feature_names_out().tolist(), None
        if len(words) > config.width:
            found = TruncatedSVD(min(config.width, len(texts)), random_state=0).fit(x)
            real = found.singular_values_ > _NEGLIGIBLE * found.singular_values_[0]
            components = found.components_[real].astype(np.float32)
        return cls(words, fitted.idf_, components)

    @classmethod
    def load(cls, config: TfIdf, facts: dict[str, Any], folder: Path, work: Work) -> Self:
        try:
            words = json.loads((folder / "words.json").read_text(encoding="utf8"))
            arrays = load_file(folder / "tfidf.safetensors")
            return cls(words, arrays["idf"], arrays.get("components"))
        except (OSError, ValueError, KeyError, SafetensorError) as e:
            raise CheckpointError(f"{folder}: words.json and tfidf.safetensors are missing or damaged ({e})") from e

    def save(self, folder: Path) -> dict[str, Any]:
        (folder / "words.json").write_text(json.dumps(self.words), encoding="utf8")
        arrays = {"idf": self.idf} | ({} if self.components is None else {"components": self.components})
        save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / "tfidf.safetensors")
        return {}

    @property
    def width(self) -> int:
        return len(self.words) if self.components is None else len(self.components)

    def responses(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Vectors:
        self._tell_unknown(responses)
        return self.texts(responses)

    def known(self, texts: Sequence[str]) -> float:
        """The share of the words in these texts that the model has; 1 where there are no words."""
        vectorizer = self._vectorizer or _vectorizer(vocabulary={})
        analyze = vectorizer.build_analyzer()
        words = [word for text in texts for word in analyze(text) if " " not in word]  # and no pairs of words
        return sum(word in vectorizer.vocabulary for word in words) / len(words) if words else 1.0

    def _tell_unknown(self, texts: Sequence[str]) -> None:
        """Say once where texts are mostly made of other words."""
        if self._told_unknown:
            return
        share = self.known(texts[:: -(-len(texts) // _LOOKED_AT) or 1])
        if share < _KNOWN:
            self._told_unknown = True
            logger.warning(
                "of the words in these texts the reward model knows %.0f %%: what it sees of them is little; learn "
                "from votes on such texts too, or take features that know words already (hidden:MODEL, sentence:MODEL)",
                100 * share,
            )

    def has_prompts(self, prompts: Sequence[Prompt]) -> bool:
        return self.width > 0

    def prompts(self, prompts: Sequence[Prompt]) -> Vectors:
        return self.texts([prompt_text(prompt) for prompt in prompts])

    def texts(self, texts: Sequence[str]) -> Vectors:
        if self._vectorizer is None or not texts:
            return np.zeros((len(texts), self.width), np.float32)
        x = self._vectorizer.transform(texts)
        return np.asarray(x.toarray() if self.components is None else x @ self.components.T, np.float32)

    def describe(self) -> str:
        what = "components of TF-IDF" if self.components is not None else "TF-IDF features"
        return f"{what} of {len(self.words):,} words and pairs of words"


def _vectorizer(**options: Any) -> TfidfVectorizer:
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+", dtype=np.float32, **options)


def _fitted(texts: list[str], fewest: int) -> tuple[TfidfVectorizer | None, Any]:
    """Fitted on words that at least so many texts have, or that one has; nothing where there are no words at all."""
    counted = [fewest, 1] if fewest > 1 else [1]
    for least in counted:
        fitted = _vectorizer(min_df=least)
        try:
            return fitted, fitted.fit_transform(texts)
        except ValueError:  # no words are left
            continue
    return None, None
