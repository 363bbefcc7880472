"""Surface features of a response: what can be seen of it without reading."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from prlhf.data import surface
from prlhf.rewards.features.base import Vectors

__all__ = ["NAMES", "surface_vectors"]

NAMES = (
    *surface.FEATURES,
    "log words",
    "log sentences",
    "log letters a word",
    "log words a sentence",
    "different words",
    "punctuation share",
)
"""What the features are, in their order: those of `prlhf.data.surface`, then six of words; shares are of all words or
characters."""

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"[^.!?。！？\n]*\w[^.!?。！？\n]*")
_MARK = re.compile(r"[^\w\s]")


def surface_vectors(responses: Sequence[str]) -> Vectors:
    """Surface features `[n, 13]` in the order of `NAMES`; of a text without a word those of words are 0."""
    found = [(*surface.surface_features(text), *_words(text)) for text in responses]
    return np.array(found, np.float32).reshape(-1, len(NAMES))


def _words(text: str) -> tuple[float, ...]:
    words = [word.lower() for word in _WORD.findall(text)]
    sentences = len(_SENTENCE.findall(text))
    some, more = max(len(words), 1), max(sentences, 1)
    return (
        float(np.log1p(len(words))),
        float(np.log1p(sentences)),
        float(np.log1p(sum(map(len, words)) / some)),
        float(np.log1p(len(words) / more)),
        len(set(words)) / some,
        len(_MARK.findall(text)) / max(len(text), 1),
    )
