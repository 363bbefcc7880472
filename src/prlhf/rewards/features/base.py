"""The contract of feature maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from prlhf.types import Prompt

__all__ = ["FeatureMap", "Vectors"]

Vectors = npt.NDArray[np.float32]


class FeatureMap(ABC):
    """Texts in, vectors out: the same text always has the same vector."""

    @abstractmethod
    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Vectors:
        """Features of each response to its prompt `[n, f]`, finite.

        Raises:
            DataError: a text that there are no features for, or features that are not finite.
        """

    @abstractmethod
    def texts(self, texts: Sequence[str]) -> Vectors:
        """Features of texts about users `[n, g]`; g = 0 where the map has none of them."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what `load_features` needs into `folder`, which is made."""

    def describe(self) -> str:
        """What it sees, in a line."""
        return type(self).__name__
